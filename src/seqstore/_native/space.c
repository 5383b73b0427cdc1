/* space.c: is there room for what a request would add?
 * Lock: the log's, held alone. */
#include <stdlib.h>

#include "layer.h"
#include "tags.h"

static int compare_lbas(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static uint64_t count_new_in_run(const struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint64_t added = 0;
    while (lba < end) {
        struct sq_map_run run = sq_map_run_at(&layer->map, lba, end);
        for (uint64_t i = 0; layer->parent != NULL && run.mba == SQ_UNMAPPED && i < run.count; i++)
            added += (uint64_t)sq_layer_adds(layer, lba + i);
        if (layer->parent == NULL && run.mba == SQ_UNMAPPED)
            added += run.count;
        lba += run.count;
    }
    return added;
}

/* How many of the list are not there yet, those that come twice counted twice; the first most of them go to
 * added_out. The caller's list may change from one call to the next. */
static uint64_t find_new(const struct sq_layer *layer, const uint64_t *lbas, uint64_t count,
                         uint64_t *added_out, uint64_t most)
{
    uint64_t found = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (i + 2 * SQ_AHEAD < count)
            sq_map_prefetch_word(&layer->map, lbas[i + 2 * SQ_AHEAD]);
        if (i + SQ_AHEAD < count)
            sq_map_prefetch_leaf(&layer->map, lbas[i + SQ_AHEAD]);
        uint64_t lba = __atomic_load_n(&lbas[i], __ATOMIC_RELAXED);
        if (!sq_layer_adds(layer, lba))
            continue;
        if (found < most)
            added_out[found] = lba;
        found++;
    }
    return found;
}

/* How many blocks of the list would be added; only asked when the drive is nearly full. An overwrite adds
 * none, so that only what is left of the list has to be sorted for those that come twice. */
static int count_new(const struct sq_layer *layer, const uint64_t *lbas, uint64_t count, uint64_t available,
                     uint64_t *new_out)
{
    uint64_t most = find_new(layer, lbas, count, NULL, 0), distinct = 0;
    *new_out = most;
    if (most <= available)
        return SQ_OK;
    uint64_t *added = malloc(most * sizeof *added);
    if (added == NULL)
        return SQ_E_NO_MEMORY;
    uint64_t found = find_new(layer, lbas, count, added, most);
    found = found < most ? found : most;
    qsort(added, found, sizeof *added, compare_lbas);
    for (uint64_t i = 0; i < found; i++)
        distinct += i == 0 || added[i] != added[i - 1];
    free(added);
    *new_out = distinct;
    return SQ_OK;
}

/* A log may be opened with a larger reserve than it was filled with. */
static uint64_t available_blocks(const sq_log *log)
{
    const struct sq_stats *stats = &log->stats;
    return stats->live_blocks < stats->usable_blocks ? stats->usable_blocks - stats->live_blocks : 0;
}

int sq_check_space(const sq_log *log, uint64_t needed, struct sq_fault *fault_out)
{
    uint64_t available = available_blocks(log);
    if (needed <= available)
        return SQ_OK;
    if (fault_out != NULL) {
        fault_out->needed_blocks = needed;
        fault_out->available_blocks = available;
    }
    return SQ_E_OUT_OF_SPACE;
}

int sq_check_blocks(const sq_log *log, const struct sq_layer *layer, const uint64_t *lbas, uint64_t first,
                    uint64_t count, struct sq_fault *fault_out)
{
    uint64_t available = available_blocks(log), needed;
    if (count <= available)
        return SQ_OK;
    if (lbas == NULL)
        needed = count_new_in_run(layer, first, first + count);
    else
        SQ_TRY(count_new(layer, lbas, count, available, &needed));
    return sq_check_space(log, needed, fault_out);
}
