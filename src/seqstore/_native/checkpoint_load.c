/* checkpoint_load.c: the state of a log from a checkpoint's stream. Layout: checkpoint.h.
 *
 * The checksums of the pages have been compared, so what does not fit here was written wrongly, or made up:
 * every count and reference is checked all the same, and nothing is allocated beyond what the stream itself
 * can hold.
 */
#include <stdlib.h>

#include "append.h"
#include "bytes.h"
#include "checkpoint.h"

struct source {
    const uint8_t *at;
    uint64_t left;
    const uint8_t *head;
    uint32_t layers;
    uint64_t end_lba; /* of the largest volume: nothing lies beyond */
};

static const uint8_t *next(struct source *source, uint64_t bytes)
{
    if (bytes > source->left)
        return NULL;
    const uint8_t *at = source->at;
    source->at += bytes;
    source->left -= bytes;
    return at;
}

/* The layer of a number; they were added in ascending order, so that slots ascend too. */
static struct sq_layer *find_layer(const sq_log *log, uint64_t number)
{
    uint32_t low = 0, high = log->layer_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->layers[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->layer_count && log->layers[low]->number == number ? log->layers[low] : NULL;
}

static int load_layers(sq_log *log, struct source *source)
{
    const uint8_t *self = next(source, SQ_CKP_LAYER_BYTES);
    if (self == NULL || source->layers == 0 || !sq_is_zero(self, SQ_CKP_LAYER_BYTES))
        return SQ_E_FORMAT;
    for (uint32_t index = 1; index < source->layers; index++) {
        const uint8_t *at = next(source, SQ_CKP_LAYER_BYTES);
        if (at == NULL)
            return SQ_E_FORMAT;
        uint64_t number = sq_get_u64(at), parent_number = sq_get_u64(at + 24);
        struct sq_layer *layer, *parent = parent_number == 0 ? NULL : find_layer(log, parent_number);
        if (number <= log->layers[log->layer_count - 1]->number || number > log->last_number ||
            sq_get_u32(at + 32) > SQ_CKP_DROPPED || !sq_is_zero(at + 36, 4))
            return SQ_E_FORMAT;
        /* One that was dropped was taken out of the tree. */
        int dropped = sq_get_u32(at + 32) == SQ_CKP_DROPPED;
        if (parent_number != 0 && (dropped || parent == NULL || parent->dropped))
            return SQ_E_FORMAT;
        SQ_TRY(sq_layer_add(log, number, sq_get_u64(at + 8), sq_get_u64(at + 16), parent, &layer));
        layer->dropped = (uint8_t)dropped;
    }
    return SQ_OK;
}

static int load_volumes(sq_log *log, struct source *source, const uint8_t *first)
{
    struct source volumes = {.at = first, .left = (uint64_t)(source->at - first)};
    for (uint32_t count = sq_get_u32(source->head + SQ_CKP_AT_VOLUMES); count > 0; count--) {
        const uint8_t *at = next(&volumes, SQ_CKP_VOLUME_BYTES);
        if (at == NULL)
            return SQ_E_FORMAT;
        uint32_t flags = sq_get_u32(at + 40);
        struct sq_volume *volume, template = {
            .number = sq_get_u64(at), .tenant = sq_get_u64(at + 8), .size_bytes = sq_get_u64(at + 16),
            .head = find_layer(log, sq_get_u64(at + 24)), .origin = sq_get_u64(at + 32),
            .bound = SQ_NEVER, .unwritten_error = (flags & SQ_CKP_UNWRITTEN_ERROR) != 0,
            .is_snapshot = (flags & SQ_CKP_SNAPSHOT) != 0,
        };
        if (template.number == 0 || template.number > log->last_number || template.head == NULL ||
            template.head->number == 0 || template.head->reader != NULL || template.head->dropped ||
            !sq_size_is_valid(log, template.size_bytes) ||
            flags > (SQ_CKP_UNWRITTEN_ERROR | SQ_CKP_SNAPSHOT) || !sq_is_zero(at + 44, 4))
            return SQ_E_FORMAT;
        SQ_TRY(sq_volume_add(log, &template, &volume));
        uint64_t end = sq_volume_blocks(log, volume);
        source->end_lba = end > source->end_lba ? end : source->end_lba;
    }
    return SQ_OK;
}

/* No number names two volumes. */
static int check_numbers(const sq_log *log)
{
    struct sq_volume **sorted;
    uint32_t count;
    int status = sq_volumes_sorted(log, &sorted, &count);
    if (status != SQ_OK)
        return status;
    for (uint32_t i = 1; i < count; i++)
        if (sorted[i]->number == sorted[i - 1]->number)
            status = SQ_E_FORMAT;
    free(sorted);
    return status;
}

static int add_hole(sq_log *log, struct sq_layer *layer, uint64_t lba)
{
    if (sq_map_reserve(&layer->holes, lba + 1, (uint64_t)1 << SQ_VALUE_BITS) != 0)
        return SQ_E_NO_MEMORY;
    sq_layer_put_holes(log, layer, lba, 1);
    return SQ_OK;
}

static int load_holes(sq_log *log, struct source *source)
{
    for (uint32_t count = sq_get_u32(source->head + SQ_CKP_AT_HOLE_LEAVES); count > 0; count--) {
        const uint8_t *at = next(source, SQ_CKP_HOLES_BYTES);
        struct sq_layer *layer = at == NULL ? NULL : find_layer(log, sq_get_u64(at));
        if (layer == NULL || layer->parent == NULL || sq_get_u64(at + 8) > source->end_lba / SQ_LEAF_BLOCKS)
            return SQ_E_FORMAT;
        uint64_t first = sq_get_u64(at + 8) * SQ_LEAF_BLOCKS;
        for (uint32_t i = 0; i < SQ_LEAF_BLOCKS; i++)
            if (at[16 + i / 8] >> i % 8 & 1)
                SQ_TRY(add_hole(log, layer, first + i));
    }
    return SQ_OK;
}

static int load_head(sq_log *log, uint32_t class, uint32_t segment, uint32_t open_blocks, uint8_t *seen)
{
    if (class >= SQ_CLASSES_MAX || segment >= log->segment_count || open_blocks > log->segment_blocks ||
        seen[segment] || log->heads[class].segment != SQ_NO_SEGMENT)
        return SQ_E_FORMAT;
    seen[segment] = 1;
    log->heads[class].segment = segment;
    log->heads[class].open_blocks = open_blocks;
    sq_segment_begin(log, &log->heads[class]);
    return SQ_OK;
}

static int load_heads(sq_log *log, struct source *source, uint32_t count, uint8_t *seen)
{
    SQ_TRY(load_head(log, 0, sq_get_u32(source->head + SQ_CKP_AT_OPEN_SEGMENT),
                     sq_get_u32(source->head + SQ_CKP_AT_OPEN_BLOCKS), seen));
    for (; count > 0; count--) {
        const uint8_t *at = next(source, SQ_CKP_OPEN_BYTES);
        if (at == NULL || !sq_is_zero(at + 12, 4))
            return SQ_E_FORMAT;
        SQ_TRY(load_head(log, sq_get_u32(at), sq_get_u32(at + 4), sq_get_u32(at + 8), seen));
    }
    return SQ_OK;
}

static int load_ring(sq_log *log, struct source *source, uint32_t runs, uint8_t state, uint8_t *seen)
{
    for (; runs > 0; runs--) {
        const uint8_t *at = next(source, SQ_CKP_RUN_BYTES);
        if (at == NULL)
            return SQ_E_FORMAT;
        uint32_t first = sq_get_u32(at), count = sq_get_u32(at + 4);
        if (first >= log->segment_count || count > log->segment_count - first)
            return SQ_E_FORMAT;
        for (uint32_t segment = first; segment < first + count; segment++) {
            if (seen[segment])
                return SQ_E_FORMAT;
            seen[segment] = 1;
            log->segments[segment].state = state;
            if (state == SQ_SEGMENT_FREE)
                sq_ring_push(&log->free_ring, segment);
            else
                sq_list_append(&log->sealed, log->segment_count, segment);
        }
    }
    return SQ_OK;
}

static int load_rings(sq_log *log, struct source *source)
{
    uint8_t *seen = calloc(log->segment_count, 1);
    if (seen == NULL)
        return SQ_E_NO_MEMORY;
    uint32_t heads = sq_get_u32(source->head + SQ_CKP_AT_HEADS);
    int status = load_heads(log, source, heads, seen);
    if (status == SQ_OK)
        status = load_ring(log, source, sq_get_u32(source->head + SQ_CKP_AT_FREE_RUNS), SQ_SEGMENT_FREE,
                           seen);
    if (status == SQ_OK)
        status = load_ring(log, source, sq_get_u32(source->head + SQ_CKP_AT_SEALED_RUNS), SQ_SEGMENT_SEALED,
                           seen);
    if (status == SQ_OK && log->free_ring.count + log->sealed.count + 1 + heads != log->segment_count)
        status = SQ_E_FORMAT;
    free(seen);
    return status;
}

/* Live blocks are mapped in runs, which is how most of them lie. */
struct run {
    struct sq_layer *layer;
    uint64_t lba;
    uint32_t mba;
    uint32_t count;
};

static int map_run(sq_log *log, struct run *run)
{
    uint32_t old[SQ_MAP_TAKES];
    if (run->count == 0)
        return SQ_OK;
    if (sq_map_reserve(&run->layer->map, run->lba + run->count, (uint64_t)1 << SQ_VALUE_BITS) != 0)
        return SQ_E_NO_MEMORY;
    sq_map_put_run(&run->layer->map, run->lba, run->count, run->mba, old);
    for (uint32_t i = 0; i < run->count; i++)
        if (old[i] != SQ_UNMAPPED)
            return SQ_E_FORMAT; /* two blocks for one address */
    log->stats.live_blocks += run->count;
    run->count = 0;
    return SQ_OK;
}

static int load_live(sq_log *log, struct run *run, struct sq_layer *layer, uint64_t lba, uint32_t mba)
{
    if (run->count == SQ_MAP_TAKES || run->layer != layer || run->lba + run->count != lba ||
        run->mba + run->count != mba) {
        SQ_TRY(map_run(log, run));
        *run = (struct run){.layer = layer, .lba = lba, .mba = mba};
    }
    run->count++;
    return SQ_OK;
}

/* Can a block of the segment be in use? */
static int may_be_used(const sq_log *log, uint32_t segment, uint32_t offset)
{
    uint32_t state = log->segments[segment].state;
    if (state == SQ_SEGMENT_OPEN)
        return offset < log->heads[log->segments[segment].class].open_blocks;
    return state == SQ_SEGMENT_SEALED;
}

static int load_block(sq_log *log, const struct source *source, struct run *run, uint32_t segment,
                      uint32_t offset, const uint8_t *at)
{
    uint64_t entry = sq_get_u64(at);
    uint32_t slot = sq_entry_slot(entry), mba = segment * log->segment_blocks + offset;
    int used = may_be_used(log, segment, offset);
    if (slot >= log->layer_count || (sq_entry_state(entry) != SQ_LIVE && sq_get_u32(at + 8) != 0))
        return SQ_E_FORMAT;
    struct sq_layer *layer = log->layers[slot];
    log->ledger[mba] = entry;
    /* Behind the head lies what was there a lap ago. */
    if (slot != 0 && used)
        log->segments[segment].data_blocks++;
    switch (sq_entry_state(entry)) {
    case SQ_LIVE:
        if (slot == 0 || layer->dropped || !used || sq_entry_value(entry) >= source->end_lba)
            return SQ_E_FORMAT;
        log->checksums[mba] = sq_get_u32(at + 8);
        log->segments[segment].live_blocks++;
        return load_live(log, run, layer, sq_entry_value(entry), mba);
    case SQ_DEAD:
        layer->dead_blocks++;
        return SQ_OK;
    case SQ_MOVED:
        layer->moved_blocks++;
        return SQ_OK;
    case SQ_SUMMARY:
        return slot == 0 && used ? SQ_OK : SQ_E_FORMAT;
    default:
        return entry == 0 ? SQ_OK : SQ_E_FORMAT;
    }
}

static int load_tables(sq_log *log, struct source *source)
{
    struct run run = {0};
    uint64_t table_bytes = SQ_CKP_TABLE_HEAD_BYTES + (uint64_t)log->segment_blocks * SQ_CKP_BLOCK_BYTES;
    uint32_t after = 0; /* tables ascend, so that none comes twice */
    for (uint32_t count = sq_get_u32(source->head + SQ_CKP_AT_TABLES); count > 0; count--) {
        const uint8_t *at = next(source, table_bytes);
        if (at == NULL || sq_get_u32(at) < after || sq_get_u32(at) >= log->segment_count ||
            !sq_is_zero(at + 4, 4))
            return SQ_E_FORMAT;
        uint32_t segment = sq_get_u32(at);
        after = segment + 1;
        at += SQ_CKP_TABLE_HEAD_BYTES;
        for (uint32_t i = 0; i < log->segment_blocks; i++, at += SQ_CKP_BLOCK_BYTES)
            SQ_TRY(load_block(log, source, &run, segment, i, at));
    }
    return map_run(log, &run);
}

/* Every block of a layer without a reader of its own is read through one above it. */
static int check_reached(const struct sq_layer *layer)
{
    uint32_t mba[SQ_LEAF_BLOCKS];
    if (layer->reader != NULL)
        return SQ_OK;
    for (uint64_t index = 0; index < layer->map.leaf_count; index++) {
        if (layer->map.directory[index] == 0)
            continue;
        sq_map_unpack(&layer->map, index, mba);
        for (uint32_t i = 0; i < SQ_LEAF_BLOCKS; i++)
            if (mba[i] != SQ_UNMAPPED && !sq_layer_is_reached(layer, index * SQ_LEAF_BLOCKS + i, NULL))
                return SQ_E_FORMAT;
    }
    return SQ_OK;
}

/* Every hole hides something, and nothing lies in it. */
static int check_holes(const struct sq_layer *layer)
{
    const struct sq_layer *hidden;
    uint64_t end = layer->holes.leaf_count * SQ_LEAF_BLOCKS;
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(&layer->holes, lba, end);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++)
            if (sq_map_get(&layer->map, lba + i) != SQ_UNMAPPED ||
                sq_layer_get(layer->parent, lba + i, &hidden) == SQ_UNMAPPED)
                return SQ_E_FORMAT;
        lba += run.count;
    }
    return SQ_OK;
}

