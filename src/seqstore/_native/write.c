/* write.c: writing blocks and bytes.
 *
 * A list of blocks is looked up ahead of the block that is being written, in three steps: directory word,
 * leaf, ledger entry of the block that is replaced. Each step fetches for the next, so that the cache misses
 * overlap. Payload goes from the caller's buffer to its place on the medium in one copy that also computes
 * the checksum.
 */
#include <stdlib.h>

#include "append.h"

/* The blocks of a request: a run, or a list of addresses. */
struct blocks {
    const uint64_t *lbas; /* NULL: a run */
    uint64_t first;
    uint64_t count;
    const uint8_t *data; /* NULL on a tags medium */
};

/* ---- space ---------------------------------------------------------------------------------- */

static int compare_lbas(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static uint64_t unmapped_in_run(const struct sq_map *map, uint64_t lba, uint64_t end)
{
    uint64_t unmapped = 0;
    while (lba < end) {
        struct sq_map_run run = sq_map_run_at(map, lba, end);
        unmapped += run.mba == SQ_UNMAPPED ? run.count : 0;
        lba += run.count;
    }
    return unmapped;
}

/* How many blocks the request would add; only asked when the drive is nearly full. */
static int count_new(const struct sq_volume *volume, const struct blocks *blocks, uint64_t *new_out)
{
    if (blocks->lbas == NULL) {
        *new_out = unmapped_in_run(&volume->map, blocks->first, blocks->first + blocks->count);
        return SQ_OK;
    }
    uint64_t *sorted = malloc(blocks->count * sizeof *sorted), added = 0;
    if (sorted == NULL)
        return SQ_E_NO_MEMORY;
    memcpy(sorted, blocks->lbas, blocks->count * sizeof *sorted);
    qsort(sorted, blocks->count, sizeof *sorted, compare_lbas);
    for (uint64_t i = 0; i < blocks->count; i++)
        if (i == 0 || sorted[i] != sorted[i - 1])
            added += sq_map_get(&volume->map, sorted[i]) == SQ_UNMAPPED;
    free(sorted);
    *new_out = added;
    return SQ_OK;
}

static int check_space(const sq_log *log, const struct sq_volume *volume, const struct blocks *blocks,
                       struct sq_fault *fault_out)
{
    uint64_t available = log->stats.usable_blocks - log->stats.live_blocks, needed;
    if (blocks->count <= available)
        return SQ_OK;
    SQ_TRY(count_new(volume, blocks, &needed));
    if (needed <= available)
        return SQ_OK;
    if (fault_out != NULL) {
        fault_out->needed_blocks = needed;
        fault_out->available_blocks = available;
    }
    return SQ_E_OUT_OF_SPACE;
}

/* ---- batches -------------------------------------------------------------------------------- */

/* Puts the payload in its place at the head; returns the checksum. */
static uint32_t place(sq_log *log, const struct sq_volume *volume, uint64_t lba, const uint8_t *data)
{
    if (log->payload == NULL)
        return 0;
    uint8_t *to = sq_payload_at(log, sq_record_next_mba(log));
    return ~log->kernels->copy_crc(sq_tag_crc(log, volume, lba), to, data, log->block_bytes);
}

/* Look-ups ahead of the block that is written: far enough for a memory access each. */
#define AHEAD 24u

static void fetch_old(const sq_log *log, const struct sq_map *map, uint64_t lba)
{
    uint32_t old = sq_map_get(map, lba);
    if (old != SQ_UNMAPPED)
        sq_fetch(&log->ledger[old]);
}

/* Before block i of the list is written: steps of the look-ups of later ones. */
static void fetch_ahead(const sq_log *log, const struct sq_map *map, const struct blocks *blocks, uint64_t i)
{
    if (i + 3 * AHEAD < blocks->count)
        sq_map_prefetch_word(map, blocks->lbas[i + 3 * AHEAD]);
    if (i + 2 * AHEAD < blocks->count)
        sq_map_prefetch_leaf(map, blocks->lbas[i + 2 * AHEAD]);
    if (i + AHEAD < blocks->count)
        fetch_old(log, map, blocks->lbas[i + AHEAD]);
}

/* lbas: those of the blocks from done on, read once from the caller's list, which may change meanwhile. */
static int write_scattered(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                           const uint64_t *lbas, uint32_t count)
{
    const uint8_t *data = blocks->data;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mba = sq_record_next_mba(log);
        const uint8_t *block = data == NULL ? NULL : data + ((done + i) << log->block_shift);
        fetch_ahead(log, &volume->map, blocks, done + i);
        /* Only if the list is no longer the one for which there was space. */
        if (log->stats.live_blocks == log->stats.usable_blocks &&
            sq_map_get(&volume->map, lbas[i]) == SQ_UNMAPPED)
            return SQ_E_OUT_OF_SPACE;
        SQ_TRY(sq_block_add(log, volume, lbas[i], place(log, volume, lbas[i], block)));
        log->stats.user_blocks++;
        log->stats.live_blocks++;
        uint32_t old = sq_map_put(&volume->map, lbas[i], mba);
        if (old != SQ_UNMAPPED)
            sq_block_dies(log, old, volume, SQ_DEAD);
    }
    return SQ_OK;
}

