/* layer.h: volumes, snapshots, and the layers that own their blocks.
 * Lock: the log's, held alone by what changes. */
#ifndef SEQSTORE_LAYER_H
#define SEQSTORE_LAYER_H

#include "internal.h"

/* ---- volume.c: the table of volumes and snapshots, and what their life does to the layers ------------ */

/* The volume or snapshot of a handle, or NULL. */
static inline struct sq_volume *sq_volume_of(const sq_log *log, uint64_t handle)
{
    uint64_t index = handle & 0xFFFFFF;
    struct sq_volume *volume = index < log->volume_count ? log->volumes[index] : NULL;
    if (SQ_PLANTED(volume_index_given_twice)) return volume;
    return volume != NULL && volume->number == handle >> 24 ? volume : NULL;
}

/* Blocks of the volume, one that its end cuts included. */
static inline uint64_t sq_volume_blocks(const sq_log *log, const struct sq_volume *volume)
{
    return (volume->size_bytes + log->block_bytes - 1) >> log->block_shift;
}

/* Does the volume take no changes, as a snapshot or while it is held? */
static inline int sq_volume_is_fixed(const struct sq_volume *volume)
{
    return volume->is_snapshot | volume->is_held;
}

/* 1 to 2^38 blocks. */
static inline int sq_size_is_valid(const sq_log *log, uint64_t size_bytes)
{
    return size_bytes > 0 && (size_bytes - 1) >> log->block_shift < (uint64_t)1 << SQ_VALUE_BITS;
}

/* A volume or snapshot with what stands in template (index aside), read through its head. */
int sq_volume_add(sq_log *log, const struct sq_volume *template, struct sq_volume **volume_out);

/* All of them in ascending order of their numbers, in an array to be freed. */
int sq_volumes_sorted(const sq_log *log, struct sq_volume ***volumes_out, uint32_t *count_out);

/* The effects of the entries of the same names, without the entries: for requests and for recovery. The
 * numbers have been checked. */
int sq_volume_make(sq_log *log, uint64_t number, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                   struct sq_volume **volume_out);
int sq_volume_freeze(sq_log *log, struct sq_volume *volume, uint64_t number, struct sq_volume **snapshot_out);
int sq_volume_branch(sq_log *log, struct sq_volume *snapshot, uint64_t number, uint64_t tenant,
                     int unwritten_error, struct sq_volume **volume_out);
int sq_volume_return(sq_log *log, struct sq_volume *volume, struct sq_volume *snapshot, uint64_t number);
int sq_volume_end(sq_log *log, struct sq_volume *volume);

/* ---- layer_tree.c: the layers; layer.c: which of their blocks are still in use ------------------------ */

/* In the owner that a map of holes has in the pool, beside the layer's slot. */
#define SQ_OWNER_HOLES ((uint64_t)1 << 24)

/* A layer without readers and blocks, on a parent (or NULL). */
int sq_work_of(sq_log *log, uint64_t tenant, struct sq_work **work_out);
int sq_layer_add(sq_log *log, uint64_t number, uint64_t tenant, uint64_t volume, struct sq_layer *parent,
                 struct sq_layer **layer_out);

/* A larger table of pointers, and of its free places; what there is stays when memory is short. */
int sq_table_grow(void **items_io, uint32_t **free_io, uint32_t *capacity_io);

/* Hangs a layer that is in no tree below a parent (or NULL), and takes it out again. */
void sq_layer_link(struct sq_layer *layer, struct sq_layer *parent);
void sq_layer_unlink(struct sq_layer *layer);

/* Takes a layer without reader, children and live blocks out of the tree. */
void sq_layer_drop(sq_log *log, struct sq_layer *layer);

/* Frees the slot of a dropped layer that left no residue. */
void sq_layer_settle(sq_log *log, struct sq_layer *layer);

/* The block at mba, which is LIVE in the ledger and counted, is now the layer's block lba: what it replaces
 * or hides dies. Memory has been reserved with sq_layer_reserve, for SQ_BATCH blocks. */
void sq_layer_put(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t mba);
int sq_layer_reserve(sq_log *log, struct sq_layer *layer, uint64_t end_lba, uint64_t size_blocks);

/* The part of sq_layer_put for a layer with a parent and blocks that it has not mapped until now. */
void sq_layer_cover(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t count);

/* Unmaps [lba, end) of the layer, with holes where ancestors show through; all that nobody reads any more
 * dies. changed_out: whether anything did. Either all of it happens or, out of memory or of space for the
 * holes, nothing. */
int sq_layer_clear(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t end, int *changed_out);

/* Sees to it that sq_layer_unread cannot fail. */
int sq_layer_reserve_unread(sq_log *log, const struct sq_layer *layer);

/* Takes the layers out of the tree that nobody reads and that say nothing, if log->has_empty_layers. */
void sq_layer_tidy(sq_log *log);

/* The layer has lost its reader: what nobody reads any more dies, layers that nobody needs are dropped. */
int sq_layer_unread(sq_log *log, struct sq_layer *layer);

/* Makes holes of [lba, lba + count), at most SQ_MAP_TAKES blocks; memory has been reserved. */
void sq_layer_put_holes(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t count);

/* Bytes that volumes, layers and holes take in a checkpoint. */
uint64_t sq_tables_bytes(const sq_log *log);

/* ---- layer_view.c: what readers see of the layers ---------------------------------------------------- */

static inline int sq_layer_is_hole(const struct sq_layer *layer, uint64_t lba)
{
    return layer->holes.mapped_blocks != 0 && sq_map_get(&layer->holes, lba) != SQ_UNMAPPED;
}

/* Where the layer, or the first ancestor that says anything, has the block: SQ_UNMAPPED if nobody. owner_out
 * gets the layer that owns the media block, or NULL. */
uint32_t sq_layer_get(const struct sq_layer *layer, uint64_t lba, const struct sq_layer **owner_out);

/* The same for the blocks of a leaf, in mba_out[SQ_LEAF_BLOCKS]; returns how many are mapped. */
uint32_t sq_layer_show(const struct sq_layer *layer, uint64_t index, uint32_t *mba_out);

/* The first leaf from index on in which the layer or an ancestor maps something, or UINT64_MAX. */
uint64_t sq_layer_next_leaf(const struct sq_layer *layer, uint64_t index);

/* For walks through what a layer shows; begins with layer set and filled zero. */
struct sq_layer_view {
    const struct sq_layer *layer;
    int filled;
    uint64_t index;
    uint32_t mba[SQ_LEAF_BLOCKS];
};

/* The longest run from lba on, to end at most, that is unmapped or mapped to consecutive media blocks. */
struct sq_map_run sq_view_run_at(struct sq_layer_view *view, uint64_t lba, uint64_t end);

/* The next layer in a walk through root's descendants, with or without those of layer; NULL at the end. */
const struct sq_layer *sq_layer_below(const struct sq_layer *root, const struct sq_layer *layer, int into);

/* Does a volume or snapshot read what root says of the block, other than through except (may be NULL)? */
int sq_layer_is_reached(const struct sq_layer *root, uint64_t lba, const struct sq_layer *except);

/* Would a block written there make one more live block? */
int sq_layer_adds(const struct sq_layer *layer, uint64_t lba);

#endif
