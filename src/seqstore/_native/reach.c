/* reach.c: who still reads what was written through a volume: the snapshots and clones that keep it alive
 * after the volume has overwritten, trimmed or lost it; and which blocks those are.
 */
#include <stdlib.h>

#include "layer.h"

/* Has anything that the volume shows been written through the one of that number? */
static int has_layer_of(const struct sq_volume *volume, uint64_t number)
{
    const struct sq_layer *at = volume->head;
    while (at != NULL && (at->volume != number || at->map.mapped_blocks == 0))
        at = at->parent;
    return at != NULL;
}

/* Blocks of [lba, end) that the volume shows and that belong to a layer of the one of that number. */
static uint64_t count_shown(const sq_log *log, const struct sq_volume *volume, uint64_t number, uint64_t lba,
                            uint64_t end)
{
    uint32_t mba[SQ_LEAF_BLOCKS];
    uint64_t blocks = 0, index = sq_layer_next_leaf(volume->head, lba / SQ_LEAF_BLOCKS);
    for (; index <= (end - 1) / SQ_LEAF_BLOCKS; index = sq_layer_next_leaf(volume->head, index + 1)) {
        uint64_t first = index * SQ_LEAF_BLOCKS;
        uint32_t at = lba > first ? (uint32_t)(lba - first) : 0;
        uint32_t to = end - first < SQ_LEAF_BLOCKS ? (uint32_t)(end - first) : SQ_LEAF_BLOCKS;
        sq_layer_show(volume->head, index, mba);
        for (; at < to; at++)
            if (mba[at] != SQ_UNMAPPED)
                blocks += log->layers[sq_entry_slot(*sq_entry_of(log, mba[at]))]->volume == number;
    }
    return blocks;
}

int sq_volume_reach(sq_log *log, uint64_t number, uint64_t lba, uint64_t count, uint64_t capacity,
                    struct sq_reach *reach_out, uint64_t *count_out)
{
    struct sq_volume **sorted;
    uint32_t volumes;
    uint64_t found = 0;
    SQ_TRY(sq_lock_shared(log));
    int status = number == 0 ? SQ_E_INVALID : sq_volumes_sorted(log, &sorted, &volumes);
    for (uint32_t i = 0; status == SQ_OK && i < volumes; i++) {
        const struct sq_volume *volume = sorted[i];
        uint64_t end = sq_volume_blocks(log, volume);
        if (lba < end && count < end - lba)
            end = lba + count;
        if (volume->number == number || lba >= end || !has_layer_of(volume, number))
            continue;
        uint64_t blocks = count_shown(log, volume, number, lba, end);
        if (blocks != 0 && found < capacity)
            reach_out[found] = (struct sq_reach){.number = volume->number, .blocks = blocks};
        found += blocks != 0;
    }
    if (status == SQ_OK) {
        *count_out = found;
        free(sorted);
    }
    sq_unlock(log);
    return status;
}

/* ---- which blocks --------------------------------------------------------------------------------- */

static const struct sq_volume *find_volume(const sq_log *log, uint64_t number)
{
    for (uint32_t index = 0; index < log->volume_count; index++)
        if (log->volumes[index] != NULL && log->volumes[index]->number == number)
            return log->volumes[index];
    return NULL;
}

/* Adds a block to the runs; 0 when it begins one that there is no room for. */
static int add_shown(const struct sq_layer *owner, uint64_t lba, uint64_t capacity, struct sq_shown *runs,
                     uint64_t *count)
{
    struct sq_shown *last = *count > 0 ? &runs[*count - 1] : NULL;
    if (last != NULL && last->layer == owner->number && last->lba + last->count == lba) {
        last->count++;
        return 1;
    }
    if (*count == capacity)
        return 0;
    runs[(*count)++] = (struct sq_shown){.tenant = owner->tenant, .volume = owner->volume,
                                         .layer = owner->number, .lba = lba, .count = 1};
    return 1;
}

/* Runs of [lba, end) until there is no room for more; returns where it stopped. */
static uint64_t list_shown(const sq_log *log, const struct sq_volume *volume, int with_own, uint64_t lba,
                           uint64_t end, uint64_t capacity, struct sq_shown *runs, uint64_t *count)
{
    uint32_t mba[SQ_LEAF_BLOCKS];
    const struct sq_layer *own = volume->is_snapshot || with_own ? NULL : volume->head;
    while (lba < end) {
        uint64_t index = sq_layer_next_leaf(volume->head, lba / SQ_LEAF_BLOCKS);
        if (index > (end - 1) / SQ_LEAF_BLOCKS)
            break;
        lba = index * SQ_LEAF_BLOCKS > lba ? index * SQ_LEAF_BLOCKS : lba;
        sq_layer_show(volume->head, index, mba);
        for (uint64_t stop = (index + 1) * SQ_LEAF_BLOCKS; lba < stop && lba < end; lba++) {
            uint32_t at = mba[lba % SQ_LEAF_BLOCKS];
            if (at == SQ_UNMAPPED)
                continue;
            const struct sq_layer *owner = log->layers[sq_entry_slot(*sq_entry_of(log, at))];
            if (owner != own && !add_shown(owner, lba, capacity, runs, count))
                return lba;
        }
    }
    return end;
}

int sq_volume_shown(sq_log *log, uint64_t number, int with_own, uint64_t *lba_io, uint64_t end,
                    uint64_t capacity, struct sq_shown *runs_out, uint64_t *count_out)
{
    uint64_t count = 0, stopped = end;
    SQ_TRY(sq_lock_shared(log));
    const struct sq_volume *volume = find_volume(log, number);
    if (volume != NULL && (volume->is_snapshot || with_own || volume->head->parent != NULL)) {
        uint64_t blocks = sq_volume_blocks(log, volume), last = end < blocks ? end : blocks, at = *lba_io;
        at = at < last ? list_shown(log, volume, with_own, at, last, capacity, runs_out, &count) : last;
        stopped = at < last ? at : end;
    }
    sq_unlock(log);
    *lba_io = stopped;
    *count_out = count;
    return SQ_OK;
}
