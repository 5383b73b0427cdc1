/* layer.c: which blocks of layers are still in use.
 *
 * A block of a layer is live as long as a volume or snapshot reads it: one whose head is the layer, or a
 * descendant of it, with nothing in between that says something of the block. Only heads of volumes are
 * written, and they have no children. What loses its last reader dies in the same call.
 *
 * Invariants: every mapped block is reached; a layer without a reader has children, or it is dropped: out of
 * the tree and without maps, kept only for what its residue is called; log->hole_leaves counts the leaves of
 * all maps of holes. Lock: the log's, held alone.
 */
#include "append.h"
#include "checkpoint.h"

/* Does nobody read the layer itself, and does it say nothing to those who read through it? */
static int is_empty(const struct sq_layer *layer)
{
    return layer->reader == NULL && layer->slot != 0 && !layer->dropped && layer->map.mapped_blocks == 0 &&
           layer->holes.mapped_blocks == 0;
}

/* ---- holes ------------------------------------------------------------------------------------ */

void sq_layer_put_holes(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t count)
{
    uint32_t old[SQ_MAP_TAKES];
    uint64_t leaves = layer->holes.used_leaves;
    /* A hole maps its address to that address, so that neighbours make a run. */
    sq_map_put_run(&layer->holes, lba, count, (uint32_t)(lba & 0x7FFFFFFF), old);
    log->hole_leaves += layer->holes.used_leaves - leaves;
}

/* Of [lba, end), which lies in one leaf. */
static void clear_holes(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint32_t old[SQ_LEAF_BLOCKS];
    uint64_t leaves = layer->holes.used_leaves;
    if (leaves == 0)
        return;
    sq_map_clear(&layer->holes, lba, end, old);
    log->hole_leaves -= leaves - layer->holes.used_leaves;
    log->has_empty_layers |= is_empty(layer);
}

/* Nothing is left for holes below root to hide. */
static void forget_holes(sq_log *log, const struct sq_layer *root, uint64_t lba)
{
    for (const struct sq_layer *at = sq_layer_below(root, root, 1); at != NULL;) {
        int is_hole = sq_layer_is_hole(at, lba);
        int into = !is_hole && sq_map_get(&at->map, lba) == SQ_UNMAPPED;
        if (is_hole)
            clear_holes(log, log->layers[at->slot], lba, lba + 1);
        at = sq_layer_below(root, at, into);
    }
}

/* Moves the holes of a layer without blocks to its only child; 0, or -1 when out of memory. */
static int hand_down_holes(sq_log *log, const struct sq_layer *from, struct sq_layer *to)
{
    uint64_t end = from->holes.leaf_count * SQ_LEAF_BLOCKS;
    if (SQ_PLANTED(holes_lost_with_their_layer)) return 0;
    if (sq_map_reserve(&to->holes, end, end) != 0 ||
        sq_leaf_pool_reserve(&log->leaves, (uint32_t)from->holes.used_leaves + 1) != 0)
        return -1;
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(&from->holes, lba, end);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++)
            if (sq_map_get(&to->map, lba + i) == SQ_UNMAPPED)
                sq_layer_put_holes(log, to, lba + i, 1);
        lba += run.count;
    }
    return 0;
}

/* ---- death ------------------------------------------------------------------------------------ */

static void kill_all(sq_log *log, struct sq_layer *layer, const uint32_t *mba, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i + 8 < count)
            sq_fetch(&log->ledger[mba[i + 8]]);
        sq_block_dies(log, mba[i], layer, SQ_DEAD);
    }
}

/* Nobody reads any more what the layer says of [lba, end), which lies in one leaf. */
static void bury(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint32_t old[SQ_LEAF_BLOCKS];
    const struct sq_layer *above;
    kill_all(log, layer, old, sq_map_clear(&layer->map, lba, end, old));
    log->has_empty_layers |= is_empty(layer);
    for (; log->hole_leaves != 0 && lba < end; lba++)
        if (sq_layer_get(layer, lba, &above) == SQ_UNMAPPED && !sq_layer_is_hole(layer, lba))
            forget_holes(log, layer, lba);
}

