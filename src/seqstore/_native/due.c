/* due.c: which segments have to be written over by when.
 *
 * Two heaps by the earliest due, of segments that hold data and of free ones, and counts of segments by
 * steps of due: if all segments that are due up to a time take a segment of writing each, is there time for
 * them? Nothing that is due later than in a lap can be short of time for its own sake, so the steps of a lap
 * are all that is looked at.
 *
 * Free segments and rests of heads take part in that where heads take free segments in the order of their
 * dues. Where they take them as they were freed, nothing gets in front of those any more.
 */
#include "due.h"

#include <stdlib.h>

#define STEPS_MOST (1u << 21)

/* ---- heaps ---------------------------------------------------------------------------------------- */

static struct sq_due_heap *heap_of(sq_log *log, uint32_t segment)
{
    return &log->dues.heaps[log->segments[segment].state == SQ_SEGMENT_FREE];
}

static void place(struct sq_dues *dues, struct sq_due_heap *heap, uint32_t at, uint32_t segment)
{
    heap->items[at] = segment;
    dues->ranks[segment] = at;
}

static void rise(struct sq_dues *dues, struct sq_due_heap *heap, uint32_t at, uint32_t segment)
{
    while (at > 0 && dues->due[heap->items[(at - 1) / 2]] > dues->due[segment]) {
        place(dues, heap, at, heap->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(dues, heap, at, segment);
}

static void sink(struct sq_dues *dues, struct sq_due_heap *heap, uint32_t at, uint32_t segment)
{
    for (uint32_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count &&
            dues->due[heap->items[child + 1]] < dues->due[heap->items[child]])
            child++;
        if (dues->due[heap->items[child]] >= dues->due[segment])
            break;
        place(dues, heap, at, heap->items[child]);
    }
    place(dues, heap, at, segment);
}

/* ---- steps ---------------------------------------------------------------------------------------- */

static uint32_t *step_of(struct sq_dues *dues, uint64_t due)
{
    return &dues->steps[due / dues->step_blocks % dues->step_count];
}

static int is_counted(const sq_log *log, int holds_data)
{
    return holds_data || !log->durable.on;
}

static void join(sq_log *log, uint32_t segment)
{
    struct sq_due_heap *heap = heap_of(log, segment);
    rise(&log->dues, heap, heap->count++, segment);
    if (is_counted(log, heap == &log->dues.heaps[0]))
        ++*step_of(&log->dues, log->dues.due[segment]);
}

static void leave(sq_log *log, struct sq_due_heap *heap, uint32_t segment)
{
    struct sq_dues *dues = &log->dues;
    uint32_t at = dues->ranks[segment], last = heap->items[--heap->count];
    if (is_counted(log, heap == &dues->heaps[0]))
        --*step_of(dues, dues->due[segment]);
    if (last == segment)
        return;
    if (dues->due[last] < dues->due[segment])
        rise(dues, heap, at, last);
    else
        sink(dues, heap, at, last);
}

void sq_due_sooner(sq_log *log, uint32_t segment, uint64_t due)
{
    struct sq_dues *dues = &log->dues;
    if (dues->due[segment] != SQ_NEVER)
        leave(log, heap_of(log, segment), segment);
    dues->due[segment] = due;
    join(log, segment);
}

static void set_rest(sq_log *log, uint32_t class, uint64_t due)
{
    struct sq_dues *dues = &log->dues;
    if (dues->rest[class] != SQ_NEVER && is_counted(log, 0))
        --*step_of(dues, dues->rest[class]);
    dues->rest[class] = due;
    if (due != SQ_NEVER && is_counted(log, 0))
        ++*step_of(dues, due);
}

void sq_due_now(sq_log *log, uint32_t segment)
{
    if (log->dues.due[segment] > log->stats.position)
        sq_due_sooner(log, segment, log->stats.position);
}

void sq_due_rest_now(sq_log *log, uint32_t class)
{
    if (log->dues.rest[class] > log->stats.position)
        set_rest(log, class, log->stats.position);
}

uint32_t sq_due_first(const sq_log *log, int is_free)
{
    const struct sq_due_heap *heap = &log->dues.heaps[is_free];
    return heap->count == 0 ? log->segment_count : heap->items[0];
}

/* ---- the life of a segment ------------------------------------------------------------------------ */

void sq_due_begin(sq_log *log, const struct sq_head *head)
{
    struct sq_dues *dues = &log->dues;
    if (dues->due == NULL)
        return;
    uint64_t due = dues->due[head->segment];
    set_rest(log, (uint32_t)(head - log->heads), due);
    if (due == SQ_NEVER)
        return;
    leave(log, &dues->heaps[1], head->segment);
    dues->due[head->segment] = SQ_NEVER;
}

void sq_due_full(sq_log *log, const struct sq_head *head)
{
    if (log->dues.due != NULL)
        set_rest(log, (uint32_t)(head - log->heads), SQ_NEVER);
}

/* Called while its state still says that it holds data. */
void sq_due_free(sq_log *log, uint32_t segment)
{
    struct sq_dues *dues = &log->dues;
    if (dues->due == NULL || dues->due[segment] == SQ_NEVER)
        return;
    leave(log, &dues->heaps[0], segment);
    rise(dues, &dues->heaps[1], dues->heaps[1].count++, segment);
    if (is_counted(log, 0))
        ++*step_of(dues, dues->due[segment]);
}

void sq_due_erased(sq_log *log, uint32_t segment)
{
    if (log->dues.due == NULL || log->dues.due[segment] == SQ_NEVER)
        return;
    leave(log, heap_of(log, segment), segment);
    log->dues.due[segment] = SQ_NEVER;
}

/* ---- is there time? ------------------------------------------------------------------------------- */

int sq_due_presses(const sq_log *log, uint64_t ahead)
{
    const struct sq_dues *dues = &log->dues;
    uint64_t first = SQ_NEVER, left = 0;
    if (dues->due == NULL)
        return 0;
    for (int is_free = 0; is_free < 1 + is_counted(log, 0); is_free++) {
        left += dues->heaps[is_free].count;
        if (dues->heaps[is_free].count > 0 && dues->due[dues->heaps[is_free].items[0]] < first)
            first = dues->due[dues->heaps[is_free].items[0]];
    }
    for (uint32_t class = 0; is_counted(log, 0) && class < log->class_count; class++) {
        left += dues->rest[class] != SQ_NEVER;
        first = dues->rest[class] < first ? dues->rest[class] : first;
    }
    uint64_t done = log->stats.position + ahead, step = first / dues->step_blocks;
    /* Behind that nothing can be late. */
    uint64_t end = (done + left * log->segment_blocks) / dues->step_blocks;
    for (; left > 0 && step <= end; step++) {
        uint32_t here = dues->steps[step % dues->step_count];
        left -= here < left ? here : left;
        done += (uint64_t)here * log->segment_blocks;
        if (here != 0 && done > step * dues->step_blocks)
            return 1;
    }
    return 0;
}

/* ---- bounds --------------------------------------------------------------------------------------- */

void sq_due_release(struct sq_dues *dues)
{
    free(dues->due);
    free(dues->ranks);
    free(dues->heaps[0].items);
    free(dues->heaps[1].items);
    free(dues->steps);
    *dues = (struct sq_dues){0};
}

static int allocate(sq_log *log, struct sq_dues *dues, uint64_t longest)
{
    uint32_t segments = log->segment_count;
    log->has_had_dues = 1;
    dues->step_blocks = sq_due_step(log);
    while (longest / dues->step_blocks + 2 > STEPS_MOST)
        dues->step_blocks *= 2;
    dues->step_count = (uint32_t)(longest / dues->step_blocks) + 2;
    dues->due = malloc(segments * sizeof *dues->due);
    dues->ranks = calloc(segments, sizeof *dues->ranks);
    dues->heaps[0].items = calloc(segments, sizeof *dues->heaps[0].items);
    dues->heaps[1].items = calloc(segments, sizeof *dues->heaps[1].items);
    dues->steps = calloc(dues->step_count, sizeof *dues->steps);
    if (dues->due == NULL || dues->ranks == NULL || dues->heaps[0].items == NULL ||
        dues->heaps[1].items == NULL || dues->steps == NULL) {
        sq_due_release(dues);
        return SQ_E_NO_MEMORY;
    }
    for (uint32_t segment = 0; segment < segments; segment++)
        dues->due[segment] = SQ_NEVER;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++)
        dues->rest[class] = SQ_NEVER;
    return SQ_OK;
}

