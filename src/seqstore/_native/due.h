/* due.h: by when a segment has to be written over: what each death of a block tells the cleaner. Inline,
 * since it is on every write's path. due.c keeps the order, deadline.c acts on it.
 *
 * Invariants: due[segment] is not later than the death of any DEAD or MOVED block that lies there, plus the
 * bound of its layer, but for blocks that an open segment has not been written over yet: those are the rest
 * of its head, with rest[class]. Segments with something due are in one of two heaps, busy or free.
 * Lock: the log's, held alone.
 */
#ifndef SEQSTORE_DUE_H
#define SEQSTORE_DUE_H

#include "internal.h"

/* Dues are counted in steps; so exact is what is known of them. */
#define SQ_STEPS_A_LAP 1024u

static inline uint64_t sq_due_step(const sq_log *log)
{
    return (log->block_count + SQ_STEPS_A_LAP - 1) / SQ_STEPS_A_LAP;
}

/* The segment has something due sooner than was known. */
void sq_due_sooner(sq_log *log, uint32_t segment, uint64_t due);

/* A block of the layer died there when position blocks had been written. */
static inline void sq_due_note(sq_log *log, uint32_t segment, const struct sq_layer *layer, uint64_t position)
{
    if (log->dues.due != NULL && position + layer->bound < log->dues.due[segment])
        sq_due_sooner(log, segment, position + layer->bound);
}

/* The segment that is due first, of those that hold data and of those that are free; segment_count: none. */
uint32_t sq_due_first(const sq_log *log, int is_free);

/* What happens to a segment: a head begins to fill it; it is full; it is free; it was zeroed. */
void sq_due_begin(sq_log *log, const struct sq_head *head);
void sq_due_full(sq_log *log, const struct sq_head *head);
void sq_due_free(sq_log *log, uint32_t segment);
void sq_due_erased(sq_log *log, uint32_t segment);

/* The segment, or what its head has not come to yet, is due now. */
void sq_due_now(sq_log *log, uint32_t segment);
void sq_due_rest_now(sq_log *log, uint32_t class);

/* Around what makes segments due without a bound. */
int sq_due_begin_use(sq_log *log);
void sq_due_end_use(sq_log *log);

/* Has the log to go on with the segment that is due first, so that none is late, if so many blocks go
 * elsewhere before? */
int sq_due_presses(const sq_log *log, uint64_t ahead);

/* The bounds of layers have changed: what is due, from what lies there, and not before so many blocks are
 * written; what was due before stays so. */
int sq_due_settle(sq_log *log, uint64_t least);
void sq_due_release(struct sq_dues *dues);

/* ---- deadline.c ----------------------------------------------------------------------------------- */

/* The smallest bound that the log can keep, in blocks that it writes. */
uint64_t sq_deadline_least(const sq_log *log);

/* Would something be late if so many segments were written before it? And what is late by then? */
int sq_deadline_presses(const sq_log *log, uint64_t segments);
uint64_t sq_deadline_latest(const sq_log *log, uint64_t segments);

/* Before a segment is taken: what has to be cleaned first lest something is late, unless as many free ones as
 * are to be ready are due before it; or segment_count. */
int sq_deadline_next(sq_log *log, uint32_t ready, uint32_t *victim_out);

/* Before so many segments are taken: fills up heads that may not come to the rest of theirs in time. */
int sq_deadline_heads(sq_log *log, uint32_t segments);

/* The bound of a layer that is new. */
void sq_deadline_bind(const sq_log *log, struct sq_layer *layer);

/* Fills the rest of the head's segment with zeros, and counts them. The second also lets it be cleaned, and
 * goes on at the head where the log was; where the head needs another segment nothing is due. */
int sq_head_pad(sq_log *log, uint64_t *padded_io);
int sq_head_end(sq_log *log, uint32_t class);

/* Before so many segments are written, and as many cleaned, that no bound has a reserve for: writes over with
 * zeros what would be late. Not within a request. purge.c. */
int sq_deadline_keep(sq_log *log, uint64_t segments);

/* ---- purge.c -------------------------------------------------------------------------------------- */

/* Writes zeros, so many as SQ_ERASE_BLOCKS at once, over a free segment, which stays free; when all that made
 * it free is safe. */
int sq_segment_erase(sq_log *log, uint32_t segment, const uint8_t *zeros);

#endif
