/* reach.c: who still reads what was written through a volume: the snapshots and clones that keep it alive
 * after the volume has overwritten, trimmed or lost it.
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
