/* sealed.h: what goes with each block of a log that is encrypted, and where it is kept. sealed.c. */
#ifndef SEQSTORE_SEALED_H
#define SEQSTORE_SEALED_H

#include <pthread.h>

#include "key_grove.h"

struct sq_layer;
struct sq_volume;

/* What a block was sealed with. It goes wherever the block goes; key 0: it is not known. */
struct sq_seal {
    uint8_t tag[SQ_SEAL_BYTES];
    uint64_t opening; /* the random number of the use of the log in which it was sealed */
    uint64_t number;  /* sequence of its first record << 16 | place in it */
    uint32_t key;     /* number of the secret in the key ring */
    uint32_t leaf;    /* 0, or one more than the leaf of its tree whose key it was sealed with */
};

struct sq_sealing {
    int on;
    sq_key_ring *ring; /* the caller's; NULL: blocks can be moved, and neither written nor read */
    uint64_t opening;
    struct sq_seal *seals; /* by mba; NULL on logs that are not sealed */
    uint8_t *has_all;      /* by segment: the seals of all that lives there are in memory; atomic */
    uint8_t *summary;      /* a block, to read summaries into */
    pthread_mutex_t loading; /* of summary, and of seals of segments that are not all there */
    struct sq_volume *writer;  /* while a request writes to it */
    sq_key *key;               /* held meanwhile; or else: */
    struct sq_leaf_walk walk;
};

/* A key that is held from one block to the next. Zero at first; to be ended. */
struct sq_opener {
    sq_key *key;
    uint32_t number;
    uint64_t opening;
    struct sq_leaf_walk walk;
};

/* The log's options say whether it is sealed. What was initialised is to be freed, also on failure. */
int sq_sealing_init(sq_log *log, const struct sq_log_options *options);
void sq_sealing_free(sq_log *log);

/* A head that is in use begins to fill the segment: all seals there will be in memory. */
void sq_sealing_begin(sq_log *log, uint32_t segment);

/* Is there a key to seal the volume's blocks with? SQ_OK also on logs that are not sealed. */
int sq_seal_check(sq_log *log, const struct sq_volume *volume);

/* Around blocks of a volume that are written: takes its key, and lets go of it. */
int sq_seal_take(sq_log *log, struct sq_volume *volume);
void sq_seal_give_back(sq_log *log);

/* Seals a block for sq_record_next_mba, where it is put. */
int sq_seal_block(sq_log *log, const struct sq_layer *layer, uint64_t lba, const uint8_t *plain);

/* The cleaner's copy has the seal of what it copies; 0: that is not known any more. */
int sq_seal_move(sq_log *log, uint32_t from, uint32_t to);

/* Puts the seal of the block into its entry of a summary, whose other bytes are zero. */
void sq_seal_put(const sq_log *log, uint32_t mba, uint8_t *entry);

/* Opens a live block; plain_out may be cipher. SQ_E_CORRUPT or SQ_E_NO_KEY, and zeros; SQ_E_IO if its
 * summary, which has the seal, could not be read. */
int sq_open_block(sq_log *log, struct sq_opener *opener, const struct sq_layer *layer, uint64_t lba,
                  uint32_t mba, const uint8_t *cipher, uint8_t *plain_out, int *os_error);
void sq_opener_end(const sq_log *log, struct sq_opener *opener);

/* No two live blocks have one nonce under one key. */
int sq_sealing_check(sq_log *log);

#endif
