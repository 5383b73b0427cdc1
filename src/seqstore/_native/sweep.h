/* sweep.h: going over a medium with several threads, from the inside.
 *
 * fill.c      what is written, and compared with
 * sweep.c     threads, their buffers, who takes which piece, and what was found
 * sanitize.c  writing
 * verify.c    reading and comparing
 *
 * Invariants: a piece is taken by one worker, in the order of the spans; nothing is allocated between the
 * making of a sweep and its end; whoever takes a piece has room for all that it may find in it.
 * Lock: that of the sweep, for the next piece and for what was found. It is not held while bytes move.
 */
#ifndef SEQSTORE_SWEEP_H
#define SEQSTORE_SWEEP_H

#include <pthread.h>

#include "crypt.h"
#include "kernels.h"
#include "medium.h"

#define SQ_SWEEP_WORKERS 16u

/* ---- fill.c ----------------------------------------------------------------------------------- */

struct sq_fill {
    struct sq_crypto *crypto;    /* of a stream; else NULL */
    sq_cipher_context *template; /* of a stream: has the expanded key */
    uint32_t pattern_bytes;
    uint8_t pattern[SQ_FILL_PATTERN_BYTES];
};

/* Of a worker: what it needs to make the bytes of a fill, to be freed by it. NULL: nothing. */
int sq_fill_context(const sq_fill *fill, sq_cipher_context **context_out);
int sq_fill_make(const sq_fill *fill, sq_cipher_context *context, uint64_t offset_bytes, uint64_t bytes,
                 uint8_t *data_out);

/* Does every block of that size hold the same bytes? */
static inline int sq_fill_is_even(const sq_fill *fill, uint32_t block_bytes)
{
    return fill->crypto == NULL && block_bytes % fill->pattern_bytes == 0;
}

/* ---- sweep.c ---------------------------------------------------------------------------------- */

struct sq_piece {
    uint64_t first;
    uint64_t count;
};

struct sq_worker {
    sq_sweep *sweep;
    sq_cipher_context *context;
    uint8_t *expected; /* a piece of the fill */
    uint8_t *found;    /* a piece of the medium, where it has to be read; else NULL */
    uint64_t filled;   /* 1 + the offset that expected was made for; 0: none */
    struct sq_sweep_report report;
};

/* What a worker does with a piece. Finds are noted with sq_sweep_note. */
typedef int (*sq_sweep_work)(struct sq_worker *worker, struct sq_piece piece);

struct sq_sweep {
    sq_medium *medium;
    const sq_fill *fill;
    struct sq_crypto *crypto; /* of the fill, which may go before the sweep's end */
    const struct sq_kernels *kernels;
    uint64_t piece_blocks;
    uint32_t workers;
    int is_even; /* every block of the fill is the same: expected is made once */
    struct sq_worker each[SQ_SWEEP_WORKERS];
    uint8_t *buffers;
    size_t buffers_bytes;

    pthread_mutex_t lock;
    sq_sweep_work work;
    const struct sq_span *spans;
    uint64_t span_count;
    struct sq_sweep_options options;
    uint64_t capacity;
    struct sq_sweep_find *finds;
    uint64_t find_count;
    uint64_t next_span, next_block;
    uint64_t failures; /* pieces in a row of which nothing could be moved */
    int status;        /* of the worker that failed first */
    int is_stopped, is_dead;
};

/* All workers do their work on the pieces of the spans. */
int sq_sweep_run(sq_sweep *sweep, sq_sweep_work work, const struct sq_span *spans, uint64_t span_count,
                 const struct sq_sweep_options *options, uint64_t capacity, struct sq_sweep_find *finds_out,
                 struct sq_sweep_report *report_out);

/* The fill's bytes of a piece, in the worker's buffer. */
int sq_sweep_expect(struct sq_worker *worker, struct sq_piece piece);

void sq_sweep_note(struct sq_worker *worker, uint64_t first, uint64_t count, int os_error);

/* Says how a piece went: failures in a row end the run. */
void sq_sweep_count_failure(struct sq_worker *worker, int has_failed);

static inline uint32_t sq_sweep_block_bytes(const sq_sweep *sweep)
{
    return sweep->medium->geometry.block_bytes;
}

/* The bytes of a medium that lies in our memory; NULL of the others. */
static inline uint8_t *sq_sweep_memory(const sq_sweep *sweep, uint64_t mba)
{
    return sweep->medium->payload == NULL
               ? NULL
               : sweep->medium->payload + mba * sweep->medium->geometry.block_bytes;
}

#endif
