/* cleaner.h: what the cleaner knows: which segments it may take, and where blocks go.
 *
 * Cleaning is a selection (select.c: which segment next) times a placement (place.c: which head takes a
 * block), independent of each other. Time is user time: blocks written on request so far.
 *
 * Invariants: candidates are sealed segments; segments[candidates[i]].rank is i; under greedy selections
 * they ascend by live blocks, and starts[n] is the first with n live blocks or more. All sealed segments
 * are candidates but the one that is being cleaned; under windowed_greedy the first window_count of them,
 * the last of which is the youngest. Lock: the log's.
 */
#ifndef SEQSTORE_CLEANER_H
#define SEQSTORE_CLEANER_H

#include <stdint.h>

/* Segments that cost-benefit remembers where it cannot score them all. */
#define SQ_POOL 16u

/* Of a segment that is no candidate; and of a candidate that is being cleaned. */
#define SQ_NO_RANK 0xFFFFFFFFu
#define SQ_TAKEN 0xFFFFFFFEu
#define SQ_CLASSES_MAX 64u

/* What SepBIT learns; see place.c. */
struct sq_sepbit {
    uint64_t lifespan;   /* average of the last segments of class 0; UINT64_MAX at first */
    uint64_t lifespans;  /* sum, of those since */
    uint32_t collected;  /* how many */
    uint32_t victim;     /* class of the segment that is being cleaned */
    uint64_t queue;      /* blocks that the queue of recent writes holds */
};

/* What multi-log learns of each class. */
struct sq_multilog {
    uint64_t live_blocks[SQ_CLASSES_MAX];
    uint64_t cleaned_blocks[SQ_CLASSES_MAX];
    uint64_t garbage_blocks[SQ_CLASSES_MAX]; /* of them */
    uint32_t highest;                        /* class in use */
};

/* By when segments have to be written over; see due.c. Times are positions. */
#define SQ_NEVER ((uint64_t)1 << 62)

struct sq_due_heap {
    uint32_t *items;
    uint32_t count;
};

struct sq_dues {
    uint64_t *due;     /* by segment; NULL: nothing has a bound */
    uint32_t *ranks;   /* by segment: its place in its heap */
    struct sq_due_heap heaps[2]; /* of segments that hold data, and of free ones */
    uint64_t rest[SQ_CLASSES_MAX]; /* of what lies in the head's segment and is not written over yet */
    uint32_t *steps;   /* how many segments, and rests, are due in each step of time: a ring */
    uint32_t step_count;
    uint64_t step_blocks;
    uint64_t longest;  /* bound that there is or was */
};

struct sq_cleaner {
    uint32_t selection;
    uint32_t placement;
    uint32_t spare_segments; /* free ones that the heads leave to the cleaner */
    uint32_t choices;
    uint32_t window_ppm;
    uint32_t garbage_ppm; /* of all data blocks, that starts the cleaner; 0: when free segments run short */
    uint32_t least_ppm;   /* share of garbage that a victim must have, at this choice */
    uint64_t random;

    uint32_t *candidates; /* NULL where the order of sealing is all that counts */
    uint32_t *starts;     /* NULL unless greedy */
    uint32_t candidate_end;
    uint32_t cursor; /* of cost-benefit's rolling scan */
    double *gains;        /* of a full segment by its live blocks; NULL unless cost-benefit */
    uint32_t pool_count;
    uint32_t *pool;       /* the best that it has seen */
    uint32_t youngest;    /* windowed: the last segment in the window */
    uint32_t window_count;
    uint64_t *sealed_at;  /* by segment */
    uint64_t *opened_at;

    uint64_t data_blocks;    /* of segments that are not free */
    uint64_t garbage_blocks; /* dead ones in sealed segments */

    int is_pressed;       /* for time, by deadlines, while a victim is cleaned */
    uint8_t *victim_classes; /* of the blocks that are cleaned; NULL where each goes its way at once */
    uint32_t *births; /* by media block: user time when its data was written, modulo 2^32; or NULL */
    uint32_t *deaths; /* the same: when it will be written next */
    struct sq_sepbit sepbit;
    struct sq_multilog *multilog;
    const struct sq_policy_calls *calls;
    void *context;

    uint64_t *victims;   /* histogram of their utilization, SQ_VICTIM_BINS */
    uint64_t *latencies; /* SQ_LATENCY_BINS of DEAD blocks, then as many of MOVED ones; or NULL */
    uint64_t latency_scale; /* bins a block, times 2^56, rounded up */
};

#endif
