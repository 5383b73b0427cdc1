/* clean.c: cleaning a segment that the policy chose: what is live moves to the heads.
 *
 * The copy that stays behind is MOVED: its bytes are there until a head comes round, and the ledger counts
 * them.
 *
 * In memory checksums travel along unchecked: damage stays detectable, and is found on reading. Elsewhere a
 * block that is damaged, or cannot even be read and is replaced by zeros, is marked: its checksum in the
 * log is that of its bytes, so that recovery can tell it from one that was torn, and the one in memory
 * never fits.
 */
#include "append.h"
#include "place.h"
#include "recorder.h"
#include "tags.h"

/* A walk through the live data blocks of the victim: of all of them, or of those that go to one class. */
struct walk {
    uint32_t from;
    uint32_t first;
    uint32_t end;
    const uint8_t *classes; /* of each block; NULL: all */
    uint8_t class;
};

/* The next ones, at most SQ_BATCH. */
static uint32_t find_live(const sq_log *log, struct walk *walk, uint32_t *live)
{
    uint32_t count = 0, mba = walk->from;
    for (; mba < walk->end && count < SQ_BATCH; mba++)
        if (sq_entry_state(log->ledger[mba]) == SQ_LIVE &&
            (walk->classes == NULL || walk->classes[mba - walk->first] == walk->class))
            live[count++] = mba;
    walk->from = mba;
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
    /* There is the rest of the open segment and those kept for this. */
    SQ_TRY(sq_head_advance(log, 0));
    uint32_t to = sq_record_next_mba(log), checksum = log->checksums[mba];
    uint8_t flags = SQ_FLAG_RELOCATED;
    if ((SQ_PLANTED(cleaner_loses_blocks_at_the_wrap) && sq_segment_of(log, to) == 0) ||
        (SQ_PLANTED(cleaner_forgets_snapshots) && layer->reader && layer->reader->is_snapshot))
        return sq_layer_clear(log, layer, lba, lba + 1, &(int){0});
    if (log->payload != NULL)
        log->kernels->copy(sq_payload_at(log, to),
                           sq_payload_at(log, mba ^ SQ_PLANTED(cleaner_copies_the_neighbour)),
                           log->block_bytes, next == mba ? NULL : sq_payload_at(log, next));
    else if (place_checked(log, layer, lba, to, block, &checksum))
        flags |= SQ_FLAG_DAMAGED;
    if (log->sealing.on && !sq_seal_move(log, mba, to))
        flags |= SQ_FLAG_DAMAGED;
    SQ_TRY(sq_block_add(log, layer, lba, checksum, flags));
    if (flags & SQ_FLAG_DAMAGED)
        log->checksums[to] = ~checksum;
    uint32_t old = sq_map_put(&layer->map, lba, to);
    SQ_CHECK(log, old == mba);
    sq_times_move(log, mba, to);
    sq_block_dies(log, mba, layer, SQ_MOVED);
    layer->work->relocated_blocks++;
    if (log->class_count > 1)
        SQ_TRY(sq_head_finish(log));
    if (SQ_PLANTED(ledger_forgets_the_cleaners_copy)) layer->moved_blocks--, log->ledger[mba] = 0;
    log->stats.relocated_blocks++;
    return SQ_OK;
}

/* Live blocks of the victim, found a batch ahead of their relocation. */
struct batch {
    uint32_t count;
    uint32_t live[SQ_BATCH];
};

static void find_batch(const sq_log *log, struct walk *walk, struct batch *batch)
{
    batch->count = find_live(log, walk, batch->live);
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

static int classify(sq_log *log, const struct batch *batch, uint8_t *classes)
{
    if (log->cleaner.placement == SQ_PLACE_CUSTOM)
        return sq_place_victim_by_call(log, batch->live, batch->count, classes);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct sq_layer *layer = log->layers[sq_entry_slot(log->ledger[batch->live[i]])];
        classes[i] = (uint8_t)sq_place_relocated(log, layer, batch->live[i]);
    }
    return SQ_OK;
}

