/* extent_map.c: the leaves of the extent map and their changes. Forms and invariants: extent_map.h. */
#include "extent_map.h"

#include <string.h>

#include "plant.h"

#define MAPPED_ONE ((uint64_t)1 << 48)
#define LINE_UNITS 1u
#define DENSE_UNITS 32u
#define SPARSE_MAX 476u      /* mapped blocks that 31 units hold */
#define DENSE_MIN 400u       /* below this a dense leaf is packed again; the gap keeps it from flapping */
#define LINE_PACK_EXTENTS 6u /* a leaf becomes a line when this few extents hold it all */

/* ---- leaves -------------------------------------------------------------------------------- */

static uint64_t make_word(const void *leaf, unsigned form, uint32_t mapped)
{
    return (uint64_t)(uintptr_t)leaf | form | (uint64_t)mapped << 48;
}

static uint32_t sparse_units(uint32_t mapped)
{
    size_t bytes = sizeof(struct sq_sparse_leaf) + mapped * sizeof(uint32_t);
    return (uint32_t)((bytes + SQ_LEAF_UNIT - 1) / SQ_LEAF_UNIT);
}

static void *take(struct sq_map *map, uint64_t index, uint32_t units)
{
    return sq_leaf_take(map->pool, units, map->owner << 32 | index);
}

void sq_map_leaf_moved(struct sq_map *map, uint64_t index, void *leaf)
{
    uint64_t word = map->directory[index];
    map->directory[index] = make_word(leaf, sq_word_form(word), sq_word_mapped(word));
}

/* Puts a new leaf in the place of the old one, which goes back to the pool. */
static void replace_leaf(struct sq_map *map, uint64_t index, uint64_t word)
{
    uint64_t old = map->directory[index];
    map->directory[index] = word;
    map->used_leaves += (uint64_t)(word != 0) - (uint64_t)(old != 0);
    if (old != 0)
        sq_leaf_give_back(map->pool, sq_word_leaf(old));
}

static void unpack(uint64_t word, uint32_t *flat)
{
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++)
        flat[at] = SQ_UNMAPPED;
    if (sq_word_form(word) == SQ_LEAF_DENSE) {
        memcpy(flat, sq_word_leaf(word), SQ_LEAF_BLOCKS * sizeof *flat);
    } else if (sq_word_form(word) == SQ_LEAF_SPARSE) {
        const struct sq_sparse_leaf *leaf = sq_word_leaf(word);
        for (uint32_t at = 0, rank = 0; at < SQ_LEAF_BLOCKS; at++)
            if (leaf->bitmap[at / 64] >> at % 64 & 1)
                flat[at] = leaf->mba[rank++];
    } else if (sq_word_form(word) == SQ_LEAF_LINE) {
        const struct sq_line_extent *line = sq_word_leaf(word);
        for (uint32_t i = 0; i < SQ_LINE_EXTENTS; i++)
            for (uint32_t k = 0; k < line[i].count; k++)
                flat[line[i].at + k] = line[i].mba + k;
    }
}

/* Adds an extent behind the others, or joins it to the last; returns how many there are. */
static uint32_t add_extent(struct sq_line_extent *line, uint32_t count, uint32_t at, uint32_t blocks,
                           uint32_t mba)
{
    if (blocks == 0)
        return count;
    struct sq_line_extent *last = count == 0 ? NULL : &line[count - 1];
    if (last != NULL && last->at + (uint32_t)last->count == at && last->mba + last->count == mba) {
        last->count = (uint16_t)(last->count + blocks);
        return count;
    }
    line[count] = (struct sq_line_extent){(uint16_t)at, (uint16_t)blocks, mba};
    return count + 1;
}

/* The extents of a flat leaf; more than SQ_LINE_EXTENTS if they do not fit into a line. */
static uint32_t flat_extents(const uint32_t *flat, struct sq_line_extent *line)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS && count <= SQ_LINE_EXTENTS; at++)
        if (flat[at] != SQ_UNMAPPED)
            count = add_extent(line, count, at, 1, flat[at]);
    return count;
}

static void pack_sparse(struct sq_sparse_leaf *leaf, const uint32_t *flat)
{
    memset(leaf->bitmap, 0, sizeof leaf->bitmap);
    uint32_t rank = 0;
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++) {
        if (at % 64 == 0)
            leaf->before[at / 64] = (uint16_t)rank;
        if (flat[at] != SQ_UNMAPPED) {
            leaf->bitmap[at / 64] |= (uint64_t)1 << at % 64;
            leaf->mba[rank++] = flat[at];
        }
    }
}

