/* write.c: writing blocks and bytes.
 *
 * A list of blocks is looked up ahead of the block that is being written, in three steps: directory word,
 * leaf, ledger entry of the block that is replaced. Each step fetches for the next, so that the cache misses
 * overlap. Payload goes from the caller's buffer to its place on the medium in one copy that also computes
 * the checksum.
 */
#include "append.h"
#include "place.h"
#include "tags.h"

/* The blocks of a request: a run, or a list of addresses. */
struct blocks {
    const uint64_t *lbas; /* NULL: a run */
    uint64_t first;
    uint64_t count;
    const uint8_t *data;  /* of all blocks but those below; NULL on a tags medium */
    const uint8_t *start; /* the first block of a run, when it lies apart, else NULL */
    const uint8_t *end;   /* the same for the last */
    const uint64_t *deaths; /* user time when each block will be written next; or NULL */
};

static int check_space(const sq_log *log, const struct sq_volume *volume, const struct blocks *blocks,
                       struct sq_fault *fault_out)
{
    return sq_check_blocks(log, volume->head, blocks->lbas, blocks->first, blocks->count, fault_out);
}

/* ---- batches -------------------------------------------------------------------------------- */

/* Puts the payload in its place at the head. */
static int place(sq_log *log, const struct sq_layer *layer, uint64_t lba, const uint8_t *data,
                 uint32_t *checksum_out)
{
    *checksum_out = 0;
    if (log->tags != NULL)
        return SQ_OK;
    uint8_t *to = sq_place_at(log, sq_record_next_mba(log));
    uint32_t state = sq_tag_crc(log, layer->number, lba);
    if (log->payload != NULL) {
        *checksum_out = ~log->kernels->copy_crc(state, to, data, log->block_bytes);
        return SQ_OK;
    }
    /* A record that is put together is read again at once: it stays in the cache. The checksum is that of the
     * copy, since the caller's buffer may change meanwhile. */
    if (log->sealing.on)
        SQ_TRY(sq_seal_block(log, layer, lba, data));
    else
        memcpy(to, data, log->block_bytes);
    *checksum_out = ~log->kernels->crc(state, to, log->block_bytes);
    return SQ_OK;
}

/* lbas: those of the blocks from done on, read once from the caller's list, which may change meanwhile. */
static int write_scattered(sq_log *log, struct sq_layer *layer, const struct blocks *blocks, uint64_t done,
                           const uint64_t *lbas, uint32_t count)
{
    const uint8_t *data = blocks->data;
    if (sq_is_plain(log, layer) && log->stats.live_blocks + count <= log->stats.usable_blocks)
        return sq_tags_write(log, layer, lbas, count, blocks->lbas, done, blocks->count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mba = sq_record_next_mba(log);
        const uint8_t *block = data == NULL ? NULL : data + ((done + i) << log->block_shift);
        sq_fetch_ahead(log, &layer->map, blocks->lbas, done + i, blocks->count);
        /* Only if the list is no longer the one for which there was space. */
        if (log->stats.live_blocks >= log->stats.usable_blocks && sq_layer_adds(layer, lbas[i]))
            return SQ_E_OUT_OF_SPACE;
        uint32_t checksum;
        SQ_TRY(place(log, layer, lbas[i], block, &checksum));
        SQ_TRY(sq_block_add(log, layer, lbas[i], checksum, 0));
        log->stats.user_blocks++;
        log->stats.live_blocks++;
        sq_layer_put(log, layer, lbas[i], mba);
    }
    layer->work->user_blocks += count;
    return SQ_OK;
}

static int write_one(sq_log *log, struct sq_layer *layer, uint64_t lba, const uint8_t *data, uint64_t death)
{
    uint32_t mba = sq_record_next_mba(log), checksum;
    SQ_TRY(place(log, layer, lba, data, &checksum));
    SQ_TRY(sq_block_add(log, layer, lba, checksum, 0));
    log->stats.user_blocks++;
    log->stats.live_blocks++;
    layer->work->user_blocks++;
    sq_times_begin(log, mba, death);
    sq_layer_put(log, layer, lba, mba);
    return SQ_OK;
}