/* Skips to the next leaf that exists, or to end. */
static uint64_t next_leaf(const struct sq_map *map, uint64_t lba, uint64_t end)
{
    uint64_t index = lba / SQ_LEAF_BLOCKS + 1;
    while (index < map->leaf_count && map->directory[index] == 0)
        index++;
    uint64_t start = index * SQ_LEAF_BLOCKS;
    return index < map->leaf_count && start < end ? start : end;
}

/* Unmaps [lba, end) of a layer without children; returns how many blocks were mapped. */
static uint64_t unmap(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint32_t old[SQ_LEAF_BLOCKS];
    uint64_t unmapped = 0;
    const struct sq_map *map = &layer->map;
    for (uint64_t at = lba; at < end && map->mapped_blocks > 0; at = next_leaf(map, at, end)) {
        uint32_t cleared = sq_map_clear(&layer->map, at, end, old);
        if (SQ_PLANTED(stale_map_after_trim) && cleared != 0) sq_map_put(&layer->map, at, old[0]);
        kill_all(log, layer, old, cleared);
        unmapped += cleared;
    }
    return unmapped;
}

/* Buries the blocks of a leaf that nobody reads, those between two that are read at once. */
static void sweep_leaf(sq_log *log, struct sq_layer *layer, uint64_t index)
{
    uint32_t mba[SQ_LEAF_BLOCKS];
    uint64_t first = index * SQ_LEAF_BLOCKS, from = UINT64_MAX, to = 0;
    sq_map_unpack(&layer->map, index, mba);
    for (uint32_t at = 0; at <= SQ_LEAF_BLOCKS; at++) {
        if (at < SQ_LEAF_BLOCKS && mba[at] == SQ_UNMAPPED)
            continue;
        if (at < SQ_LEAF_BLOCKS && !sq_layer_is_reached(layer, first + at, NULL)) {
            from = from == UINT64_MAX ? first + at : from;
            to = first + at + 1;
        } else if (from != UINT64_MAX) {
            bury(log, layer, from, to);
            from = UINT64_MAX;
        }
    }
}

/* What a layer without a reader says and nobody reads goes. */
static void sweep(sq_log *log, struct sq_layer *layer)
{
    for (uint64_t index = 0; index < layer->map.leaf_count; index++)
        if (layer->map.directory[index] != 0)
            sweep_leaf(log, layer, index);
    uint64_t end = layer->holes.leaf_count * SQ_LEAF_BLOCKS;
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(&layer->holes, lba, end);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++)
            if (!sq_layer_is_reached(layer, lba + i, NULL))
                clear_holes(log, layer, lba + i, lba + i + 1);
        lba += run.count;
    }
}

/* Takes a layer without reader and blocks out of the tree, unless its holes are needed where they are. */
static void take_out(sq_log *log, struct sq_layer *layer)
{
    struct sq_layer *child = layer->first_child;
    if (child != NULL && layer->holes.mapped_blocks != 0 &&
        (child->next_sibling != NULL || hand_down_holes(log, layer, child) != 0))
        return;
    while ((child = layer->first_child) != NULL) {
        sq_layer_unlink(child);
        sq_layer_link(child, layer->parent);
    }
    sq_layer_drop(log, layer);
}

/* Takes out what is empty between layer and the next ancestor with a reader. */
static void tidy(sq_log *log, struct sq_layer *layer)
{
    while (layer != NULL && layer->reader == NULL) {
        struct sq_layer *parent = layer->parent;
        if (layer->map.mapped_blocks == 0)
            take_out(log, layer);
        layer = parent;
    }
}

void sq_layer_tidy(sq_log *log)
{
    for (uint32_t slot = 1; log->has_empty_layers && slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL && is_empty(log->layers[slot]))
            take_out(log, log->layers[slot]);
    log->has_empty_layers = 0;
}

int sq_layer_reserve_unread(sq_log *log, const struct sq_layer *layer)
{
    /* A leaf takes another form once; those that go as a whole need nothing. */
    uint64_t changes = 2 + log->hole_leaves + (layer->first_child == NULL ? 0 : layer->map.used_leaves);
    for (const struct sq_layer *at = layer->parent; at != NULL && at->reader == NULL; at = at->parent)
        changes += at->map.used_leaves;
    return sq_leaf_pool_reserve(&log->leaves, (uint32_t)changes) == 0 ? SQ_OK : SQ_E_NO_MEMORY;
}