static void store_line(struct sq_line_extent *leaf, const struct sq_line_extent *line, uint32_t count)
{
    memset(leaf, 0, SQ_LEAF_UNIT);
    memcpy(leaf, line, count * sizeof *line);
}

/* Writes the leaf anew in the form that suits its content. */
static void repack(struct sq_map *map, uint64_t index, const uint32_t *flat, uint32_t mapped)
{
    struct sq_line_extent line[SQ_LINE_EXTENTS + 1];
    if (mapped == 0) {
        replace_leaf(map, index, 0);
        return;
    }
    uint32_t extents = flat_extents(flat, line);
    void *leaf;
    unsigned form;
    if (extents <= LINE_PACK_EXTENTS) {
        store_line(leaf = take(map, index, LINE_UNITS), line, extents);
        form = SQ_LEAF_LINE;
    } else if (mapped <= SPARSE_MAX) {
        pack_sparse(leaf = take(map, index, sparse_units(mapped)), flat);
        form = SQ_LEAF_SPARSE;
    } else {
        memcpy(leaf = take(map, index, DENSE_UNITS), flat, SQ_LEAF_BLOCKS * sizeof *flat);
        form = SQ_LEAF_DENSE;
    }
    replace_leaf(map, index, make_word(leaf, form, mapped));
}

/* ---- mapping ------------------------------------------------------------------------------- */

static uint32_t line_mapped(const struct sq_line_extent *line, uint32_t count)
{
    uint32_t mapped = 0;
    for (uint32_t i = 0; i < count; i++)
        mapped += line[i].count;
    return mapped;
}

/* The line with [at, at + blocks) mapped to mba; returns its extents, 10 at the most. */
static uint32_t edit_line(const struct sq_line_extent *line, uint32_t at, uint32_t blocks, uint32_t mba,
                          struct sq_line_extent *edited)
{
    uint32_t count = 0, end = at + blocks, i = 0;
    for (; i < SQ_LINE_EXTENTS && line[i].count != 0 && line[i].at < at; i++) {
        uint32_t kept = line[i].count < at - line[i].at ? line[i].count : at - line[i].at;
        count = add_extent(edited, count, line[i].at, kept, line[i].mba);
    }
    count = add_extent(edited, count, at, blocks, mba);
    for (i = i == 0 ? 0 : i - 1; i < SQ_LINE_EXTENTS && line[i].count != 0; i++) {
        uint32_t stop = line[i].at + (uint32_t)line[i].count;
        uint32_t start = line[i].at > end ? line[i].at : end;
        uint32_t behind = SQ_PLANTED(split_extent_keeps_its_start) ? 0 : start - line[i].at;
        if (stop > start)
            count = add_extent(edited, count, start, stop - start, line[i].mba + behind);
    }
    return count;
}

static int put_line(struct sq_map *map, uint64_t index, uint32_t at, uint32_t count, uint32_t mba)
{
    struct sq_line_extent edited[SQ_LINE_EXTENTS + 2];
    uint64_t word = map->directory[index];
    uint32_t extents = edit_line(sq_word_leaf(word), at, count, mba, edited);
    if (extents > SQ_LINE_EXTENTS)
        return -1;
    uint32_t mapped = line_mapped(edited, extents);
    map->mapped_blocks += mapped - sq_word_mapped(word); /* never fewer: a put only adds */
    store_line(sq_word_leaf(word), edited, extents);
    map->directory[index] = make_word(sq_word_leaf(word), SQ_LEAF_LINE, mapped);
    return 0;
}

static void put_sparse(struct sq_map *map, uint64_t index, uint32_t at, uint32_t mba)
{
    uint64_t word = map->directory[index];
    struct sq_sparse_leaf *leaf = sq_word_leaf(word);
    uint32_t mapped = sq_word_mapped(word), rank = sq_sparse_rank(leaf, at);
    if (leaf->bitmap[at / 64] >> at % 64 & 1) {
        leaf->mba[rank] = mba;
        return;
    }
    if (sparse_units(mapped + 1) != sparse_units(mapped)) {
        struct sq_sparse_leaf *larger = take(map, index, sparse_units(mapped + 1));
        memcpy(larger, leaf, sizeof *leaf + mapped * sizeof leaf->mba[0]);
        replace_leaf(map, index, make_word(larger, SQ_LEAF_SPARSE, mapped));
        leaf = larger;
    }
    memmove(&leaf->mba[rank + 1], &leaf->mba[rank], (mapped - rank) * sizeof leaf->mba[0]);
    leaf->mba[rank] = mba;
    leaf->bitmap[at / 64] |= (uint64_t)1 << at % 64;
    for (uint32_t i = at / 64 + 1; i < 8; i++)
        leaf->before[i]++;
    map->directory[index] += MAPPED_ONE;
    map->mapped_blocks++;
}