/* Relocates a batch while the leaves that the next one needs come into the cache. */
static int relocate_batch(sq_log *log, const struct batch *batch, const struct batch *next)
{
    uint8_t classes[SQ_BATCH];
    if (log->durable.on)
        return relocate_from_medium(log, batch);
    int is_mixed = log->class_count > 1 && log->cleaner.victim_classes == NULL && !log->cleaner.is_pressed;
    if (is_mixed)
        SQ_TRY(classify(log, batch, classes));
    if (log->tags != NULL)
        return sq_tags_move(log, batch->live, batch->count, is_mixed ? classes : NULL, next->live,
                            next->count);
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i < next->count)
            fetch_leaf(log, next->live[i]);
        if (is_mixed)
            SQ_TRY(sq_head_select(log, classes[i]));
        SQ_TRY(relocate(log, batch->live[i], batch->live[i + 1 < batch->count ? i + 1 : i], NULL));
    }
    return SQ_OK;
}

int sq_clean_retire(sq_log *log, uint32_t victim)
{
    uint32_t first = victim * log->segment_blocks;
    SQ_CHECK(log, log->segments[victim].state == SQ_SEGMENT_SEALED);
    SQ_CHECK(log, log->segments[victim].live_blocks == 0);
    for (uint32_t mba = first; mba < first + log->segment_blocks; mba++)
        if (sq_entry_state(log->ledger[mba]) == SQ_SUMMARY) {
            log->ledger[mba] = sq_entry(SQ_DEAD, 0, log->stats.position);
            log->layers[0]->dead_blocks++;
        }
    /* A zone that holds what may still be needed after a crash begins anew when it is written again. */
    if (log->medium->ops == NULL)
        SQ_CHECK(log, sq_medium_restart(log->medium, victim) == SQ_OK);
    sq_segment_free(log, victim);
    sq_ring_push(&log->free_ring, victim);
    /* What died or moved here did so in records up to the open one. */
    if (log->durable.freed != NULL)
        log->durable.freed[victim] = log->sequence + log->head->record.open;
    return SQ_OK;
}

/* What the next victim needs first comes into the cache while the head fills the room gained. */
static void look_ahead(const sq_log *log)
{
    struct batch batch;
    /* Where the choice depends on what happens until then, looking would take longer than it saves. */
    if (log->sealed.count == 0 || log->cleaner.selection != SQ_SELECT_FIFO)
        return;
    uint32_t from = sq_list_first(&log->sealed, log->segment_count) * log->segment_blocks;
    struct walk walk = {.from = from, .end = from + log->segment_blocks};
    find_batch(log, &walk, &batch);
    fetch_leaves(log, &batch);
}

static int relocate_all(sq_log *log, struct walk *walk)
{
    struct batch batches[2];
    find_batch(log, walk, &batches[0]);
    fetch_leaves(log, &batches[0]);
    for (unsigned turn = 0; batches[turn & 1].count > 0; turn++) {
        find_batch(log, walk, &batches[~turn & 1]);
        SQ_TRY(relocate_batch(log, &batches[turn & 1], &batches[~turn & 1]));
    }
    return SQ_OK;
}

/* Finds the classes of all live blocks of the victim; has_out: which there are. */
static int classify_all(sq_log *log, uint32_t first, uint32_t end, uint8_t *has_out)
{
    uint8_t *classes = log->cleaner.victim_classes, found[SQ_BATCH];
    struct walk walk = {.from = first, .end = end};
    struct batch batch;
    for (find_batch(log, &walk, &batch); batch.count > 0; find_batch(log, &walk, &batch)) {
        SQ_TRY(classify(log, &batch, found));
        for (uint32_t i = 0; i < batch.count; i++) {
            classes[batch.live[i] - first] = found[i];
            has_out[found[i]] = 1;
        }
    }
    return SQ_OK;
}

