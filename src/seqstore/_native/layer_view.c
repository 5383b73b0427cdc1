/* layer_view.c: what readers see of layers: the first thing that a layer or one of its ancestors says of a
 * block.
 *
 * Invariants: no layer maps a block and has a hole there; behind a hole there is something to hide.
 * Lock: the log's, shared.
 */
#include "layer.h"

uint32_t sq_layer_get(const struct sq_layer *layer, uint64_t lba, const struct sq_layer **owner_out)
{
    *owner_out = NULL;
    for (; layer != NULL; layer = layer->parent) {
        uint32_t mba = sq_map_get(&layer->map, lba);
        if (mba != SQ_UNMAPPED) {
            *owner_out = layer;
            return mba;
        }
        if (sq_layer_is_hole(layer, lba))
            break;
    }
    return SQ_UNMAPPED;
}

/* ---- a leaf of blocks at once ----------------------------------------------------------------- */

#define HOLE (SQ_UNMAPPED - 1) /* no address of a block: a medium has fewer */

static void add_holes(const struct sq_layer *layer, uint64_t index, uint32_t *mba)
{
    uint32_t holes[SQ_LEAF_BLOCKS];
    if (sq_map_word(&layer->holes, index) == 0)
        return;
    sq_map_unpack(&layer->holes, index, holes);
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++)
        if (holes[at] != SQ_UNMAPPED && mba[at] == SQ_UNMAPPED)
            mba[at] = HOLE;
}

static void add_mapped(const struct sq_layer *layer, uint64_t index, uint32_t *mba)
{
    uint32_t own[SQ_LEAF_BLOCKS];
    if (sq_map_word(&layer->map, index) == 0)
        return;
    sq_map_unpack(&layer->map, index, own);
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++)
        if (mba[at] == SQ_UNMAPPED)
            mba[at] = own[at];
}

uint32_t sq_layer_show(const struct sq_layer *layer, uint64_t index, uint32_t *mba_out)
{
    uint32_t mapped = 0;
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++)
        mba_out[at] = SQ_UNMAPPED;
    for (; layer != NULL; layer = layer->parent) {
        add_mapped(layer, index, mba_out);
        add_holes(layer, index, mba_out);
    }
    for (uint32_t at = 0; at < SQ_LEAF_BLOCKS; at++) {
        if (mba_out[at] == HOLE)
            mba_out[at] = SQ_UNMAPPED;
        mapped += mba_out[at] != SQ_UNMAPPED;
    }
    return mapped;
}

uint64_t sq_layer_next_leaf(const struct sq_layer *layer, uint64_t index)
{
    uint64_t next = UINT64_MAX;
    for (; layer != NULL; layer = layer->parent) {
        uint64_t at = index;
        while (at < layer->map.leaf_count && at < next && layer->map.directory[at] == 0)
            at++;
        if (at < layer->map.leaf_count && at < next)
            next = at;
    }
    return next;
}

/* ---- runs ------------------------------------------------------------------------------------- */

static uint32_t view_get(struct sq_layer_view *view, uint64_t lba)
{
    uint64_t index = lba / SQ_LEAF_BLOCKS;
    if (!view->filled || view->index != index) {
        sq_layer_show(view->layer, index, view->mba);
        view->index = index;
        view->filled = 1;
    }
    return view->mba[lba % SQ_LEAF_BLOCKS];
}

struct sq_map_run sq_view_run_at(struct sq_layer_view *view, uint64_t lba, uint64_t end)
{
    if (view->layer->parent == NULL)
        return sq_map_run_at(&view->layer->map, lba, end);
    struct sq_map_run run = {.count = 1, .mba = view_get(view, lba)};
    while (lba + run.count < end) {
        uint64_t next = lba + run.count, index = next / SQ_LEAF_BLOCKS;
        if (run.mba == SQ_UNMAPPED && next % SQ_LEAF_BLOCKS == 0) {
            uint64_t used = sq_layer_next_leaf(view->layer, index);
            uint64_t start = used >= end / SQ_LEAF_BLOCKS + 1 ? end : used * SQ_LEAF_BLOCKS;
            if (start > next) {
                run.count = (start < end ? start : end) - lba;
                continue;
            }
        }
        if (view_get(view, next) != (run.mba == SQ_UNMAPPED ? SQ_UNMAPPED : run.mba + (uint32_t)run.count))
            break;
        run.count++;
    }
    return run;
}

/* ---- who reads it ----------------------------------------------------------------------------- */

const struct sq_layer *sq_layer_below(const struct sq_layer *root, const struct sq_layer *layer, int into)
{
    if (into && layer->first_child != NULL)
        return layer->first_child;
    for (; layer != root; layer = layer->parent)
        if (layer->next_sibling != NULL)
            return layer->next_sibling;
    return NULL;
}

int sq_layer_is_reached(const struct sq_layer *root, uint64_t lba, const struct sq_layer *except)
{
    for (const struct sq_layer *at = root; at != NULL;) {
        int shows = at == root || (at != except && sq_map_get(&at->map, lba) == SQ_UNMAPPED &&
                                   !sq_layer_is_hole(at, lba));
        if (SQ_PLANTED(delete_of_the_origin_frees_shared_blocks) && at->reader && at->reader->origin != 0)
            shows = shows && at->reader->is_snapshot;
        if (shows && at->reader != NULL)
            return 1;
        at = sq_layer_below(root, at, shows);
    }
    return 0;
}

int sq_layer_adds(const struct sq_layer *layer, uint64_t lba)
{
    const struct sq_layer *owner;
    if (sq_map_get(&layer->map, lba) != SQ_UNMAPPED)
        return 0;
    return sq_layer_get(layer, lba, &owner) == SQ_UNMAPPED || sq_layer_is_reached(owner, lba, layer);
}
