/* trim.c: unmapping: trim and resizing.
 *
 * Whole blocks are unmapped; bytes of a block that is only partly in the range are overwritten with
 * zeros, in a new copy of the block, so that they can never be read again.
 */
#include "append.h"

/* Blocks of a trim that one entry can hold. */
#define PART_BLOCKS 0xFFFFFFFFu

/* The part of one block that a request touches; mba is SQ_UNMAPPED when there is nothing to zero. */
struct part {
    uint64_t lba;
    const struct sq_layer *owner;
    uint32_t from_bytes;
    uint32_t length_bytes;
    uint32_t mba;
};

/* A range of bytes as whole blocks and what is left at its ends. */
struct range {
    uint64_t lba; /* of the whole blocks; lba >= end: none */
    uint64_t end;
    struct part head;
    struct part tail;
};

static struct part part_of(const sq_log *log, const struct sq_volume *volume, uint64_t start, uint64_t end)
{
    struct part part = {.lba = start >> log->block_shift, .mba = SQ_UNMAPPED};
    if (start >= end || log->tags != NULL)
        return part;
    part.from_bytes = (uint32_t)(start - (part.lba << log->block_shift));
    part.length_bytes = (uint32_t)(end - start);
    part.mba = sq_layer_get(volume->head, part.lba, &part.owner);
    return part;
}

static struct range range_of(const sq_log *log, const struct sq_volume *volume, uint64_t start, uint64_t end)
{
    uint64_t mask = log->block_bytes - 1, blocks_start = (start + mask) & ~mask, blocks_end = end & ~mask;
    /* The last block of a volume may be shorter than a block: then it is whole when the range ends it. */
    if (end == volume->size_bytes)
        blocks_end = (end + mask) & ~mask;
    struct range range = {.lba = blocks_start >> log->block_shift, .end = blocks_end >> log->block_shift};
    range.head = part_of(log, volume, start, blocks_start < end ? blocks_start : end);
    range.tail = part_of(log, volume, blocks_end >= blocks_start ? blocks_end : end, end);
    return range;
}

/* Trims whole blocks, in parts whose length an entry can hold. */
static int trim_blocks(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t end)
{
    const struct sq_layer *head = volume->head;
    if (head->parent == NULL && head->map.mapped_blocks == 0)
        return SQ_OK;
    if (SQ_PLANTED(trim_rounded_outward)) lba &= ~(uint64_t)1;
    if (SQ_PLANTED(trim_rounded_inward)) lba += lba & 1;
    if (SQ_PLANTED(trim_length_overflow)) end = lba + ((end - lba) & 31);
    for (uint64_t part; lba < end; lba += part) {
        int changed;
        part = end - lba < PART_BLOCKS ? end - lba : PART_BLOCKS;
        /* First all that can fail: then the blocks and the entry that says so go together. */
        SQ_TRY(sq_head_make_room(log, 1));
        SQ_TRY(sq_layer_clear(log, volume->head, lba, lba + part, &changed));
        if (changed)
            sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_TRIM, .lba = lba,
                                                          .volume = head->number, .value = (uint32_t)part});
    }
    return SQ_OK;
}

int sq_trim_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count)
{
    uint64_t end = volume->size_bytes >> log->block_shift;
    if (sq_volume_is_fixed(volume))
        return SQ_E_READ_ONLY;
    return lba > end || count > end - lba ? SQ_E_BOUNDS : trim_blocks(log, volume, lba, lba + count);
}

/* Reads the block into the scratch and zeroes the part. */
static int load_zeroed(sq_log *log, const struct part *part, uint8_t *scratch, struct sq_fault *fault_out)
{
    if (part->mba == SQ_UNMAPPED)
        return SQ_OK;
    SQ_TRY(sq_read_block(log, part->owner, part->lba, part->mba, 0, log->block_bytes, scratch, fault_out));
    memset(scratch + part->from_bytes, 0, part->length_bytes);
    return SQ_OK;
}

static int store_part(sq_log *log, struct sq_volume *volume, const struct part *part, const uint8_t *scratch)
{
    return part->mba == SQ_UNMAPPED ? SQ_OK : sq_write_run(log, volume, part->lba, 1, scratch);
}

/* Blocks of [lba, end) that die when the volume no longer shows them; stops at most. */
static uint64_t count_freed(const struct sq_layer *head, uint64_t lba, uint64_t end, uint64_t most)
{
    uint64_t freed = 0;
    while (lba < end && freed < most) {
        const struct sq_layer *owner;
        uint64_t index = sq_layer_next_leaf(head, lba / SQ_LEAF_BLOCKS);
        if (index > end / SQ_LEAF_BLOCKS)
            break;
        lba = index * SQ_LEAF_BLOCKS > lba ? index * SQ_LEAF_BLOCKS : lba;
        for (uint64_t stop = (index + 1) * SQ_LEAF_BLOCKS; lba < end && lba < stop && freed < most; lba++)
            freed += sq_layer_get(head, lba, &owner) != SQ_UNMAPPED &&
                     (owner == head || !sq_layer_is_reached(owner, lba, head));
    }
    return freed;
}

