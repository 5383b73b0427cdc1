/* check.c: the deep check. Walks every structure and compares what two of them say of the same thing:
 * extent maps against the ledger, the ledger against the counts of segments and layers, layers against each
 * other and the volumes that read them, segments against rings and write pointers, time against the head.
 * Reads everything, changes nothing.
 */
#include <stdlib.h>

#include "due.h"
#include "layer.h"

/* Every mapping is a LIVE entry that names it back, and somebody reads it. */
static int check_map(sq_log *log, const struct sq_layer *layer)
{
    const struct sq_map *map = &layer->map;
    uint64_t end = map->leaf_count * SQ_LEAF_BLOCKS;
    SQ_CHECK(log, sq_map_check(map) == 0);
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(map, lba, end);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++) {
            SQ_CHECK(log, run.mba + i < log->block_count);
            SQ_CHECK(log, *sq_entry_of(log, run.mba + i) == sq_entry(SQ_LIVE, layer->slot, lba + i));
            SQ_CHECK(log, sq_layer_is_reached(layer, lba + i, NULL));
        }
        lba += run.count;
    }
    return SQ_OK;
}

/* A hole hides something, and nothing lies in it. */
static int check_holes(sq_log *log, const struct sq_layer *layer)
{
    const struct sq_layer *owner;
    uint64_t end = layer->holes.leaf_count * SQ_LEAF_BLOCKS;
    SQ_CHECK(log, sq_map_check(&layer->holes) == 0);
    for (uint64_t lba = 0; lba < end;) {
        struct sq_map_run run = sq_map_run_at(&layer->holes, lba, end);
        for (uint64_t i = 0; run.mba != SQ_UNMAPPED && i < run.count; i++) {
            SQ_CHECK(log, sq_map_get(&layer->map, lba + i) == SQ_UNMAPPED);
            SQ_CHECK(log, sq_layer_get(layer->parent, lba + i, &owner) != SQ_UNMAPPED);
        }
        lba += run.count;
    }
    return SQ_OK;
}

struct tree {
    uint64_t with_parent;
    uint64_t children;
    uint64_t readers;
    uint64_t hole_leaves;
};

static int check_layer(sq_log *log, const struct sq_layer *layer, struct tree *tree)
{
    int in_tree = layer->parent != NULL || layer->first_child != NULL || layer->reader != NULL;
    SQ_CHECK(log, !layer->dropped || !in_tree);
    SQ_CHECK(log, !layer->dropped || layer->map.leaf_count + layer->holes.leaf_count == 0);
    SQ_CHECK(log, !layer->dropped || layer->dead_blocks + layer->moved_blocks > 0);
    SQ_CHECK(log, layer->slot == 0 || layer->dropped || layer->reader != NULL || layer->first_child != NULL);
    /* One that says nothing is taken out, unless its holes are needed where they are. */
    uint64_t said = layer->map.mapped_blocks + layer->holes.mapped_blocks;
    SQ_CHECK(log, layer->slot == 0 || layer->dropped || layer->reader != NULL || said > 0);
    SQ_CHECK(log, layer->bound >= sq_deadline_least(log));
    if (layer->reader != NULL) {
        SQ_CHECK(log, layer->reader->head == layer && layer->number <= log->last_number);
        SQ_CHECK(log, layer->first_child == NULL || layer->reader->is_snapshot);
    }
    for (const struct sq_layer *child = layer->first_child; child != NULL; child = child->next_sibling) {
        SQ_CHECK(log, child->parent == layer && child->number > layer->number);
        tree->children++;
    }
    tree->with_parent += layer->parent != NULL;
    tree->readers += layer->reader != NULL;
    tree->hole_leaves += layer->holes.used_leaves;
    SQ_TRY(check_holes(log, layer));
    return check_map(log, layer);
}

/* The tree of layers is one, and volumes and heads know each other. */
static int check_layers(sq_log *log)
{
    struct tree tree = {0};
    uint64_t volumes = 0;
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL) {
            SQ_CHECK(log, log->layers[slot]->slot == slot);
            SQ_TRY(check_layer(log, log->layers[slot], &tree));
        }
    for (uint32_t index = 0; index < log->volume_count; index++)
        if (log->volumes[index] != NULL) {
            const struct sq_volume *volume = log->volumes[index];
            SQ_CHECK(log, volume->index == index && volume->head->reader == volume);
            volumes++;
        }
    SQ_CHECK(log, tree.with_parent == tree.children);
    SQ_CHECK(log, tree.readers == volumes && volumes + log->free_index_count == log->volume_count);
    SQ_CHECK(log, tree.hole_leaves == log->hole_leaves);
    return SQ_OK;
}

struct residue {
    uint64_t dead_blocks;
    uint64_t moved_blocks;
};

