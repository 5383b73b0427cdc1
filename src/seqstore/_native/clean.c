/* clean.c: the fifo cleaner of the circular log.
 *
 * Relocated blocks go to the head like any others (placement single). The copy that stays behind is MOVED:
 * its bytes are there until the head comes round, and the ledger counts them.
 *
 * In memory checksums travel along unchecked: damage stays detectable, and is found on reading. Elsewhere a
 * block that is damaged, or cannot even be read and is replaced by zeros, is marked: its checksum in the
 * log is that of its bytes, so that recovery can tell it from one that was torn, and the one in memory
 * never fits.
 */
#include "append.h"

/* The live data blocks of the victim from *from on, at most SQ_BATCH; *from moves behind the last. */
static uint32_t find_live(const sq_log *log, uint32_t *from, uint32_t end, uint32_t *live)
{
    uint32_t count = 0, mba = *from;
    for (; mba < end && count < SQ_BATCH; mba++)
        if (sq_entry_state(log->ledger[mba]) == SQ_LIVE)
            live[count++] = mba;
    *from = mba;
    return count;
}

static const struct sq_map *map_of(const sq_log *log, uint32_t mba)
{
    return &log->layers[sq_entry_slot(log->ledger[mba])]->map;
}

static void fetch_leaf(const sq_log *log, uint32_t mba)
{
    sq_map_prefetch_leaf(map_of(log, mba), sq_entry_value(log->ledger[mba]));
}

/* Puts the block at the head; if it does not fit its checksum, that becomes the one which it fits, and 1 is
 * returned. */
static int place_checked(sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t to,
                         const uint8_t *block, uint32_t *checksum)
{
    uint8_t *place = sq_place_at(log, to);
    memcpy(place, block, log->block_bytes);
    uint32_t found = ~log->kernels->crc(sq_tag_crc(log, layer->number, lba), place, log->block_bytes);
    int is_damaged = found != *checksum;
    *checksum = found;
    return is_damaged;
}

/* block: its bytes, on media that are not in memory. next: the block to be relocated after this one, to be
 * fetched meanwhile; mba if there is none. */
static int relocate(sq_log *log, uint32_t mba, uint32_t next, const uint8_t *block)
{
    uint64_t entry = log->ledger[mba], lba = sq_entry_value(entry);
    struct sq_layer *layer = log->layers[sq_entry_slot(entry)];
    if (SQ_PLANTED(cleaner_writes_to_wrong_owner)) layer = log->layers[sq_entry_slot(log->ledger[mba ^ 1])];
    SQ_CHECK(log, layer != NULL && lba / SQ_LEAF_BLOCKS < layer->map.leaf_count);
    /* There is the rest of the open segment and the one kept for this. */
    SQ_TRY(sq_head_advance(log, 0));
    uint32_t to = sq_record_next_mba(log), checksum = log->tags != NULL ? 0 : log->checksums[mba];
    uint8_t flags = SQ_FLAG_RELOCATED;
    if ((SQ_PLANTED(cleaner_loses_blocks_at_the_wrap) && sq_segment_of(log, to) == 0) ||
        (SQ_PLANTED(cleaner_forgets_snapshots) && layer->reader && layer->reader->is_snapshot))
        return sq_layer_clear(log, layer, lba, lba + 1, &(int){0});
    if (log->payload != NULL)
        log->kernels->copy(sq_payload_at(log, to),
                           sq_payload_at(log, mba ^ SQ_PLANTED(cleaner_copies_the_neighbour)),
                           log->block_bytes, next == mba ? NULL : sq_payload_at(log, next));
    else if (log->tags == NULL && place_checked(log, layer, lba, to, block, &checksum))
        flags |= SQ_FLAG_DAMAGED;
    SQ_TRY(sq_block_add(log, layer, lba, checksum, flags));
    if (flags & SQ_FLAG_DAMAGED)
        log->checksums[to] = ~checksum;
    uint32_t old = sq_map_put(&layer->map, lba, to);
    SQ_CHECK(log, old == mba);
    sq_block_dies(log, mba, layer, SQ_MOVED);
    if (SQ_PLANTED(ledger_forgets_the_cleaners_copy)) layer->moved_blocks--, log->ledger[mba] = 0;
    log->stats.relocated_blocks++;
    return SQ_OK;
}

/* Live blocks of the victim, found a batch ahead of their relocation. */
struct batch {
    uint32_t count;
    uint32_t live[SQ_BATCH];
};

static void find_batch(const sq_log *log, uint32_t *from, uint32_t end, struct batch *batch)
{
    batch->count = find_live(log, from, end, batch->live);
    for (uint32_t i = 0; i < batch->count; i++)
        sq_map_prefetch_word(map_of(log, batch->live[i]), sq_entry_value(log->ledger[batch->live[i]]));
}

