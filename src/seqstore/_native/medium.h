/* medium.h: a medium from the inside.
 *
 * Invariants, checked by sq_log_check: a zone's write pointer lies between its start and its end; what a
 * log has staged behind the write pointer is the open record, and nothing else.
 * Lock: the medium's own, for write pointers and for what callers other than a log do with the bytes in
 * memory. It is not held while a file or a callback works: a zone whose append or reset is under way is
 * marked as moving instead, and takes no other.
 */
#ifndef SEQSTORE_MEDIUM_H
#define SEQSTORE_MEDIUM_H

#include <pthread.h>

#include "seqstore.h"

/* How a medium whose bytes are not in our memory reaches them. Ranges were checked before. Each returns 0
 * or an errno; all may be called from several threads at once. */
struct sq_medium_ops {
    int (*append)(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data);
    int (*read)(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out);
    int (*sync)(sq_medium *medium);
    void (*hint)(sq_medium *medium, uint64_t mba, uint64_t count); /* or NULL */
    void (*stream)(sq_medium *medium, uint64_t mba, uint64_t count); /* or NULL */
    void (*forget)(sq_medium *medium, uint64_t mba, uint64_t count); /* or NULL */
    int (*reset)(sq_medium *medium, uint64_t zone); /* NULL: nothing to do */
    int (*overwrite)(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data); /* or NULL */
    void (*destroy)(sq_medium *medium); /* frees the backend */
    int is_parallel; /* several reads at once are done sooner than one after the other, in any order */
};

struct sq_medium {
    int kind;
    struct sq_geometry geometry;
    pthread_mutex_t lock;
    int owned; /* by a log */
    int references; /* the caller's handle, and the log's */
    uint32_t *write_pointers; /* blocks from the start of each zone */
    uint8_t *moving;          /* by zone: an append or a reset is under way */
    uint8_t *payload;         /* memory medium: the bytes; else NULL */
    uint64_t *tags;           /* tags medium: one word a block; else NULL */
    const uint8_t *mapped;    /* file medium: its bytes, where they can be read as memory; else NULL */
    const struct sq_medium_ops *ops; /* file and calls media; else NULL */
    void *backend;                   /* what belongs to ops */
};

/* ---- the word of a tags medium: state (2 bits), volume (24), lba (38) ------------------------ */

#define SQ_TAG_VOLUME_BITS 24
#define SQ_TAG_LBA_BITS 38
#define SQ_TAG_SUMMARY ((uint64_t)2 << 62)

static inline uint64_t sq_tag_data(uint64_t volume, uint64_t lba)
{
    return (uint64_t)1 << 62 | volume << SQ_TAG_LBA_BITS | lba;
}

/* ---- for kinds of media ---------------------------------------------------------------------- */

/* A medium without bytes of its own. It takes the backend over, which ops->destroy frees; not on failure. */
int sq_medium_make(int kind, const struct sq_geometry *geometry, const struct sq_medium_ops *ops,
                   void *backend, sq_medium **medium_out);

/* ---- for a log ------------------------------------------------------------------------------- */

/* Makes a medium the log's own and keeps it alive, and gives it back. SQ_E_INVALID where a medium that is
 * claimed is not new; one that is adopted need not be: SQ_E_OWNED if it belongs to a log. */
int sq_medium_claim(sq_medium *medium);
int sq_medium_adopt(sq_medium *medium);
void sq_medium_release(sq_medium *medium);

/* A zone's write pointer moves to its start. On failure (SQ_E_IO, SQ_E_SEQUENTIAL: an append is under way)
 * it stays. */
int sq_medium_restart(sq_medium *medium, uint32_t zone);

/* A zone's write pointer is where recovery found it: blocks from the zone's start. */
void sq_medium_place(sq_medium *medium, uint32_t zone, uint32_t blocks);

/* A log that stages a record in the medium's memory publishes it with this: the append of count blocks that
 * already lie at mba. */
int sq_medium_publish(sq_medium *medium, uint64_t mba, uint64_t count);

/* Append, read and sync on every kind that keeps bytes, SQ_E_NO_PAYLOAD on the others (but all can sync).
 * The medium's lock is not held meanwhile: reads, syncs and appends to other zones run beside. After
 * SQ_E_IO os_error_out (may be NULL) says why; the write pointer has not moved, what lies behind it is
 * undefined, and so is data_out. */
int sq_medium_write(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                    int *os_error_out);
int sq_medium_fetch(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out,
                    int *os_error_out);
int sq_medium_sync(sq_medium *medium, int *os_error_out);

/* All of these blocks will be read, one after the other: they are better fetched together. */
static inline void sq_medium_stream(sq_medium *medium, uint64_t mba, uint64_t count)
{
    if (medium->ops != NULL && medium->ops->stream != NULL)
        medium->ops->stream(medium, mba, count);
}

static inline int sq_medium_is_parallel(const sq_medium *medium)
{
    return medium->ops != NULL && medium->ops->is_parallel;
}

/* These blocks will be read soon: a medium that can begins to fetch them. */
void sq_medium_hint(sq_medium *medium, uint64_t mba, uint64_t count);

/* Blocks that were synced are to be read from the drive, where a cache lies before it that can be asked. */
void sq_medium_forget(sq_medium *medium, uint64_t mba, uint64_t count);

#endif
