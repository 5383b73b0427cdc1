/* candidates.c: the segments that may be cleaned, kept in the order that the selection needs, and what the
 * cleaner notes in the life of a segment. Invariants: cleaner.h.
 */
#include <stdlib.h>

#include "due.h"
#include "place.h"
#include "select.h"

static int keeps_candidates(uint32_t selection)
{
    return selection != SQ_SELECT_FIFO;
}

static int is_sorted(uint32_t selection)
{
    return selection == SQ_SELECT_GREEDY || selection == SQ_SELECT_WINDOWED_GREEDY;
}

int sq_cleaner_init(sq_log *log, const struct sq_log_options *options)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t segments = log->segment_count;
    cleaner->selection = options->selection;
    cleaner->choices = options->choices == 0 ? 10 : options->choices;
    cleaner->window_ppm = options->window_ppm == 0 ? 900000 : options->window_ppm;
    cleaner->garbage_ppm = options->garbage_ppm;
    cleaner->random = options->seed;
    cleaner->youngest = segments;
    cleaner->sealed_at = calloc(segments, sizeof *cleaner->sealed_at);
    cleaner->opened_at = calloc(segments, sizeof *cleaner->opened_at);
    cleaner->victims = calloc(SQ_VICTIM_BINS, sizeof *cleaner->victims);
    if (cleaner->sealed_at == NULL || cleaner->opened_at == NULL || cleaner->victims == NULL)
        return SQ_E_NO_MEMORY;
    if (options->note_latencies &&
        (cleaner->latencies = calloc(2 * SQ_LATENCY_BINS, sizeof *cleaner->latencies)) == NULL)
        return SQ_E_NO_MEMORY;
    cleaner->latency_scale =
        (uint64_t)(((unsigned __int128)SQ_LATENCY_BINS_A_LAP << 56) / log->block_count) + 1;
    cleaner->calls = options->calls;
    cleaner->context = options->context;
    if (keeps_candidates(cleaner->selection)) {
        /* Twice, since sorted candidates move on through the array. */
        cleaner->candidates = calloc(2 * (size_t)segments, sizeof *cleaner->candidates);
        cleaner->pool = calloc(SQ_POOL, sizeof *cleaner->pool);
        if (cleaner->candidates == NULL || cleaner->pool == NULL)
            return SQ_E_NO_MEMORY;
    }
    if (is_sorted(cleaner->selection)) {
        cleaner->starts = calloc((size_t)log->segment_blocks + 2, sizeof *cleaner->starts);
        if (cleaner->starts == NULL)
            return SQ_E_NO_MEMORY;
    }
    return sq_select_init(log);
}

void sq_cleaner_free(struct sq_cleaner *cleaner)
{
    free(cleaner->candidates);
    free(cleaner->starts);
    free(cleaner->gains);
    free(cleaner->pool);
    free(cleaner->sealed_at);
    free(cleaner->opened_at);
    free(cleaner->victims);
    free(cleaner->latencies);
    free(cleaner->multilog);
    free(cleaner->victim_classes);
    *cleaner = (struct sq_cleaner){0};
}

static void set_candidate(sq_log *log, uint32_t rank, uint32_t segment)
{
    log->cleaner.candidates[rank] = segment;
    log->segments[segment].rank = rank;
}

/* Sorted candidates leave at the front and come in at the back: back to the start of the array. */
static void rewind_candidates(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t first = cleaner->starts[0];
    for (uint32_t rank = first; rank < cleaner->candidate_end; rank++)
        set_candidate(log, rank - first, cleaner->candidates[rank]);
    for (uint32_t live = 0; live < log->segment_blocks + 2; live++)
        cleaner->starts[live] -= first;
    cleaner->candidate_end -= first;
}

static void add_candidate(sq_log *log, uint32_t segment)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    if (cleaner->starts == NULL) {
        set_candidate(log, cleaner->candidate_end++, segment);
        return;
    }
    if (cleaner->candidate_end == 2 * log->segment_count)
        rewind_candidates(log);
    uint32_t place = cleaner->candidate_end++;
    /* Of all that have more live blocks the first becomes the last. */
    for (uint32_t live = log->segment_blocks + 1; live > log->segments[segment].live_blocks; live--) {
        uint32_t first = cleaner->starts[live]++;
        if (first != place)
            set_candidate(log, place, cleaner->candidates[first]);
        place = first;
    }
    set_candidate(log, place, segment);
}

