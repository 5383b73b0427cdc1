/* verify.c: reads a medium and compares it with what should lie there; and what the system's cache holds.
 *
 * Memory is compared where it lies. Everything else is read into a worker's buffer first, by whatever way the
 * medium reaches its bytes: that it leads past caches is for whoever made the medium to see to. See sweep.h.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sweep.h"

#define LOOK_BYTES ((uint64_t)1 << 26) /* of a file, at once */

/* ---- comparing -------------------------------------------------------------------------------- */

static const uint8_t *expected_at(const struct sq_worker *worker, uint64_t index)
{
    const sq_sweep *sweep = worker->sweep;
    return worker->expected + (sweep->is_even ? 0 : index * sq_sweep_block_bytes(sweep));
}

/* Notes runs of blocks that hold something else. */
static void compare(struct sq_worker *worker, struct sq_piece piece, const uint8_t *found)
{
    uint32_t block_bytes = sq_sweep_block_bytes(worker->sweep);
    uint64_t run = 0;
    for (uint64_t i = 0; i <= piece.count; i++) {
        int differs = i < piece.count
                      && memcmp(found + i * block_bytes, expected_at(worker, i), block_bytes) != 0;
        if (differs) {
            run++;
        } else if (run > 0) {
            sq_sweep_note(worker, piece.first + i - run, run, 0);
            worker->report.other_blocks += run;
            run = 0;
        }
    }
    worker->report.done_blocks += piece.count;
}

static int compare_memory(struct sq_worker *worker, struct sq_piece piece)
{
    int status = sq_sweep_expect(worker, piece);
    if (status == SQ_OK)
        compare(worker, piece, sq_sweep_memory(worker->sweep, piece.first));
    return status;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int get(struct sq_worker *worker, uint64_t mba, uint64_t count)
{
    int os_error = 0;
    if (sq_medium_fetch(worker->sweep->medium, mba, count, worker->found, &os_error) == SQ_OK)
        return 0;
    return os_error != 0 ? os_error : EIO;
}

/* A piece that could not be read as a whole: each block as often as is asked for. */
static int read_each(struct sq_worker *worker, struct sq_piece piece)
{
    const sq_sweep *sweep = worker->sweep;
    uint64_t failed = 0;
    for (uint64_t i = 0; i < piece.count; i++) {
        struct sq_piece block = {piece.first + i, 1};
        int os_error = get(worker, block.first, 1);
        for (uint64_t again = 0; again < sweep->options.retries && os_error != 0; again++) {
            worker->report.retries++;
            os_error = get(worker, block.first, 1);
        }
        if (os_error != 0) {
            sq_sweep_note(worker, block.first, 1, os_error);
            failed++;
            continue;
        }
        int status = sq_sweep_expect(worker, block);
        if (status != SQ_OK)
            return status;
        compare(worker, block, worker->found);
    }
    worker->report.failed_blocks += failed;
    sq_sweep_count_failure(worker, failed == piece.count);
    return SQ_OK;
}

static int compare_outside(struct sq_worker *worker, struct sq_piece piece)
{
    if (get(worker, piece.first, piece.count) != 0) {
        worker->report.retries++;
        return read_each(worker, piece);
    }
    sq_sweep_count_failure(worker, 0);
    int status = sq_sweep_expect(worker, piece);
    if (status == SQ_OK)
        compare(worker, piece, worker->found);
    return status;
}

int sq_sweep_read(sq_sweep *sweep, const struct sq_span *spans, uint64_t span_count,
                  const struct sq_sweep_options *options, uint64_t capacity,
                  struct sq_sweep_find *finds_out, struct sq_sweep_report *report_out)
{
    sq_sweep_work work = sweep->medium->payload != NULL ? compare_memory : compare_outside;
    return sq_sweep_run(sweep, work, spans, span_count, options, capacity, finds_out, report_out);
}

/* ---- the system's cache ----------------------------------------------------------------------- */

/* Pages of a part of a file that are in memory; SIZE_MAX if the system does not say. */
static size_t pages_cached(int descriptor, uint64_t offset, size_t bytes, size_t page_bytes)
{
    unsigned char there[LOOK_BYTES / 4096];
    size_t pages = (bytes + page_bytes - 1) / page_bytes, count = 0;
    void *mapped = mmap(NULL, bytes, PROT_READ, MAP_SHARED, descriptor, (off_t)offset);
    if (mapped == MAP_FAILED)
        return SIZE_MAX;
    int failed = mincore(mapped, bytes, there) != 0;
    for (size_t i = 0; i < pages && !failed; i++)
        count += there[i] & 1;
    munmap(mapped, bytes);
    return failed ? SIZE_MAX : count;
}

int sq_file_cached_bytes(int descriptor, uint64_t bytes, uint64_t *cached_out, int *os_error_out)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t cached = 0;
    for (uint64_t offset = 0; offset < bytes; offset += LOOK_BYTES) {
        uint64_t left = bytes - offset;
        size_t pages = pages_cached(descriptor, offset, left < LOOK_BYTES ? left : LOOK_BYTES, page_bytes);
        if (pages == SIZE_MAX) {
            *os_error_out = errno;
            return SQ_E_IO;
        }
        cached += pages * page_bytes;
    }
    *cached_out = cached;
    return SQ_OK;
}
