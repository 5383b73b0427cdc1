/* open_record.h: addresses, and the record that is being filled. Part of internal.h, which includes it. */
#ifndef SEQSTORE_OPEN_RECORD_H
#define SEQSTORE_OPEN_RECORD_H

#include "internal.h"

/* ---- addresses ------------------------------------------------------------------------------ */

static inline uint32_t sq_segment_of(const sq_log *log, uint64_t mba)
{
    /* mba * ceil(2^64 / n) >> 64 is mba / n for all 32-bit mba and n. */
    return (uint32_t)(((unsigned __int128)mba * log->segment_magic) >> 64);
}

static inline uint8_t *sq_payload_at(const sq_log *log, uint64_t mba)
{
    return log->payload + (mba << log->block_shift);
}

/* Does the block belong to the open record, and is it not on the medium yet? */
static inline int sq_is_staged(const sq_log *log, uint64_t mba)
{
    const struct sq_record *record = &log->head->record;
    return record->pending != NULL && record->open && mba - record->mba <= record->data_count;
}

/* Where a block of the open record is put together. */
static inline uint8_t *sq_place_at(const sq_log *log, uint64_t mba)
{
    if (log->payload != NULL)
        return sq_payload_at(log, mba);
    return log->head->record.image + ((mba - log->head->record.mba) << log->block_shift);
}

/* What the block is to the log, also while the medium does not hold it yet. */
static inline uint64_t *sq_entry_of(const sq_log *log, uint64_t mba)
{
    const struct sq_record *record = &log->head->record;
    return sq_is_staged(log, mba) ? &record->pending[mba - record->mba] : &log->ledger[mba];
}

/* ---- record.c ------------------------------------------------------------------------------- */

/* Data blocks that the open record still takes; 0 also when none is open. */
static inline uint32_t sq_record_room(const sq_log *log)
{
    const struct sq_record *record = &log->head->record;
    uint32_t blocks = record->data_room - record->data_count;
    uint32_t entries = log->record_entries - record->entry_count;
    return !record->open ? 0 : blocks < entries ? blocks : entries;
}

/* Is there room for a data block as it is, without sq_head_make_room? In memory the cleaner's segments have
 * to be free first. */
static inline int sq_head_has_room(const sq_log *log)
{
    return sq_record_room(log) > 0 &&
           (log->durable.on || log->free_ring.count >= log->cleaner.spare_segments);
}

static inline uint32_t sq_record_next_mba(const sq_log *log)
{
    return log->head->record.mba + 1 + log->head->record.data_count;
}

/* Blocks of the head's segment that are in use, those of the open record included. */
static inline uint64_t sq_head_blocks(const sq_log *log, const struct sq_head *head)
{
    uint64_t staged = head->record.open ? log->summary_size + (uint64_t)head->record.data_count : 0;
    return head->open_blocks + staged;
}

/* Opens a record at the head; the segment has room for a block at least. */
int sq_record_open(sq_log *log);

/* Writes the summary and publishes the record; does nothing when none is open. */
int sq_record_close(sq_log *log);

/* Puts the next entry into the summary, which has room for it; on a tags medium it is only counted. */
void sq_record_note(sq_log *log, const struct sq_entry_fields *entry);

/* The entry that begins the use of the log in this opening. */
void sq_record_note_opening(sq_log *log);

#endif
