/* sweep.c: threads that go over a medium: their buffers, who takes which piece, and what they find.
 *
 * A medium made of functions is gone over by the caller's thread alone, which is where the exceptions of such
 * a medium are looked for. See sweep.h.
 */
#include "sweep.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "pages.h"

#define ALIGNMENT 4096u
#define PIECE_BYTES ((uint64_t)1 << 20)
#define FILE_WORKERS 4u /* a drive is given so much to do at once, whatever the processors */
#define LEAST_FINDS 1024u

static uint32_t automatic_workers(const sq_medium *medium)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (medium->kind == SQ_MEDIUM_FILE)
        return FILE_WORKERS;
    if (medium->kind != SQ_MEDIUM_MEMORY || processors < 1)
        return 1;
    return processors < SQ_SWEEP_WORKERS ? (uint32_t)processors : SQ_SWEEP_WORKERS;
}

/* Two buffers a worker: what should lie there, and what does where it has to be read. */
static int make_buffers(sq_sweep *sweep)
{
    uint64_t piece_bytes = sweep->piece_blocks * sq_sweep_block_bytes(sweep);
    uint32_t of_each = sweep->medium->payload == NULL ? 2 : 1;
    sweep->buffers_bytes = piece_bytes * of_each * sweep->workers;
    sweep->buffers = sq_pages_map(sweep->buffers_bytes, ALIGNMENT, 0);
    if (sweep->buffers == NULL)
        return SQ_E_NO_MEMORY;
    int status = SQ_OK;
    for (uint32_t i = 0; i < sweep->workers && status == SQ_OK; i++) {
        struct sq_worker *worker = &sweep->each[i];
        worker->sweep = sweep;
        worker->expected = sweep->buffers + piece_bytes * of_each * i;
        worker->found = of_each == 2 ? worker->expected + piece_bytes : NULL;
        status = sq_fill_context(sweep->fill, &worker->context);
    }
    return status;
}

int sq_sweep_create(sq_medium *medium, const sq_fill *fill, uint64_t piece_blocks, uint64_t workers,
                    sq_sweep **sweep_out)
{
    if (medium->kind == SQ_MEDIUM_TAGS)
        return SQ_E_NO_PAYLOAD;
    uint32_t block_bytes = medium->geometry.block_bytes;
    if (piece_blocks > ((uint64_t)1 << 30) / block_bytes || workers > SQ_SWEEP_WORKERS)
        return SQ_E_INVALID;
    int status = sq_medium_adopt(medium);
    if (status != SQ_OK)
        return status;
    struct sq_sweep *sweep = calloc(1, sizeof *sweep);
    if (sweep == NULL) {
        sq_medium_release(medium);
        return SQ_E_NO_MEMORY;
    }
    pthread_mutex_init(&sweep->lock, NULL);
    sweep->medium = medium;
    sweep->fill = fill;
    sweep->crypto = fill->crypto != NULL ? sq_crypto_hold(fill->crypto) : NULL;
    sweep->kernels = sq_kernels_at(0);
    sweep->is_even = sq_fill_is_even(fill, block_bytes);
    sweep->piece_blocks = piece_blocks != 0 ? piece_blocks : PIECE_BYTES / block_bytes;
    sweep->workers = workers != 0 ? (uint32_t)workers : automatic_workers(medium);
    if (medium->kind == SQ_MEDIUM_CALLS)
        sweep->workers = 1;
    status = make_buffers(sweep);
    if (status != SQ_OK) {
        sq_sweep_destroy(sweep);
        return status;
    }
    *sweep_out = sweep;
    return SQ_OK;
}

void sq_sweep_destroy(sq_sweep *sweep)
{
    if (sweep == NULL)
        return;
    for (uint32_t i = 0; i < sweep->workers; i++)
        if (sweep->each[i].context != NULL)
            sweep->crypto->context_free(sweep->each[i].context);
    sq_crypto_close(sweep->crypto);
    /* The kernel wipes pages before anybody else sees them: what was read from the drive is gone. */
    sq_pages_unmap(sweep->buffers, sweep->buffers_bytes);
    sq_medium_release(sweep->medium);
    pthread_mutex_destroy(&sweep->lock);
    free(sweep);
}

uint64_t sq_sweep_least_finds(const sq_sweep *sweep)
{
    return 2 * sweep->workers * sweep->piece_blocks + LEAST_FINDS;
}

int sq_sweep_expect(struct sq_worker *worker, struct sq_piece piece)
{
    const sq_sweep *sweep = worker->sweep;
    uint32_t block_bytes = sq_sweep_block_bytes(sweep);
    uint64_t offset = piece.first * block_bytes, bytes = piece.count * block_bytes;
    if (sweep->is_even) {
        if (worker->filled != 0)
            return SQ_OK;
        offset = 0;
        bytes = sweep->piece_blocks * block_bytes;
    }
    worker->filled = offset + 1;
    return sq_fill_make(sweep->fill, worker->context, offset, bytes, worker->expected);
}

/* ---- pieces and finds ------------------------------------------------------------------------- */