static void fetch_leaves(const sq_log *log, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        fetch_leaf(log, batch->live[i]);
}

/* Reads the live blocks of a batch, from the one at index on, as many as lie close together; returns how
 * many. */
static uint32_t read_ahead(sq_log *log, const struct batch *batch, uint32_t index)
{
    uint8_t *buffer = log->durable.clean_buffer;
    uint32_t first = batch->live[index], count = 1, span = 1;
    while (index + count < batch->count && batch->live[index + count] - first < SQ_CLEAN_SPAN &&
           batch->live[index + count] - first <= span + SQ_CLEAN_GAP) {
        span = batch->live[index + count] - first + 1;
        count++;
    }
    int os_error;
    if (sq_medium_fetch(log->medium, first, span, buffer, &os_error) == SQ_OK)
        return count;
    memset(buffer, 0, log->block_bytes);
    sq_medium_fetch(log->medium, first, 1, buffer, &os_error); /* or it stays zero */
    return 1;
}

static int relocate_from_medium(sq_log *log, const struct batch *batch)
{
    for (uint32_t index = 0; index < batch->count;) {
        uint32_t count = read_ahead(log, batch, index), first = batch->live[index];
        for (uint32_t i = 0; i < count; i++, index++) {
            uint32_t mba = batch->live[index];
            size_t offset = (size_t)(mba - first) << log->block_shift;
            if (SQ_PLANTED(cleaner_copies_the_neighbour)) offset ^= log->block_bytes;
            SQ_TRY(relocate(log, mba, mba, log->durable.clean_buffer + offset));
        }
    }
    return SQ_OK;
}

/* Relocates a batch while the leaves that the next one needs come into the cache. */
static int relocate_batch(sq_log *log, const struct batch *batch, const struct batch *next)
{
    if (log->durable.on)
        return relocate_from_medium(log, batch);
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i < next->count)
            fetch_leaf(log, next->live[i]);
        SQ_TRY(relocate(log, batch->live[i], batch->live[i + 1 < batch->count ? i + 1 : i], NULL));
    }
    return SQ_OK;
}

int sq_clean_retire(sq_log *log)
{
    uint32_t victim = sq_ring_pop(&log->sealed_ring), first = victim * log->segment_blocks;
    SQ_CHECK(log, log->segments[victim].live_blocks == 0);
    for (uint32_t mba = first; mba < first + log->segment_blocks; mba++)
        if (sq_entry_state(log->ledger[mba]) == SQ_SUMMARY) {
            log->ledger[mba] = sq_entry(SQ_DEAD, 0, log->stats.position);
            log->layers[0]->dead_blocks++;
        }
    /* A zone that holds what may still be needed after a crash begins anew when it is written again. */
    if (log->medium->ops == NULL)
        SQ_CHECK(log, sq_medium_restart(log->medium, victim) == SQ_OK);
    log->segments[victim].state = SQ_SEGMENT_FREE;
    sq_ring_push(&log->free_ring, victim);
    /* What died or moved here did so in records up to the open one. */
    if (log->durable.freed != NULL)
        log->durable.freed[victim] = log->record.sequence;
    return SQ_OK;
}

/* What the next victim needs first comes into the cache while the head fills the room gained. */
static void look_ahead(const sq_log *log)
{
    struct batch batch;
    if (log->sealed_ring.count == 0)
        return;
    uint32_t from = log->sealed_ring.items[log->sealed_ring.first] * log->segment_blocks;
    find_batch(log, &from, from + log->segment_blocks, &batch);
    fetch_leaves(log, &batch);
}

int sq_clean_oldest(sq_log *log)
{
    struct batch batches[2];
    SQ_CHECK(log, log->sealed_ring.count > 0);
    uint32_t victim = log->sealed_ring.items[log->sealed_ring.first];
    uint32_t live = log->segments[victim].live_blocks;
    SQ_CHECK(log, !log->durable.in_request);
    /* All the memory first: a victim half moved would leave the cleaner without its spare segment. Moving
     * blocks may change the form of a leaf, once. */
    uint32_t changes = live < log->leaves.leaf_count ? live : log->leaves.leaf_count;
    if (sq_leaf_pool_reserve(&log->leaves, changes) != 0)
        return SQ_E_NO_MEMORY;
    uint32_t from = victim * log->segment_blocks, end = from + log->segment_blocks;
    find_batch(log, &from, end, &batches[0]);
    fetch_leaves(log, &batches[0]);
    for (unsigned turn = 0; batches[turn & 1].count > 0; turn++) {
        find_batch(log, &from, end, &batches[~turn & 1]);
        SQ_TRY(relocate_batch(log, &batches[turn & 1], &batches[~turn & 1]));
    }
    SQ_TRY(sq_clean_retire(log));
    log->stats.cleaned_segments++;
    look_ahead(log);
    return SQ_OK;
}
