/* volume.c: volumes and snapshots: the table of them, and the requests that begin and end them.
 *
 * A number is never reused; an index of the table is, at once. The handle that callers hold is both, so an
 * old handle never reaches a new volume. A request first does all that can fail, then changes the tables and
 * puts the entry that says so into the open record.
 */
#include <stdlib.h>

#include "append.h"

#define INDEXES_MAX ((uint32_t)1 << 24) /* that fit into a handle beside the number */
#define VOLUME_BYTES 48u                /* in a checkpoint */
#define LAYER_BYTES 40u

/* ---- the table -------------------------------------------------------------------------------- */

static int grow_indexes(sq_log *log)
{
    void *volumes = log->volumes;
    int status = sq_table_grow(&volumes, &log->free_indexes, &log->volume_capacity);
    log->volumes = volumes;
    return status;
}

int sq_volume_add(sq_log *log, const struct sq_volume *template, struct sq_volume **volume_out)
{
    if (log->free_index_count == 0 && log->volume_count == log->volume_capacity) {
        if (log->volume_count >= INDEXES_MAX)
            return SQ_E_LIMIT;
        SQ_TRY(grow_indexes(log));
    }
    struct sq_volume *volume = malloc(sizeof *volume);
    if (volume == NULL)
        return SQ_E_NO_MEMORY;
    *volume = *template;
    volume->index = log->free_index_count > 0 ? log->free_indexes[--log->free_index_count]
                                              : log->volume_count++;
    volume->head->reader = volume;
    log->volumes[volume->index] = volume;
    *volume_out = volume;
    return SQ_OK;
}

static void remove_volume(sq_log *log, struct sq_volume *volume)
{
    log->volumes[volume->index] = NULL;
    log->free_indexes[log->free_index_count++] = volume->index;
    free(volume);
}

static uint64_t handle_of(const struct sq_volume *volume)
{
    return volume->number << 24 | volume->index;
}

static int by_number(const void *left, const void *right)
{
    uint64_t a = (*(struct sq_volume *const *)left)->number, b = (*(struct sq_volume *const *)right)->number;
    return (a > b) - (a < b);
}

int sq_volumes_sorted(const sq_log *log, struct sq_volume ***volumes_out, uint32_t *count_out)
{
    struct sq_volume **sorted = malloc((log->volume_count + (size_t)1) * sizeof(struct sq_volume *));
    uint32_t count = 0;
    if (sorted == NULL)
        return SQ_E_NO_MEMORY;
    for (uint32_t index = 0; index < log->volume_count; index++)
        if (log->volumes[index] != NULL)
            sorted[count++] = log->volumes[index];
    qsort(sorted, count, sizeof(struct sq_volume *), by_number);
    *volumes_out = sorted;
    *count_out = count;
    return SQ_OK;
}

/* ---- effects ---------------------------------------------------------------------------------- */

/* A volume or snapshot whose head is a new layer, or neither. */
static int add_with_head(sq_log *log, struct sq_volume *template, struct sq_layer *parent,
                         struct sq_volume **volume_out)
{
    SQ_TRY(sq_layer_add(log, template->number, template->tenant, template->number, parent, &template->head));
    int status = sq_volume_add(log, template, volume_out);
    if (status != SQ_OK)
        sq_layer_drop(log, template->head);
    else
        log->last_number = template->number;
    return status;
}

int sq_volume_make(sq_log *log, uint64_t number, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                   struct sq_volume **volume_out)
{
    struct sq_volume template = {.number = number, .tenant = tenant, .size_bytes = size_bytes,
                                 .bound = SQ_NEVER, .unwritten_error = unwritten_error != 0};
    if (SQ_PLANTED(tenant_number_given_twice)) template.tenant = 1;
    return add_with_head(log, &template, NULL, volume_out);
}

