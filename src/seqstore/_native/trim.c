/* trim.c: unmapping: trim, resizing, and what deletion needs.
 *
 * Whole blocks are unmapped; bytes of a block that is only partly in the range are overwritten with
 * zeros, in a new copy of the block, so that they can never be read again.
 */
#include "append.h"

static void kill_all(sq_log *log, struct sq_volume *volume, const uint32_t *mba, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (i + 8 < count)
            sq_fetch(&log->ledger[mba[i + 8]]);
        sq_block_dies(log, mba[i], volume, SQ_DEAD);
    }
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

/* Unmaps [lba, end); returns how many blocks were mapped. The map has been reserved. */
static uint64_t unmap(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t end)
{
    uint32_t old[SQ_LEAF_BLOCKS];
    uint64_t unmapped = 0;
    const struct sq_map *map = &volume->map;
    for (uint64_t at = lba; at < end && map->mapped_blocks > 0; at = next_leaf(map, at, end)) {
        uint32_t cleared = sq_map_clear(&volume->map, at, end, old);
        kill_all(log, volume, old, cleared);
        unmapped += cleared;
    }
    log->stats.trimmed_blocks += unmapped;
    return unmapped;
}

int sq_unmap_noted(sq_log *log, struct sq_volume *volume, enum sq_entry_kind kind, uint64_t lba,
                   uint64_t end)
{
    /* First all that can fail: then the blocks and the entry that says so go together. */
    SQ_TRY(sq_head_make_room(log, 1));
    if (sq_map_reserve(&volume->map, 0, 0) != 0)
        return SQ_E_NO_MEMORY;
    uint64_t unmapped = unmap(log, volume, lba, end);
    if (kind == SQ_ENTRY_DELETE)
        sq_record_note(log, kind, volume->number, 0, 0);
    else if (unmapped != 0)
        sq_record_note(log, kind, volume->number, lba, (uint32_t)(end - lba));
    return SQ_OK;
}

/* Trims whole blocks, in parts whose length an entry can hold. */
static int trim_blocks(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t end)
{
    while (lba < end) {
        uint64_t part = end - lba < 0xFFFFFFFF ? end - lba : 0xFFFFFFFF;
        SQ_TRY(sq_unmap_noted(log, volume, SQ_ENTRY_TRIM, lba, lba + part));
        lba += part;
    }
    return SQ_OK;
}

/* The part of one block that a request touches; length_bytes 0: none. */
struct part {
    uint64_t lba;
    uint32_t from_bytes;
    uint32_t length_bytes;
    uint32_t mba;
};

static struct part part_of(const sq_log *log, const struct sq_volume *volume, uint64_t start,
                           uint64_t end)
{
    struct part part = {.lba = start >> log->block_shift};
    part.mba = sq_map_get(&volume->map, part.lba);
    if (part.mba == SQ_UNMAPPED)
        return part;
    part.from_bytes = (uint32_t)(start - (part.lba << log->block_shift));
    part.length_bytes = (uint32_t)(end - start);
    return part;
}

/* Reads the block into the scratch and zeroes the part. */
static int load_zeroed(sq_log *log, const struct sq_volume *volume, const struct part *part,
                       uint8_t *scratch, struct sq_fault *fault_out)
{
    if (part->length_bytes == 0)
        return SQ_OK;
    SQ_TRY(sq_read_block(log, volume, part->lba, part->mba, 0, log->block_bytes, scratch, fault_out));
    memset(scratch + part->from_bytes, 0, part->length_bytes);
    return SQ_OK;
}

static int store_part(sq_log *log, struct sq_volume *volume, const struct part *part,
                      const uint8_t *scratch)
{
    return part->length_bytes == 0 ? SQ_OK : sq_write_run(log, volume, part->lba, 1, scratch);
}

/* Unmaps the whole blocks of [start, end) bytes and zeroes the rest of it. */
static int trim_bytes(sq_log *log, struct sq_volume *volume, uint64_t start, uint64_t end,
                      struct sq_fault *fault_out)
{
    uint64_t mask = log->block_bytes - 1, blocks_start = (start + mask) & ~mask, blocks_end = end & ~mask;
    /* The last block of a volume may be shorter than a block: then it is whole when the range ends it. */
    if (end == volume->size_bytes)
        blocks_end = (end + mask) & ~mask;
    uint64_t head_end = blocks_start < end ? blocks_start : end;
    struct part head = {0}, tail = {0};
    if (start < head_end)
        head = part_of(log, volume, start, head_end);
    if (blocks_end < end && blocks_end >= blocks_start)
        tail = part_of(log, volume, blocks_end, end);
    uint8_t *head_data = log->scratch, *tail_data = log->scratch + log->block_bytes;
    int parts = log->payload != NULL;
    if (parts) {
        SQ_TRY(load_zeroed(log, volume, &head, head_data, fault_out));
        SQ_TRY(load_zeroed(log, volume, &tail, tail_data, fault_out));
        SQ_TRY(store_part(log, volume, &head, head_data));
        SQ_TRY(store_part(log, volume, &tail, tail_data));
    }
    if (volume->map.mapped_blocks == 0)
        return SQ_OK;
    return trim_blocks(log, volume, blocks_start >> log->block_shift, blocks_end >> log->block_shift);
}

int sq_volume_trim(sq_log *log, uint64_t handle, uint64_t offset_bytes, uint64_t length_bytes,
                   struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                                        ? SQ_E_NOT_FOUND
                 : !sq_in_volume(volume, offset_bytes, length_bytes) ? SQ_E_BOUNDS
                 : length_bytes == 0                                 ? SQ_OK
                                                                     : trim_bytes(log, volume, offset_bytes,
                                                                                  offset_bytes + length_bytes,
                                                                                  fault_out);
    sq_wipe(log->scratch, 2 * (size_t)log->block_bytes);
    sq_unlock_alone(log);
    return status;
}

int sq_volume_resize(sq_log *log, uint64_t handle, uint64_t size_bytes, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = SQ_OK;
    if (volume == NULL)
        status = SQ_E_NOT_FOUND;
    else if (!sq_size_is_valid(log, size_bytes))
        status = SQ_E_INVALID;
    else if (size_bytes < volume->size_bytes)
        status = trim_bytes(log, volume, size_bytes, volume->size_bytes, fault_out);
    if (status == SQ_OK) {
        volume->size_bytes = size_bytes;
        sq_map_cut(&volume->map, sq_volume_blocks(log, volume));
    }
    sq_wipe(log->scratch, 2 * (size_t)log->block_bytes);
    sq_unlock_alone(log);
    return status;
}
