/* extent_map.h: where each block of a volume lies: lba to mba.
 *
 * A directory of one word for 512 blocks, and leaves in the form that fits what they hold:
 *
 *   empty   nothing mapped             no leaf
 *   line    at most 8 extents          64 bytes, one cache line
 *   sparse  anything                   bitmap and ranks, 80 bytes, and 4 bytes a mapped block
 *   dense   more than 93 % mapped      2048 bytes, 4 a block
 *
 * A look-up reads the directory and the leaf (two lines of it, when it is sparse).
 * Invariants: a directory word is 0 or leaf address | form | mapped blocks << 48; a leaf is never without
 * mapped blocks; extents of a line ascend and neighbours cannot be joined.
 * Lock: the log's. Calls that add mappings follow a successful sq_map_reserve.
 */
#ifndef SEQSTORE_EXTENT_MAP_H
#define SEQSTORE_EXTENT_MAP_H

#include <stdint.h>

#include "leaf_pool.h"

#define SQ_UNMAPPED 0xFFFFFFFFu
#define SQ_LEAF_BLOCKS 512u
#define SQ_LINE_EXTENTS 8u
#define SQ_MAP_TAKES 128u

enum sq_leaf_form { SQ_LEAF_EMPTY, SQ_LEAF_LINE, SQ_LEAF_SPARSE, SQ_LEAF_DENSE };

struct sq_map {
    uint64_t *directory;
    uint64_t leaf_count; /* words of the directory; what lies beyond is unmapped */
    uint64_t mapped_blocks;
    uint64_t used_leaves;
    struct sq_leaf_pool *pool;
    uint64_t owner; /* names the map to the pool, which hands back owner << 32 | leaf index */
};

struct sq_line_extent {
    uint16_t at;    /* first block within the leaf */
    uint16_t count; /* 0: unused, and so are those behind */
    uint32_t mba;
};

struct sq_sparse_leaf {
    uint64_t bitmap[8];
    uint16_t before[8]; /* mapped blocks before each word of the bitmap */
    uint32_t mba[];
};

/* A run that is unmapped (mba = SQ_UNMAPPED) or mapped to consecutive media blocks. */
struct sq_map_run {
    uint64_t count;
    uint32_t mba;
};

void sq_map_init(struct sq_map *map, struct sq_leaf_pool *pool, uint64_t owner);
void sq_map_free(struct sq_map *map);

/* Frees the map without its leaves, when the whole pool goes. */
void sq_map_discard(struct sq_map *map);

/* Sees to it that SQ_MAP_TAKES blocks below end_lba can be mapped, or a range unmapped, without
 * failing; 0, or -1 when the process is out of memory. size_blocks: of the volume, which the directory
 * never exceeds. */
int sq_map_reserve(struct sq_map *map, uint64_t end_lba, uint64_t size_blocks);

/* Is nothing mapped beyond the size of the volume? */
int sq_map_fits(const struct sq_map *map, uint64_t size_blocks);

/* Gives back the directory's memory beyond the size of the volume, where nothing is mapped. */
void sq_map_cut(struct sq_map *map, uint64_t size_blocks);

/* Maps count blocks (at most SQ_MAP_TAKES) from lba to the run at mba; old_out gets what each was
 * mapped to. */
void sq_map_put_run(struct sq_map *map, uint64_t lba, uint32_t count, uint32_t mba,
                    uint32_t *old_out);

/* Unmaps the blocks of [lba, end) that lie in lba's leaf; returns how many were mapped and gives their
 * media blocks in old_out[512]. */
uint32_t sq_map_clear(struct sq_map *map, uint64_t lba, uint64_t end, uint32_t *old_out);

/* What the blocks of a leaf are mapped to, in mba_out[SQ_LEAF_BLOCKS]. */
void sq_map_unpack(const struct sq_map *map, uint64_t index, uint32_t *mba_out);

/* The longest uniform run from lba on that ends at end or before. */
struct sq_map_run sq_map_run_at(const struct sq_map *map, uint64_t lba, uint64_t end);

/* For the pool: the map's leaf of that index lies elsewhere now. */
void sq_map_leaf_moved(struct sq_map *map, uint64_t index, void *leaf);

/* Compares words, leaves and counts; 0 if they agree. */
int sq_map_check(const struct sq_map *map);

/* ---- words and look-up ---------------------------------------------------------------------- */

