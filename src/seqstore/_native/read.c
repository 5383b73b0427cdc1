/* read.c: reading blocks and bytes.
 *
 * Before a byte of a block is handed out, the ledger must say that the media block belongs to this layer and
 * this lba, and the checksum, which covers layer, lba and content, must agree. In memory, checking brings the
 * block into the cache, and the copy follows from there. From other media whole blocks go straight into the
 * caller's buffer, neighbours in one call, and are checked there; it is wiped if they are wrong. Encrypted
 * ones are opened there instead, which finds more than a checksum does.
 */
#include "layer.h"

/* Blocks read before the lock is given back for a moment, so that no other call waits for a long read. */
#define CHUNK_BLOCKS 1024u

#define BLOCK_BYTES_MAX 65536u

/* Of a block that is read as memory: the processor goes on from there by itself. */
#define START_BYTES 256u

static int corrupt(const struct sq_layer *layer, uint64_t lba, uint64_t mba, struct sq_fault *fault_out)
{
    if (fault_out != NULL) {
        fault_out->volume = layer->volume;
        fault_out->lba = lba;
        fault_out->mba = mba;
    }
    return SQ_E_CORRUPT;
}

static int unreadable(const struct sq_layer *layer, uint64_t lba, uint64_t mba, int os_error,
                      struct sq_fault *fault_out)
{
    if (fault_out != NULL) {
        fault_out->volume = layer->volume;
        fault_out->lba = lba;
        fault_out->mba = mba;
        fault_out->count = 1;
        fault_out->os_error = (uint64_t)os_error;
    }
    return SQ_E_IO;
}

/* The block in memory, where the medium or the open record has it, or NULL. */
static const uint8_t *find_in_memory(const sq_log *log, uint32_t mba)
{
    return log->payload != NULL || sq_is_staged(log, mba) ? sq_place_at(log, mba) : NULL;
}

static int is_owner(const sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t mba)
{
    if (SQ_PLANTED(wrong_block_unchecked)) return 1;
    return *sq_entry_of(log, mba) == sq_entry(SQ_LIVE, layer->slot, lba);
}

int sq_block_is_right(const sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t mba,
                      const uint8_t *block)
{
    uint32_t state = sq_tag_crc(log, layer->number, lba);
    if (SQ_PLANTED(wrong_block_unchecked)) return 1;
    return ~log->kernels->crc(state, block, log->block_bytes) == log->checksums[mba];
}

/* Part of a block that has to be fetched whole first. */
static __attribute__((noinline)) int fetch_part(sq_log *log, const struct sq_layer *layer, uint64_t lba,
                                                uint32_t mba, uint32_t from_bytes, uint32_t length_bytes,
                                                uint8_t *data_out, struct sq_fault *fault_out)
{
    _Alignas(4096) uint8_t block[BLOCK_BYTES_MAX]; /* aligned for direct reads */
    int os_error = 0, status = SQ_OK;
    if (sq_medium_fetch(log->medium, mba, 1, block, &os_error) != SQ_OK)
        status = unreadable(layer, lba, mba, os_error, fault_out);
    else if (log->verify && !sq_block_is_right(log, layer, lba, mba, block))
        status = corrupt(layer, lba, mba, fault_out);
    else
        memcpy(data_out, block + from_bytes, length_bytes);
    sq_wipe(block, log->block_bytes);
    return status;
}

/* What a block that does not open is reported as. */
static int unopened(int status, const struct sq_layer *layer, uint64_t lba, uint64_t mba, int os_error,
                    struct sq_fault *fault_out)
{
    if (status == SQ_E_IO)
        return unreadable(layer, lba, mba, os_error, fault_out);
    if (status != SQ_OK)
        corrupt(layer, lba, mba, fault_out);
    return status;
}

/* Part of a block that is sealed; block: where it lies in memory, or NULL. */
static __attribute__((noinline)) int open_part(sq_log *log, const struct sq_layer *layer, uint64_t lba,
                                               uint32_t mba, const uint8_t *block, uint32_t from_bytes,
                                               uint32_t length_bytes, uint8_t *data_out,
                                               struct sq_fault *fault_out)
{
    _Alignas(4096) uint8_t plain[BLOCK_BYTES_MAX];
    struct sq_opener opener = {0};
    int os_error = 0, status = SQ_OK;
    if (block == NULL)
        status = sq_medium_fetch(log->medium, mba, 1, plain, &os_error);
    const uint8_t *cipher = block == NULL ? plain : block;
    if (status == SQ_OK)
        status = sq_open_block(log, &opener, layer, lba, mba, cipher, plain, &os_error);
    sq_opener_end(log, &opener);
    if (status == SQ_OK)
        memcpy(data_out, plain + from_bytes, length_bytes);
    sq_wipe(plain, log->block_bytes);
    return unopened(status, layer, lba, mba, os_error, fault_out);
}

