/* segment.c: the life of segments: free, open, sealed.
 *
 * A head takes free segments in the order in which they were freed. The circular log, with one head and the
 * cleaner taking sealed ones in the order in which they were sealed, goes round the drive.
 *
 * Invariants: a segment is some head's, or free, or sealed; a free one has nothing live.
 * On media that outlive the process a free segment is not written again before the medium safely holds all
 * that made it free (durable.freed), nor while the newest checkpoint needs its records (durable.newest).
 */
#include "due.h"
#include "recorder.h"

#include <stdlib.h>

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

/* Whatever its place, the item comes out next. */
static void bring_forward(struct sq_ring *ring, uint32_t item)
{
    uint32_t at = ring->first;
    while (ring->items[at] != item)
        at = at + 1 == ring->capacity ? 0 : at + 1;
    while (at != ring->first) {
        uint32_t before = at == 0 ? ring->capacity - 1 : at - 1;
        ring->items[at] = ring->items[before];
        at = before;
    }
    ring->items[at] = item;
}

int sq_list_init(struct sq_list *list, uint32_t capacity)
{
    list->next = calloc((size_t)capacity + 1, sizeof *list->next);
    list->previous = calloc((size_t)capacity + 1, sizeof *list->previous);
    if (list->next == NULL || list->previous == NULL)
        return SQ_E_NO_MEMORY;
    list->next[capacity] = list->previous[capacity] = capacity;
    list->count = 0;
    return SQ_OK;
}

void sq_list_free(struct sq_list *list)
{
    free(list->next);
    free(list->previous);
    *list = (struct sq_list){0};
}

void sq_list_append(struct sq_list *list, uint32_t capacity, uint32_t segment)
{
    uint32_t last = list->previous[capacity];
    list->next[last] = segment;
    list->previous[segment] = last;
    list->next[segment] = capacity;
    list->previous[capacity] = segment;
    list->count++;
}

void sq_list_remove(struct sq_list *list, uint32_t segment)
{
    list->next[list->previous[segment]] = list->next[segment];
    list->previous[list->next[segment]] = list->previous[segment];
    list->count--;
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

void sq_head_seal(sq_log *log, struct sq_head *head)
{
    if (head->segment == SQ_NO_SEGMENT)
        return;
    if (log->recorder != NULL)
        sq_recorder_seal(log, head);
    sq_due_full(log, head);
    sq_segment_seal(log, head->segment);
    head->segment = SQ_NO_SEGMENT;
    head->since = log->stats.user_blocks;
}

int sq_segment_next(sq_log *log)
{
    struct sq_head *head = log->head;
    SQ_CHECK(log, !head->record.open && head->open_blocks == log->segment_blocks);
    /* Where an older checkpoint had to do, all that was freed since is still needed. */
    if (log->durable.on && log->free_ring.count == 0)
        return SQ_E_OUT_OF_SPACE;
    SQ_CHECK(log, log->free_ring.count > 0);
    uint32_t due = sq_due_first(log, 1);
    /* Recovery knows no other order than that in which segments were freed. */
    if (!log->durable.on && due != log->segment_count)
        bring_forward(&log->free_ring, due);
    if (log->durable.on)
        SQ_TRY(make_safe(log, log->free_ring.items[log->free_ring.first]));
    sq_head_seal(log, head);
    head->segment = sq_ring_pop(&log->free_ring);
    if (SQ_PLANTED(segment_taken_twice)) sq_ring_push(&log->free_ring, head->segment);
    head->open_blocks = 0;
    sq_segment_begin(log, head);
    return SQ_OK;
}
