/* segment.c: the ring of segments: one open, the others sealed or free.
 *
 * The head takes free segments in the order in which they were freed, the cleaner sealed ones in the order
 * in which they were sealed: a circle over the drive.
 *
 * Invariants: a segment is open, or in exactly one of the two rings; a free one has nothing live.
 * On media that outlive the process a free segment is not written again before the medium safely holds all
 * that made it free (durable.freed), nor while the newest checkpoint needs its records (durable.newest).
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

/* The segment may be written again, and lost writes cannot reach further than the window: the segment that
 * was opened so many before this one has something that is safe. */
static int make_safe(sq_log *log, uint32_t segment)
{
    struct sq_durability *durable = &log->durable;
    uint64_t *opened = &durable->window[durable->opened_segments % durable->window_segments];
    SQ_CHECK(log, durable->newest[segment] < durable->checkpoint || durable->checkpoint == 0);
    if (SQ_PLANTED(segment_reused_before_the_sync)) return sq_medium_restart(log->medium, segment);
    if (durable->freed[segment] > sq_flushed(log) ||
        (durable->opened_segments >= durable->window_segments && sq_flushed(log) <= *opened))
        SQ_TRY(sq_sync_now(log));
    SQ_TRY(sq_medium_restart(log->medium, segment));
    *opened = durable->written;
    durable->opened_segments++;
    return SQ_OK;
}

int sq_segment_next(sq_log *log)
{
    SQ_CHECK(log, !log->record.open && log->open_blocks == log->segment_blocks);
    /* Where an older checkpoint had to do, all that was freed since is still needed. */
    if (log->durable.on && log->free_ring.count == 0)
        return SQ_E_OUT_OF_SPACE;
    SQ_CHECK(log, log->free_ring.count > 0);
    if (log->durable.on)
        SQ_TRY(make_safe(log, log->free_ring.items[log->free_ring.first]));
    log->segments[log->open_segment].state = SQ_SEGMENT_SEALED;
    sq_ring_push(&log->sealed_ring, log->open_segment);
    log->open_segment = sq_ring_pop(&log->free_ring);
    if (SQ_PLANTED(segment_taken_twice)) sq_ring_push(&log->free_ring, log->open_segment);
    log->open_blocks = 0;
    log->segments[log->open_segment].state = SQ_SEGMENT_OPEN;
    return SQ_OK;
}