static void put_dense(struct sq_map *map, uint64_t index, uint32_t at, uint32_t mba)
{
    uint32_t *entry = (uint32_t *)sq_word_leaf(map->directory[index]) + at;
    if (*entry == SQ_UNMAPPED) {
        map->directory[index] += MAPPED_ONE;
        map->mapped_blocks++;
    }
    *entry = mba;
}

/* A line or a sparse leaf that overflows becomes the next larger form. */
static void widen(struct sq_map *map, uint64_t index)
{
    uint32_t flat[SQ_LEAF_BLOCKS];
    uint64_t word = map->directory[index];
    uint32_t mapped = sq_word_mapped(word);
    unpack(word, flat);
    if (mapped < SPARSE_MAX) {
        struct sq_sparse_leaf *leaf = take(map, index, sparse_units(mapped));
        pack_sparse(leaf, flat);
        replace_leaf(map, index, make_word(leaf, SQ_LEAF_SPARSE, mapped));
    } else {
        uint32_t *leaf = take(map, index, DENSE_UNITS);
        memcpy(leaf, flat, sizeof flat);
        replace_leaf(map, index, make_word(leaf, SQ_LEAF_DENSE, mapped));
    }
}

static void put_one(struct sq_map *map, uint64_t index, uint32_t at, uint32_t mba)
{
    uint64_t word = map->directory[index];
    if (sq_word_form(word) == SQ_LEAF_SPARSE && sq_word_mapped(word) == SPARSE_MAX)
        widen(map, index);
    if (sq_word_form(map->directory[index]) == SQ_LEAF_SPARSE)
        put_sparse(map, index, at, mba);
    else
        put_dense(map, index, at, mba);
}

/* A run that ends a leaf may have turned scattered blocks into few extents: a sequential pass over a
 * volume that was written at random gives its memory back. */
static void try_line(struct sq_map *map, uint64_t index)
{
    uint32_t flat[SQ_LEAF_BLOCKS];
    struct sq_line_extent line[SQ_LINE_EXTENTS + 1];
    uint64_t word = map->directory[index];
    unpack(word, flat);
    if (flat_extents(flat, line) <= LINE_PACK_EXTENTS)
        repack(map, index, flat, sq_word_mapped(word));
}

static void put_leaf_run(struct sq_map *map, uint64_t index, uint32_t at, uint32_t count, uint32_t mba)
{
    if (map->directory[index] == 0) {
        struct sq_line_extent extent = {(uint16_t)at, (uint16_t)count, mba};
        struct sq_line_extent *leaf = take(map, index, LINE_UNITS);
        store_line(leaf, &extent, 1);
        map->directory[index] = make_word(leaf, SQ_LEAF_LINE, count);
        map->mapped_blocks += count;
        map->used_leaves++;
        return;
    }
    if (sq_word_form(map->directory[index]) == SQ_LEAF_LINE) {
        if (put_line(map, index, at, count, mba) == 0)
            return;
        widen(map, index);
    }
    for (uint32_t i = 0; i < count; i++)
        put_one(map, index, at + i, mba + i);
    if (count > 1 && at + count == SQ_LEAF_BLOCKS)
        try_line(map, index);
}

void sq_map_put_run(struct sq_map *map, uint64_t lba, uint32_t count, uint32_t mba, uint32_t *old_out)
{
    for (uint32_t i = 0; i < count; i++)
        old_out[i] = sq_map_get(map, lba + i);
    while (count > 0) {
        uint32_t at = (uint32_t)(lba % SQ_LEAF_BLOCKS);
        uint32_t here = count < SQ_LEAF_BLOCKS - at ? count : SQ_LEAF_BLOCKS - at;
        put_leaf_run(map, lba / SQ_LEAF_BLOCKS, at, here, mba);
        lba += here;
        mba += here;
        count -= here;
    }
}

/* ---- unmapping ----------------------------------------------------------------------------- */