/* The next piece, unless there is none, or no room for what all workers may find in theirs. */
static int take(sq_sweep *sweep, struct sq_piece *piece_out)
{
    int is_there = 0;
    pthread_mutex_lock(&sweep->lock);
    uint64_t reserved = sweep->workers * sweep->piece_blocks;
    if (!sweep->is_stopped && sweep->capacity - sweep->find_count > reserved
        && sweep->next_span < sweep->span_count) {
        const struct sq_span *span = &sweep->spans[sweep->next_span];
        uint64_t left = span->count - sweep->next_block;
        piece_out->first = span->first + sweep->next_block;
        piece_out->count = left < sweep->piece_blocks ? left : sweep->piece_blocks;
        sweep->next_block += piece_out->count;
        if (sweep->next_block == span->count) {
            sweep->next_span++;
            sweep->next_block = 0;
        }
        is_there = 1;
    }
    pthread_mutex_unlock(&sweep->lock);
    return is_there;
}

void sq_sweep_note(struct sq_worker *worker, uint64_t first, uint64_t count, int os_error)
{
    sq_sweep *sweep = worker->sweep;
    pthread_mutex_lock(&sweep->lock);
    sweep->finds[sweep->find_count++] =
        (struct sq_sweep_find){.first = first, .count = count, .os_error = (uint64_t)os_error};
    if (os_error == 0 && sweep->options.stop_at_first)
        sweep->is_stopped = 1;
    pthread_mutex_unlock(&sweep->lock);
}

void sq_sweep_count_failure(struct sq_worker *worker, int has_failed)
{
    sq_sweep *sweep = worker->sweep;
    pthread_mutex_lock(&sweep->lock);
    sweep->failures = has_failed ? sweep->failures + 1 : 0;
    if (has_failed && sweep->options.failures_in_row != 0
        && sweep->failures >= sweep->options.failures_in_row)
        sweep->is_stopped = sweep->is_dead = 1;
    pthread_mutex_unlock(&sweep->lock);
}

/* ---- workers ---------------------------------------------------------------------------------- */

static void *work_on(void *context)
{
    struct sq_worker *worker = context;
    sq_sweep *sweep = worker->sweep;
    struct sq_piece piece;
    while (take(sweep, &piece)) {
        int status = sweep->work(worker, piece);
        if (status != SQ_OK) {
            pthread_mutex_lock(&sweep->lock);
            sweep->status = sweep->status == SQ_OK ? status : sweep->status;
            sweep->is_stopped = 1;
            pthread_mutex_unlock(&sweep->lock);
        }
    }
    sweep->kernels->fence();
    return NULL;
}

/* Others begin; where the system refuses one, the rest do its share. Signals are the program's own: none of
 * its handlers runs on our threads. */
static uint32_t start(sq_sweep *sweep, pthread_t *threads)
{
    sigset_t all, before;
    uint32_t count = 0;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return 0;
    while (count + 1 < sweep->workers
           && pthread_create(&threads[count], NULL, work_on, &sweep->each[count + 1]) == 0)
        count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return count;
}

static void sum_up(const sq_sweep *sweep, struct sq_sweep_report *report_out)
{
    struct sq_sweep_report sum = {.find_count = sweep->find_count, .next_span = sweep->next_span,
                                  .next_block = sweep->next_block, .is_dead = (uint64_t)sweep->is_dead};
    for (uint32_t i = 0; i < sweep->workers; i++) {
        const struct sq_sweep_report *part = &sweep->each[i].report;
        sum.done_blocks += part->done_blocks;
        sum.failed_blocks += part->failed_blocks;
        sum.other_blocks += part->other_blocks;
        sum.retries += part->retries;
    }
    *report_out = sum;
}

static int spans_fit(const sq_sweep *sweep, const struct sq_span *spans, uint64_t span_count)
{
    uint64_t blocks = sweep->medium->geometry.block_count;
    for (uint64_t i = 0; i < span_count; i++)
        if (spans[i].count == 0 || spans[i].first > blocks || spans[i].count > blocks - spans[i].first)
            return 0;
    return 1;
}

int sq_sweep_run(sq_sweep *sweep, sq_sweep_work work, const struct sq_span *spans, uint64_t span_count,
                 const struct sq_sweep_options *options, uint64_t capacity, struct sq_sweep_find *finds_out,
                 struct sq_sweep_report *report_out)
{
    if (!spans_fit(sweep, spans, span_count))
        return SQ_E_BOUNDS;
    if (capacity < sq_sweep_least_finds(sweep))
        return SQ_E_INVALID;
    sweep->work = work;
    sweep->spans = spans;
    sweep->span_count = span_count;
    sweep->options = *options;
    sweep->capacity = capacity;
    sweep->finds = finds_out;
    sweep->find_count = sweep->next_span = sweep->next_block = sweep->failures = 0;
    sweep->status = SQ_OK;
    sweep->is_stopped = sweep->is_dead = 0;
    for (uint32_t i = 0; i < sweep->workers; i++)
        sweep->each[i].report = (struct sq_sweep_report){0};
    pthread_t threads[SQ_SWEEP_WORKERS];
    uint32_t count = start(sweep, threads);
    work_on(&sweep->each[0]);
    while (count > 0)
        pthread_join(threads[--count], NULL);
    sum_up(sweep, report_out);
    return sweep->status;
}

int sq_sweep_sync(sq_sweep *sweep, int *os_error_out)
{
    return sq_medium_sync(sweep->medium, os_error_out);
}

void sq_sweep_rewind(sq_sweep *sweep)
{
    const struct sq_geometry *geometry = &sweep->medium->geometry;
    for (uint64_t zone = 0; zone < geometry->block_count / geometry->zone_blocks; zone++)
        sq_medium_place(sweep->medium, (uint32_t)zone, 0);
}