int sq_read_block(sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t mba,
                  uint32_t from_bytes, uint32_t length_bytes, uint8_t *data_out,
                  struct sq_fault *fault_out)
{
    const uint8_t *block = find_in_memory(log, mba);
    if (SQ_PLANTED(read_from_the_blocks_start)) from_bytes = 0;
    if (SQ_PLANTED(tail_of_a_short_read)) length_bytes &= ~(uint32_t)15;
    if (!is_owner(log, layer, lba, mba))
        return corrupt(layer, lba, mba, fault_out);
    if (log->sealing.on)
        return open_part(log, layer, lba, mba, block, from_bytes, length_bytes, data_out, fault_out);
    if (block == NULL)
        return fetch_part(log, layer, lba, mba, from_bytes, length_bytes, data_out, fault_out);
    if (log->verify && !sq_block_is_right(log, layer, lba, mba, block))
        return corrupt(layer, lba, mba, fault_out);
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
    const struct sq_layer *owner;
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

/* So many bytes of a block that is read as memory. */
static void fetch_mapped(const sq_log *log, uint32_t mba, uint32_t bytes)
{
    const uint8_t *mapped = log->medium->mapped;
    if (mapped != NULL)
        for (uint32_t at = 0; at < bytes; at += 64)
            __builtin_prefetch(mapped + ((uint64_t)mba << log->block_shift) + at, 0);
}

static void look_up(const sq_log *log, const struct sq_layer *head, struct piece *pieces, uint32_t count)
{
    if (count > 1)
        for (uint32_t i = 0; i < count; i++)
            sq_map_prefetch_word(&head->map, pieces[i].lba);
    if (count > 1)
        for (uint32_t i = 0; i < count; i++)
            sq_map_prefetch_leaf(&head->map, pieces[i].lba);
    for (uint32_t i = 0; i < count; i++) {
        pieces[i].owner = head;
        pieces[i].mba = head->parent == NULL ? sq_map_get(&head->map, pieces[i].lba)
                                             : sq_layer_get(head, pieces[i].lba, &pieces[i].owner);
        if (SQ_PLANTED(wrong_block_unchecked) && pieces[i].mba != SQ_UNMAPPED) pieces[i].mba ^= 1;
        if (pieces[i].mba != SQ_UNMAPPED) {
            sq_fetch(&log->ledger[pieces[i].mba]);
            sq_fetch(&log->checksums[pieces[i].mba]);
            if (log->sealing.on)
                sq_fetch(&log->sealing.seals[pieces[i].mba]);
            fetch_mapped(log, pieces[i].mba, START_BYTES);
        }
    }
}

static int hand_out(sq_log *log, const struct piece *piece, struct sq_fault *fault_out)
{
    if (piece->mba != SQ_UNMAPPED)
        return sq_read_block(log, piece->owner, piece->lba, piece->mba, piece->from_bytes,
                             piece->length_bytes, piece->data_out, fault_out);
    if (SQ_PLANTED(unwritten_left_in_the_buffer)) return SQ_OK;
    memset(piece->data_out, 0, piece->length_bytes);
    return SQ_OK;
}

/* The block lies where it is to be opened, or can be read as memory. */
static int open_piece(sq_log *log, struct sq_opener *opener, const struct piece *piece,
                      struct sq_fault *fault_out)
{
    int os_error = 0;
    const uint8_t *mapped = log->medium->mapped;
    const uint8_t *cipher = mapped == NULL ? piece->data_out
                                           : mapped + ((uint64_t)piece->mba << log->block_shift);
    int status = sq_open_block(log, opener, piece->owner, piece->lba, piece->mba, cipher, piece->data_out,
                               &os_error);
    return unopened(status, piece->owner, piece->lba, piece->mba, os_error, fault_out);
}

/* How many pieces from this one on, whole blocks next to each other on the medium, can be fetched at once. */
static uint32_t count_neighbours(const sq_log *log, const struct piece *pieces, uint32_t count)
{
    uint32_t run = 0;
    while (run < count && pieces[run].length_bytes == log->block_bytes && pieces[run].mba != SQ_UNMAPPED &&
           pieces[run].mba == pieces[0].mba + run && find_in_memory(log, pieces[run].mba) == NULL)
        run++;
    return run;
}

/* Fetches neighbours into the caller's buffer, and checks them there unless they are sealed. */
static int fetch_run(sq_log *log, const struct piece *pieces, uint32_t count, struct sq_fault *fault_out)
{
    int os_error = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!is_owner(log, pieces[i].owner, pieces[i].lba, pieces[i].mba))
            return corrupt(pieces[i].owner, pieces[i].lba, pieces[i].mba, fault_out);
    int is_open_at_once = log->sealing.on && log->medium->mapped != NULL, status = SQ_OK;
    if (!is_open_at_once)
        status = sq_medium_fetch(log->medium, pieces[0].mba, count, pieces[0].data_out, &os_error);
    /* One bad block spoils the call for its neighbours: one by one, the failure gets its place. */
    for (uint32_t i = 0; i < count; i++) {
        const struct piece *piece = &pieces[i];
        if (status != SQ_OK &&
            sq_medium_fetch(log->medium, piece->mba, 1, piece->data_out, &os_error) != SQ_OK)
            return unreadable(piece->owner, piece->lba, piece->mba, os_error, fault_out);
        if (log->verify && !log->sealing.on &&
            !sq_block_is_right(log, piece->owner, piece->lba, piece->mba, piece->data_out))
            return corrupt(piece->owner, piece->lba, piece->mba, fault_out);
    }
    return SQ_OK;
}

