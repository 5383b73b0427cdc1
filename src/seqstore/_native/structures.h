/* structures.h: what a log is made of: who owns blocks, segments, the open record, what is durable.
 *
 * internal.h says what its files offer to each other.
 *
 * Lock: log->lock guards everything here. Requests that change hold it alone; reads share it.
 */
#ifndef SEQSTORE_STRUCTURES_H
#define SEQSTORE_STRUCTURES_H

#include <pthread.h>
#include <string.h>

#include "cleaner.h"
#include "entries.h"
#include "extent_map.h"
#include "kernels.h"
#include "medium.h"
#include "plant.h"
#include "sealed.h"
#include "seqstore.h"

/* Blocks that a request handles at once: enough cache misses in flight, scratch that fits the stack. */
#define SQ_BATCH 64u

/* The cleaner reads live blocks of a medium that is not in memory together, up to so many blocks at once
 * and over gaps of so many dead ones. */
#define SQ_CLEAN_SPAN 128u
#define SQ_CLEAN_GAP 8u

/* What was written for a tenant since the log was made or opened; kept when the tenant has gone. */
struct sq_work {
    uint64_t tenant;
    uint64_t user_blocks;
    uint64_t relocated_blocks;
    uint64_t bound; /* of residue of the tenant's */
};

/* What owns media blocks: the writes of one volume between two snapshots. The media name layers, and a read
 * that finds nothing in one goes on in its parent, unless a hole says that the block was trimmed there.
 * Slot 0 is the log itself. See layer_tree.c. */
struct sq_layer {
    uint64_t number;
    uint64_t tenant;
    uint64_t volume; /* number of the volume in whose life it was written */
    uint64_t dead_blocks;
    uint64_t moved_blocks;
    uint64_t bound;       /* in which its residue has to be written over: the least of the log's and so on */
    uint64_t volume_bound; /* the volume's, or the last that it had */
    struct sq_work *work; /* of the tenant */
    uint32_t slot;
    uint8_t dropped;          /* nobody reads it any more; its bytes still lie on the medium */
    uint8_t watched;          /* it is noted what of it is written over */
    struct sq_volume *reader; /* the volume or snapshot whose head it is, or NULL */
    struct sq_layer *parent;
    struct sq_layer *first_child;
    struct sq_layer *next_sibling;
    struct sq_map map;
    struct sq_map holes; /* lba to anything: trimmed here, while an ancestor has it mapped */
};

/* What a handle names: a volume, or a snapshot, which is a volume that nobody can change. */
struct sq_volume {
    uint64_t number;
    uint64_t tenant;
    uint64_t size_bytes;
    uint64_t origin; /* of a snapshot: the volume; of a clone: the snapshot; else 0 */
    uint64_t bound;  /* of residue of its layers */
    uint64_t leaves; /* of the tree of its key that were used */
    uint32_t key;    /* number of the secret that its blocks are sealed under; 0: none yet */
    uint32_t index;
    uint8_t by_leaf; /* each with a key of its own */
    uint8_t unwritten_error;
    uint8_t is_snapshot;
    uint8_t is_held; /* changes are refused for now; in no checkpoint */
    struct sq_layer *head;
};

struct sq_segment {
    uint32_t live_blocks;
    uint32_t data_blocks; /* dead ones included; what the log keeps for itself is not */
    uint32_t rank;        /* place among the candidates for cleaning, or SQ_NO_RANK */
    uint16_t class;       /* of the head that fills or filled it */
    uint8_t state;        /* enum sq_segment_state */
};

/* Segments in first-in, first-out order. */
struct sq_ring {
    uint32_t *items;
    uint32_t capacity;
    uint32_t first;
    uint32_t count;
};

/* Segments in the order in which they were sealed. Any can be taken out. */
struct sq_list {
    uint32_t *next; /* by segment; the last place is the list itself: its first and its last */
    uint32_t *previous;
    uint32_t count;
};

/* The record that is being filled. On media in memory its data already lie in their place; on others all of
 * it gathers in image, summary first, and the ledger still says what the medium holds. */
struct sq_record {
    uint8_t *image;
    uint64_t *pending; /* entries of summary and data blocks, for the ledger; NULL on media in memory */
    uint64_t position;
    uint32_t mba; /* of the summary */
    uint32_t data_room;
    uint32_t data_count;
    uint32_t entry_count;
    uint32_t request_entry; /* where the request under way began, 0 if in an earlier record */
    uint8_t open;
};

/* Where blocks of a class go: an open segment, with the record that is being filled there. */
struct sq_head {
    struct sq_record record;
    uint32_t segment;     /* SQ_NO_SEGMENT until the first block comes */
    uint32_t open_blocks; /* of the segment, in finished records */
    uint64_t since;       /* user time when the segment before was sealed */
};

/* What was written over of watched layers, in runs, until it is fetched. */
struct sq_gone {
    struct sq_overwritten *runs;
    uint64_t count;
    uint64_t capacity;
    int is_lossy; /* there was no memory for one */
};

#define SQ_NO_SEGMENT 0xFFFFFFFFu