int sq_layer_unread(sq_log *log, struct sq_layer *layer)
{
    SQ_CHECK(log, layer->reader == NULL);
    uint64_t live = log->stats.live_blocks;
    if (layer->first_child == NULL || SQ_PLANTED(delete_of_the_snapshot_frees_shared_blocks))
        unmap(log, layer, 0, layer->map.leaf_count * SQ_LEAF_BLOCKS);
    else
        sweep(log, layer);
    for (struct sq_layer *at = layer->parent; at != NULL && at->reader == NULL; at = at->parent)
        sweep(log, at);
    log->stats.trimmed_blocks += live - log->stats.live_blocks;
    tidy(log, layer);
    sq_layer_tidy(log);
    return SQ_OK;
}

/* ---- writing ---------------------------------------------------------------------------------- */

int sq_layer_reserve(sq_log *log, struct sq_layer *layer, uint64_t end_lba, uint64_t size_blocks)
{
    if (sq_map_reserve(&layer->map, end_lba, size_blocks) != 0)
        return SQ_E_NO_MEMORY;
    if (layer->parent == NULL)
        return SQ_OK;
    /* Beside the block's own leaf it may change that of a hole and that of the block that it hides, and,
     * where that one dies, the holes that hid it from others. */
    uint64_t holes = (uint64_t)SQ_BATCH * log->layer_count;
    uint64_t changes = 4 * SQ_BATCH + (holes < log->hole_leaves ? holes : log->hole_leaves);
    return sq_leaf_pool_reserve(&log->leaves, (uint32_t)changes) == 0 ? SQ_OK : SQ_E_NO_MEMORY;
}

/* Buries what ancestors say of [lba, end), which lies in one leaf, where only the layer still read it.
 * Returns whether an ancestor has nothing left. */
static int bury_hidden(sq_log *log, const struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    struct sq_layer *owner = NULL;
    uint64_t from = lba;
    int emptied = 0;
    for (; lba <= end; lba++) {
        const struct sq_layer *hidden = NULL;
        if (lba < end)
            sq_layer_get(layer->parent, lba, &hidden);
        if (hidden != NULL && sq_layer_is_reached(hidden, lba, layer) &&
            !SQ_PLANTED(overwrite_frees_what_others_show))
            hidden = NULL;
        if (hidden != owner && owner != NULL) {
            bury(log, owner, from, lba);
            emptied |= owner->map.mapped_blocks == 0;
        }
        if (hidden != owner) {
            owner = hidden == NULL ? NULL : log->layers[hidden->slot];
            from = lba;
        }
    }
    return emptied;
}

void sq_layer_cover(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t count)
{
    int emptied = 0;
    for (uint64_t next, end = lba + count; lba < end; lba = next) {
        next = (lba / SQ_LEAF_BLOCKS + 1) * SQ_LEAF_BLOCKS;
        next = next < end ? next : end;
        clear_holes(log, layer, lba, next);
        emptied |= bury_hidden(log, layer, lba, next);
    }
    if (emptied)
        tidy(log, layer->parent);
    sq_layer_tidy(log);
}

void sq_layer_put(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t mba)
{
    uint32_t old = sq_map_put(&layer->map, lba, mba);
    if (old != SQ_UNMAPPED)
        sq_block_dies(log, old, layer, SQ_DEAD);
    else if (layer->parent != NULL)
        sq_layer_cover(log, layer, lba, 1);
}

/* ---- trimming --------------------------------------------------------------------------------- */

/* Leaves of holes that clearing [lba, end) adds, exactly. */
static uint64_t count_hole_leaves(const struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint32_t below[SQ_LEAF_BLOCKS];
    uint64_t added = 0, last = (end - 1) / SQ_LEAF_BLOCKS;
    uint64_t index = sq_layer_next_leaf(layer->parent, lba / SQ_LEAF_BLOCKS);
    for (; index <= last; index = sq_layer_next_leaf(layer->parent, index + 1)) {
        if (sq_map_word(&layer->holes, index) != 0)
            continue;
        uint64_t first = index * SQ_LEAF_BLOCKS;
        uint32_t at = lba > first ? (uint32_t)(lba - first) : 0;
        uint32_t to = end - first < SQ_LEAF_BLOCKS ? (uint32_t)(end - first) : SQ_LEAF_BLOCKS;
        sq_layer_show(layer->parent, index, below);
        while (at < to && below[at] == SQ_UNMAPPED)
            at++;
        added += at < to;
    }
    return added;
}

