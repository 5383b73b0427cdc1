/* internal.h: the log from the inside: what its files offer to each other. What it is made of: structures.h.
 *
 *   write.c read.c trim.c   the requests          head.c     room for a request and for the next block
 *   volume.c   volumes, snapshots, clones         clean.c    moving live blocks out of the way
 *   layer*.c   who owns which block               record.c   the open record
 *   ledger.c   what each media block is           segment.c  the rings of segments
 *   log.c      creation, closing, statistics      append.h   what happens to each block, inline
 *   check.c    the deep check                     sync.c     what is safe on the medium
 *   lock.c     the lock and the latch             checkpoint.c recover.c   how a log is opened again
 *   recorder.c what is asked of the medium   sealed.c   blocks that are encrypted
 *
 * Lock: log->lock guards everything here. Requests that change hold it alone; reads share it.
 */
#ifndef SEQSTORE_INTERNAL_H
#define SEQSTORE_INTERNAL_H

#include "structures.h"

/* evidence.c */
void sq_gone_note(sq_log *log, const struct sq_layer *layer, uint64_t mba, uint64_t position);

/* ---- failures of our own -------------------------------------------------------------------- */

int sq_latch(sq_log *log, const char *file, int line, const char *condition);

#define SQ_CHECK(log, condition)                                         \
    do {                                                                 \
        if (!(condition))                                                \
            return sq_latch((log), __FILE__, __LINE__, #condition);      \
    } while (0)

/* Take the lock, and refuse when the log is closed or latched (then the lock is not held). */
int sq_lock_shared(sq_log *log);
int sq_lock_alone(sq_log *log);
void sq_unlock(sq_log *log);
/* After changes: what went past the cache to the medium is there for the next holder. */
void sq_unlock_alone(sq_log *log);

#include "open_record.h"

/* ---- segment.c ------------------------------------------------------------------------------ */

uint32_t sq_ring_pop(struct sq_ring *ring);
void sq_ring_push(struct sq_ring *ring, uint32_t item);

int sq_list_init(struct sq_list *list, uint32_t capacity);
void sq_list_free(struct sq_list *list);
void sq_list_append(struct sq_list *list, uint32_t capacity, uint32_t segment);
void sq_list_remove(struct sq_list *list, uint32_t segment);

/* The first of the list, or the one behind a segment; capacity at the end. */
static inline uint32_t sq_list_first(const struct sq_list *list, uint32_t capacity)
{
    return list->next[capacity];
}

/* One head, and the oldest segment cleaned first: the log goes round the medium. */
static inline int sq_is_circular(const sq_log *log)
{
    return log->class_count == 1 && log->cleaner.selection == SQ_SELECT_FIFO && log->cleaner.garbage_ppm == 0;
}

/* candidates.c */
int sq_cleaner_init(sq_log *log, const struct sq_log_options *options);
int sq_select_init(sq_log *log);
void sq_cleaner_free(struct sq_cleaner *cleaner);

/* Recovery has filled the segments: what is to be known of them is counted. */
void sq_cleaner_settle(sq_log *log);

/* A random number below 1. */
double sq_cleaner_draw(struct sq_cleaner *cleaner);

/* Cleans a segment if there is more garbage than the policy allows. */
int sq_clean_garbage(sq_log *log);

/* place.c: how many heads; what they need to know. */
int sq_place_plan(sq_log *log, const struct sq_log_options *options);
int sq_place_init(sq_log *log);
void sq_place_free(sq_log *log);

/* candidates.c: the segment's life as the cleaner sees it: it is filled by that head from now on; it is
 * full and may be cleaned; it is being cleaned; it is free. */
void sq_segment_begin(sq_log *log, const struct sq_head *head);
void sq_segment_seal(sq_log *log, uint32_t segment);
void sq_segment_take(sq_log *log, uint32_t segment);
void sq_segment_give_back(sq_log *log, uint32_t segment);
void sq_segment_free(sq_log *log, uint32_t segment);

/* The head's segment, if it has one, may be cleaned from now on. */
void sq_head_seal(sq_log *log, struct sq_head *head);

/* Seals the head's segment, which is full, and takes the next free one. */
int sq_segment_next(sq_log *log);

/* ---- clean.c -------------------------------------------------------------------------------- */

/* Moves what is live in a sealed segment to the heads and frees the segment. */
int sq_clean_segment(sq_log *log, uint32_t victim);

/* The segment that the policy takes next, of those with at least so large a share of garbage; SQ_E_NOT_FOUND
 * if there is none. */
int sq_clean_next(sq_log *log, uint32_t least_ppm, uint32_t *victim_out);

/* The one that gains most, whatever the policy, which keeps candidates. */
int sq_clean_emptiest(sq_log *log, uint32_t *victim_out);

/* Nothing of a sealed segment is in use any more: its summaries die, its zone may be written again. */
int sq_clean_retire(sq_log *log, uint32_t victim);

/* ---- head.c --------------------------------------------------------------------------------- */

/* Blocks go to the head of that class from now on. Where all records are one sequence, the open one is closed
 * first. */
int sq_head_select(sq_log *log, uint32_t class);

/* In memory: seals the head's segment as soon as it is full, so that the cleaner can have it. */
int sq_head_finish(sq_log *log);

/* A record with room for a data block (for an entry, when only_entry) at the head. On media in memory it
 * cleans as needed; on others it has to stay within what sq_request_begin made free. */
int sq_head_make_room(sq_log *log, int only_entry);

/* On media that outlive the process, between requests: cleans the given segment, or, if that is
 * segment_count, the one that the policy takes. */
int sq_head_clean(sq_log *log, uint32_t given);

/* Between requests: there are as many free segments as have to be kept. */
int sq_head_refill(sq_log *log);

/* The same as sq_head_make_room without ever cleaning. */
int sq_head_advance(sq_log *log, int only_entry);

/* Around every request that changes something: so many data blocks and entries, atomic_blocks at most, will
 * be on the medium together or not at all. Begin can fail before anything has changed. End is told how the
 * request went, and hands that on: one that the medium failed in its middle is the last that the log takes.
 * On media in memory both do nothing. */
int sq_request_begin(sq_log *log, uint64_t blocks, uint64_t entries);
int sq_request_end(sq_log *log, int status);

/* ---- sync.c --------------------------------------------------------------------------------- */

int sq_sync_init(sq_log *log);
void sq_sync_free(sq_log *log);

/* With the lock held alone and no open record: everything appended is on the medium. */
int sq_sync_now(sq_log *log);

/* With the lock held alone, in closing: waits for the flushes under way. */
void sq_sync_drain(sq_log *log);

/* Fills in where the medium failed, if that is what the status says, which it hands on. */
int sq_fault_io(const sq_log *log, int status, struct sq_fault *fault_out);

static inline uint64_t sq_flushed(const sq_log *log)
{
    return __atomic_load_n(&log->durable.flushed, __ATOMIC_ACQUIRE);
}

/* ---- checkpoint.c --------------------------------------------------------------------------- */

/* Sizes that depend on how large a checkpoint can get. */
int sq_checkpoint_plan(sq_log *log, const struct sq_log_options *options);

/* Writes one and syncs; clean marks the end of the log's use. */
int sq_checkpoint_write(sq_log *log, int clean);

/* No checkpoint's stream is longer. */
uint64_t sq_checkpoint_most_bytes(const sq_log *log);

/* checkpoint_load.c: rebuilds the log's state, which is empty, from a checkpoint's stream. SQ_E_FORMAT if
 * it contradicts itself. */
int sq_checkpoint_load(sq_log *log, const uint8_t *stream, uint64_t stream_bytes);

/* ---- log.c ---------------------------------------------------------------------------------- */

/* From now on records gather before they are written, as on media that outlive the process. */
int sq_log_gather(sq_log *log);

/* A log without state on a medium that is its own from now on; it was new, unless is_old. */
int sq_log_make(sq_medium *medium, const struct sq_log_options *options, int is_old, sq_log **log_out);

/* Zeros, aligned for the kernels and for direct access; to be freed with free. */
uint8_t *sq_buffer(size_t bytes);

/* ---- read.c, write.c, trim.c ----------------------------------------------------------------- */

/* Copies part of a live block after checking owner and checksum. */
int sq_read_block(sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t mba,
                  uint32_t from_bytes, uint32_t length_bytes, uint8_t *data_out,
                  struct sq_fault *fault_out);

/* Is there space for so many more live blocks? */
int sq_check_space(const sq_log *log, uint64_t needed, struct sq_fault *fault_out);

/* The same for a request that writes the list, or if that is NULL the run from first on, to the layer. */
int sq_check_blocks(const sq_log *log, const struct sq_layer *layer, const uint64_t *lbas, uint64_t first,
                    uint64_t count, struct sq_fault *fault_out);

/* Do the bytes have the checksum of the live block at mba? */
int sq_block_is_right(const sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t mba,
                      const uint8_t *block);

/* Writes a run of whole blocks within a request that has begun; space has been checked. data is NULL on a
 * tags medium. */
int sq_write_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count,
                 const uint8_t *data);

/* Requests of their own, on media in memory, with the lock held: tags of a run of whole blocks; a trim. */
int sq_write_run_alone(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count,
                       struct sq_fault *fault_out);
int sq_trim_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count);

/* The raw CRC-32C state after the tag of a block: layer number and lba, 8 bytes each. */
uint32_t sq_tag_crc(const sq_log *log, uint64_t layer_number, uint64_t lba);

static inline int sq_in_volume(const struct sq_volume *volume, uint64_t offset, uint64_t length)
{
    if (SQ_PLANTED(bounds_not_checked)) return 1;
    return offset <= volume->size_bytes && length <= volume->size_bytes - offset;
}

/* memset that the compiler keeps, for buffers that held tenants' bytes. */
static inline void sq_wipe(uint8_t *data, size_t bytes)
{
    memset(data, 0, bytes);
    __asm__ volatile("" : : "r"(data) : "memory");
}

#endif
