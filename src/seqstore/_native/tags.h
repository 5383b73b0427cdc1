/* tags.h: what a simulated drive does in batches; and looking up ahead, for every medium.
 * Lock: the log's, held alone. */
#ifndef SEQSTORE_TAGS_H
#define SEQSTORE_TAGS_H

#include "internal.h"

/* Look-ups ahead of the block that is written: far enough for a memory access each. */
#define SQ_AHEAD 24u

/* Before block i of a list is written: steps of the look-ups of later ones. */
static inline void sq_fetch_ahead(const sq_log *log, const struct sq_map *map, const uint64_t *lbas,
                                  uint64_t i, uint64_t count)
{
    if (i + 3 * SQ_AHEAD < count)
        sq_map_prefetch_word(map, lbas[i + 3 * SQ_AHEAD]);
    if (i + 2 * SQ_AHEAD < count)
        sq_map_prefetch_leaf(map, lbas[i + 2 * SQ_AHEAD]);
    if (i + SQ_AHEAD < count) {
        uint32_t old = sq_map_get(map, lbas[i + SQ_AHEAD]);
        if (old != SQ_UNMAPPED)
            sq_fetch(&log->ledger[old]);
        if (old != SQ_UNMAPPED && log->cleaner.births != NULL)
            sq_fetch(&log->cleaner.births[old]);
    }
}

/* Does the log keep nothing but tags of a layer without a parent? */
static inline int sq_is_plain(const sq_log *log, const struct sq_layer *layer)
{
    return log->tags != NULL && layer->parent == NULL;
}

/* Writes count blocks of a layer without a parent, for which the open record has room and memory was
 * reserved. list: where the batch was taken from, at index done of list_count, to look ahead. */
int sq_tags_write(sq_log *log, struct sq_layer *layer, const uint64_t *lbas, uint32_t count,
                  const uint64_t *list, uint64_t done, uint64_t list_count);

/* The same for one block, where each has its class. */
int sq_tags_write_one(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t death);

/* Moves live blocks of a victim to the heads of their classes, or if classes is NULL to this one, while what
 * the next ones need is fetched. */
int sq_tags_move(sq_log *log, const uint32_t *live, uint32_t count, const uint8_t *classes,
                 const uint32_t *next, uint32_t next_count);

#endif
