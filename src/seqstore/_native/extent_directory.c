/* extent_directory.c: the directory of an extent map: how it grows, shrinks and goes. */
#include <stdlib.h>

#include "extent_map.h"
#include "pages.h"

void sq_map_init(struct sq_map *map, struct sq_leaf_pool *pool, uint64_t owner)
{
    *map = (struct sq_map){.pool = pool, .owner = owner};
}

/* A directory in this range lies in huge pages: with small ones, each look-up in a volume of a terabyte would
 * miss the TLB once more. A larger one belongs to a volume that is thin, and must not be touched in such
 * large pieces. */
#define HUGE_FROM_BYTES ((size_t)2 << 20)
#define HUGE_TO_BYTES ((size_t)64 << 20)

static int lies_in_huge_pages(uint64_t count)
{
    size_t bytes = count * sizeof(uint64_t);
    return bytes >= HUGE_FROM_BYTES && bytes <= HUGE_TO_BYTES;
}

/* Zeros; pages of a large directory stay untouched until used, so that a thin volume stays thin. */
static uint64_t *new_directory(uint64_t count)
{
    if (lies_in_huge_pages(count))
        return sq_pages_map(count * sizeof(uint64_t), HUGE_FROM_BYTES, 1);
    return calloc(count, sizeof(uint64_t));
}

static void free_directory(uint64_t *directory, uint64_t count)
{
    if (lies_in_huge_pages(count))
        sq_pages_unmap(directory, count * sizeof *directory);
    else
        free(directory);
}

/* Moves the directory to one of another size; words beyond that are zero. 0, or -1. */
static int resize_directory(struct sq_map *map, uint64_t count)
{
    uint64_t kept = count < map->leaf_count ? count : map->leaf_count;
    uint64_t *directory = count == 0 ? NULL : new_directory(count);
    if (directory == NULL && count != 0)
        return -1;
    for (uint64_t index = 0; index < kept; index++)
        if (map->directory[index] != 0)
            directory[index] = map->directory[index];
    free_directory(map->directory, map->leaf_count);
    map->pool->directory_bytes += (count - map->leaf_count) * sizeof *directory;
    map->directory = directory;
    map->leaf_count = count;
    return 0;
}

void sq_map_discard(struct sq_map *map)
{
    resize_directory(map, 0); /* to nothing, which cannot fail */
    map->mapped_blocks = 0;
    map->used_leaves = 0;
}

void sq_map_free(struct sq_map *map)
{
    for (uint64_t index = 0; index < map->leaf_count; index++)
        if (map->directory[index] != 0)
            sq_leaf_give_back(map->pool, sq_word_leaf(map->directory[index]));
    sq_map_discard(map);
}

int sq_map_reserve(struct sq_map *map, uint64_t end_lba, uint64_t size_blocks)
{
    uint64_t needed = (end_lba + SQ_LEAF_BLOCKS - 1) / SQ_LEAF_BLOCKS;
    uint64_t most = (size_blocks + SQ_LEAF_BLOCKS - 1) / SQ_LEAF_BLOCKS;
    if (sq_leaf_pool_reserve(map->pool, SQ_MAP_TAKES) != 0)
        return -1;
    if (needed <= map->leaf_count)
        return 0;
    uint64_t count = map->leaf_count * 2 < most ? map->leaf_count * 2 : most;
    return resize_directory(map, count < needed ? needed : count);
}

int sq_map_fits(const struct sq_map *map, uint64_t size_blocks)
{
    uint64_t end = map->leaf_count * SQ_LEAF_BLOCKS;
    if (size_blocks >= end)
        return 1;
    struct sq_map_run rest = sq_map_run_at(map, size_blocks, end);
    return rest.mba == SQ_UNMAPPED && rest.count == end - size_blocks;
}

void sq_map_cut(struct sq_map *map, uint64_t size_blocks)
{
    uint64_t count = (size_blocks + SQ_LEAF_BLOCKS - 1) / SQ_LEAF_BLOCKS;
    if (count < map->leaf_count)
        resize_directory(map, count); /* or it stays as large as it is */
}