/* Blocks of a batch, each to the head of its class; room is found, and garbage cleaned, block by block. */
static int write_classed(sq_log *log, struct sq_layer *layer, const struct blocks *blocks, uint64_t done,
                         const uint64_t *lbas, uint32_t count, const uint8_t *data)
{
    uint8_t classes[SQ_BATCH];
    uint64_t cleaned = log->stats.cleaned_segments;
    int is_custom = log->cleaner.placement == SQ_PLACE_CUSTOM, is_plain = sq_is_plain(log, layer);
    if (is_custom)
        SQ_TRY(sq_place_by_call(log, layer, lbas, count, classes));
    for (uint32_t i = 0; i < count; i++) {
        if (blocks->lbas != NULL)
            sq_fetch_ahead(log, &layer->map, blocks->lbas, done + i, blocks->count);
        if (log->stats.live_blocks >= log->stats.usable_blocks && sq_layer_adds(layer, lbas[i]))
            return SQ_E_OUT_OF_SPACE;
        uint64_t death = blocks->deaths == NULL ? SQ_NO_ADDRESS : blocks->deaths[done + i];
        uint32_t class = is_custom ? classes[i]
                                   : sq_place_user(log, layer, sq_map_get(&layer->map, lbas[i]), death);
        SQ_TRY(sq_head_select(log, class));
        if (!sq_head_has_room(log))
            SQ_TRY(sq_head_make_room(log, 0));
        /* The cleaner may have used the memory for leaves that was reserved for the batch. */
        if (log->stats.cleaned_segments != cleaned)
            SQ_TRY(sq_layer_reserve(log, layer, 0, 0));
        cleaned = log->stats.cleaned_segments;
        SQ_TRY(is_plain ? sq_tags_write_one(log, layer, lbas[i], death)
                        : write_one(log, layer, lbas[i], data, death));
        if (sq_record_room(log) == 0)
            SQ_TRY(sq_head_finish(log));
        /* Each block of a list is a request; a run is one. */
        if (log->cleaner.garbage_ppm != 0 && blocks->lbas != NULL)
            SQ_TRY(sq_clean_garbage(log));
        if (data != NULL)
            data += log->block_bytes;
    }
    return SQ_OK;
}

