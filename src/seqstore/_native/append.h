/* append.h: the steps that every block takes: onto the medium, dead, written over. Inline, since a simulated
 * drive does little else.
 *
 * Together they keep the ledger: an entry changes here and nowhere else, except that a summary dies when its
 * segment is retired (clean.c).
 */
#ifndef SEQSTORE_APPEND_H
#define SEQSTORE_APPEND_H

#include "internal.h"

/* The block at mba is about to be written over: what it held is gone. */
static inline void sq_block_gone(sq_log *log, uint64_t old_entry)
{
    struct sq_volume *volume = log->volumes[sq_entry_slot(old_entry)];
    if (sq_entry_state(old_entry) == SQ_MOVED)
        volume->moved_blocks--;
    else
        volume->dead_blocks--;
    if (volume->deleted)
        sq_volume_settle(log, volume);
}

/* A live block's volume no longer needs it (DEAD), or has it elsewhere (MOVED). */
static inline void sq_block_dies(sq_log *log, uint32_t mba, struct sq_volume *volume, unsigned state)
{
    log->ledger[mba] = sq_entry(state, volume->slot, log->stats.position);
    log->segments[sq_segment_of(log, mba)].live_blocks--;
    if (state == SQ_DEAD) {
        volume->dead_blocks++;
        log->stats.live_blocks--;
    } else {
        volume->moved_blocks++;
    }
}

/* The block at mba becomes what the entry says; time goes on by one block. */
static inline int sq_block_claim(sq_log *log, uint64_t mba, uint64_t entry)
{
    uint64_t old = log->ledger[mba];
    SQ_CHECK(log, sq_entry_state(old) != SQ_LIVE && sq_entry_state(old) != SQ_SUMMARY);
    if (old != 0)
        sq_block_gone(log, old);
    log->ledger[mba] = entry;
    log->stats.position++;
    return SQ_OK;
}

/* Enters the block that the caller has put at sq_record_next_mba. */
static inline int sq_block_add(sq_log *log, const struct sq_volume *volume, uint64_t lba,
                               uint32_t checksum)
{
    uint32_t mba = sq_record_next_mba(log);
    SQ_TRY(sq_block_claim(log, mba, sq_entry(SQ_LIVE, volume->slot, lba)));
    if (log->payload != NULL) {
        log->checksums[mba] = checksum;
        sq_record_enter(log, SQ_ENTRY_DATA, volume->number, lba, checksum);
    } else {
        log->tags[mba] = sq_tag_data(volume->number, lba);
    }
    log->record.entry_count++;
    log->record.data_count++;
    log->segments[log->open_segment].live_blocks++;
    return SQ_OK;
}

#endif
