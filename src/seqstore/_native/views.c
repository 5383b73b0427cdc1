/* views.c: what a log tells of itself: statistics, work, histograms, bytes, segments.
 * Lock: the log's, shared. */
#include "layer.h"
#include "record.h"

int sq_log_stats(sq_log *log, struct sq_stats *stats_out)
{
    SQ_TRY(sq_lock_shared(log));
    *stats_out = log->stats;
    const struct sq_head *head = log->head->segment != SQ_NO_SEGMENT ? log->head : &log->heads[0];
    /* A head that has ended goes on where the next free segment is. */
    if (head->segment != SQ_NO_SEGMENT)
        stats_out->head_mba = (uint64_t)head->segment * log->segment_blocks + sq_head_blocks(log, head);
    else if (log->free_ring.count > 0)
        stats_out->head_mba = (uint64_t)log->free_ring.items[log->free_ring.first] * log->segment_blocks;
    if (stats_out->head_mba == log->block_count)
        stats_out->head_mba = 0;
    stats_out->map_bytes = log->leaves.used_bytes + log->leaves.directory_bytes;
    stats_out->last_sequence = log->durable.written;
    stats_out->last_number = log->last_number;
    stats_out->flushed_sequence = sq_flushed(log);
    stats_out->garbage_blocks = log->cleaner.garbage_blocks;
    stats_out->free_segments = log->free_ring.count;
    sq_unlock(log);
    return SQ_OK;
}

int sq_log_work(sq_log *log, uint64_t capacity, struct sq_work_entry *entries_out, uint64_t *count_out)
{
    SQ_TRY(sq_lock_shared(log));
    for (uint32_t i = 0; i < log->work_count && i < capacity; i++)
        entries_out[i] = (struct sq_work_entry){.tenant = log->works[i]->tenant,
                                                .user_blocks = log->works[i]->user_blocks,
                                                .relocated_blocks = log->works[i]->relocated_blocks};
    *count_out = log->work_count;
    sq_unlock(log);
    return SQ_OK;
}

int sq_log_histograms(sq_log *log, uint64_t *victims_out, uint64_t *latencies_out)
{
    SQ_TRY(sq_lock_shared(log));
    const struct sq_cleaner *cleaner = &log->cleaner;
    memcpy(victims_out, cleaner->victims, SQ_VICTIM_BINS * sizeof *victims_out);
    memset(latencies_out, 0, 2 * SQ_LATENCY_BINS * sizeof *latencies_out);
    if (cleaner->latencies != NULL)
        memcpy(latencies_out, cleaner->latencies, 2 * SQ_LATENCY_BINS * sizeof *latencies_out);
    sq_unlock(log);
    return SQ_OK;
}

int sq_log_raw(sq_log *log, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    SQ_TRY(sq_lock_shared(log));
    int status = sq_medium_read(log->medium, mba, count, data_out, NULL);
    sq_unlock(log);
    return status;
}

int sq_log_segments(sq_log *log, uint64_t first, uint64_t count, struct sq_segment_info *out)
{
    SQ_TRY(sq_lock_shared(log));
    int inside = first <= log->segment_count && count <= log->segment_count - first;
    for (uint64_t i = 0; inside && i < count; i++) {
        const struct sq_segment *segment = &log->segments[first + i];
        uint64_t written = segment->state == SQ_SEGMENT_FREE ? 0 : log->segment_blocks;
        if (segment->state == SQ_SEGMENT_OPEN)
            written = sq_head_blocks(log, &log->heads[segment->class]);
        out[i] = (struct sq_segment_info){
            .first_mba = (first + i) * log->segment_blocks,
            .live_blocks = segment->live_blocks,
            .write_pointer = written,
            .state = segment->state,
        };
    }
    sq_unlock(log);
    return inside ? SQ_OK : SQ_E_BOUNDS;
}
