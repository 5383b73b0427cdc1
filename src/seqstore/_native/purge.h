/* purge.h: what is purged. Lock: the log's, held alone. */
#ifndef SEQSTORE_PURGE_H
#define SEQSTORE_PURGE_H

#include "internal.h"

/* Blocks that are zeroed, or read back, at once. */
#define SQ_ERASE_BLOCKS 64u

struct sq_purge_scope {
    int kind; /* enum sq_scope */
    uint64_t id;
    uint64_t died_before; /* position */
};

/* Does the layer belong to what is asked for? The log's own never does. */
static inline int sq_in_scope(const struct sq_layer *layer, int scope, uint64_t id)
{
    if (layer == NULL || layer->slot == 0)
        return 0;
    return scope == SQ_SCOPE_ALL || (scope == SQ_SCOPE_TENANT ? layer->tenant : layer->volume) == id;
}

#endif
