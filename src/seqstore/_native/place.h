/* place.h: which class a block belongs to, and what that is decided from. place.c. */
#ifndef SEQSTORE_PLACE_H
#define SEQSTORE_PLACE_H

#include "internal.h"

/* Of a block that is written on request; old: where its last version lies, or SQ_UNMAPPED. death: user time
 * when it will be written next, if that is known. */
uint32_t sq_place_user(sq_log *log, const struct sq_layer *layer, uint32_t old, uint64_t death);

/* Of a live block that the cleaner moves away from mba. */
uint32_t sq_place_relocated(sq_log *log, const struct sq_layer *layer, uint32_t mba);

/* The caller's policy for blocks of a layer that are written on request, and for live blocks of a victim. */
int sq_place_by_call(sq_log *log, const struct sq_layer *layer, const uint64_t *lbas, uint32_t count,
                     uint8_t *classes_out);
int sq_place_victim_by_call(sq_log *log, const uint32_t *live, uint32_t count, uint8_t *classes_out);

/* What the policy learns from a segment that is about to be cleaned. */
void sq_place_collect(sq_log *log, uint32_t victim);

/* A block was written at mba, on request. */
static inline void sq_times_begin(sq_log *log, uint32_t mba, uint64_t death)
{
    if (log->cleaner.births != NULL)
        log->cleaner.births[mba] = (uint32_t)log->stats.user_blocks;
    if (log->cleaner.deaths != NULL)
        log->cleaner.deaths[mba] = (uint32_t)death;
}

/* The cleaner's copy is as old as what it copies. */
static inline void sq_times_move(sq_log *log, uint32_t from, uint32_t to)
{
    if (log->cleaner.births != NULL)
        log->cleaner.births[to] = log->cleaner.births[from];
    if (log->cleaner.deaths != NULL)
        log->cleaner.deaths[to] = log->cleaner.deaths[from];
}

#endif
