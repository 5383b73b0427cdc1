/* layer_tree.c: the table of layers, and the tree that they make.
 *
 * A slot is reused once its layer is dropped and the last of its bytes has been written over; a number never
 * is.
 * Invariants: a child's number is above its parent's; a dropped layer is out of the tree.
 * Lock: the log's, held alone.
 */
#include <stdlib.h>

#include "checkpoint.h"
#include "due.h"
#include "layer.h"

/* ---- the table -------------------------------------------------------------------------------- */

int sq_table_grow(void **items_io, uint32_t **free_io, uint32_t *capacity_io)
{
    uint32_t capacity = *capacity_io == 0 ? 16 : 2 * *capacity_io;
    void *items = realloc(*items_io, capacity * sizeof(void *));
    if (items == NULL)
        return SQ_E_NO_MEMORY;
    *items_io = items;
    uint32_t *free_places = realloc(*free_io, capacity * sizeof *free_places);
    if (free_places == NULL)
        return SQ_E_NO_MEMORY;
    *free_io = free_places;
    *capacity_io = capacity;
    return SQ_OK;
}

static int grow_slots(sq_log *log)
{
    void *layers = log->layers;
    int status = sq_table_grow(&layers, &log->free_slots, &log->layer_capacity);
    log->layers = layers;
    return status;
}

void sq_layer_link(struct sq_layer *layer, struct sq_layer *parent)
{
    layer->parent = parent;
    layer->next_sibling = NULL;
    if (parent != NULL) {
        layer->next_sibling = parent->first_child;
        parent->first_child = layer;
    }
}

void sq_layer_unlink(struct sq_layer *layer)
{
    if (layer->parent == NULL)
        return;
    struct sq_layer **at = &layer->parent->first_child;
    while (*at != layer)
        at = &(*at)->next_sibling;
    *at = layer->next_sibling;
    sq_layer_link(layer, NULL);
}

/* The tenant's, made if it has none. */
int sq_work_of(sq_log *log, uint64_t tenant, struct sq_work **work_out)
{
    uint32_t first = 0, end = log->work_count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        if (log->works[middle]->tenant < tenant)
            first = middle + 1;
        else
            end = middle;
    }
    if (first < log->work_count && log->works[first]->tenant == tenant) {
        *work_out = log->works[first];
        return SQ_OK;
    }
    if (log->work_count == log->work_capacity) {
        uint32_t capacity = log->work_capacity == 0 ? 16 : 2 * log->work_capacity;
        struct sq_work **works = realloc(log->works, capacity * sizeof(struct sq_work *));
        if (works == NULL)
            return SQ_E_NO_MEMORY;
        log->works = works;
        log->work_capacity = capacity;
    }
    struct sq_work *work = calloc(1, sizeof *work);
    if (work == NULL)
        return SQ_E_NO_MEMORY;
    work->tenant = tenant;
    work->bound = SQ_NEVER;
    memmove(&log->works[first + 1], &log->works[first], (log->work_count - first) * sizeof(struct sq_work *));
    log->works[first] = work;
    log->work_count++;
    *work_out = work;
    return SQ_OK;
}

int sq_layer_add(sq_log *log, uint64_t number, uint64_t tenant, uint64_t volume, struct sq_layer *parent,
                 struct sq_layer **layer_out)
{
    if (log->free_slot_count == 0 && log->layer_count == log->layer_capacity) {
        if (log->layer_count >= SQ_SLOTS_MAX)
            return SQ_E_LIMIT;
        SQ_TRY(grow_slots(log));
    }
    struct sq_work *work;
    SQ_TRY(sq_work_of(log, tenant, &work));
    struct sq_layer *layer = calloc(1, sizeof *layer);
    if (layer == NULL)
        return SQ_E_NO_MEMORY;
    layer->work = work;
    layer->bound = layer->volume_bound = SQ_NEVER;
    layer->number = number;
    layer->tenant = tenant;
    layer->volume = volume;
    layer->slot = log->free_slot_count > 0 ? log->free_slots[--log->free_slot_count] : log->layer_count++;
    sq_map_init(&layer->map, &log->leaves, layer->slot);
    sq_map_init(&layer->holes, &log->leaves, layer->slot | SQ_OWNER_HOLES);
    sq_layer_link(layer, parent);
    sq_deadline_bind(log, layer);
    log->layers[layer->slot] = layer;
    *layer_out = layer;
    return SQ_OK;
}

void sq_layer_settle(sq_log *log, struct sq_layer *layer)
{
    if (layer->dead_blocks + layer->moved_blocks != 0)
        return;
    log->layers[layer->slot] = NULL;
    log->free_slots[log->free_slot_count++] = layer->slot;
    free(layer);
}

void sq_layer_drop(sq_log *log, struct sq_layer *layer)
{
    sq_layer_unlink(layer);
    log->hole_leaves -= layer->holes.used_leaves;
    sq_map_free(&layer->map);
    sq_map_free(&layer->holes);
    layer->dropped = 1;
    sq_layer_settle(log, layer);
}

uint64_t sq_tables_bytes(const sq_log *log)
{
    uint64_t volumes = log->volume_count - log->free_index_count;
    uint64_t layers = log->layer_count - log->free_slot_count;
    return SQ_CKP_VOLUME_BYTES * volumes + SQ_CKP_LAYER_BYTES * layers +
           SQ_CKP_HOLES_BYTES * log->hole_leaves;
}
