/* read.c: reading blocks and bytes.
 *
 * Before a byte of a block is handed out, the ledger must say that the media block belongs to this volume and
 * this lba, and the checksum, which covers volume, lba and content, must agree. Checking reads the block into
 * the cache, and the copy follows from there.
 */
#include "internal.h"

/* Blocks read before the lock is given back for a moment, so that no other call waits for a long read. */
#define CHUNK_BLOCKS 1024u

static int corrupt(const struct sq_volume *volume, uint64_t lba, uint64_t mba, struct sq_fault *fault_out)
{
    if (fault_out != NULL) {
        fault_out->volume = volume->number;
        fault_out->lba = lba;
        fault_out->mba = mba;
    }
    return SQ_E_CORRUPT;
}

int sq_read_block(sq_log *log, const struct sq_volume *volume, uint64_t lba, uint32_t mba,
                  uint32_t from_bytes, uint32_t length_bytes, uint8_t *data_out,
                  struct sq_fault *fault_out)
{
    const uint8_t *block = sq_payload_at(log, mba);
    if (log->ledger[mba] != sq_entry(SQ_LIVE, volume->slot, lba))
        return corrupt(volume, lba, mba, fault_out);
    if (log->verify &&
        ~log->kernels->crc(sq_tag_crc(log, volume, lba), block, log->block_bytes) != log->checksums[mba])
        return corrupt(volume, lba, mba, fault_out);
    memcpy(data_out, block + from_bytes, length_bytes);
    return SQ_OK;
}

/* ---- the parts of a request ------------------------------------------------------------------ */

struct read {
    const uint64_t *lbas;  /* NULL: a range of bytes */
    uint64_t offset_bytes; /* of the range */
    uint64_t length_bytes; /* of the range, or of all blocks of the list */
    uint8_t *data_out;
};

/* A block of a request: which one, which of its bytes, and where they go. */
struct piece {
    uint64_t lba;
    uint32_t from_bytes;
    uint32_t length_bytes;
    uint8_t *data_out;
    uint32_t mba;
};

/* Cuts off the piece at done_bytes; returns its length. */
static uint64_t cut(const sq_log *log, const struct read *read, uint64_t done_bytes, struct piece *piece)
{
    uint64_t at = read->offset_bytes + done_bytes, left = read->length_bytes - done_bytes;
    uint32_t from = (uint32_t)(at & (log->block_bytes - 1)), most = log->block_bytes - from;
    piece->lba = at >> log->block_shift;
    if (read->lbas != NULL)
        piece->lba = __atomic_load_n(&read->lbas[done_bytes >> log->block_shift], __ATOMIC_RELAXED);
    piece->from_bytes = from;
    piece->length_bytes = left < most ? (uint32_t)left : most;
    piece->data_out = read->data_out + done_bytes;
    return piece->length_bytes;
}

static void look_up(const sq_log *log, const struct sq_volume *volume, struct piece *pieces, uint32_t count)
{
    if (count > 1)
        for (uint32_t i = 0; i < count; i++)
            sq_map_prefetch_word(&volume->map, pieces[i].lba);
    if (count > 1)
        for (uint32_t i = 0; i < count; i++)
            sq_map_prefetch_leaf(&volume->map, pieces[i].lba);
    for (uint32_t i = 0; i < count; i++) {
        pieces[i].mba = sq_map_get(&volume->map, pieces[i].lba);
        if (pieces[i].mba != SQ_UNMAPPED) {
            sq_fetch(&log->ledger[pieces[i].mba]);
            sq_fetch(&log->checksums[pieces[i].mba]);
        }
    }
}

static int hand_out(sq_log *log, const struct sq_volume *volume, const struct piece *piece,
                    struct sq_fault *fault_out)
{
    if (piece->mba != SQ_UNMAPPED)
        return sq_read_block(log, volume, piece->lba, piece->mba, piece->from_bytes, piece->length_bytes,
                             piece->data_out, fault_out);
    memset(piece->data_out, 0, piece->length_bytes);
    return SQ_OK;
}

/* ---- unwritten="error" ----------------------------------------------------------------------- */

static int unwritten(const struct sq_volume *volume, uint64_t lba, uint64_t end, struct sq_fault *fault_out)
{
    if (fault_out != NULL) {
        fault_out->volume = volume->number;
        fault_out->lba = lba;
        fault_out->count = sq_map_run_at(&volume->map, lba, end).count;
    }
    return SQ_E_UNWRITTEN;
}

/* Refuses if part of the request between the two positions is unwritten. */
static int check_written(const sq_log *log, const struct sq_volume *volume, const struct read *read,
                         uint64_t from_bytes, uint64_t to_bytes, struct sq_fault *fault_out)
{
    if (read->lbas != NULL) {
        for (uint64_t i = from_bytes >> log->block_shift; i < to_bytes >> log->block_shift; i++) {
            uint64_t lba = __atomic_load_n(&read->lbas[i], __ATOMIC_RELAXED);
            if (sq_map_get(&volume->map, lba) == SQ_UNMAPPED)
                return unwritten(volume, lba, lba + 1, fault_out);
        }
        return SQ_OK;
    }
    uint64_t lba = (read->offset_bytes + from_bytes) >> log->block_shift;
    uint64_t end = (read->offset_bytes + to_bytes + log->block_bytes - 1) >> log->block_shift;
    while (lba < end) {
        struct sq_map_run run = sq_map_run_at(&volume->map, lba, end);
        if (run.mba == SQ_UNMAPPED)
            return unwritten(volume, lba, end, fault_out);
        lba += run.count;
    }
    return SQ_OK;
}