int sq_due_begin_use(sq_log *log)
{
    return log->dues.due != NULL ? SQ_OK : allocate(log, &log->dues, 0);
}

/* What is still due, since something failed, stays due. */
void sq_due_end_use(sq_log *log)
{
    const struct sq_dues *dues = &log->dues;
    int is_idle = dues->longest == 0 && dues->heaps[0].count == 0 && dues->heaps[1].count == 0;
    for (uint32_t class = 0; class < log->class_count; class++)
        is_idle &= dues->rest[class] == SQ_NEVER;
    if (dues->due != NULL && is_idle)
        sq_due_release(&log->dues);
}

/* What lies in a segment, or in the part of it that its head has not come to yet. */
static uint64_t find_due(const sq_log *log, uint64_t mba, uint64_t end, uint64_t least)
{
    uint64_t due = SQ_NEVER, now = log->stats.position;
    for (; mba < end; mba++) {
        uint64_t entry = log->ledger[mba];
        unsigned state = sq_entry_state(entry);
        uint64_t bound = log->layers[sq_entry_slot(entry)]->bound;
        if ((state != SQ_DEAD && state != SQ_MOVED) || bound == SQ_NEVER)
            continue;
        uint64_t age = (now - sq_entry_value(entry)) & SQ_VALUE_MASK;
        uint64_t here = age + least < bound ? now - age + bound : now + least;
        due = here < due ? here : due;
    }
    return due;
}

