/* reader.c: reading records, summary and data blocks, and keeping what their summaries say.
 *
 * Blocks are read as many at once as the reader has memory for, and records that follow each other in it are
 * not read again. A reader belongs to one thread.
 */
#include <stdlib.h>

#include "record.h"
#include "recover.h"

#define CHUNK_BYTES ((size_t)256 << 10)

/* Kept records lie in chunks that stay until the reader is freed. */
struct sq_chunk {
    struct sq_chunk *before;
    size_t used_bytes;
    size_t room_bytes;
    _Alignas(16) uint8_t bytes[];
};

int sq_reader_init(struct sq_reader *reader, const sq_log *log, uint32_t room_blocks)
{
    uint8_t *memory = sq_buffer((size_t)room_blocks << log->block_shift);
    *reader = (struct sq_reader){.log = log, .memory = memory, .record = memory, .room_blocks = room_blocks};
    return memory == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

void sq_reader_free(struct sq_reader *reader)
{
    if (reader->memory != NULL)
        sq_wipe(reader->memory, (size_t)reader->room_blocks << reader->log->block_shift);
    free(reader->memory);
    while (reader->chunk != NULL) {
        struct sq_chunk *chunk = reader->chunk;
        reader->chunk = chunk->before;
        free(chunk);
    }
    *reader = (struct sq_reader){0};
}

/* ---- blocks ----------------------------------------------------------------------------------- */

static int fetch(struct sq_reader *reader, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    reader->read_blocks += count;
    return sq_medium_fetch(reader->log->medium, mba, count, data_out, &reader->os_error);
}

/* Blocks from mba on: those that were read before, or else, if whole is set, as many as there is memory for,
 * before it is known how many the record has: records that follow each other are read in one go. */
static int fetch_record(struct sq_reader *reader, uint64_t mba, int whole)
{
    const sq_log *log = reader->log;
    uint64_t behind = mba - reader->record_mba;
    uint32_t left = log->segment_blocks - (uint32_t)(mba % log->segment_blocks);
    int is_there = mba >= reader->record_mba && behind < reader->record_count;
    reader->record_mba = mba;
    if (is_there) {
        reader->record += behind << log->block_shift;
        reader->record_count -= (uint32_t)behind;
        return SQ_OK;
    }
    reader->record = reader->memory;
    reader->record_count = !whole ? 1 : left < reader->room_blocks ? left : reader->room_blocks;
    int status = fetch(reader, mba, reader->record_count, reader->record);
    if (status != SQ_OK && reader->record_count > 1) {
        reader->record_count = 1; /* a bad block may lie in the record, or behind it */
        status = fetch(reader, mba, 1, reader->record);
    }
    if (status != SQ_OK)
        reader->record_count = 0;
    return status;
}

/* The data blocks of the record whose summary was read. */
static int fetch_blocks(struct sq_reader *reader, const struct sq_summary *summary)
{
    uint32_t shift = reader->log->block_shift, have = reader->record_count, needed = 1 + summary->blocks;
    if (have >= needed)
        return SQ_OK;
    if (reader->record != reader->memory)
        memmove(reader->memory, reader->record, (size_t)have << shift);
    reader->record = reader->memory;
    reader->record_count = 1;
    SQ_TRY(fetch(reader, summary->mba + have, needed - have, reader->memory + ((size_t)have << shift)));
    reader->record_count = needed;
    return SQ_OK;
}

/* ---- records ---------------------------------------------------------------------------------- */

/* Are the data blocks of the record as its entries say? */
static int blocks_are_right(const struct sq_reader *reader, const struct sq_summary *summary)
{
    const sq_log *log = reader->log;
    const uint8_t *block = reader->record + log->block_bytes;
    for (uint32_t i = 0; i < summary->entries && !SQ_PLANTED(accepts_a_torn_record); i++) {
        struct sq_entry_fields entry = sq_summary_entry(log, reader->record, i);
        if (!sq_kind_has_block(entry.kind))
            continue;
        uint32_t state = sq_tag_crc(log, entry.volume, entry.lba);
        if (~log->kernels->crc(state, block, log->block_bytes) != entry.value)
            return 0;
        block += log->block_bytes;
    }
    return 1;
}

int sq_reader_summary(struct sq_reader *reader, uint64_t mba, struct sq_summary *out, uint8_t *fault_out)
{
    SQ_TRY(fetch_record(reader, mba, fault_out != NULL));
    if (!sq_summary_parse(reader->log, reader->record, mba, out))
        return SQ_E_NOT_FOUND;
    if (fault_out == NULL)
        return SQ_OK;
    int status = fetch_blocks(reader, out);
    *fault_out = status != SQ_OK                   ? SQ_LINK_UNREADABLE
                 : blocks_are_right(reader, out) ? SQ_LINK_WHOLE
                                                 : SQ_LINK_TORN;
    return SQ_OK;
}

static void *keep_bytes(struct sq_reader *reader, size_t bytes)
{
    bytes = (bytes + 15) / 16 * 16;
    struct sq_chunk *chunk = reader->chunk;
    if (chunk == NULL || chunk->room_bytes - chunk->used_bytes < bytes) {
        size_t room = bytes < CHUNK_BYTES ? CHUNK_BYTES : bytes;
        chunk = malloc(sizeof *chunk + room);
        if (chunk == NULL)
            return NULL;
        *chunk = (struct sq_chunk){.before = reader->chunk, .room_bytes = room};
        reader->chunk = chunk;
    }
    chunk->used_bytes += bytes;
    return chunk->bytes + chunk->used_bytes - bytes;
}

struct sq_kept *sq_reader_keep(struct sq_reader *reader, const struct sq_summary *summary, uint8_t fault)
{
    size_t used = SQ_HEAD_BYTES + (size_t)summary->entries * reader->log->entry_bytes;
    struct sq_kept *kept = keep_bytes(reader, sizeof *kept + used);
    if (kept == NULL)
        return NULL;
    *kept = (struct sq_kept){.summary = *summary, .fault = fault};
    memcpy(kept->image, reader->record, used);
    return kept;
}