int sq_volume_branch(sq_log *log, struct sq_volume *snapshot, uint64_t number, uint64_t tenant,
                     int unwritten_error, struct sq_volume **volume_out)
{
    struct sq_volume template = {.number = number, .tenant = tenant, .size_bytes = snapshot->size_bytes,
                                 .bound = SQ_NEVER, .origin = snapshot->number,
                                 .unwritten_error = unwritten_error != 0};
    return add_with_head(log, &template, snapshot->head, volume_out);
}

int sq_volume_freeze(sq_log *log, struct sq_volume *volume, uint64_t number, struct sq_volume **snapshot_out)
{
    struct sq_volume template = *volume;
    struct sq_layer *layer;
    template.number = number;
    template.origin = volume->number;
    template.is_snapshot = 1;
    template.is_held = 0;
    SQ_TRY(sq_layer_add(log, number, volume->tenant, volume->number, volume->head, &layer));
    int status = sq_volume_add(log, &template, snapshot_out);
    if (status != SQ_OK) {
        sq_layer_drop(log, layer);
        return status;
    }
    layer->reader = volume;
    volume->head = SQ_PLANTED(snapshot_is_not_frozen) ? volume->head : layer;
    log->last_number = number;
    return SQ_OK;
}

int sq_volume_return(sq_log *log, struct sq_volume *volume, struct sq_volume *snapshot, uint64_t number)
{
    struct sq_layer *layer, *old = volume->head;
    SQ_TRY(sq_layer_reserve_unread(log, old));
    SQ_TRY(sq_layer_add(log, number, volume->tenant, volume->number, snapshot->head, &layer));
    layer->reader = volume;
    volume->head = layer;
    volume->size_bytes = snapshot->size_bytes;
    log->last_number = number;
    old->reader = NULL;
    return sq_layer_unread(log, old);
}

int sq_volume_end(sq_log *log, struct sq_volume *volume)
{
    struct sq_layer *layer = volume->head;
    SQ_TRY(sq_layer_reserve_unread(log, layer));
    remove_volume(log, volume);
    layer->reader = NULL;
    return sq_layer_unread(log, layer);
}

/* ---- requests --------------------------------------------------------------------------------- */

/* The number that a request asks for, or the next one; and room in a checkpoint for what comes with it. */
static int take_number(const sq_log *log, uint64_t *number, uint32_t tables_bytes)
{
    uint64_t end = log->tags != NULL ? (uint64_t)1 << SQ_TAG_VOLUME_BITS : UINT32_MAX;
    if (*number == 0)
        *number = log->last_number + 1;
    if (*number <= log->last_number)
        return SQ_E_INVALID;
    int has_room = !log->durable.on || sq_tables_bytes(log) + tables_bytes <= log->durable.tables_most_bytes;
    return *number >= end || !has_room ? SQ_E_LIMIT : SQ_OK;
}

static int tenant_is_valid(uint64_t tenant)
{
    return tenant != 0 && tenant <= UINT32_MAX;
}

/* Begins a request that puts one entry into the open record, for which there is room then. */
static int begin_entry(sq_log *log)
{
    SQ_TRY(sq_request_begin(log, 0, 2));
    int status = sq_head_make_room(log, 1);
    return status == SQ_OK ? SQ_OK : sq_request_end(log, status);
}

/* Ends it; the entry says what was done, if it was. */
static int end_entry(sq_log *log, int status, const struct sq_entry_fields *entry)
{
    if (status == SQ_OK)
        sq_record_note(log, entry);
    return sq_request_end(log, status);
}

static int create(sq_log *log, uint64_t number, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                  struct sq_volume **volume_out)
{
    if (!tenant_is_valid(tenant) || !sq_size_is_valid(log, size_bytes))
        return SQ_E_INVALID;
    SQ_TRY(take_number(log, &number, VOLUME_BYTES + LAYER_BYTES));
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_CREATE, .volume = number, .lba = size_bytes,
                                    .value = (uint32_t)tenant,
                                    .flags = unwritten_error ? SQ_FLAG_UNWRITTEN_ERROR : 0};
    SQ_TRY(begin_entry(log));
    int status = sq_volume_make(log, number, tenant, size_bytes, unwritten_error, volume_out);
    return end_entry(log, status, &entry);
}