/* What layer.c keeps true of layers is true. */
static int check_layers(const sq_log *log)
{
    for (uint32_t slot = 1; slot < log->layer_count; slot++) {
        const struct sq_layer *layer = log->layers[slot];
        int is_head = layer->reader != NULL && !layer->reader->is_snapshot;
        if (layer->dropped)
            continue;
        if ((is_head && layer->first_child != NULL) || (layer->reader == NULL && layer->first_child == NULL))
            return SQ_E_FORMAT;
        if (layer->reader != NULL && !sq_map_fits(&layer->map, sq_volume_blocks(log, layer->reader)))
            return SQ_E_FORMAT;
        SQ_TRY(check_reached(layer));
        SQ_TRY(check_holes(layer));
    }
    return SQ_OK;
}

/* The last residue of a dropped layer may have been written over by the checkpoint itself. */
static void settle_layers(sq_log *log)
{
    for (uint32_t slot = 1; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL && log->layers[slot]->dropped)
            sq_layer_settle(log, log->layers[slot]);
}

int sq_checkpoint_load(sq_log *log, const uint8_t *stream, uint64_t stream_bytes)
{
    struct source source = {.at = stream, .left = stream_bytes};
    source.head = next(&source, SQ_CKP_HEAD_BYTES);
    if (source.head == NULL || memcmp(source.head, SQ_CHECKPOINT_MAGIC, 8) != 0 ||
        sq_get_u32(source.head + SQ_CKP_AT_VERSION) != SQ_CHECKPOINT_VERSION ||
        sq_get_u64(source.head + SQ_CKP_AT_DRIVE) != log->drive ||
        sq_get_u32(source.head + SQ_CKP_AT_HEADS) >= SQ_CLASSES_MAX)
        return SQ_E_FORMAT;
    source.layers = sq_get_u32(source.head + SQ_CKP_AT_LAYERS);
    log->last_number = sq_get_u64(source.head + SQ_CKP_AT_LAST_NUMBER);
    log->durable.opening = sq_get_u64(source.head + SQ_CKP_AT_OPENING);
    log->sequence = sq_get_u64(source.head + SQ_CKP_AT_SEQUENCE) - 1;
    log->stats.position = sq_get_u64(source.head + SQ_CKP_AT_POSITION);
    /* Volumes name layers, which follow them. */
    const uint8_t *volumes =
        next(&source, (uint64_t)sq_get_u32(source.head + SQ_CKP_AT_VOLUMES) * SQ_CKP_VOLUME_BYTES);
    if (volumes == NULL || log->last_number > UINT32_MAX)
        return SQ_E_FORMAT;
    SQ_TRY(load_layers(log, &source));
    SQ_TRY(load_volumes(log, &source, volumes));
    SQ_TRY(check_numbers(log));
    SQ_TRY(load_holes(log, &source));
    SQ_TRY(load_rings(log, &source));
    SQ_TRY(load_tables(log, &source));
    SQ_TRY(check_layers(log));
    settle_layers(log);
    sq_cleaner_settle(log);
    log->has_empty_layers = 1;
    sq_layer_tidy(log);
    return source.left == 0 ? SQ_OK : SQ_E_FORMAT;
}