/* Where all records are one sequence each change of the class ends one: a class at a time. */
static int relocate_by_class(sq_log *log, uint32_t first, uint32_t end, const uint8_t *has)
{
    for (uint32_t class = 0; class < log->class_count; class++) {
        if (!has[class])
            continue;
        SQ_TRY(sq_head_select(log, class));
        struct walk walk = {.from = first, .first = first, .end = end,
                            .classes = log->cleaner.victim_classes, .class = (uint8_t)class};
        SQ_TRY(relocate_all(log, &walk));
    }
    return SQ_OK;
}

/* Recovery has to know the order in which segments are taken again. */
static int free_victim(sq_log *log, uint32_t victim)
{
    if (!log->durable.on)
        return sq_clean_retire(log, victim);
    SQ_TRY(sq_head_advance(log, 1));
    SQ_TRY(sq_clean_retire(log, victim));
    sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_FREED, .lba = victim});
    return SQ_OK;
}

/* Moves what is live, and frees the segment. classes: which there are; NULL if each block goes its way. */
static int empty_victim(sq_log *log, uint32_t victim, const uint8_t *classes)
{
    uint32_t first = victim * log->segment_blocks;
    struct walk walk = {.from = first, .end = first + log->segment_blocks};
    if (log->recorder != NULL)
        sq_recorder_clean(log, walk.from, walk.end);
    SQ_TRY(classes == NULL ? relocate_all(log, &walk) : relocate_by_class(log, first, walk.end, classes));
    return free_victim(log, victim);
}

/* While deadlines press all blocks of a victim go where the first one belongs: that takes one free segment at
 * most, and gives one back. To spread them over the heads could take one for each; to win them back, time. */
static int press_together(sq_log *log, uint32_t first, uint32_t end)
{
    struct walk walk = {.from = first, .end = end};
    struct batch batch = {.count = find_live(log, &walk, batch.live)};
    uint8_t class = 0;
    if (batch.count == 0)
        return SQ_OK;
    batch.count = 1;
    SQ_TRY(classify(log, &batch, &class));
    return sq_head_select(log, class);
}

int sq_clean_segment(sq_log *log, uint32_t victim)
{
    uint32_t live = log->segments[victim].live_blocks;
    SQ_CHECK(log, log->segments[victim].state == SQ_SEGMENT_SEALED);
    SQ_CHECK(log, !log->durable.in_request);
    /* All the memory first: a victim half moved would leave the cleaner without its spare segments. Moving
     * blocks may change the form of a leaf, once. */
    uint32_t changes = live < log->leaves.leaf_count ? live : log->leaves.leaf_count;
    if (sq_leaf_pool_reserve(&log->leaves, changes) != 0)
        return SQ_E_NO_MEMORY;
    uint32_t first = victim * log->segment_blocks, end = first + log->segment_blocks;
    uint8_t has[SQ_CLASSES_MAX] = {0};
    /* A record of each class takes room, of which there may be too little while deadlines press. */
    int is_short = log->durable.on && log->free_ring.count < log->durable.kept_segments;
    log->cleaner.is_pressed = log->class_count > 1 && sq_deadline_presses(log, 1);
    int is_apart = log->cleaner.victim_classes != NULL && !is_short && !log->cleaner.is_pressed;
    int is_custom = log->cleaner.placement == SQ_PLACE_CUSTOM;
    /* A function of the caller's may fail, and is asked for everything first, too. Other placements learn
     * from the victim before they are asked. */
    if (is_apart && is_custom)
        SQ_TRY(classify_all(log, first, end, has));
    sq_segment_take(log, victim);
    if (is_apart && !is_custom)
        SQ_TRY(classify_all(log, first, end, has));
    int status = log->cleaner.is_pressed ? press_together(log, first, end) : SQ_OK;
    if (status == SQ_OK)
        status = empty_victim(log, victim, is_apart ? has : NULL);
    if (status != SQ_OK) {
        /* The medium failed: what is left is for another time. */
        sq_segment_give_back(log, victim);
        return status;
    }
    if (log->recorder != NULL)
        sq_recorder_cleaned(log, first);
    log->stats.cleaned_segments++;
    look_ahead(log);
    return SQ_OK;
}