/* A block of a snapshot that is zeroed in part leaves the snapshot's as it is, and needs space of its own. */
static int check_parts(const sq_log *log, const struct sq_volume *volume, const struct range *range,
                       struct sq_fault *fault_out)
{
    const struct sq_layer *head = volume->head;
    uint64_t needed = (range->head.mba != SQ_UNMAPPED && sq_layer_adds(head, range->head.lba)) +
                      (uint64_t)(range->tail.mba != SQ_UNMAPPED && sq_layer_adds(head, range->tail.lba));
    if (sq_check_space(log, needed, NULL) == SQ_OK)
        return SQ_OK;
    return sq_check_space(log, needed - count_freed(head, range->lba, range->end, needed), fault_out);
}

/* Unmaps the whole blocks of [start, end) bytes and zeroes the rest of it. The parts take the space that the
 * whole blocks leave. */
static int trim_bytes(sq_log *log, struct sq_volume *volume, uint64_t start, uint64_t end,
                      struct sq_fault *fault_out)
{
    uint8_t *head_data = log->scratch, *tail_data = log->scratch + log->block_bytes;
    struct range range = range_of(log, volume, start, end);
    SQ_TRY(check_parts(log, volume, &range, fault_out));
    if (range.head.mba != SQ_UNMAPPED || range.tail.mba != SQ_UNMAPPED)
        SQ_TRY(sq_seal_check(log, volume));
    SQ_TRY(load_zeroed(log, &range.head, head_data, fault_out));
    SQ_TRY(load_zeroed(log, &range.tail, tail_data, fault_out));
    SQ_TRY(sq_fault_io(log, trim_blocks(log, volume, range.lba, range.end), fault_out));
    SQ_TRY(sq_fault_io(log, store_part(log, volume, &range.head, head_data), fault_out));
    return sq_fault_io(log, store_part(log, volume, &range.tail, tail_data), fault_out);
}

/* Begins a request that trims: two parts of blocks, and the entries. */
static int begin_trim(sq_log *log, uint64_t length_bytes, struct sq_fault *fault_out)
{
    uint64_t entries = (length_bytes >> log->block_shift) / PART_BLOCKS + 2;
    return sq_fault_io(log, sq_request_begin(log, 2, entries), fault_out);
}

static int end_trim(sq_log *log, int status)
{
    sq_wipe(log->scratch, 2 * (size_t)log->block_bytes);
    return sq_request_end(log, status);
}

static int trim(sq_log *log, struct sq_volume *volume, uint64_t start, uint64_t length,
                struct sq_fault *fault_out)
{
    SQ_TRY(begin_trim(log, length, fault_out));
    int status = trim_bytes(log, volume, start, start + length, fault_out);
    return end_trim(log, status);
}

int sq_volume_trim(sq_log *log, uint64_t handle, uint64_t offset_bytes, uint64_t length_bytes,
                   struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                                      ? SQ_E_NOT_FOUND
                 : sq_volume_is_fixed(volume)                        ? SQ_E_READ_ONLY
                 : !sq_in_volume(volume, offset_bytes, length_bytes) ? SQ_E_BOUNDS
                 : length_bytes == 0                                 ? SQ_OK
                                     : trim(log, volume, offset_bytes, length_bytes, fault_out);
    sq_unlock_alone(log);
    return status;
}

/* Trims what is cut off, and notes the size. */
static int resize_noted(sq_log *log, struct sq_volume *volume, uint64_t size_bytes,
                        struct sq_fault *fault_out)
{
    uint64_t cut_bytes = size_bytes + (SQ_PLANTED(shrink_off_by_one) ? log->block_bytes : 0);
    if (size_bytes < volume->size_bytes && !SQ_PLANTED(shrink_keeps_the_blocks))
        SQ_TRY(trim_bytes(log, volume, cut_bytes, volume->size_bytes, fault_out));
    SQ_TRY(sq_fault_io(log, sq_head_make_room(log, 1), fault_out));
    sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_RESIZE, .lba = size_bytes,
                                                  .volume = volume->number});
    volume->size_bytes = size_bytes;
    sq_map_cut(&volume->head->map, sq_volume_blocks(log, volume));
    return SQ_OK;
}

static int resize(sq_log *log, struct sq_volume *volume, uint64_t size_bytes, struct sq_fault *fault_out)
{
    SQ_TRY(begin_trim(log, size_bytes < volume->size_bytes ? volume->size_bytes - size_bytes : 0, fault_out));
    int status = resize_noted(log, volume, size_bytes, fault_out);
    return end_trim(log, status);
}

int sq_volume_resize(sq_log *log, uint64_t handle, uint64_t size_bytes, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                          ? SQ_E_NOT_FOUND
                 : sq_volume_is_fixed(volume)            ? SQ_E_READ_ONLY
                 : !sq_size_is_valid(log, size_bytes)    ? SQ_E_INVALID
                                                      : resize(log, volume, size_bytes, fault_out);
    sq_unlock_alone(log);
    return status;
}
