/* select.h: what each death of a block tells the cleaner; inline, since it is on every write's path. */
#ifndef SEQSTORE_SELECT_H
#define SEQSTORE_SELECT_H

#include "internal.h"

/* One live block less: the candidate changes places with the first that has as many as it had, which makes
 * it the last of those that have one less. */
static inline void sq_candidate_demote(struct sq_cleaner *cleaner, struct sq_segment *segments,
                                       uint32_t segment, uint32_t live_before)
{
    uint32_t from = segments[segment].rank, to = cleaner->starts[live_before]++;
    uint32_t other = cleaner->candidates[to];
    cleaner->candidates[to] = segment;
    cleaner->candidates[from] = other;
    segments[other].rank = from;
    segments[segment].rank = to;
}

/* A live block of the segment has died. */
static inline void sq_segment_loses(sq_log *log, uint32_t index)
{
    struct sq_segment *segment = &log->segments[index];
    uint32_t live = segment->live_blocks--;
    if (segment->state != SQ_SEGMENT_SEALED)
        return;
    log->cleaner.garbage_blocks++;
    if (log->cleaner.starts != NULL && segment->rank < SQ_TAKEN)
        sq_candidate_demote(&log->cleaner, log->segments, index, live);
}

/* The block of that entry is being written over: how long was it dead? What the cleaner left behind, while
 * its data lived on, is counted apart. */
static inline void sq_note_latency(sq_log *log, uint64_t entry, uint64_t position)
{
    uint64_t age = (position - sq_entry_value(entry)) & SQ_VALUE_MASK;
    if (age > log->stats.longest_latency)
        log->stats.longest_latency = age;
    uint64_t bin = (uint64_t)(((unsigned __int128)age * log->cleaner.latency_scale) >> 56);
    uint64_t *bins = log->cleaner.latencies + (sq_entry_state(entry) == SQ_MOVED ? SQ_LATENCY_BINS : 0);
    bins[bin < SQ_LATENCY_BINS ? bin : SQ_LATENCY_BINS - 1]++;
}

/* candidates.c: the window of windowed greedy goes on over segments that have become old enough. */
void sq_window_move(sq_log *log);

#endif