static uint64_t longer(uint64_t longest, uint64_t bound)
{
    return bound != SQ_NEVER && bound > longest ? bound : longest;
}

/* The longest bound that there is, or was, for layers that there are or may be. */
static uint64_t find_longest(const sq_log *log)
{
    uint64_t longest = longer(log->dues.longest, log->bound);
    for (uint32_t i = 0; i < log->work_count; i++)
        longest = longer(longest, log->works[i]->bound);
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL)
            longest = longer(longest, log->layers[slot]->bound);
    return longest;
}

int sq_due_settle(sq_log *log, uint64_t least)
{
    struct sq_dues dues = {0};
    uint64_t longest = find_longest(log);
    if (longest == 0)
        return SQ_OK;
    SQ_TRY(allocate(log, &dues, longest));
    dues.longest = longest;
    struct sq_dues before = log->dues;
    log->dues = dues;
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        uint64_t first = (uint64_t)segment * log->segment_blocks, end = first + log->segment_blocks;
        uint64_t written = end;
        if (log->segments[segment].state == SQ_SEGMENT_OPEN) {
            const struct sq_head *head = &log->heads[log->segments[segment].class];
            /* Under a record that is still gathered lies what was there before. */
            written = first + (head->record.pending != NULL ? head->open_blocks : sq_head_blocks(log, head));
            uint64_t rest = find_due(log, written, end, least);
            if (before.due != NULL && before.rest[head - log->heads] < rest)
                rest = before.rest[head - log->heads];
            set_rest(log, (uint32_t)(head - log->heads), rest);
        }
        uint64_t due = find_due(log, first, written, least);
        if (before.due != NULL && before.due[segment] < due)
            due = before.due[segment];
        if (due != SQ_NEVER)
            sq_due_sooner(log, segment, due);
    }
    sq_due_release(&before);
    return SQ_OK;
}