/* ---- requests -------------------------------------------------------------------------------- */

static int is_inside(const sq_log *log, const struct sq_volume *volume, const struct read *read)
{
    uint64_t volume_blocks = volume->size_bytes >> log->block_shift, beyond = 0;
    if (read->lbas == NULL)
        return sq_in_volume(volume, read->offset_bytes, read->length_bytes);
    for (uint64_t i = 0; i < read->length_bytes >> log->block_shift; i++)
        beyond |= read->lbas[i] >= volume_blocks;
    return beyond == 0;
}

/* One hold of the lock: from *done_bytes on, CHUNK_BLOCKS at most. */
static int read_chunk(sq_log *log, const struct sq_volume *volume, const struct read *read,
                      uint64_t *done_bytes, struct sq_fault *fault_out)
{
    struct piece pieces[SQ_BATCH];
    for (uint32_t chunk = 0; chunk < CHUNK_BLOCKS && *done_bytes < read->length_bytes;) {
        uint32_t count = 0;
        while (count < SQ_BATCH && *done_bytes < read->length_bytes)
            *done_bytes += cut(log, read, *done_bytes, &pieces[count++]);
        look_up(log, volume, pieces, count);
        for (uint32_t i = 0; i < count; i++)
            SQ_TRY(hand_out(log, volume, &pieces[i], fault_out));
        chunk += count;
    }
    return SQ_OK;
}

/* What has to hold before bytes are handed out: for all of the request at first, then, since the volume may
 * have changed in a pause, for what the next hold of the lock will read. */
static int check_request(const sq_log *log, const struct sq_volume *volume, const struct read *read,
                         uint64_t done_bytes, struct sq_fault *fault_out)
{
    uint64_t end_bytes = done_bytes + ((uint64_t)CHUNK_BLOCKS << log->block_shift);
    if (done_bytes == 0 || end_bytes > read->length_bytes)
        end_bytes = read->length_bytes;
    if (volume == NULL)
        return SQ_E_NOT_FOUND;
    if (log->payload == NULL)
        return SQ_E_NO_PAYLOAD;
    if ((done_bytes == 0 || read->lbas == NULL) && !is_inside(log, volume, read))
        return SQ_E_BOUNDS;
    if (!volume->unwritten_error || done_bytes == end_bytes)
        return SQ_OK;
    return check_written(log, volume, read, done_bytes, end_bytes, fault_out);
}

static int read_request(sq_log *log, uint64_t handle, const struct read *read, struct sq_fault *fault_out)
{
    uint64_t done_bytes = 0;
    int status;
    do {
        SQ_TRY(sq_lock_shared(log));
        struct sq_volume *volume = sq_volume_of(log, handle);
        status = check_request(log, volume, read, done_bytes, fault_out);
        if (status == SQ_OK)
            status = read_chunk(log, volume, read, &done_bytes, fault_out);
        sq_unlock(log);
    } while (status == SQ_OK && done_bytes < read->length_bytes);
    /* A request that failed hands out nothing, not even what was right before the damage. */
    if (status != SQ_OK)
        memset(read->data_out, 0, done_bytes);
    return status;
}

int sq_volume_read(sq_log *log, uint64_t handle, uint64_t offset_bytes, char *data_out,
                   uint64_t length_bytes, struct sq_fault *fault_out)
{
    struct read read = {.offset_bytes = offset_bytes, .length_bytes = length_bytes,
                        .data_out = (uint8_t *)data_out};
    return read_request(log, handle, &read, fault_out);
}

/* The bytes of count blocks, or more than any volume has. */
static uint64_t bytes_of(const sq_log *log, uint64_t count)
{
    return count > UINT64_MAX >> log->block_shift ? UINT64_MAX : count << log->block_shift;
}

int sq_volume_read_run(sq_log *log, uint64_t handle, uint64_t lba, uint64_t count, uint8_t *data_out,
                       struct sq_fault *fault_out)
{
    struct read read = {.offset_bytes = bytes_of(log, lba), .length_bytes = bytes_of(log, count),
                        .data_out = data_out};
    return read_request(log, handle, &read, fault_out);
}

int sq_volume_read_blocks(sq_log *log, uint64_t handle, const uint64_t *lbas, uint64_t count,
                          uint8_t *data_out, struct sq_fault *fault_out)
{
    struct read read = {.lbas = lbas, .length_bytes = bytes_of(log, count), .data_out = data_out};
    return lbas == NULL ? SQ_E_INVALID : read_request(log, handle, &read, fault_out);
}

int sq_volume_extents(sq_log *log, uint64_t handle, uint64_t lba, uint64_t capacity,
                      struct sq_extent *extents_out, uint64_t *count_out)
{
    SQ_TRY(sq_lock_shared(log));
    const struct sq_volume *volume = sq_volume_of(log, handle);
    uint64_t count = 0, end = volume == NULL ? 0 : volume->map.leaf_count * SQ_LEAF_BLOCKS;
    while (lba < end && count < capacity) {
        struct sq_map_run run = sq_map_run_at(&volume->map, lba, end);
        if (run.mba != SQ_UNMAPPED)
            extents_out[count++] = (struct sq_extent){
                .lba = lba, .count = run.count, .drive = log->drive, .mba = run.mba};
        lba += run.count;
    }
    sq_unlock(log);
    if (volume == NULL)
        return SQ_E_NOT_FOUND;
    *count_out = count;
    return SQ_OK;
}
