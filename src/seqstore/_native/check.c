/* check.c: the deep check. Walks every structure and compares what two of them say of the same thing:
 * extent maps against the ledger, the ledger against the counts of segments and volumes, segments
 * against rings and write pointers, time against the head. Reads everything, changes nothing.
 */
#include <stdlib.h>

#include "internal.h"

/* Every mapping is a LIVE entry that names it back. */
static int check_map(sq_log *log, const struct sq_volume *volume)
{
    const struct sq_map *map = &volume->map;
    uint64_t size_blocks = (volume->size_bytes + log->block_bytes - 1) >> log->block_shift;
    uint64_t end = map->leaf_count * SQ_LEAF_BLOCKS;
    SQ_CHECK(log, sq_map_check(map) == 0);
    SQ_CHECK(log, !volume->deleted || map->mapped_blocks == 0);
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(map, lba, end);
        SQ_CHECK(log, run.mba == SQ_UNMAPPED || lba + run.count <= size_blocks);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++) {
            SQ_CHECK(log, run.mba + i < log->block_count);
            SQ_CHECK(log, log->ledger[run.mba + i] == sq_entry(SQ_LIVE, volume->slot, lba + i));
        }
        lba += run.count;
    }
    return SQ_OK;
}

struct residue {
    uint64_t dead_blocks;
    uint64_t moved_blocks;
};

static int check_segment(sq_log *log, uint32_t segment, struct residue *of_slot, uint64_t *live_total)
{
    uint32_t first = segment * log->segment_blocks, live = 0;
    for (uint32_t mba = first; mba < first + log->segment_blocks; mba++) {
        uint64_t entry = log->ledger[mba];
        uint32_t slot = sq_entry_slot(entry);
        SQ_CHECK(log, sq_entry_state(entry) <= SQ_SUMMARY);
        SQ_CHECK(log, slot < log->slot_count && log->volumes[slot] != NULL);
        live += sq_entry_state(entry) == SQ_LIVE;
        of_slot[slot].dead_blocks += sq_entry_state(entry) == SQ_DEAD;
        of_slot[slot].moved_blocks += sq_entry_state(entry) == SQ_MOVED;
        int in_use = sq_entry_state(entry) == SQ_LIVE || sq_entry_state(entry) == SQ_SUMMARY;
        SQ_CHECK(log, !in_use || log->segments[segment].state != SQ_SEGMENT_FREE);
    }
    SQ_CHECK(log, live == log->segments[segment].live_blocks);
    *live_total += live;
    uint32_t written = log->segments[segment].state == SQ_SEGMENT_FREE   ? 0
                       : log->segments[segment].state == SQ_SEGMENT_OPEN ? log->open_blocks
                                                                         : log->segment_blocks;
    uint64_t pointer = 0;
    SQ_CHECK(log, sq_medium_write_pointer(log->medium, segment, &pointer) == SQ_OK);
    SQ_CHECK(log, pointer == first + (uint64_t)written);
    return SQ_OK;
}

/* LIVE entries are as many as mappings, which makes the two the same set; residue is counted right. */
static int check_ledger(sq_log *log, struct residue *of_slot)
{
    uint64_t live = 0, mapped = 0;
    for (uint32_t segment = 0; segment < log->segment_count; segment++)
        SQ_TRY(check_segment(log, segment, of_slot, &live));
    for (uint32_t slot = 0; slot < log->slot_count; slot++) {
        const struct sq_volume *volume = log->volumes[slot];
        if (volume == NULL)
            continue;
        SQ_CHECK(log, volume->slot == slot);
        SQ_TRY(check_map(log, volume));
        mapped += volume->map.mapped_blocks;
        SQ_CHECK(log, volume->dead_blocks == of_slot[slot].dead_blocks);
        SQ_CHECK(log, volume->moved_blocks == of_slot[slot].moved_blocks);
        SQ_CHECK(log, !volume->deleted || volume->dead_blocks + volume->moved_blocks > 0);
    }
    SQ_CHECK(log, live == mapped && live == log->stats.live_blocks);
    SQ_CHECK(log, live <= log->stats.usable_blocks);
    return SQ_OK;
}

static int check_ring(sq_log *log, const struct sq_ring *ring, uint32_t state)
{
    for (uint32_t i = 0; i < ring->count; i++) {
        uint32_t segment = ring->items[((uint64_t)ring->first + i) % ring->capacity];
        SQ_CHECK(log, segment < log->segment_count && log->segments[segment].state == state);
    }
    return SQ_OK;
}

/* The circular log: the head has been everywhere equally often. */
static int check_head(sq_log *log)
{
    const struct sq_record *record = &log->record;
    const struct sq_stats *stats = &log->stats;
    uint64_t open_blocks = log->open_blocks + (record->open ? 1 + (uint64_t)record->data_count : 0);
    uint64_t head = (uint64_t)log->open_segment * log->segment_blocks + open_blocks;
    SQ_CHECK(log, open_blocks <= log->segment_blocks);
    SQ_CHECK(log, stats->position % log->block_count == head % log->block_count);
    SQ_CHECK(log, stats->position == stats->user_blocks + stats->relocated_blocks + stats->summary_blocks);
    SQ_CHECK(log, log->free_ring.count + log->sealed_ring.count + 1 == log->segment_count);
    SQ_CHECK(log, log->segments[log->open_segment].state == SQ_SEGMENT_OPEN);
    SQ_TRY(check_ring(log, &log->free_ring, SQ_SEGMENT_FREE));
    return check_ring(log, &log->sealed_ring, SQ_SEGMENT_SEALED);
}

/* Nothing of a tenant's stays behind in the log's own memory. */
static int check_scratch(sq_log *log)
{
    for (size_t i = 0; i < 2 * (size_t)log->block_bytes; i++)
        SQ_CHECK(log, log->scratch[i] == 0);
    return SQ_OK;
}

int sq_log_check(sq_log *log)
{
    /* Alone: requests use the scratch. */
    SQ_TRY(sq_lock_alone(log));
    struct residue *of_slot = calloc(log->slot_count, sizeof *of_slot);
    int status = of_slot == NULL ? SQ_E_NO_MEMORY : check_ledger(log, of_slot);
    if (status == SQ_OK)
        status = check_head(log);
    if (status == SQ_OK)
        status = check_scratch(log);
    free(of_slot);
    sq_unlock(log);
    return status;
}