/* What a log on a medium that outlives the process knows about what is safe. */
struct sq_durability {
    int on;
    int read_only;
    int failed;     /* a sync failed, or a request in its middle: no changes until the log is opened again */
    int disowned;   /* by a fork: the parent's log */
    uint64_t opening;      /* the last one that the medium knows */
    uint64_t next_opening; /* this one */
    int clean;      /* the medium says that the log was closed, and nothing has come since */
    int ended;      /* nothing may change any more: the log is being closed */
    int has_erased; /* zeros that no record tells of, and that a checkpoint waits for */
    int begun;      /* the record that marks this opening is on the medium */
    int in_request; /* records that close now end in the middle of a request */
    uint64_t request_noted; /* log.noted when it began */
    int os_error;   /* of the last SQ_E_IO, with its place */
    uint64_t error_mba;

    uint64_t written; /* sequence of the last record that was appended */
    uint64_t flushed; /* of the last one that is known to be on the medium; atomic */
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    int syncing;
    uint32_t waiting; /* flushes that wait for a sync, without the log's lock */

    uint64_t checkpoint; /* sequence of the first record of the newest one on the medium */
    uint32_t checkpoint_mba;
    uint64_t checkpoint_position;
    uint64_t checkpoint_interval; /* blocks */
    uint64_t opened_position;     /* where the counters of the statistics began */
    uint64_t tables_most_bytes;   /* of volumes, layers and holes in a checkpoint */
    uint32_t checkpoint_segments; /* that the largest one takes */
    uint32_t kept_segments;       /* free, at any time between requests: for the cleaner and a checkpoint */
    uint32_t batch_segments;      /* freed at once, so that one sync lets them all be used again */
    uint32_t window_segments;     /* that can hold nothing that is safe, at most */
    uint64_t opened_segments;
    uint64_t *window;             /* what was written when each of the last window_segments was opened */
    uint64_t atomic_blocks;       /* of a request that a crash does not cut in two */
    uint32_t replayed_slot;       /* of the layer that recovery met last */
    uint64_t *newest;             /* by segment: sequence of its last record */
    uint64_t *freed;              /* by segment: must be flushed before the segment is written again */
    uint8_t *clean_buffer;        /* SQ_CLEAN_SPAN blocks */
};

struct sq_log {
    pthread_rwlock_t lock;
    const struct sq_kernels *kernels;
    sq_medium *medium;
    uint8_t *payload;    /* the medium's bytes; NULL unless it is in memory */
    uint64_t *tags;      /* the medium's tags; NULL unless it keeps them */
    uint64_t *ledger;    /* one entry a media block */
    uint32_t *checksums; /* of live data blocks; NULL on a tags medium */
    struct sq_segment *segments;

    uint64_t block_count;
    uint64_t segment_magic; /* of the division by segment_blocks */
    uint32_t block_bytes;
    uint32_t block_shift;
    uint32_t segment_blocks;
    uint32_t segment_count;
    uint32_t summary_size;   /* blocks that a summary takes: 1, or 0 where it is only counted */
    uint32_t entry_bytes;    /* of an entry in a summary */
    uint32_t record_entries; /* that a summary holds */
    uint32_t record_blocks;  /* data blocks of a record, at most */
    uint32_t segment_data;   /* data blocks of a segment that is filled with full records */

    struct sq_ring free_ring;
    struct sq_list sealed;
    struct sq_head *heads; /* by class */
    struct sq_head *head;  /* the one that takes the next block */
    uint32_t class_count;
    uint64_t sequence; /* of the last record that was closed */
    uint64_t noted;    /* entries, in all records so far */
    uint32_t previous; /* checksum of the last summary */
    struct sq_cleaner cleaner;
    struct sq_dues dues;
    struct sq_gone gone;
    uint64_t bound; /* of all residue, in positions; SQ_NEVER: none */
    int has_had_dues; /* so that segments may have been taken in any order */
    uint64_t erased_blocks; /* written over with zeros where no head was: the log's time stands still */
    struct sq_durability durable;
    struct sq_sealing sealing;

    struct sq_layer **layers; /* by slot */
    uint32_t layer_count;
    uint32_t layer_capacity;
    uint32_t *free_slots;
    uint32_t free_slot_count;
    struct sq_work **works; /* in ascending order of tenants */
    uint32_t work_count;
    uint32_t work_capacity;
    struct sq_volume **volumes; /* by index */
    uint32_t volume_count;      /* indexes in use or free */
    uint32_t volume_capacity;
    uint32_t *free_indexes;
    uint32_t free_index_count;
    uint64_t last_number;
    uint64_t hole_leaves; /* leaves of all maps of holes */
    int has_empty_layers; /* that are to be taken out of the tree before the call ends */
    struct sq_leaf_pool leaves;

    struct sq_stats stats; /* head_mba and map_bytes are filled when asked for */
    uint64_t drive;
    uint32_t verify;
    uint8_t *scratch; /* two blocks for parts of blocks; zero between requests */
    struct sq_recorder *recorder; /* NULL unless operations are noted */

    int closed;
    int latched;
    struct sq_invariant invariant;
};

#endif