static int write_consecutive(sq_log *log, struct sq_volume *volume, uint64_t lba, uint32_t count,
                             const uint8_t *data)
{
    uint32_t old[SQ_BATCH], mba = sq_record_next_mba(log);
    for (uint32_t i = 0; i < count; i++) {
        old[i] = sq_map_get(&volume->map, lba + i);
        if (old[i] != SQ_UNMAPPED)
            sq_fetch(&log->ledger[old[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t checksum = place(log, volume, lba + i, data);
        SQ_TRY(sq_block_add(log, volume, lba + i, checksum));
        if (data != NULL)
            data += log->block_bytes;
    }
    sq_map_put_run(&volume->map, lba, count, mba, old);
    log->stats.user_blocks += count;
    log->stats.live_blocks += count;
    for (uint32_t i = 0; i < count; i++)
        if (old[i] != SQ_UNMAPPED)
            sq_block_dies(log, old[i], volume, SQ_DEAD);
    return SQ_OK;
}

/* Reads a batch of the caller's list, once; returns the end of the highest address. */
static uint64_t take_lbas(const uint64_t *list, uint32_t count, uint64_t *lbas_out)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        lbas_out[i] = __atomic_load_n(&list[i], __ATOMIC_RELAXED);
        end = lbas_out[i] >= end ? lbas_out[i] + 1 : end;
    }
    return end;
}

/* Writes up to a batch from done on; the record has room. */
static int write_batch(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                       uint32_t count)
{
    uint64_t lbas[SQ_BATCH], size_blocks = sq_volume_blocks(log, volume);
    int is_run = blocks->lbas == NULL;
    uint64_t end = is_run ? blocks->first + done + count : take_lbas(blocks->lbas + done, count, lbas);
    /* The end of a volume may cut a block, which only requests of bytes reach. */
    if (end > (is_run ? size_blocks : volume->size_bytes >> log->block_shift))
        return SQ_E_BOUNDS;
    if (sq_map_reserve(&volume->map, end, size_blocks) != 0)
        return SQ_E_NO_MEMORY;
    if (!is_run)
        return write_scattered(log, volume, blocks, done, lbas, count);
    const uint8_t *data = blocks->data == NULL ? NULL : blocks->data + (done << log->block_shift);
    return write_consecutive(log, volume, blocks->first + done, count, data);
}

/* Writes blocks for which there is space. */
static int write_all(sq_log *log, struct sq_volume *volume, const struct blocks *blocks)
{
    for (uint64_t done = 0; done < blocks->count;) {
        SQ_TRY(sq_head_make_room(log, 0));
        uint32_t count = sq_record_room(log) < SQ_BATCH ? sq_record_room(log) : SQ_BATCH;
        if (count > blocks->count - done)
            count = (uint32_t)(blocks->count - done);
        SQ_TRY(write_batch(log, volume, blocks, done, count));
        done += count;
    }
    return SQ_OK;
}

int sq_write_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count, const uint8_t *data)
{
    struct blocks blocks = {.first = lba, .count = count, .data = data};
    return write_all(log, volume, &blocks);
}

/* ---- requests of whole blocks ---------------------------------------------------------------- */

static int all_inside(const sq_log *log, const struct sq_volume *volume, const struct blocks *blocks)
{
    uint64_t volume_blocks = volume->size_bytes >> log->block_shift, beyond = 0;
    if (blocks->lbas == NULL)
        return blocks->first <= volume_blocks && blocks->count <= volume_blocks - blocks->first;
    for (uint64_t i = 0; i < blocks->count; i++)
        beyond |= blocks->lbas[i] >= volume_blocks;
    return beyond == 0;
}