static int check_entry(sq_log *log, uint64_t entry, struct residue *of_slot, uint32_t *live)
{
    uint32_t slot = sq_entry_slot(entry);
    SQ_CHECK(log, sq_entry_state(entry) <= SQ_SUMMARY);
    SQ_CHECK(log, slot < log->layer_count && log->layers[slot] != NULL);
    *live += sq_entry_state(entry) == SQ_LIVE;
    of_slot[slot].dead_blocks += sq_entry_state(entry) == SQ_DEAD;
    of_slot[slot].moved_blocks += sq_entry_state(entry) == SQ_MOVED;
    return SQ_OK;
}

/* Blocks of a segment that were written since it was opened. */
static uint32_t used_blocks(const sq_log *log, uint32_t segment)
{
    const struct sq_segment *here = &log->segments[segment];
    if (here->state == SQ_SEGMENT_OPEN)
        return (uint32_t)sq_head_blocks(log, &log->heads[here->class]);
    return here->state == SQ_SEGMENT_SEALED ? log->segment_blocks : 0;
}

/* Live blocks and all that hold data are counted right, and the write pointer is where it should be. */
static int check_segment(sq_log *log, uint32_t segment, struct residue *of_slot, uint64_t *live_total)
{
    const struct sq_record *record = &log->head->record;
    uint32_t first = segment * log->segment_blocks, live = 0, data = 0, used = used_blocks(log, segment);
    for (uint32_t mba = first; mba < first + log->segment_blocks; mba++) {
        uint64_t entry = log->ledger[mba];
        data += mba - first < used && sq_entry_slot(*sq_entry_of(log, mba)) != 0;
        int in_use = sq_entry_state(entry) == SQ_LIVE || sq_entry_state(entry) == SQ_SUMMARY;
        SQ_TRY(check_entry(log, entry, of_slot, &live));
        SQ_CHECK(log, !in_use || log->segments[segment].state != SQ_SEGMENT_FREE);
        if (!sq_is_staged(log, mba))
            continue;
        /* What the medium still holds there counts as long as it does. */
        SQ_CHECK(log, !in_use && segment == log->head->segment);
        SQ_TRY(check_entry(log, record->pending[mba - record->mba], of_slot, &live));
    }
    SQ_CHECK(log, live == log->segments[segment].live_blocks);
    SQ_CHECK(log, data == log->segments[segment].data_blocks);
    *live_total += live;
    uint32_t written = log->segments[segment].state == SQ_SEGMENT_FREE   ? 0
                       : log->segments[segment].state == SQ_SEGMENT_OPEN
                           ? log->heads[log->segments[segment].class].open_blocks
                           : log->segment_blocks;
    uint64_t pointer = 0;
    SQ_CHECK(log, sq_medium_write_pointer(log->medium, segment, &pointer) == SQ_OK);
    /* A free zone of a medium that outlives the process may still stand at its end; see segment.c. */
    SQ_CHECK(log, pointer == first + (uint64_t)written ||
                      (log->durable.on && log->segments[segment].state == SQ_SEGMENT_FREE &&
                       pointer == first + (uint64_t)log->segment_blocks));
    return SQ_OK;
}

/* LIVE entries are as many as mappings, which makes the two the same set; residue is counted right. */
static int check_ledger(sq_log *log, struct residue *of_slot)
{
    uint64_t live = 0, mapped = 0;
    for (uint32_t segment = 0; segment < log->segment_count; segment++)
        SQ_TRY(check_segment(log, segment, of_slot, &live));
    for (uint32_t slot = 0; slot < log->layer_count; slot++) {
        const struct sq_layer *layer = log->layers[slot];
        if (layer == NULL)
            continue;
        mapped += layer->map.mapped_blocks;
        SQ_CHECK(log, layer->dead_blocks == of_slot[slot].dead_blocks);
        SQ_CHECK(log, layer->moved_blocks == of_slot[slot].moved_blocks);
    }
    SQ_CHECK(log, live == mapped && live == log->stats.live_blocks);
    return SQ_OK;
}

static int check_ring(sq_log *log, const struct sq_ring *ring, uint32_t state)
{
    for (uint32_t i = 0; i < ring->count; i++) {
        uint32_t segment = ring->items[((uint64_t)ring->first + i) % ring->capacity];
        SQ_CHECK(log, segment < log->segment_count && log->segments[segment].state == state);
    }
    return SQ_OK;
}