int sq_volume_seal(sq_log *log, uint64_t handle, uint32_t key, int by_leaf)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                 ? SQ_E_NOT_FOUND
                 : volume->is_snapshot          ? SQ_E_READ_ONLY
                 : !log->sealing.on || key == 0 ? SQ_E_INVALID
                                                : SQ_OK;
    /* A leaf seals once in the life of a key. */
    if (status == SQ_OK && volume->key != key)
        volume->leaves = 0;
    if (status == SQ_OK) {
        volume->key = key;
        volume->by_leaf = by_leaf != 0;
    }
    sq_unlock(log);
    return status;
}

int sq_volume_hold(sq_log *log, uint64_t handle, int is_held)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    if (volume != NULL)
        volume->is_held = is_held != 0;
    sq_unlock(log);
    return volume == NULL ? SQ_E_NOT_FOUND : SQ_OK;
}

int sq_volume_create(sq_log *log, uint64_t number, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                     uint64_t *handle_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume;
    int status = create(log, number, tenant, size_bytes, unwritten_error, &volume);
    if (status == SQ_OK)
        *handle_out = handle_of(volume);
    sq_unlock_alone(log);
    return status;
}

static int take_snapshot(sq_log *log, struct sq_volume *volume, uint64_t number,
                         struct sq_volume **snapshot_out)
{
    if (volume == NULL || volume->is_snapshot)
        return volume == NULL ? SQ_E_NOT_FOUND : SQ_E_INVALID;
    SQ_TRY(take_number(log, &number, VOLUME_BYTES + LAYER_BYTES));
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_SNAPSHOT, .volume = volume->number, .lba = number};
    SQ_TRY(begin_entry(log));
    return end_entry(log, sq_volume_freeze(log, volume, number, snapshot_out), &entry);
}

int sq_volume_snapshot(sq_log *log, uint64_t handle, uint64_t number, uint64_t *snapshot_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *snapshot;
    int status = take_snapshot(log, sq_volume_of(log, handle), number, &snapshot);
    if (status == SQ_OK)
        *snapshot_out = handle_of(snapshot);
    sq_unlock_alone(log);
    return status;
}

static int branch(sq_log *log, struct sq_volume *snapshot, uint64_t number, uint64_t tenant,
                  int unwritten_error, struct sq_volume **volume_out)
{
    if (snapshot == NULL || !snapshot->is_snapshot || !tenant_is_valid(tenant))
        return snapshot == NULL ? SQ_E_NOT_FOUND : SQ_E_INVALID;
    SQ_TRY(take_number(log, &number, VOLUME_BYTES + LAYER_BYTES));
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_CLONE, .volume = number, .lba = snapshot->number,
                                    .value = (uint32_t)tenant,
                                    .flags = unwritten_error ? SQ_FLAG_UNWRITTEN_ERROR : 0};
    SQ_TRY(begin_entry(log));
    int status = sq_volume_branch(log, snapshot, number, tenant, unwritten_error, volume_out);
    return end_entry(log, status, &entry);
}

int sq_volume_clone(sq_log *log, uint64_t snapshot, uint64_t number, uint64_t tenant, int unwritten_error,
                    uint64_t *handle_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume;
    int status = branch(log, sq_volume_of(log, snapshot), number, tenant, unwritten_error, &volume);
    if (status == SQ_OK)
        *handle_out = handle_of(volume);
    sq_unlock_alone(log);
    return status;
}

