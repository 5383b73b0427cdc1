/* key_grove.h: trees of keys with a leaf for each block, and walking in them. key_grove.c. */
#ifndef SEQSTORE_KEY_GROVE_H
#define SEQSTORE_KEY_GROVE_H

#include <pthread.h>

#include "key_tree.h"

#define SQ_WALK_LEVELS 3u /* below what is remembered of a tree */

struct sq_kept_tree;
struct sq_remembered;

/* Part of a key ring. */
struct sq_grove {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct sq_crypto *crypto;
    struct sq_kept_tree *trees; /* in ascending order of numbers and openings */
    uint64_t count;
    uint64_t capacity;
    struct sq_remembered *remembered; /* keys on the way, by where they are; NULL until the first */
    sq_key *contexts; /* without a key of its own; NULL until the first walk */
    uint64_t walkers[2];
    uint32_t turn; /* which of them those count in that come now */
};

void sq_grove_init(struct sq_grove *grove, struct sq_crypto *crypto);
void sq_grove_free(struct sq_grove *grove);

/* Forgets the trees of a number; those that were kept stay if only_derived. Waits for who knows more. */
void sq_grove_forget(struct sq_grove *grove, uint64_t number, int only_derived);

/* The root of the tree of a secret in an opening; key_ring.c. SQ_E_NOT_FOUND. */
int sq_key_ring_root(sq_key_ring *ring, uint64_t number, uint64_t opening, uint8_t *root_out);

struct sq_grove *sq_key_ring_grove(sq_key_ring *ring);

/* From one leaf to the next. Zero at first; to be ended soon, since who lets keys die waits for it. */
struct sq_leaf_walk {
    sq_key_ring *ring;
    sq_cipher_context *context; /* has the key of the leaf, or any other */
    struct sq_slot *slot;
    uint32_t turn;
    int is_inside; /* of top */
    uint64_t number;
    uint64_t opening;
    uint64_t leaf;
    struct sq_tree_node top; /* level SQ_WALK_LEVELS at most */
    uint8_t children[SQ_WALK_LEVELS][SQ_CHILDREN_BYTES]; /* of the nodes on the way, by level */
};

/* Begins a walk that has not begun, or was ended. */
int sq_walk_begin(sq_key_ring *ring, struct sq_leaf_walk *walk);

/* The key of a leaf, which is the walk's. SQ_E_NOT_FOUND if it is dead. */
int sq_walk_to(struct sq_leaf_walk *walk, uint64_t number, uint64_t opening, uint64_t leaf,
               const uint8_t **key_out);
void sq_walk_end(struct sq_leaf_walk *walk);

#endif
