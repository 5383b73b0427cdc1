/* sanitize.c: the pass that overwrites a whole medium, the only writer that ignores write pointers.
 *
 * Memory is written past the processor's caches, since nobody will read it soon. Everything else goes through
 * the medium's overwrite. See sweep.h.
 */
#include "sweep.h"

/* Blocks from the worker's copy of the fill; 0 or an errno. */
static int put(struct sq_worker *worker, uint64_t mba, uint64_t count, const uint8_t *data)
{
    sq_medium *medium = worker->sweep->medium;
    int os_error = 0;
    if (sq_medium_overwrite(medium, mba, count, data, &os_error) == SQ_OK)
        return 0;
    return os_error != 0 ? os_error : -1;
}

/* One block, as often as is asked for. */
static int put_stubborn(struct sq_worker *worker, uint64_t mba, const uint8_t *data)
{
    int os_error = put(worker, mba, 1, data);
    for (uint64_t i = 0; i < worker->sweep->options.retries && os_error != 0; i++) {
        worker->report.retries++;
        os_error = put(worker, mba, 1, data);
    }
    return os_error;
}

/* A piece that could not be written as a whole: up to its first bad block. */
static void put_up_to_bad(struct sq_worker *worker, struct sq_piece piece)
{
    uint32_t block_bytes = sq_sweep_block_bytes(worker->sweep);
    for (uint64_t i = 0; i < piece.count; i++) {
        int os_error = put_stubborn(worker, piece.first + i, worker->expected + i * block_bytes);
        if (os_error != 0) {
            sq_sweep_note(worker, piece.first + i, piece.count - i, os_error);
            worker->report.failed_blocks += piece.count - i;
            sq_sweep_count_failure(worker, i == 0);
            return;
        }
        worker->report.done_blocks++;
    }
    sq_sweep_count_failure(worker, 0);
}

static int write_outside(struct sq_worker *worker, struct sq_piece piece)
{
    int status = sq_sweep_expect(worker, piece);
    if (status != SQ_OK)
        return status;
    if (put(worker, piece.first, piece.count, worker->expected) != 0) {
        worker->report.retries++;
        put_up_to_bad(worker, piece);
        return SQ_OK;
    }
    worker->report.done_blocks += piece.count;
    sq_sweep_count_failure(worker, 0);
    return SQ_OK;
}

static int is_zero(const sq_fill *fill)
{
    return fill->crypto == NULL && fill->pattern_bytes == 1 && fill->pattern[0] == 0;
}

/* Of an even fill the first block of the worker's copy does for all, and stays in the innermost cache. */
static int write_memory(struct sq_worker *worker, struct sq_piece piece)
{
    const sq_sweep *sweep = worker->sweep;
    uint32_t block_bytes = sq_sweep_block_bytes(sweep);
    uint8_t *to = sq_sweep_memory(sweep, piece.first);
    worker->report.done_blocks += piece.count;
    if (is_zero(sweep->fill)) {
        sweep->kernels->zero(to, piece.count * block_bytes);
        return SQ_OK;
    }
    if (!sweep->is_even)
        return sq_fill_make(sweep->fill, worker->context, piece.first * block_bytes,
                            piece.count * block_bytes, to);
    int status = sq_sweep_expect(worker, piece);
    for (uint64_t i = 0; i < piece.count && status == SQ_OK; i++)
        sweep->kernels->copy(to + i * block_bytes, worker->expected, block_bytes, NULL);
    return status;
}

int sq_sweep_write(sq_sweep *sweep, const struct sq_span *spans, uint64_t span_count,
                   const struct sq_sweep_options *options, uint64_t capacity,
                   struct sq_sweep_find *finds_out, struct sq_sweep_report *report_out)
{
    if (sweep->medium->ops != NULL && sweep->medium->ops->overwrite == NULL)
        return SQ_E_INVALID;
    sq_sweep_work work = sweep->medium->payload != NULL ? write_memory : write_outside;
    return sq_sweep_run(sweep, work, spans, span_count, options, capacity, finds_out, report_out);
}

/* ---- from the far end ------------------------------------------------------------------------- */

/* The block before the last find that failed alike makes it longer. */
static void note_before(struct sq_sweep_find *finds, struct sq_sweep_report *report, uint64_t mba,
                        int os_error)
{
    struct sq_sweep_find *last = report->find_count > 0 ? &finds[report->find_count - 1] : NULL;
    if (last != NULL && last->first == mba + 1 && last->os_error == (uint64_t)os_error) {
        last->first = mba;
        last->count++;
    } else {
        finds[report->find_count++] =
            (struct sq_sweep_find){.first = mba, .count = 1, .os_error = (uint64_t)os_error};
    }
}

int sq_sweep_write_back(sq_sweep *sweep, const struct sq_span *span, const struct sq_sweep_options *options,
                        uint64_t capacity, struct sq_sweep_find *finds_out,
                        struct sq_sweep_report *report_out)
{
    uint64_t blocks = sweep->medium->geometry.block_count, failures = 0;
    if (span->first > blocks || span->count > blocks - span->first)
        return SQ_E_BOUNDS;
    struct sq_worker *worker = &sweep->each[0];
    struct sq_sweep_report report = {0};
    worker->report = (struct sq_sweep_report){0};
    sweep->options = *options;
    int status = SQ_OK;
    for (; report.next_block < span->count && report.find_count < capacity && !report.is_dead;
         report.next_block++) {
        uint64_t mba = span->first + span->count - 1 - report.next_block;
        status = sq_sweep_expect(worker, (struct sq_piece){mba, 1});
        if (status != SQ_OK)
            break;
        int os_error = put_stubborn(worker, mba, worker->expected);
        failures = os_error != 0 ? failures + 1 : 0;
        if (os_error != 0) {
            note_before(finds_out, &report, mba, os_error);
            report.failed_blocks++;
            report.is_dead = options->failures_in_row != 0
                             && failures >= options->failures_in_row * sweep->piece_blocks;
        } else {
            report.done_blocks++;
        }
    }
    report.retries = worker->report.retries;
    report.next_span = report.next_block == span->count ? 1 : 0;
    *report_out = report;
    return status;
}
