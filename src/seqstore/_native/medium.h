/* medium.h: a medium from the inside.
 *
 * Invariants, checked by sq_log_check: a zone's write pointer lies between its start and its end; what a
 * log has staged behind the write pointer is the open record, and nothing else.
 * Lock: the medium's own, for write pointers and for what callers other than a log do with the bytes.
 */
#ifndef SEQSTORE_MEDIUM_H
#define SEQSTORE_MEDIUM_H

#include <pthread.h>

#include "seqstore.h"

struct sq_medium {
    int kind;
    struct sq_geometry geometry;
    pthread_mutex_t lock;
    int owned; /* by a log */
    int references; /* the caller's handle, and the log's */
    uint32_t *write_pointers; /* blocks from the start of each zone */
    uint8_t *payload;         /* memory medium: the bytes; else NULL */
    uint64_t *tags;           /* tags medium: one word a block; else NULL */
};

/* ---- the word of a tags medium: state (2 bits), volume (24), lba (38) ------------------------ */

#define SQ_TAG_VOLUME_BITS 24
#define SQ_TAG_LBA_BITS 38
#define SQ_TAG_SUMMARY ((uint64_t)2 << 62)

static inline uint64_t sq_tag_data(uint64_t volume, uint64_t lba)
{
    return (uint64_t)1 << 62 | volume << SQ_TAG_LBA_BITS | lba;
}

/* For a log: makes a new medium its own and keeps it alive, and gives it back. SQ_E_INVALID if it is not
 * new. */
int sq_medium_claim(sq_medium *medium);
void sq_medium_release(sq_medium *medium);

/* For the owner: a zone's write pointer moves to its start. */
void sq_medium_restart(sq_medium *medium, uint32_t zone);

/* A log that stages a record in the medium's memory publishes it with this: the append of count blocks that
 * already lie at mba. */
int sq_medium_publish(sq_medium *medium, uint64_t mba, uint64_t count);

#endif