/* Is the snapshot one of the volume, or of what it was cloned from? */
static int is_earlier(const struct sq_volume *snapshot, const struct sq_volume *volume)
{
    const struct sq_layer *at = volume->head;
    while (at != NULL && at != snapshot->head)
        at = at->parent;
    return snapshot->is_snapshot &&
           (at != NULL || snapshot->origin == volume->number || volume->origin == snapshot->number);
}

static int roll_back(sq_log *log, struct sq_volume *volume, struct sq_volume *snapshot, uint64_t number)
{
    if (volume == NULL || snapshot == NULL)
        return SQ_E_NOT_FOUND;
    if (volume->is_snapshot || !is_earlier(snapshot, volume))
        return volume->is_snapshot ? SQ_E_READ_ONLY : SQ_E_INVALID;
    SQ_TRY(take_number(log, &number, LAYER_BYTES));
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_ROLLBACK, .volume = volume->number, .lba = number,
                                    .value = (uint32_t)snapshot->number};
    SQ_TRY(begin_entry(log));
    return end_entry(log, sq_volume_return(log, volume, snapshot, number), &entry);
}

int sq_volume_rollback(sq_log *log, uint64_t handle, uint64_t snapshot, uint64_t number)
{
    SQ_TRY(sq_lock_alone(log));
    int status = roll_back(log, sq_volume_of(log, handle), sq_volume_of(log, snapshot), number);
    sq_unlock_alone(log);
    return status;
}

static int delete(sq_log *log, struct sq_volume *volume)
{
    if (volume == NULL)
        return SQ_E_NOT_FOUND;
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_DELETE, .volume = volume->number};
    SQ_TRY(begin_entry(log));
    return end_entry(log, sq_volume_end(log, volume), &entry);
}

int sq_volume_delete(sq_log *log, uint64_t handle)
{
    SQ_TRY(sq_lock_alone(log));
    int status = delete(log, sq_volume_of(log, handle));
    sq_unlock_alone(log);
    return status;
}

/* ---- views ------------------------------------------------------------------------------------ */

static uint64_t count_mapped(const struct sq_volume *volume)
{
    uint32_t mba[SQ_LEAF_BLOCKS];
    uint64_t mapped = 0;
    if (volume->head->parent == NULL)
        return volume->head->map.mapped_blocks;
    for (uint64_t index = 0; (index = sq_layer_next_leaf(volume->head, index)) != UINT64_MAX; index++)
        mapped += sq_layer_show(volume->head, index, mba);
    return mapped;
}

int sq_volume_info(sq_log *log, uint64_t handle, struct sq_volume_info *info_out)
{
    SQ_TRY(sq_lock_shared(log));
    const struct sq_volume *volume = sq_volume_of(log, handle);
    if (volume != NULL) {
        info_out->size_bytes = volume->size_bytes;
        info_out->mapped_blocks = count_mapped(volume);
        info_out->origin = volume->origin;
        info_out->layer = volume->head->number;
    }
    sq_unlock(log);
    return volume == NULL ? SQ_E_NOT_FOUND : SQ_OK;
}

int sq_volume_list(sq_log *log, uint64_t capacity, struct sq_volume_entry *entries_out, uint64_t *count_out)
{
    struct sq_volume **sorted;
    uint32_t count;
    SQ_TRY(sq_lock_shared(log));
    int status = sq_volumes_sorted(log, &sorted, &count);
    for (uint32_t i = 0; status == SQ_OK && i < count && i < capacity; i++)
        entries_out[i] = (struct sq_volume_entry){
            .number = sorted[i]->number,
            .tenant = sorted[i]->tenant,
            .size_bytes = sorted[i]->size_bytes,
            .handle = handle_of(sorted[i]),
            .origin = sorted[i]->origin,
            .flags = (sorted[i]->unwritten_error ? 1 : 0) | (sorted[i]->is_snapshot ? 2 : 0),
        };
    if (status == SQ_OK) {
        *count_out = count;
        free(sorted);
    }
    sq_unlock(log);
    return status;
}