static int write_request(sq_log *log, uint64_t handle, const struct blocks *blocks,
                         struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                                   ? SQ_E_NOT_FOUND
                 : log->payload != NULL && blocks->data == NULL ? SQ_E_INVALID
                 : !all_inside(log, volume, blocks)             ? SQ_E_BOUNDS
                                                  : check_space(log, volume, blocks, fault_out);
    if (status == SQ_OK)
        status = write_all(log, volume, blocks);
    sq_unlock_alone(log);
    return status;
}

int sq_volume_write_run(sq_log *log, uint64_t handle, uint64_t lba, uint64_t count, const uint8_t *data,
                        struct sq_fault *fault_out)
{
    struct blocks blocks = {.first = lba, .count = count, .data = data};
    return write_request(log, handle, &blocks, fault_out);
}

int sq_volume_write_blocks(sq_log *log, uint64_t handle, const uint64_t *lbas, uint64_t count,
                           const uint8_t *data, struct sq_fault *fault_out)
{
    struct blocks blocks = {.lbas = lbas, .count = count, .data = data};
    return lbas == NULL ? SQ_E_INVALID : write_request(log, handle, &blocks, fault_out);
}

/* ---- requests of bytes ----------------------------------------------------------------------- */

/* Lays length_bytes of data over block lba, in the scratch. */
static int overlay(sq_log *log, const struct sq_volume *volume, uint64_t lba, uint32_t from_bytes,
                   const char *data, uint32_t length_bytes, uint8_t *scratch, struct sq_fault *fault_out)
{
    uint32_t mba = sq_map_get(&volume->map, lba);
    if (mba != SQ_UNMAPPED)
        SQ_TRY(sq_read_block(log, volume, lba, mba, 0, log->block_bytes, scratch, fault_out));
    memcpy(scratch + from_bytes, data, length_bytes);
    return SQ_OK;
}

/* A request that begins or ends within a block: its first and last block are made in the scratch, which is
 * zero before and after. */
static int write_parts(sq_log *log, struct sq_volume *volume, uint64_t offset, const char *data,
                       uint64_t length, struct sq_fault *fault_out)
{
    uint32_t size = log->block_bytes;
    uint64_t lba = offset >> log->block_shift, end = (offset + length + size - 1) >> log->block_shift;
    uint32_t from = (uint32_t)(offset & (size - 1));
    uint32_t head = from == 0 && length >= size ? 0 : length < size - from ? (uint32_t)length : size - from;
    uint32_t tail = (uint32_t)((length - head) & (size - 1));
    uint64_t middle = (length - head) >> log->block_shift;
    uint8_t *tail_scratch = log->scratch + size;
    struct blocks all = {.first = lba, .count = end - lba};
    SQ_TRY(check_space(log, volume, &all, fault_out));
    if (head != 0)
        SQ_TRY(overlay(log, volume, lba, from, data, head, log->scratch, fault_out));
    if (tail != 0)
        SQ_TRY(overlay(log, volume, end - 1, 0, data + length - tail, tail, tail_scratch, fault_out));
    if (head != 0)
        SQ_TRY(sq_write_run(log, volume, lba++, 1, log->scratch));
    SQ_TRY(sq_write_run(log, volume, lba, middle, (const uint8_t *)data + head));
    return tail == 0 ? SQ_OK : sq_write_run(log, volume, end - 1, 1, tail_scratch);
}

static int write_bytes(sq_log *log, struct sq_volume *volume, uint64_t offset, const char *data,
                       uint64_t length, struct sq_fault *fault_out)
{
    if (((offset | length) & (log->block_bytes - 1)) != 0) {
        int status = write_parts(log, volume, offset, data, length, fault_out);
        sq_wipe(log->scratch, 2 * (size_t)log->block_bytes);
        return status;
    }
    struct blocks blocks = {.first = offset >> log->block_shift,
                            .count = length >> log->block_shift,
                            .data = (const uint8_t *)data};
    SQ_TRY(check_space(log, volume, &blocks, fault_out));
    return write_all(log, volume, &blocks);
}

int sq_volume_write(sq_log *log, uint64_t handle, uint64_t offset_bytes, const char *data,
                    uint64_t length_bytes, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                                        ? SQ_E_NOT_FOUND
                 : log->payload == NULL                              ? SQ_E_NO_PAYLOAD
                 : !sq_in_volume(volume, offset_bytes, length_bytes) ? SQ_E_BOUNDS
                 : length_bytes == 0                                 ? SQ_OK
                 : write_bytes(log, volume, offset_bytes, data, length_bytes, fault_out);
    sq_unlock_alone(log);
    return status;
}