static int write_consecutive(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t count,
                             const uint8_t *data)
{
    uint32_t old[SQ_BATCH], mba = sq_record_next_mba(log);
    for (uint32_t i = 0; i < count; i++) {
        old[i] = sq_map_get(&layer->map, lba + i);
        if (old[i] != SQ_UNMAPPED)
            sq_fetch(&log->ledger[old[i]]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t checksum;
        SQ_TRY(place(log, layer, lba + i, data, &checksum));
        SQ_TRY(sq_block_add(log, layer, lba + i, checksum, 0));
        if (data != NULL)
            data += log->block_bytes;
    }
    sq_map_put_run(&layer->map, lba, count, mba, old);
    log->stats.user_blocks += count;
    layer->work->user_blocks += count;
    log->stats.live_blocks += count;
    for (uint32_t i = 0; i < count; i++)
        if (old[i] != SQ_UNMAPPED && !SQ_PLANTED(two_blocks_for_one_address))
            sq_block_dies(log, old[i], layer, SQ_DEAD);
    if (layer->parent != NULL)
        sq_layer_cover(log, layer, lba, count);
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

/* The data of a run from block done on; cuts count to what lies there without a gap. */
static const uint8_t *find_data(const sq_log *log, const struct blocks *blocks, uint64_t done,
                                uint32_t *count)
{
    uint64_t apart = blocks->start != NULL, last = blocks->count - 1;
    const uint8_t *special = done == 0 && apart ? blocks->start : done == last ? blocks->end : NULL;
    if (special != NULL)
        *count = 1;
    else if (blocks->end != NULL && done + *count > last)
        *count = (uint32_t)(last - done);
    return special != NULL || blocks->data == NULL ? special
                                                   : blocks->data + ((done - apart) << log->block_shift);
}

/* Does it matter for each block by itself where it goes, and when the cleaner runs? */
static int is_classed(const sq_log *log)
{
    const struct sq_cleaner *cleaner = &log->cleaner;
    return log->class_count > 1 || cleaner->garbage_ppm != 0 || cleaner->placement == SQ_PLACE_CUSTOM;
}

/* Writes *count blocks, at most a batch, from done on, or fewer; the record has room, unless blocks have
 * classes. */
static int write_batch(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                       uint32_t *count)
{
    uint64_t lbas[SQ_BATCH], size_blocks = sq_volume_blocks(log, volume);
    int is_run = blocks->lbas == NULL;
    const uint8_t *data = is_run ? find_data(log, blocks, done, count) : NULL;
    uint64_t end = is_run ? blocks->first + done + *count : take_lbas(blocks->lbas + done, *count, lbas);
    /* The end of a volume may cut a block, which only requests of bytes reach. */
    uint64_t most = is_run ? size_blocks : volume->size_bytes >> log->block_shift;
    if (end > most && !SQ_PLANTED(bounds_not_checked))
        return SQ_E_BOUNDS;
    SQ_TRY(sq_layer_reserve(log, volume->head, end, size_blocks));
    if (is_classed(log)) {
        for (uint32_t i = 0; is_run && i < *count; i++)
            lbas[i] = blocks->first + done + i;
        if (!is_run && blocks->data != NULL)
            data = blocks->data + (done << log->block_shift);
        return write_classed(log, volume->head, blocks, done, lbas, *count, data);
    }
    if (!is_run)
        return write_scattered(log, volume->head, blocks, done, lbas, *count);
    return write_consecutive(log, volume->head, blocks->first + done, *count, data);
}

static int write_batches(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                         uint64_t end)
{
    while (done < end) {
        uint32_t count = SQ_BATCH;
        if (!is_classed(log)) {
            SQ_TRY(sq_head_make_room(log, 0));
            count = sq_record_room(log) < SQ_BATCH ? sq_record_room(log) : SQ_BATCH;
        }
        if (count > end - done)
            count = (uint32_t)(end - done);
        SQ_TRY(write_batch(log, volume, blocks, done, &count));
        done += count;
    }
    return SQ_OK;
}

/* Writes the blocks [done, end) of the request, for which there is space. */
static int write_some(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                      uint64_t end)
{
    SQ_TRY(sq_seal_take(log, volume));
    int status = write_batches(log, volume, blocks, done, end);
    sq_seal_give_back(log);
    return status;
}

int sq_write_run(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count, const uint8_t *data)
{
    struct blocks blocks = {.first = lba, .count = count, .data = data};
    return write_some(log, volume, &blocks, 0, count);
}

int sq_write_run_alone(sq_log *log, struct sq_volume *volume, uint64_t lba, uint64_t count,
                       struct sq_fault *fault_out)
{
    struct blocks blocks = {.first = lba, .count = count};
    uint64_t end = volume->size_bytes >> log->block_shift;
    if (sq_volume_is_fixed(volume))
        return SQ_E_READ_ONLY;
    if (lba > end || count > end - lba)
        return SQ_E_BOUNDS;
    SQ_TRY(check_space(log, volume, &blocks, fault_out));
    SQ_TRY(write_some(log, volume, &blocks, 0, count));
    return log->cleaner.garbage_ppm != 0 ? sq_clean_garbage(log) : SQ_OK;
}

/* What a crash leaves whole: all of the request, or as much as goes at once. */
static uint64_t piece_end(const sq_log *log, const struct blocks *blocks, uint64_t done)
{
    uint64_t most = log->durable.on ? log->durable.atomic_blocks : blocks->count;
    return blocks->count - done < most ? blocks->count : done + most;
}

/* Writes the rest of a request from done on, piece by piece. */
static int write_pieces(sq_log *log, struct sq_volume *volume, const struct blocks *blocks, uint64_t done,
                        struct sq_fault *fault_out)
{
    while (done < blocks->count) {
        uint64_t end = piece_end(log, blocks, done);
        SQ_TRY(sq_fault_io(log, sq_request_begin(log, end - done, 0), fault_out));
        int status = write_some(log, volume, blocks, done, end);
        SQ_TRY(sq_fault_io(log, sq_request_end(log, status), fault_out));
        done = end;
    }
    return SQ_OK;
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
    int status = volume == NULL                                ? SQ_E_NOT_FOUND
                 : sq_volume_is_fixed(volume)                  ? SQ_E_READ_ONLY
                 : log->tags == NULL && blocks->data == NULL ? SQ_E_INVALID
                 : !all_inside(log, volume, blocks)          ? SQ_E_BOUNDS
                                                  : check_space(log, volume, blocks, fault_out);
    if (status == SQ_OK)
        status = write_pieces(log, volume, blocks, 0, fault_out);
    /* What wrote nothing cleans nothing: only a write finds the free segments that the cleaner needs. */
    if (status == SQ_OK && log->cleaner.garbage_ppm != 0 && blocks->lbas == NULL && blocks->count != 0)
        status = sq_clean_garbage(log);
    sq_unlock_alone(log);
    return status;
}

int sq_volume_write_run(sq_log *log, uint64_t handle, uint64_t lba, uint64_t count, const uint8_t *data,
                        struct sq_fault *fault_out)
{
    struct blocks blocks = {.first = lba, .count = count, .data = data};
    return write_request(log, handle, &blocks, fault_out);
}

int sq_volume_write_fated(sq_log *log, uint64_t handle, const uint64_t *lbas, const uint64_t *deaths,
                          uint64_t count, struct sq_fault *fault_out)
{
    struct blocks blocks = {.lbas = lbas, .count = count, .deaths = deaths};
    return lbas == NULL || log->tags == NULL ? SQ_E_INVALID : write_request(log, handle, &blocks, fault_out);
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
    const struct sq_layer *owner;
    if (SQ_PLANTED(partial_write_over_a_block_of_another) && log->volumes[0]) volume = log->volumes[0];
    uint32_t mba = sq_layer_get(volume->head, lba, &owner);
    if (mba != SQ_UNMAPPED && !SQ_PLANTED(partial_write_clears_the_rest))
        SQ_TRY(sq_read_block(log, owner, lba, mba, 0, log->block_bytes, scratch, fault_out));
    memcpy(scratch + from_bytes, data, length_bytes);
    return SQ_OK;
}

/* The first piece of a request that begins or ends within a block; *done_out: how far it came. Its first and
 * last block are made in the scratch, which is zero before and after, and before anything is written: damage
 * in either stops the request while nothing has changed. */
static int write_first(sq_log *log, struct sq_volume *volume, uint64_t offset, const char *data,
                       uint64_t length, struct blocks *blocks, uint64_t *done_out, struct sq_fault *fault_out)
{
    uint32_t size = log->block_bytes, from = (uint32_t)(offset & (size - 1));
    uint32_t head = from == 0 && length >= size ? 0 : length < size - from ? (uint32_t)length : size - from;
    uint32_t tail = (uint32_t)((length - head) & (size - 1));
    uint64_t last = blocks->first + blocks->count - 1;
    uint8_t *tail_scratch = log->scratch + size;
    blocks->data = (const uint8_t *)data + head;
    blocks->start = head == 0 ? NULL : log->scratch;
    blocks->end = tail == 0 ? NULL : tail_scratch;
    if (head != 0)
        SQ_TRY(overlay(log, volume, blocks->first, from, data, head, log->scratch, fault_out));
    if (tail != 0)
        SQ_TRY(overlay(log, volume, last, 0, data + length - tail, tail, tail_scratch, fault_out));
    *done_out = piece_end(log, blocks, 0);
    return sq_fault_io(log, write_some(log, volume, blocks, 0, *done_out), fault_out);
}

static int write_parts(sq_log *log, struct sq_volume *volume, uint64_t offset, const char *data,
                       uint64_t length, struct blocks *blocks, struct sq_fault *fault_out)
{
    uint64_t done = 0;
    SQ_TRY(sq_fault_io(log, sq_request_begin(log, piece_end(log, blocks, 0), 0), fault_out));
    int status = write_first(log, volume, offset, data, length, blocks, &done, fault_out);
    if (sq_request_end(log, status) == SQ_OK)
        status = write_pieces(log, volume, blocks, done, fault_out);
    if (!SQ_PLANTED(padding_from_another_tenant)) sq_wipe(log->scratch, 2 * (size_t)log->block_bytes);
    return status;
}

static int write_bytes(sq_log *log, struct sq_volume *volume, uint64_t offset, const char *data,
                       uint64_t length, struct sq_fault *fault_out)
{
    uint64_t end = offset + length, mask = log->block_bytes - 1;
    struct blocks blocks = {.first = offset >> log->block_shift,
                            .count = ((end + mask) >> log->block_shift) - (offset >> log->block_shift),
                            .data = (const uint8_t *)data};
    SQ_TRY(check_space(log, volume, &blocks, fault_out));
    if (((offset | length) & mask) != 0)
        return write_parts(log, volume, offset, data, length, &blocks, fault_out);
    return write_pieces(log, volume, &blocks, 0, fault_out);
}

int sq_volume_write(sq_log *log, uint64_t handle, uint64_t offset_bytes, const char *data,
                    uint64_t length_bytes, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_volume *volume = sq_volume_of(log, handle);
    int status = volume == NULL                                        ? SQ_E_NOT_FOUND
                 : sq_volume_is_fixed(volume)                        ? SQ_E_READ_ONLY
                 : log->tags != NULL                                 ? SQ_E_NO_PAYLOAD
                 : !sq_in_volume(volume, offset_bytes, length_bytes) ? SQ_E_BOUNDS
                 : length_bytes == 0                                 ? SQ_OK
                 : write_bytes(log, volume, offset_bytes, data, length_bytes, fault_out);
    sq_unlock_alone(log);
    return status;
}
