/* record.c: the open record, from its first block to its summary. Layout: record.h.
 *
 * Data go straight to their place on the medium; the summary gathers in memory and is written last, in
 * the place kept for it. That place is zeroed when the record opens, so that what a media block held is
 * gone as soon as the ledger says so.
 *
 * Invariants: the data blocks of the open record follow its summary without a gap; the i-th data entry
 * describes the i-th of them; log->open_blocks does not count the open record.
 */
#include "record.h"

#include "append.h"

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

uint32_t sq_tag_crc(const sq_log *log, const struct sq_volume *volume, uint64_t lba)
{
    uint8_t tag[16];
    put_u64(tag, volume->number);
    put_u64(tag + 8, lba);
    return log->kernels->crc(0xFFFFFFFF, tag, sizeof tag);
}

int sq_record_open(sq_log *log)
{
    struct sq_record *record = &log->record;
    uint32_t left = log->segment_blocks - log->open_blocks;
    SQ_CHECK(log, !record->open && left > 0);
    record->mba = log->open_segment * log->segment_blocks + log->open_blocks;
    record->position = log->stats.position;
    SQ_TRY(sq_block_claim(log, record->mba, sq_entry(SQ_SUMMARY, 0, 0)));
    if (log->payload != NULL)
        log->kernels->zero(sq_payload_at(log, record->mba), log->block_bytes);
    else
        log->tags[record->mba] = SQ_TAG_SUMMARY;
    record->data_room = left - 1 < log->record_entries ? left - 1 : log->record_entries;
    record->data_count = 0;
    record->entry_count = 0;
    record->sequence++;
    record->open = 1;
    log->stats.summary_blocks++;
    return SQ_OK;
}

int sq_record_close(sq_log *log)
{
    struct sq_record *record = &log->record;
    if (!record->open)
        return SQ_OK;
    record->open = 0;
    log->open_blocks += 1 + record->data_count;
    if (log->payload != NULL) {
        uint8_t *image = record->image;
        memcpy(image + SQ_AT_MAGIC, "SEQSREC1", 8);
        put_u32(image + SQ_AT_VERSION, SQ_RECORD_VERSION);
        put_u32(image + SQ_AT_CHECKSUM, 0);
        put_u64(image + SQ_AT_DRIVE, log->drive);
        put_u64(image + SQ_AT_SEQUENCE, record->sequence);
        put_u64(image + SQ_AT_MBA, record->mba);
        put_u32(image + SQ_AT_ENTRIES, record->entry_count);
        put_u32(image + SQ_AT_BLOCKS, record->data_count);
        put_u64(image + SQ_AT_POSITION, record->position);
        put_u32(image + SQ_AT_CHECKSUM, ~log->kernels->crc(0xFFFFFFFF, image, log->block_bytes));
        log->kernels->copy(sq_payload_at(log, record->mba), image, log->block_bytes, NULL);
        memset(image, 0, SQ_HEAD_BYTES + (size_t)record->entry_count * SQ_ENTRY_BYTES);
    }
    int status = sq_medium_publish(log->medium, record->mba, 1 + (uint64_t)record->data_count);
    SQ_CHECK(log, status == SQ_OK);
    return SQ_OK;
}

void sq_record_enter(sq_log *log, enum sq_entry_kind kind, uint64_t volume, uint64_t lba, uint32_t value)
{
    uint8_t *entry = log->record.image + SQ_HEAD_BYTES + (size_t)log->record.entry_count * SQ_ENTRY_BYTES;
    put_u64(entry + SQ_ENTRY_AT_LBA, lba);
    put_u64(entry + SQ_ENTRY_AT_VOLUME, volume);
    put_u32(entry + SQ_ENTRY_AT_VALUE, value);
    entry[SQ_ENTRY_AT_KIND] = (uint8_t)kind;
}

void sq_record_note(sq_log *log, enum sq_entry_kind kind, uint64_t volume, uint64_t lba, uint32_t count)
{
    if (log->payload != NULL)
        sq_record_enter(log, kind, volume, lba, count);
    log->record.entry_count++;
}
