/* record.c: the open record, from its first block to its summary. Layout: record.h.
 *
 * On media in memory data go straight to their place; the summary gathers apart and is written last, in the
 * place kept for it, which is zeroed when the record opens, so that what a media block held is gone as soon
 * as the ledger says so. On other media the whole record gathers and is written at once; until then the
 * ledger tells of the old blocks, and pending of the new ones.
 *
 * Invariants: the data blocks of the open record follow its summary without a gap; the i-th entry that has
 * a block describes the i-th of them; head->open_blocks does not count the open record. On media that
 * outlive the process one record is open at most, of all heads: the records are one sequence. In memory each
 * head has its own, and they are numbered as they are closed.
 */
#include "record.h"

#include "append.h"
#include "bytes.h"

uint32_t sq_tag_crc(const sq_log *log, uint64_t layer_number, uint64_t lba)
{
    uint8_t tag[16];
    sq_put_u64(tag, layer_number);
    sq_put_u64(tag + 8, lba);
    return log->kernels->crc(0xFFFFFFFF, tag, sizeof tag);
}

static int claim_summary(sq_log *log)
{
    struct sq_record *record = &log->head->record;
    SQ_TRY(sq_block_claim(log, record->mba, sq_entry(SQ_SUMMARY, 0, 0)));
    if (log->payload != NULL)
        log->kernels->zero(sq_payload_at(log, record->mba), log->block_bytes);
    else if (log->tags != NULL)
        log->tags[record->mba] = SQ_TAG_SUMMARY;
    log->stats.summary_blocks++;
    return SQ_OK;
}

int sq_record_open(sq_log *log)
{
    struct sq_record *record = &log->head->record;
    uint32_t left = log->segment_blocks - log->head->open_blocks;
    SQ_CHECK(log, !record->open && left > 0);
    /* A summary that takes no place still stands before the first block. */
    record->mba = log->head->segment * log->segment_blocks + log->head->open_blocks - 1 + log->summary_size;
    record->position = log->stats.position;
    record->data_count = 0;
    record->entry_count = 0;
    record->request_entry = 0;
    if (log->summary_size != 0)
        SQ_TRY(claim_summary(log));
    left -= log->summary_size;
    record->data_room = left < log->record_entries ? left : log->record_entries;
    record->open = 1;
    return SQ_OK;
}

static void fill_head(sq_log *log)
{
    struct sq_record *record = &log->head->record;
    const struct sq_durability *durable = &log->durable;
    uint32_t open = durable->in_request ? record->entry_count - record->request_entry : 0;
    if (durable->in_request && record->entry_count == 0)
        open = 1; /* nothing of the request fits here, but it goes on */
    uint8_t *image = record->image;
    memcpy(image + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 8);
    sq_put_u16(image + SQ_AT_VERSION, log->sealing.on ? SQ_SEALED_VERSION : SQ_RECORD_VERSION);
    image[SQ_AT_BLOCK_SHIFT] = (uint8_t)log->block_shift;
    sq_put_u32(image + SQ_AT_CHECKSUM, 0);
    sq_put_u64(image + SQ_AT_DRIVE, log->drive);
    sq_put_u64(image + SQ_AT_SEQUENCE, log->sequence + 1);
    sq_put_u32(image + SQ_AT_MBA, record->mba);
    sq_put_u32(image + SQ_AT_PREVIOUS, log->previous);
    sq_put_u16(image + SQ_AT_ENTRIES, record->entry_count);
    sq_put_u16(image + SQ_AT_BLOCKS, record->data_count);
    sq_put_u16(image + SQ_AT_OPEN, open);
    sq_put_u16(image + SQ_AT_CLASS, (uint32_t)(log->head - log->heads));
    sq_put_u64(image + SQ_AT_POSITION, record->position);
    sq_put_u64(image + SQ_AT_FLUSHED, sq_flushed(log));
    sq_put_u64(image + SQ_AT_CHECKPOINT, durable->checkpoint);
    sq_put_u32(image + SQ_AT_CHECKPOINT_MBA, durable->checkpoint_mba);
    sq_put_u32(image + SQ_AT_SEGMENT_BLOCKS, log->segment_blocks);
    sq_put_u32(image + SQ_AT_BLOCK_COUNT, (uint32_t)log->block_count);
    sq_put_u32(image + SQ_AT_WINDOW, durable->window_segments);
    sq_put_u32(image + SQ_AT_CHECKSUM, ~log->kernels->crc(0xFFFFFFFF, image, log->block_bytes));
}

/* Appends the gathered record. If that fails it stays open, and can be tried again. */
static int write_out(sq_log *log)
{
    struct sq_record *record = &log->head->record;
    struct sq_durability *durable = &log->durable;
    int status = sq_medium_write(log->medium, record->mba, 1 + (uint64_t)record->data_count, record->image,
                                 &durable->os_error);
    durable->error_mba = record->mba;
    if (status != SQ_OK)
        return status;
    record->open = 0;
    for (uint32_t i = 0; i <= record->data_count; i++)
        SQ_TRY(sq_block_settle(log, record->mba + i, record->pending[i]));
    log->sequence++;
    __atomic_store_n(&durable->written, log->sequence, __ATOMIC_RELEASE);
    durable->newest[log->head->segment] = log->sequence;
    return SQ_OK;
}

int sq_record_close(sq_log *log)
{
    struct sq_record *record = &log->head->record;
    if (!record->open)
        return SQ_OK;
    if (record->image != NULL)
        fill_head(log);
    if (record->pending != NULL) {
        SQ_TRY(write_out(log));
    } else {
        record->open = 0;
        if (log->payload != NULL)
            log->kernels->copy(sq_payload_at(log, record->mba), record->image, log->block_bytes, NULL);
        uint32_t first = record->mba + 1 - log->summary_size;
        int status = sq_medium_publish(log->medium, first, log->summary_size + (uint64_t)record->data_count);
        SQ_CHECK(log, status == SQ_OK);
        log->sequence++;
    }
    log->head->open_blocks += log->summary_size + record->data_count;
    if (record->image != NULL) {
        log->previous = sq_get_u32(record->image + SQ_AT_CHECKSUM);
        memset(record->image, 0, SQ_HEAD_BYTES + (size_t)record->entry_count * log->entry_bytes);
    }
    return SQ_OK;
}

void sq_record_note(sq_log *log, const struct sq_entry_fields *fields)
{
    struct sq_record *record = &log->head->record;
    if (record->image != NULL) {
        uint8_t *entry = record->image + SQ_HEAD_BYTES + (size_t)record->entry_count * log->entry_bytes;
        sq_put_u64(entry + SQ_ENTRY_AT_LBA, fields->lba);
        sq_put_u64(entry + SQ_ENTRY_AT_VOLUME, fields->volume);
        sq_put_u32(entry + SQ_ENTRY_AT_VALUE, fields->value);
        entry[SQ_ENTRY_AT_KIND] = fields->kind;
        entry[SQ_ENTRY_AT_FLAGS] = fields->flags;
        if (log->sealing.on && fields->kind == SQ_ENTRY_DATA)
            sq_seal_put(log, sq_record_next_mba(log), entry);
    }
    record->entry_count++;
    log->noted++;
}

void sq_record_note_opening(sq_log *log)
{
    log->durable.opening = log->durable.next_opening;
    sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_OPENED, .lba = log->durable.opening});
}
