/* volume.c: the table of volumes.
 *
 * A slot is reused once its volume is deleted and the last of its bytes has been written over; a number
 * never is. The handle that callers hold is both, so an old handle never reaches a new volume.
 */
#include <stdlib.h>

#include "internal.h"

static int grow_slots(sq_log *log)
{
    uint32_t capacity = log->slot_capacity == 0 ? 16 : 2 * log->slot_capacity;
    struct sq_volume **volumes = realloc(log->volumes, capacity * sizeof *volumes);
    if (volumes == NULL)
        return SQ_E_NO_MEMORY;
    log->volumes = volumes;
    uint32_t *free_slots = realloc(log->free_slots, capacity * sizeof *free_slots);
    if (free_slots == NULL)
        return SQ_E_NO_MEMORY;
    log->free_slots = free_slots;
    log->slot_capacity = capacity;
    return SQ_OK;
}

int sq_volume_add(sq_log *log, uint64_t number, uint64_t tenant, struct sq_volume **volume_out)
{
    if (log->free_slot_count == 0 && log->slot_count == log->slot_capacity) {
        if (log->slot_count >= SQ_SLOTS_MAX)
            return SQ_E_LIMIT;
        SQ_TRY(grow_slots(log));
    }
    struct sq_volume *volume = calloc(1, sizeof *volume);
    if (volume == NULL)
        return SQ_E_NO_MEMORY;
    volume->number = number;
    volume->tenant = tenant;
    volume->slot = log->free_slot_count > 0 ? log->free_slots[--log->free_slot_count] : log->slot_count++;
    sq_map_init(&volume->map, &log->leaves, volume->slot);
    log->volumes[volume->slot] = volume;
    *volume_out = volume;
    return SQ_OK;
}

void sq_volume_settle(sq_log *log, struct sq_volume *volume)
{
    if (volume->dead_blocks + volume->moved_blocks != 0)
        return;
    log->volumes[volume->slot] = NULL;
    log->free_slots[log->free_slot_count++] = volume->slot;
    free(volume);
}

int sq_volume_create(sq_log *log, uint64_t tenant, uint64_t size_bytes, int unwritten_error,
                     uint64_t *handle_out)
{
    SQ_TRY(sq_lock_alone(log));
    uint64_t number = log->last_number + 1;
    uint64_t numbers_max = (uint64_t)1 << (log->tags != NULL ? SQ_TAG_VOLUME_BITS : 40);
    struct sq_volume *volume;
    int status = number >= numbers_max ? SQ_E_LIMIT : SQ_OK;
    if (tenant == 0 || !sq_size_is_valid(log, size_bytes))
        status = SQ_E_INVALID;
    if (status == SQ_OK)
        status = sq_volume_add(log, number, tenant, &volume);
    if (status == SQ_OK) {
        volume->size_bytes = size_bytes;
        volume->unwritten_error = unwritten_error != 0;
        log->last_number = number;
        *handle_out = number << 24 | volume->slot;
    }
    sq_unlock_alone(log);
    return status;
}

static int end_volume(sq_log *log, struct sq_volume *volume)
{
    SQ_TRY(sq_unmap_noted(log, volume, SQ_ENTRY_DELETE, 0, sq_volume_blocks(log, volume)));
    sq_map_free(&volume->map);
    volume->deleted = 1;
    sq_volume_settle(log, volume);
    return SQ_OK;
}

int sq_volume_delete(sq_log *log, uint64_t handle)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL ? SQ_E_NOT_FOUND : end_volume(log, volume);
    sq_unlock_alone(log);
    return status;
}

int sq_volume_info(sq_log *log, uint64_t handle, struct sq_volume_info *info_out)
{
    SQ_TRY(sq_lock_shared(log));
    const struct sq_volume *volume = sq_volume_of(log, handle);
    if (volume != NULL) {
        info_out->size_bytes = volume->size_bytes;
        info_out->mapped_blocks = volume->map.mapped_blocks;
    }
    sq_unlock(log);
    return volume == NULL ? SQ_E_NOT_FOUND : SQ_OK;
}
