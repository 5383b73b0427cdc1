/* internal.h: the log from the inside: its structures, and what its files offer to each other.
 *
 *   log.c      creation, closing, statistics      head.c     room for the next block
 *   check.c    the deep check                     clean.c    moving live blocks out of the way
 *   write.c read.c trim.c   the requests          record.c   the open record
 *   volume.c   volumes and their numbers          segment.c  the rings of segments
 *   ledger.c   what each media block is           append.h   what happens to each block, inline
 *   lock.c     the lock and the latch
 *
 * Lock: log->lock guards everything here. Requests that change hold it alone; reads share it.
 */
#ifndef SEQSTORE_INTERNAL_H
#define SEQSTORE_INTERNAL_H

#include <pthread.h>
#include <string.h>

#include "extent_map.h"
#include "kernels.h"
#include "medium.h"
#include "seqstore.h"

/* Blocks that a request handles at once: enough cache misses in flight, scratch that fits the stack. */
#define SQ_BATCH 64u

/* A volume, also a deleted one whose bytes still lie on the medium. Slot 0 is the log itself. */
struct sq_volume {
    uint64_t number;
    uint64_t tenant;
    uint64_t size_bytes;
    uint64_t dead_blocks;
    uint64_t moved_blocks;
    uint32_t slot;
    uint8_t deleted;
    uint8_t unwritten_error;
    struct sq_map map;
};

struct sq_segment {
    uint32_t live_blocks;
    uint32_t state; /* enum sq_segment_state */
};

/* Segments in first-in, first-out order. */
struct sq_ring {
    uint32_t *items;
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
};

/* The record that is being filled: its summary in image, its data already in the medium's memory. */
struct sq_record {
    uint8_t *image;
    uint64_t sequence;
    uint64_t position;
    uint32_t mba; /* of the summary */
    uint32_t data_room;
    uint32_t data_count;
    uint32_t entry_count;
    uint8_t open;
};

struct sq_log {
    pthread_rwlock_t lock;
    const struct sq_kernels *kernels;
    sq_medium *medium;
    uint8_t *payload;    /* the medium's bytes; NULL on a tags medium */
    uint64_t *tags;      /* the medium's tags; NULL on a memory medium */
    uint64_t *ledger;    /* one entry a media block */
    uint32_t *checksums; /* of live data blocks; NULL on a tags medium */
    struct sq_segment *segments;

    uint64_t block_count;
    uint64_t segment_magic; /* of the division by segment_blocks */
    uint32_t block_bytes;
    uint32_t block_shift;
    uint32_t segment_blocks;
    uint32_t segment_count;
    uint32_t record_entries; /* that a summary holds */
    uint32_t segment_data;   /* data blocks of a segment that is filled with full records */

    struct sq_ring free_ring;
    struct sq_ring sealed_ring;
    uint32_t open_segment;
    uint32_t open_blocks; /* of the open segment, in finished records */
    struct sq_record record;

    struct sq_volume **volumes; /* by slot */
    uint32_t slot_count;
    uint32_t slot_capacity;
    uint32_t *free_slots;
    uint32_t free_slot_count;
    uint64_t last_number;
    struct sq_leaf_pool leaves;

    struct sq_stats stats; /* head_mba and map_bytes are filled when asked for */
    uint64_t drive;
    uint32_t verify;
    uint8_t *scratch; /* two blocks for parts of blocks; zero between requests */

    int closed;
    int latched;
    struct sq_invariant invariant;
};

/* ---- failures of our own -------------------------------------------------------------------- */

int sq_latch(sq_log *log, const char *file, int line, const char *condition);

