/* segment.c: the ring of segments: one open, the others sealed or free.
 *
 * The head takes free segments in the order in which they were freed, the cleaner sealed ones in the order
 * in which they were sealed: a circle over the drive. One free segment is kept for the cleaner, which
 * needs at most that one: what is live in a segment fits into an empty one.
 *
 * Invariants: a segment is open, or in exactly one of the two rings; a free one has nothing live.
 */
#include "internal.h"

void sq_ring_push(struct sq_ring *ring, uint32_t item)
{
    uint32_t at = ring->first + ring->count;
    ring->items[at < ring->capacity ? at : at - ring->capacity] = item;
    ring->count++;
}

uint32_t sq_ring_pop(struct sq_ring *ring)
{
    uint32_t item = ring->items[ring->first];
    ring->first = ring->first + 1 == ring->capacity ? 0 : ring->first + 1;
    ring->count--;
    return item;
}

int sq_segment_next(sq_log *log)
{
    SQ_CHECK(log, !log->record.open && log->open_blocks == log->segment_blocks);
    SQ_CHECK(log, log->free_ring.count > 0);
    log->segments[log->open_segment].state = SQ_SEGMENT_SEALED;
    sq_ring_push(&log->sealed_ring, log->open_segment);
    log->open_segment = sq_ring_pop(&log->free_ring);
    log->open_blocks = 0;
    log->segments[log->open_segment].state = SQ_SEGMENT_OPEN;
    return SQ_OK;
}

int sq_segment_make_room(sq_log *log, int only_entry)
{
    /* Each turn seals a record or cleans a segment; live blocks leave a whole segment free, so a lap of
     * cleaning finds room. */
    for (uint64_t turn = 0; turn < 4 * (uint64_t)log->segment_count + 4; turn++) {
        if (only_entry ? log->record.open && log->record.entry_count < log->record_entries
                       : sq_record_room(log) > 0)
            return SQ_OK;
        SQ_TRY(sq_record_close(log));
        if (log->open_blocks < log->segment_blocks)
            SQ_TRY(sq_record_open(log));
        else if (log->free_ring.count > 1)
            SQ_TRY(sq_segment_next(log));
        else
            SQ_TRY(sq_clean_oldest(log));
    }
    SQ_CHECK(log, !"room after a lap of cleaning");
    return SQ_OK;
}