static void remove_candidate(sq_log *log, uint32_t segment)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t rank = log->segments[segment].rank, live = log->segments[segment].live_blocks;
    log->segments[segment].rank = SQ_NO_RANK;
    if (rank >= SQ_TAKEN)
        return;
    if (cleaner->starts == NULL) {
        uint32_t last = cleaner->candidates[--cleaner->candidate_end];
        if (last != segment)
            set_candidate(log, rank, last);
        return;
    }
    /* Of all that have as many live blocks, or fewer, the first takes the place that has become free. */
    for (uint32_t n = live + 1; n-- > 0;) {
        uint32_t first = cleaner->starts[n]++;
        if (first != rank)
            set_candidate(log, rank, cleaner->candidates[first]);
        rank = first;
    }
}

/* ---- the life of a segment ------------------------------------------------------------------- */

void sq_segment_begin(sq_log *log, const struct sq_head *head)
{
    struct sq_segment *segment = &log->segments[head->segment];
    segment->state = SQ_SEGMENT_OPEN;
    segment->class = (uint16_t)(head - log->heads);
    segment->rank = SQ_NO_RANK;
    segment->data_blocks = 0;
    log->cleaner.opened_at[head->segment] = head->since;
    sq_sealing_begin(log, head->segment);
    sq_due_begin(log, head);
}

void sq_segment_seal(sq_log *log, uint32_t index)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    struct sq_segment *segment = &log->segments[index];
    segment->state = SQ_SEGMENT_SEALED;
    segment->rank = SQ_NO_RANK;
    cleaner->sealed_at[index] = log->stats.user_blocks;
    cleaner->garbage_blocks += segment->data_blocks - segment->live_blocks;
    sq_list_append(&log->sealed, log->segment_count, index);
    if (cleaner->candidates != NULL && cleaner->selection != SQ_SELECT_WINDOWED_GREEDY)
        add_candidate(log, index);
}

void sq_cleaner_settle(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t segment = sq_list_first(&log->sealed, log->segment_count);
    for (; segment != log->segment_count; segment = log->sealed.next[segment]) {
        log->segments[segment].rank = SQ_NO_RANK;
        cleaner->garbage_blocks += log->segments[segment].data_blocks - log->segments[segment].live_blocks;
        if (cleaner->candidates != NULL && cleaner->selection != SQ_SELECT_WINDOWED_GREEDY)
            add_candidate(log, segment);
    }
    for (uint32_t i = 0; i < log->segment_count; i++)
        cleaner->data_blocks += log->segments[i].data_blocks;
}

static void leave_window(sq_log *log, uint32_t index)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    if (log->segments[index].rank == SQ_NO_RANK)
        return;
    cleaner->window_count--;
    if (cleaner->youngest == index)
        cleaner->youngest = log->sealed.previous[index];
}

/* What it loses from now on moves no candidate; it keeps its place in the list and in the window. */
void sq_segment_take(sq_log *log, uint32_t index)
{
    const struct sq_segment *segment = &log->segments[index];
    uint64_t data = segment->data_blocks == 0 ? 1 : segment->data_blocks;
    log->cleaner.victims[segment->live_blocks * (uint64_t)(SQ_VICTIM_BINS - 1) / data]++;
    sq_place_collect(log, index);
    if (segment->rank == SQ_NO_RANK)
        return;
    remove_candidate(log, index);
    log->segments[index].rank = SQ_TAKEN;
}

void sq_segment_give_back(sq_log *log, uint32_t index)
{
    if (log->segments[index].rank == SQ_TAKEN)
        add_candidate(log, index);
}

void sq_segment_free(sq_log *log, uint32_t index)
{
    struct sq_segment *segment = &log->segments[index];
    if (log->cleaner.selection == SQ_SELECT_WINDOWED_GREEDY)
        leave_window(log, index);
    if (log->cleaner.candidates != NULL)
        remove_candidate(log, index);
    sq_list_remove(&log->sealed, index);
    sq_due_free(log, index);
    log->cleaner.garbage_blocks -= segment->data_blocks;
    log->cleaner.data_blocks -= segment->data_blocks;
    segment->data_blocks = 0;
    segment->state = SQ_SEGMENT_FREE;
}

/* The window goes on over segments that have become old enough. */
void sq_window_move(sq_log *log)
{
    struct sq_cleaner *cleaner = &log->cleaner;
    uint64_t most = ((uint64_t)log->sealed.count * cleaner->window_ppm + 999999) / 1000000;
    while (cleaner->window_count < most) {
        uint32_t next = log->sealed.next[cleaner->youngest];
        if (next == log->segment_count)
            return;
        cleaner->youngest = next;
        cleaner->window_count++;
        add_candidate(log, next);
    }
}