/* Memory and, in a request on a medium that outlives the process, room for the holes in a checkpoint.
 * Recovery repeats what had room. */
static int reserve_clear(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint64_t words = (end - 1) / SQ_LEAF_BLOCKS - lba / SQ_LEAF_BLOCKS + 1;
    uint64_t most = 0, holes = 0, changes = 4 + log->hole_leaves;
    int may_die = 1;
    for (const struct sq_layer *at = layer->parent; at != NULL; at = at->parent) {
        uint64_t leaves = at->map.used_leaves < words ? at->map.used_leaves : words;
        may_die = may_die && at->reader == NULL;
        most = at->map.leaf_count > most ? at->map.leaf_count : most;
        holes += leaves;
        changes += may_die ? leaves : 0;
    }
    holes = holes < words ? holes : words;
    changes += holes;
    uint64_t holes_end = most * SQ_LEAF_BLOCKS < end ? most * SQ_LEAF_BLOCKS : end;
    if (sq_map_reserve(&layer->holes, holes_end, holes_end) != 0 ||
        sq_leaf_pool_reserve(&log->leaves, changes < UINT32_MAX ? (uint32_t)changes : UINT32_MAX) != 0)
        return SQ_E_NO_MEMORY;
    if (!log->durable.on || !log->durable.in_request)
        return SQ_OK;
    uint64_t used = sq_tables_bytes(log), limit = log->durable.tables_most_bytes;
    uint64_t room = used < limit ? (limit - used) / SQ_CKP_HOLES_BYTES : 0;
    return holes <= room || count_hole_leaves(layer, lba, end) <= room ? SQ_OK : SQ_E_OUT_OF_SPACE;
}

/* The blocks [lba, end), within a leaf, of a layer with a parent. Returns how many it no longer shows. */
static uint64_t clear_leaf(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint32_t shown[SQ_LEAF_BLOCKS], below[SQ_LEAF_BLOCKS];
    uint64_t index = lba / SQ_LEAF_BLOCKS, cleared = 0;
    sq_layer_show(layer, index, shown);
    unmap(log, layer, lba, end);
    bury_hidden(log, layer, lba, end);
    sq_layer_show(layer->parent, index, below);
    for (uint32_t run; lba < end; lba += run == 0 ? 1 : run) {
        cleared += shown[lba % SQ_LEAF_BLOCKS] != SQ_UNMAPPED;
        run = 0;
        while (lba + run < end && run < SQ_MAP_TAKES && below[lba % SQ_LEAF_BLOCKS + run] != SQ_UNMAPPED) {
            cleared += run != 0 && shown[lba % SQ_LEAF_BLOCKS + run] != SQ_UNMAPPED;
            run++;
        }
        if (run != 0 && !SQ_PLANTED(trim_in_a_clone_uncovers_the_parent))
            sq_layer_put_holes(log, layer, lba, run);
    }
    return cleared;
}

static uint64_t clear_layered(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end)
{
    uint64_t cleared = 0;
    while (lba < end) {
        uint64_t leaf_end = (lba / SQ_LEAF_BLOCKS + 1) * SQ_LEAF_BLOCKS;
        cleared += clear_leaf(log, layer, lba, leaf_end < end ? leaf_end : end);
        uint64_t index = sq_layer_next_leaf(layer, leaf_end / SQ_LEAF_BLOCKS);
        lba = index > end / SQ_LEAF_BLOCKS ? end : index * SQ_LEAF_BLOCKS;
    }
    tidy(log, layer->parent);
    sq_layer_tidy(log);
    return cleared;
}

int sq_layer_clear(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end, int *changed_out)
{
    uint64_t cleared = 0;
    if (lba < end && sq_map_reserve(&layer->map, 0, 0) != 0)
        return SQ_E_NO_MEMORY;
    if (lba < end && layer->parent == NULL) {
        cleared = unmap(log, layer, lba, end);
    } else if (lba < end) {
        SQ_TRY(reserve_clear(log, layer, lba, end));
        cleared = clear_layered(log, layer, lba, end);
    }
    log->stats.trimmed_blocks += cleared;
    *changed_out = cleared != 0;
    return SQ_OK;
}