/* Opens what was fetched: all calls of the system come first, since each of them makes the processor forget
 * what it had learnt of libcrypto's code. */
static int open_fetched(sq_log *log, const struct piece *pieces, const uint8_t *is_fetched, uint32_t count,
                        struct sq_fault *fault_out)
{
    struct sq_opener opener = {0};
    int status = SQ_OK;
    for (uint32_t i = 0; i < count && status == SQ_OK; i++) {
        /* The processor sees neighbours coming, and of others too little until it is through with them. */
        if (i + 1 < count && is_fetched[i + 1] && pieces[i + 1].mba != pieces[i].mba + 1)
            fetch_mapped(log, pieces[i + 1].mba, log->block_bytes);
        if (is_fetched[i])
            status = open_piece(log, &opener, &pieces[i], fault_out);
    }
    sq_opener_end(log, &opener);
    return status;
}

static int hand_out_all(sq_log *log, const struct piece *pieces, uint32_t count, struct sq_fault *fault_out)
{
    uint8_t is_fetched[SQ_BATCH] = {0};
    for (uint32_t i = 0, run; i < count; i += run) {
        run = log->payload != NULL ? 0 : count_neighbours(log, &pieces[i], count - i);
        if (run != 0)
            SQ_TRY(fetch_run(log, &pieces[i], run, fault_out));
        else
            SQ_TRY(hand_out(log, &pieces[i], fault_out));
        memset(&is_fetched[i], 1, run);
        run = run == 0 ? 1 : run;
    }
    return log->sealing.on ? open_fetched(log, pieces, is_fetched, count, fault_out) : SQ_OK;
}

/* ---- unwritten="error" ----------------------------------------------------------------------- */

static int unwritten(const struct sq_volume *volume, uint64_t lba, uint64_t count, struct sq_fault *fault_out)
{
    if (fault_out != NULL) {
        fault_out->volume = volume->number;
        fault_out->lba = lba;
        fault_out->count = count;
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
            const struct sq_layer *owner;
            if (sq_layer_get(volume->head, lba, &owner) == SQ_UNMAPPED)
                return unwritten(volume, lba, 1, fault_out);
        }
        return SQ_OK;
    }
    struct sq_layer_view view;
    uint64_t lba = (read->offset_bytes + from_bytes) >> log->block_shift;
    uint64_t end = (read->offset_bytes + to_bytes + log->block_bytes - 1) >> log->block_shift;
    view.layer = volume->head;
    view.filled = 0;
    while (lba < end) {
        struct sq_map_run run = sq_view_run_at(&view, lba, end);
        if (run.mba == SQ_UNMAPPED)
            return unwritten(volume, lba, run.count, fault_out);
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
        look_up(log, volume->head, pieces, count);
        SQ_TRY(hand_out_all(log, pieces, count, fault_out));
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
    if (log->tags != NULL)
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
        /* The block may have been written through another volume; the caller knows this one. */
        if (fault_out != NULL && (status == SQ_E_CORRUPT || status == SQ_E_IO || status == SQ_E_NO_KEY))
            fault_out->volume = volume->number;
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
    struct sq_layer_view view;
    uint64_t count = 0, end = volume == NULL ? 0 : sq_volume_blocks(log, volume);
    view.layer = volume == NULL ? NULL : volume->head;
    view.filled = 0;
    while (lba < end && count < capacity) {
        struct sq_map_run run = sq_view_run_at(&view, lba, end);
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