static void clear_leaf(struct sq_map *map, uint64_t index, uint32_t at, uint32_t count,
                       uint32_t cleared)
{
    uint64_t word = map->directory[index];
    uint32_t mapped = sq_word_mapped(word) - cleared;
    map->mapped_blocks -= cleared;
    if (sq_word_form(word) == SQ_LEAF_DENSE && mapped >= DENSE_MIN) {
        for (uint32_t i = 0; i < count; i++)
            ((uint32_t *)sq_word_leaf(word))[at + i] = SQ_UNMAPPED;
        map->directory[index] = make_word(sq_word_leaf(word), SQ_LEAF_DENSE, mapped);
        return;
    }
    uint32_t flat[SQ_LEAF_BLOCKS];
    unpack(word, flat);
    for (uint32_t i = 0; i < count; i++)
        flat[at + i] = SQ_UNMAPPED;
    repack(map, index, flat, mapped);
}

uint32_t sq_map_clear(struct sq_map *map, uint64_t lba, uint64_t end, uint32_t *old_out)
{
    uint64_t index = lba / SQ_LEAF_BLOCKS;
    uint32_t at = (uint32_t)(lba % SQ_LEAF_BLOCKS), cleared = 0;
    uint32_t count = end - lba < SQ_LEAF_BLOCKS - at ? (uint32_t)(end - lba) : SQ_LEAF_BLOCKS - at;
    if (index >= map->leaf_count || map->directory[index] == 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mba = sq_map_get(map, lba + i);
        if (mba != SQ_UNMAPPED)
            old_out[cleared++] = mba;
    }
    if (cleared != 0)
        clear_leaf(map, index, at, count, cleared);
    return cleared;
}

/* ---- runs and checks ----------------------------------------------------------------------- */

void sq_map_unpack(const struct sq_map *map, uint64_t index, uint32_t *mba_out)
{
    unpack(sq_map_word(map, index), mba_out);
}

struct sq_map_run sq_map_run_at(const struct sq_map *map, uint64_t lba, uint64_t end)
{
    struct sq_map_run run = {.count = 1, .mba = sq_map_get(map, lba)};
    while (lba + run.count < end) {
        uint64_t next = lba + run.count;
        uint64_t index = next / SQ_LEAF_BLOCKS;
        int empty = index >= map->leaf_count || map->directory[index] == 0;
        if (empty && run.mba == SQ_UNMAPPED) {
            uint64_t leaf_end = index >= map->leaf_count ? end : (index + 1) * SQ_LEAF_BLOCKS;
            run.count = (leaf_end < end ? leaf_end : end) - lba;
            continue;
        }
        uint32_t wanted = run.mba == SQ_UNMAPPED ? SQ_UNMAPPED : run.mba + (uint32_t)run.count;
        if (sq_map_get(map, next) != wanted)
            break;
        run.count++;
    }
    return run;
}

static int leaf_is_sound(uint64_t word, uint32_t *mapped_out)
{
    uint32_t flat[SQ_LEAF_BLOCKS], mapped = 0;
    struct sq_line_extent line[SQ_LINE_EXTENTS + 1];
    unpack(word, flat);
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++)
        mapped += flat[at] != SQ_UNMAPPED;
    *mapped_out = mapped;
    if (mapped == 0 || mapped != sq_word_mapped(word))
        return 0;
    if (sq_word_form(word) == SQ_LEAF_LINE) {
        struct sq_line_extent stored[SQ_LINE_EXTENTS + 1] = {{0, 0, 0}};
        memcpy(stored, sq_word_leaf(word), SQ_LEAF_UNIT);
        uint32_t extents = flat_extents(flat, line);
        return extents <= SQ_LINE_EXTENTS && memcmp(stored, line, extents * sizeof *line) == 0 &&
               stored[extents].count == 0;
    }
    if (sq_word_form(word) == SQ_LEAF_SPARSE) {
        const struct sq_sparse_leaf *leaf = sq_word_leaf(word);
        for (uint32_t at = 0, rank = 0; at < SQ_LEAF_BLOCKS; rank += flat[at] != SQ_UNMAPPED, at++)
            if (at % 64 == 0 && leaf->before[at / 64] != rank)
                return 0;
        return mapped <= SPARSE_MAX;
    }
    return sq_word_form(word) == SQ_LEAF_DENSE;
}

int sq_map_check(const struct sq_map *map)
{
    uint64_t total = 0, leaves = 0;
    for (uint64_t index = 0; index < map->leaf_count; index++) {
        uint32_t mapped = 0;
        if (map->directory[index] != 0 && !leaf_is_sound(map->directory[index], &mapped))
            return -1;
        total += mapped;
        leaves += map->directory[index] != 0;
    }
    return total == map->mapped_blocks && leaves == map->used_leaves ? 0 : -1;
}