#define SQ_CHECK(log, condition)                                         \
    do {                                                                 \
        if (!(condition))                                                \
            return sq_latch((log), __FILE__, __LINE__, #condition);      \
    } while (0)

#define SQ_TRY(call)                  \
    do {                              \
        int status_ = (call);         \
        if (status_ != SQ_OK)         \
            return status_;           \
    } while (0)

/* Take the lock, and refuse when the log is closed or latched (then the lock is not held). */
int sq_lock_shared(sq_log *log);
int sq_lock_alone(sq_log *log);
void sq_unlock(sq_log *log);
/* After changes: what went past the cache to the medium is there for the next holder. */
void sq_unlock_alone(sq_log *log);

/* ---- addresses ------------------------------------------------------------------------------ */

static inline uint32_t sq_segment_of(const sq_log *log, uint64_t mba)
{
    /* mba * ceil(2^64 / n) >> 64 is mba / n for all 32-bit mba and n. */
    return (uint32_t)(((unsigned __int128)mba * log->segment_magic) >> 64);
}

static inline uint8_t *sq_payload_at(const sq_log *log, uint64_t mba)
{
    return log->payload + (mba << log->block_shift);
}

/* ---- ledger: state (3 bits), slot of the volume (23), lba or position of death (38) ---------- */

#define SQ_SLOT_BITS 23
#define SQ_VALUE_BITS 38
#define SQ_VALUE_MASK (((uint64_t)1 << SQ_VALUE_BITS) - 1)
#define SQ_SLOTS_MAX ((uint32_t)1 << SQ_SLOT_BITS)

static inline uint64_t sq_entry(unsigned state, uint32_t slot, uint64_t value)
{
    return (uint64_t)state << (SQ_SLOT_BITS + SQ_VALUE_BITS) | (uint64_t)slot << SQ_VALUE_BITS |
           (value & SQ_VALUE_MASK);
}

static inline unsigned sq_entry_state(uint64_t entry)
{
    return (unsigned)(entry >> (SQ_SLOT_BITS + SQ_VALUE_BITS));
}

static inline uint32_t sq_entry_slot(uint64_t entry)
{
    return (uint32_t)(entry >> SQ_VALUE_BITS) & (SQ_SLOTS_MAX - 1);
}

static inline uint64_t sq_entry_value(uint64_t entry)
{
    return entry & SQ_VALUE_MASK;
}

/* ---- volume.c ------------------------------------------------------------------------------- */

/* The volume of a handle, or NULL. */
static inline struct sq_volume *sq_volume_of(const sq_log *log, uint64_t handle)
{
    uint64_t slot = handle & 0xFFFFFF;
    struct sq_volume *volume = slot < log->slot_count ? log->volumes[slot] : NULL;
    int current = volume != NULL && volume->number == handle >> 24 && !volume->deleted && slot != 0;
    return current ? volume : NULL;
}

/* Blocks of the volume, one that its end cuts included. */
static inline uint64_t sq_volume_blocks(const sq_log *log, const struct sq_volume *volume)
{
    return (volume->size_bytes + log->block_bytes - 1) >> log->block_shift;
}

/* 1 to 2^38 blocks. */
static inline int sq_size_is_valid(const sq_log *log, uint64_t size_bytes)
{
    return size_bytes > 0 && (size_bytes - 1) >> log->block_shift < (uint64_t)1 << SQ_VALUE_BITS;
}

int sq_volume_add(sq_log *log, uint64_t number, uint64_t tenant, struct sq_volume **volume_out);

/* Frees the slot of a deleted volume that left no residue. */
void sq_volume_settle(sq_log *log, struct sq_volume *volume);

/* ---- record.c ------------------------------------------------------------------------------- */

enum sq_entry_kind { SQ_ENTRY_DATA = 1, SQ_ENTRY_TRIM = 2, SQ_ENTRY_DELETE = 3 };

/* Data blocks that the open record still takes; 0 also when none is open. */
static inline uint32_t sq_record_room(const sq_log *log)
{
    const struct sq_record *record = &log->record;
    uint32_t blocks = record->data_room - record->data_count;
    uint32_t entries = log->record_entries - record->entry_count;
    return !record->open ? 0 : blocks < entries ? blocks : entries;
}

static inline uint32_t sq_record_next_mba(const sq_log *log)
{
    return log->record.mba + 1 + log->record.data_count;
}

/* Opens a record at the head; the segment has room for a block at least. */
int sq_record_open(sq_log *log);

/* Writes the summary and publishes the record; does nothing when none is open. */
int sq_record_close(sq_log *log);

/* Puts the next entry into the summary, on media that hold bytes. */
void sq_record_enter(sq_log *log, enum sq_entry_kind kind, uint64_t volume, uint64_t lba, uint32_t value);

/* Enters a trim or the end of a volume; the record has room for an entry. */
void sq_record_note(sq_log *log, enum sq_entry_kind kind, uint64_t volume, uint64_t lba, uint32_t count);

/* ---- segment.c ------------------------------------------------------------------------------ */

uint32_t sq_ring_pop(struct sq_ring *ring);
void sq_ring_push(struct sq_ring *ring, uint32_t item);

/* Seals the open segment when it is full and takes the next free one. */
int sq_segment_next(sq_log *log);

/* ---- clean.c -------------------------------------------------------------------------------- */

/* Moves what is live in the oldest sealed segment to the head and frees the segment. */
int sq_clean_oldest(sq_log *log);

/* ---- head.c --------------------------------------------------------------------------------- */

/* A record with room for a data block (for an entry, when only_entry) at the head; cleans as needed. */
int sq_head_make_room(sq_log *log, int only_entry);

/* ---- read.c, write.c, trim.c ----------------------------------------------------------------- */

/* Copies part of a live block after checking owner and checksum. */
int sq_read_block(sq_log *log, const struct sq_volume *volume, uint64_t lba, uint32_t mba,
                  uint32_t from_bytes, uint32_t length_bytes, uint8_t *data_out,
                  struct sq_fault *fault_out);

/* Writes a run of whole blocks; space has been checked. data is NULL on a tags medium. */
int sq_write_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count,
                 const uint8_t *data);

/* Unmaps [lba, end) together with the entry that says so: a trim of below 2^32 blocks, or the end of the
 * volume. On failure neither has happened. */
int sq_unmap_noted(sq_log *log, struct sq_volume *volume, enum sq_entry_kind kind, uint64_t lba,
                   uint64_t end);

/* The raw CRC-32C state after the tag of a block: volume number and lba, 8 bytes each. */
uint32_t sq_tag_crc(const sq_log *log, const struct sq_volume *volume, uint64_t lba);

static inline int sq_in_volume(const struct sq_volume *volume, uint64_t offset, uint64_t length)
{
    return offset <= volume->size_bytes && length <= volume->size_bytes - offset;
}

/* memset that the compiler keeps, for buffers that held tenants' bytes. */
static inline void sq_wipe(uint8_t *data, size_t bytes)
{
    memset(data, 0, bytes);
    __asm__ volatile("" : : "r"(data) : "memory");
}

#endif