/* The sealed segments are those of the list, and the counts of garbage are theirs. */
static int check_sealed(sq_log *log)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    uint64_t count = 0, garbage = 0, data = 0;
    uint32_t segment = sq_list_first(&log->sealed, log->segment_count);
    for (; segment != log->segment_count; segment = log->sealed.next[segment]) {
        SQ_CHECK(log, count < log->segment_count);
        SQ_CHECK(log, log->segments[segment].state == SQ_SEGMENT_SEALED);
        garbage += log->segments[segment].data_blocks - log->segments[segment].live_blocks;
        count++;
    }
    for (uint32_t i = 0; i < log->segment_count; i++)
        data += log->segments[i].state == SQ_SEGMENT_FREE ? 0 : log->segments[i].data_blocks;
    SQ_CHECK(log, count == log->sealed.count);
    SQ_CHECK(log, garbage == cleaner->garbage_blocks && data == cleaner->data_blocks);
    return SQ_OK;
}

/* All sealed segments are candidates, or those that are in the window. */
static int check_window(sq_log *log, uint32_t candidates)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    if (cleaner->selection != SQ_SELECT_WINDOWED_GREEDY) {
        SQ_CHECK(log, cleaner->candidates == NULL || candidates == log->sealed.count);
        return SQ_OK;
    }
    uint32_t segment = log->segment_count;
    for (uint32_t i = 0; i < cleaner->window_count; i++) {
        segment = log->sealed.next[segment];
        SQ_CHECK(log, segment != log->segment_count && log->segments[segment].rank < SQ_TAKEN);
    }
    SQ_CHECK(log, segment == cleaner->youngest && candidates == cleaner->window_count);
    return SQ_OK;
}

/* Each candidate knows its place; sorted ones ascend. */
static int check_candidates(sq_log *log)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    uint32_t first = cleaner->starts == NULL ? 0 : cleaner->starts[0], before = 0;
    for (uint32_t rank = first; rank < cleaner->candidate_end; rank++) {
        const struct sq_segment *segment = &log->segments[cleaner->candidates[rank]];
        SQ_CHECK(log, segment->rank == rank && segment->state == SQ_SEGMENT_SEALED);
        if (cleaner->starts == NULL)
            continue;
        uint32_t live = segment->live_blocks;
        SQ_CHECK(log, before <= live && cleaner->starts[live] <= rank && rank < cleaner->starts[live + 1]);
        before = live;
    }
    return check_window(log, cleaner->candidate_end - first);
}

/* Every segment is a head's, or free, or sealed. */
static int check_heads(sq_log *log)
{
    uint32_t open = 0;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        const struct sq_head *head = &log->heads[class];
        SQ_CHECK(log, sq_head_blocks(log, head) <= log->segment_blocks);
        if (head->segment == SQ_NO_SEGMENT)
            continue;
        SQ_CHECK(log, log->segments[head->segment].state == SQ_SEGMENT_OPEN);
        SQ_CHECK(log, log->segments[head->segment].class == class);
        open++;
    }
    SQ_CHECK(log, log->free_ring.count + log->sealed.count + open == log->segment_count);
    SQ_TRY(check_ring(log, &log->free_ring, SQ_SEGMENT_FREE));
    SQ_TRY(check_candidates(log));
    return check_sealed(log);
}

/* The circular log: the head has been everywhere equally often, unless something was due elsewhere. */
static int check_position(sq_log *log)
{
    const struct sq_stats *stats = &log->stats;
    uint64_t put = stats->user_blocks + stats->relocated_blocks + stats->summary_blocks +
                   stats->checkpoint_blocks + stats->overwritten_blocks - log->erased_blocks;
    int is_circular = !log->durable.on && sq_is_circular(log) && !log->has_had_dues;
    uint64_t head = (uint64_t)log->head->segment * log->segment_blocks + sq_head_blocks(log, log->head);
    SQ_CHECK(log, stats->position == log->durable.opened_position + put);
    SQ_CHECK(log, !is_circular || stats->position % log->block_count == head % log->block_count);
    SQ_CHECK(log, log->durable.on || stats->live_blocks <= stats->usable_blocks);
    return SQ_OK;
}

/* Nothing of a tenant's stays behind in the log's own memory. */
static int check_scratch(sq_log *log)
{
    for (size_t i = 0; i < 2 * (size_t)log->block_bytes; i++)
        SQ_CHECK(log, log->scratch[i] == 0);
    return SQ_OK;
}

int sq_log_check(sq_log *log)
{
    /* Alone: requests use the scratch. */
    SQ_TRY(sq_lock_alone(log));
    struct residue *of_slot = calloc(log->layer_count, sizeof *of_slot);
    int status = of_slot == NULL ? SQ_E_NO_MEMORY : check_layers(log);
    if (status == SQ_OK)
        status = check_ledger(log, of_slot);
    if (status == SQ_OK)
        status = check_heads(log);
    if (status == SQ_OK)
        status = check_position(log);
    if (status == SQ_OK)
        status = check_scratch(log);
    if (status == SQ_OK)
        status = sq_sealing_check(log);
    free(of_slot);
    sq_unlock(log);
    return status;
}
