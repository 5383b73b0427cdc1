/* clean.c: the fifo cleaner of the circular log.
 *
 * Relocated blocks go to the head like any others (placement single). The copy that stays behind is
 * MOVED: its bytes are there until the head comes round, and the ledger counts them.
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
    return &log->volumes[sq_entry_slot(log->ledger[mba])]->map;
}

static void fetch_leaf(const sq_log *log, uint32_t mba)
{
    sq_map_prefetch_leaf(map_of(log, mba), sq_entry_value(log->ledger[mba]));
}

/* Relocation has the rest of the open segment and the one kept for it, and never cleans itself. */
static int make_room(sq_log *log)
{
    while (sq_record_room(log) == 0) {
        SQ_TRY(sq_record_close(log));
        if (log->open_blocks == log->segment_blocks)
            SQ_TRY(sq_segment_next(log));
        SQ_TRY(sq_record_open(log));
    }
    return SQ_OK;
}

/* next: the block to be relocated after this one, to be fetched meanwhile; mba if there is none. */
static int relocate(sq_log *log, uint32_t mba, uint32_t next)
{
    uint64_t entry = log->ledger[mba], lba = sq_entry_value(entry);
    struct sq_volume *volume = log->volumes[sq_entry_slot(entry)];
    SQ_CHECK(log, volume != NULL && lba / SQ_LEAF_BLOCKS < volume->map.leaf_count);
    SQ_TRY(make_room(log));
    uint32_t to = sq_record_next_mba(log), checksum = 0;
    if (log->payload != NULL) {
        /* The checksum travels along unchecked: damage stays detectable, and is found on reading. */
        checksum = log->checksums[mba];
        log->kernels->copy(sq_payload_at(log, to), sq_payload_at(log, mba), log->block_bytes,
                           next == mba ? NULL : sq_payload_at(log, next));
    }
    SQ_TRY(sq_block_add(log, volume, lba, checksum));
    uint32_t old = sq_map_put(&volume->map, lba, to);
    SQ_CHECK(log, old == mba);
    sq_block_dies(log, mba, volume, SQ_MOVED);
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

/* Relocates a batch while the leaves that the next one needs come into the cache. */
static int relocate_batch(sq_log *log, const struct batch *batch, const struct batch *next)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i < next->count)
            fetch_leaf(log, next->live[i]);
        SQ_TRY(relocate(log, batch->live[i], batch->live[i + 1 < batch->count ? i + 1 : i]));
    }
    return SQ_OK;
}

/* Nothing of the victim is in use any more: its summaries die, its zone may be written again. */
static int retire(sq_log *log, uint32_t victim)
{
    uint32_t first = victim * log->segment_blocks;
    SQ_CHECK(log, log->segments[victim].live_blocks == 0);
    for (uint32_t mba = first; mba < first + log->segment_blocks; mba++)
        if (sq_entry_state(log->ledger[mba]) == SQ_SUMMARY) {
            log->ledger[mba] = sq_entry(SQ_DEAD, 0, log->stats.position);
            log->volumes[0]->dead_blocks++;
        }
    sq_medium_restart(log->medium, victim);
    log->segments[victim].state = SQ_SEGMENT_FREE;
    sq_ring_push(&log->free_ring, victim);
    log->stats.cleaned_segments++;
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
    sq_ring_pop(&log->sealed_ring);
    look_ahead(log);
    return retire(log, victim);
}