static inline unsigned sq_word_form(uint64_t word)
{
    return (unsigned)(word & 3);
}

static inline void *sq_word_leaf(uint64_t word)
{
    return (void *)(uintptr_t)(word & 0x0000FFFFFFFFFFC0u);
}

static inline uint32_t sq_word_mapped(uint64_t word)
{
    return (uint32_t)(word >> 48);
}

static inline uint32_t sq_line_get(const struct sq_line_extent *line, uint32_t at)
{
    for (unsigned i = 0; i < SQ_LINE_EXTENTS && line[i].count != 0; i++)
        if (at - line[i].at < line[i].count)
            return line[i].mba + (at - line[i].at);
    return SQ_UNMAPPED;
}

static inline uint32_t sq_sparse_rank(const struct sq_sparse_leaf *leaf, uint32_t at)
{
    uint64_t below = leaf->bitmap[at / 64] & (((uint64_t)1 << at % 64) - 1);
    return leaf->before[at / 64] + (uint32_t)__builtin_popcountll(below);
}

static inline uint32_t sq_sparse_get(const struct sq_sparse_leaf *leaf, uint32_t at)
{
    if ((leaf->bitmap[at / 64] >> at % 64 & 1) == 0)
        return SQ_UNMAPPED;
    return leaf->mba[sq_sparse_rank(leaf, at)];
}

/* 0 if nothing of the leaf is mapped. */
static inline uint64_t sq_map_word(const struct sq_map *map, uint64_t index)
{
    return index < map->leaf_count ? map->directory[index] : 0;
}

static inline uint32_t sq_map_get(const struct sq_map *map, uint64_t lba)
{
    uint64_t index = lba / SQ_LEAF_BLOCKS;
    uint32_t at = (uint32_t)(lba % SQ_LEAF_BLOCKS);
    if (index >= map->leaf_count)
        return SQ_UNMAPPED;
    uint64_t word = map->directory[index];
    switch (sq_word_form(word)) {
    case SQ_LEAF_DENSE:
        return ((const uint32_t *)sq_word_leaf(word))[at];
    case SQ_LEAF_SPARSE:
        return sq_sparse_get(sq_word_leaf(word), at);
    case SQ_LEAF_LINE:
        return sq_line_get(sq_word_leaf(word), at);
    default:
        return SQ_UNMAPPED;
    }
}

/* Maps one block; returns what it was mapped to. */
static inline uint32_t sq_map_put(struct sq_map *map, uint64_t lba, uint32_t mba)
{
    uint64_t word = map->directory[lba / SQ_LEAF_BLOCKS];
    uint32_t old;
    if (sq_word_form(word) == SQ_LEAF_DENSE) {
        uint32_t *entry = (uint32_t *)sq_word_leaf(word) + lba % SQ_LEAF_BLOCKS;
        old = *entry;
        if (old != SQ_UNMAPPED) {
            *entry = mba;
            return old;
        }
    }
    sq_map_put_run(map, lba, 1, mba, &old);
    return old;
}

/* A prefetch that stays. GCC takes a function that only prefetches for one without effect and drops the
 * calls; the empty asm keeps it. */
static inline void sq_fetch(const void *address)
{
    __builtin_prefetch(address, 1);
    __asm__ volatile("" : : "r"(address));
}

/* First step of a look-up ahead of time: fetches the directory word. */
static inline void sq_map_prefetch_word(const struct sq_map *map, uint64_t lba)
{
    if (lba / SQ_LEAF_BLOCKS < map->leaf_count)
        sq_fetch(&map->directory[lba / SQ_LEAF_BLOCKS]);
}

/* Second step: fetches the line of the leaf that the look-up will read. */
static inline void sq_map_prefetch_leaf(const struct sq_map *map, uint64_t lba)
{
    if (lba / SQ_LEAF_BLOCKS >= map->leaf_count)
        return;
    uint64_t word = map->directory[lba / SQ_LEAF_BLOCKS];
    const uint32_t *leaf = sq_word_leaf(word);
    if (sq_word_form(word) == SQ_LEAF_DENSE)
        leaf += lba % SQ_LEAF_BLOCKS;
    sq_fetch(leaf);
    if (sq_word_form(word) == SQ_LEAF_SPARSE) /* the entry, about: the map is as full here as there */
        sq_fetch(leaf + 20 + lba % SQ_LEAF_BLOCKS * sq_word_mapped(word) / SQ_LEAF_BLOCKS);
}

#endif
