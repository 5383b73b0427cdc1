/* leaf_pool.c: slabs of leaves of one size, kept dense by moving the last leaf into each hole. */
#include "leaf_pool.h"

#include <stdlib.h>
#include <string.h>

#include "pages.h"

/* 126 of the largest leaves fill a slab to 98 %; 64 owners fit into each 512 bytes of its head. */
#define SLAB_BYTES ((size_t)256 << 10)
/* A huge page and its alignment in slabs, and how many slabs are asked for at once then. */
#define HUGE_SLABS 8u
#define HUGE_ARENA_SLABS 64u

struct sq_slab {
    struct sq_slab *previous; /* of the same size, all full; or the next free slab */
    uint32_t units;
    uint32_t capacity;
    uint32_t used;
    uint32_t first_bytes; /* offset of leaf 0 */
    uint64_t owners[];
};

struct sq_arena {
    struct sq_arena *next;
    void *pages;
    size_t bytes;
};

void sq_leaf_pool_init(struct sq_leaf_pool *pool, int huge, void (*moved)(void *, uint64_t, void *),
                       void *context)
{
    memset(pool, 0, sizeof *pool);
    pool->huge = huge;
    pool->moved = moved;
    pool->context = context;
}

void sq_leaf_pool_free(struct sq_leaf_pool *pool)
{
    for (struct sq_arena *arena = pool->arenas, *next; arena != NULL; arena = next) {
        next = arena->next;
        sq_pages_unmap(arena->pages, arena->bytes);
        free(arena);
    }
    memset(pool, 0, sizeof *pool);
}

static void push_free(struct sq_leaf_pool *pool, struct sq_slab *slab)
{
    slab->previous = pool->free_slabs;
    pool->free_slabs = slab;
    pool->free_count++;
}

static int add_arena(struct sq_leaf_pool *pool, uint32_t slabs)
{
    struct sq_arena *arena = malloc(sizeof *arena);
    size_t bytes = slabs * SLAB_BYTES, alignment = (pool->huge ? HUGE_SLABS : 1) * SLAB_BYTES;
    void *pages = arena == NULL ? NULL : sq_pages_map(bytes, alignment, pool->huge);
    if (pages == NULL) {
        free(arena);
        return -1;
    }
    *arena = (struct sq_arena){.next = pool->arenas, .pages = pages, .bytes = bytes};
    for (; pool->fresh_count > 0; pool->fresh_count--, pool->fresh += SLAB_BYTES)
        push_free(pool, (struct sq_slab *)(void *)pool->fresh);
    pool->arenas = arena;
    pool->fresh = pages;
    pool->fresh_count = slabs;
    return 0;
}

int sq_leaf_pool_reserve(struct sq_leaf_pool *pool, uint32_t takes)
{
    /* Each size may start a slab, and the takes may fill some with leaves of the largest size. */
    uint32_t slabs = SQ_LEAF_UNITS_MAX + 1 + takes / (uint32_t)(SLAB_BYTES / 2112);
    uint32_t have = pool->free_count + pool->fresh_count;
    if (have >= slabs)
        return 0;
    uint32_t missing = slabs - have;
    return add_arena(pool, pool->huge && missing < HUGE_ARENA_SLABS ? HUGE_ARENA_SLABS : missing);
}

/* One of the slabs that a reserve has seen to. */
static struct sq_slab *pop_free(struct sq_leaf_pool *pool)
{
    struct sq_slab *slab = pool->free_slabs;
    if (slab != NULL) {
        pool->free_slabs = slab->previous;
        pool->free_count--;
    } else {
        slab = (struct sq_slab *)(void *)pool->fresh;
        pool->fresh += SLAB_BYTES;
        pool->fresh_count--;
    }
    return slab;
}

static uint8_t *leaf_at(struct sq_slab *slab, uint32_t index)
{
    return (uint8_t *)slab + slab->first_bytes + (size_t)index * slab->units * SQ_LEAF_UNIT;
}

static struct sq_slab *start_slab(struct sq_leaf_pool *pool, uint32_t units)
{
    struct sq_slab *slab = pop_free(pool);
    size_t per_leaf = units * (size_t)SQ_LEAF_UNIT + sizeof slab->owners[0];
    slab->previous = pool->filling[units];
    slab->units = units;
    slab->capacity = (uint32_t)((SLAB_BYTES - sizeof *slab - SQ_LEAF_UNIT) / per_leaf);
    slab->used = 0;
    size_t head = sizeof *slab + slab->capacity * sizeof slab->owners[0];
    slab->first_bytes = (uint32_t)((head + SQ_LEAF_UNIT - 1) / SQ_LEAF_UNIT * SQ_LEAF_UNIT);
    pool->filling[units] = slab;
    pool->used_bytes += SLAB_BYTES;
    return slab;
}

void *sq_leaf_take(struct sq_leaf_pool *pool, uint32_t units, uint64_t owner)
{
    struct sq_slab *slab = pool->filling[units];
    if (slab == NULL || slab->used == slab->capacity)
        slab = start_slab(pool, units);
    slab->owners[slab->used] = owner;
    pool->leaf_count++;
    return leaf_at(slab, slab->used++);
}

void sq_leaf_give_back(struct sq_leaf_pool *pool, void *leaf)
{
    struct sq_slab *slab = (struct sq_slab *)(void *)((uintptr_t)leaf & ~(SLAB_BYTES - 1));
    size_t leaf_bytes = slab->units * (size_t)SQ_LEAF_UNIT;
    size_t index = (size_t)((uint8_t *)leaf - leaf_at(slab, 0)) / leaf_bytes;
    struct sq_slab *filling = pool->filling[slab->units];
    pool->leaf_count--;
    void *last = leaf_at(filling, --filling->used);
    if (last != leaf) {
        uint64_t owner = filling->owners[filling->used];
        memcpy(leaf, last, leaf_bytes);
        slab->owners[index] = owner;
        pool->moved(pool->context, owner, leaf);
    }
    if (filling->used == 0) {
        pool->filling[filling->units] = filling->previous;
        pool->used_bytes -= SLAB_BYTES;
        sq_pages_forget(filling, SLAB_BYTES);
        push_free(pool, filling);
    }
}
