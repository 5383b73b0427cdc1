/* key_tree.h: the parts of a tree of keys that key_grove.c uses, too. */
#ifndef SEQSTORE_KEY_TREE_H
#define SEQSTORE_KEY_TREE_H

#include "crypt.h"

#define SQ_FAN_OUT_LOG2 2u
#define SQ_FAN_OUT 4u
#define SQ_CHILDREN_BYTES (SQ_FAN_OUT * SQ_KEY_BYTES)

/* How many leaves a node of that level covers. */
static inline uint64_t sq_tree_leaves(uint64_t level)
{
    return (uint64_t)1 << SQ_FAN_OUT_LOG2 * level;
}

/* Nodes ascend, do not overlap, and lie where nodes can. */
int sq_tree_is_right(const struct sq_tree_node *nodes, uint64_t count);

/* The node that covers a leaf, or NULL. */
const struct sq_tree_node *sq_tree_find(const struct sq_tree_node *nodes, uint64_t count, uint64_t leaf);

/* The keys of all children, one behind the other. The context is of the cipher, under any key. */
int sq_tree_children(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *key,
                     uint8_t *children_out);

#endif
