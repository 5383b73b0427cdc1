/* leaf_pool.h: memory for the leaves of extent maps, without holes.
 *
 * A leaf takes a number of 64-byte units. Leaves of one size fill slabs one after the other; where one
 * is freed, the last of its size moves into the hole, and its owner is told. So the memory in use is the
 * leaves' own plus at most one partly filled slab a size, whatever the history.
 */
#ifndef SEQSTORE_LEAF_POOL_H
#define SEQSTORE_LEAF_POOL_H

#include <stddef.h>
#include <stdint.h>

#define SQ_LEAF_UNIT 64
#define SQ_LEAF_UNITS_MAX 32

struct sq_slab;
struct sq_arena;

struct sq_leaf_pool {
    struct sq_slab *filling[SQ_LEAF_UNITS_MAX + 1]; /* by units: the newest slab, the only partial one */
    struct sq_slab *free_slabs; /* given back */
    uint32_t free_count;
    uint32_t fresh_count; /* slabs of the newest arena, from fresh on, that were never touched */
    uint8_t *fresh;
    struct sq_arena *arenas;
    int huge;
    uint32_t leaf_count;    /* leaves in use */
    size_t used_bytes;      /* of slabs in use */
    size_t directory_bytes; /* of the maps' directories, counted here for the statistics */
    /* Told when a leaf has moved; owner is what the leaf was taken with. */
    void (*moved)(void *context, uint64_t owner, void *leaf);
    void *context;
};

/* huge: with huge pages, for maps that will not fit into the cache. */
void sq_leaf_pool_init(struct sq_leaf_pool *pool, int huge, void (*moved)(void *, uint64_t, void *),
                       void *context);
void sq_leaf_pool_free(struct sq_leaf_pool *pool);

/* Sees to it that so many takes cannot fail; 0, or -1 when the process is out of memory. */
int sq_leaf_pool_reserve(struct sq_leaf_pool *pool, uint32_t takes);

/* A leaf of units * 64 bytes, its content undefined; after a reserve. */
void *sq_leaf_take(struct sq_leaf_pool *pool, uint32_t units, uint64_t owner);
void sq_leaf_give_back(struct sq_leaf_pool *pool, void *leaf);

#endif
