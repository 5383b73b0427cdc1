/* append.h: the steps that every block takes: onto the medium, dead, written over. Inline, since a simulated
 * drive does little else.
 *
 * Together they keep the ledger: an entry changes here and nowhere else, except that a summary dies when its
 * segment is retired (clean.c), and that recovery fills it (checkpoint_load.c, replay.c). Where records are
 * gathered first, the ledger goes on saying what the medium holds; the entries of the open record are pending
 * until it is written (record.c).
 */
#ifndef SEQSTORE_APPEND_H
#define SEQSTORE_APPEND_H

#include "due.h"
#include "layer.h"
#include "select.h"

/* The block at mba is written over as the log's time comes to position: what it held is gone. */
static inline void sq_block_gone(sq_log *log, uint64_t mba, uint64_t old_entry, uint64_t position)
{
    struct sq_layer *layer = log->layers[sq_entry_slot(old_entry)];
    if (sq_entry_state(old_entry) == SQ_MOVED)
        layer->moved_blocks--;
    else
        layer->dead_blocks--;
    if (layer->watched)
        sq_gone_note(log, layer, mba, position);
    if (layer->dropped)
        sq_layer_settle(log, layer);
}

/* A live block's layer no longer needs it (DEAD), or has it elsewhere (MOVED). */
static inline void sq_block_dies(sq_log *log, uint32_t mba, struct sq_layer *layer, unsigned state)
{
    uint32_t segment = sq_segment_of(log, mba);
    sq_segment_loses(log, segment);
    if (SQ_PLANTED(ledger_keeps_no_residue)) {
        *sq_entry_of(log, mba) = 0;
        log->stats.live_blocks -= state == SQ_DEAD;
        return;
    }
    *sq_entry_of(log, mba) = sq_entry(state, layer->slot, log->stats.position);
    sq_due_note(log, segment, layer, log->stats.position);
    if (state == SQ_DEAD) {
        layer->dead_blocks++;
        if (SQ_PLANTED(ledger_forgets_the_dead)) layer->dead_blocks--, *sq_entry_of(log, mba) = 0;
        log->stats.live_blocks--;
    } else {
        layer->moved_blocks++;
    }
}

/* What the medium held at mba is written over by what the entry says. */
static inline int sq_block_settle(sq_log *log, uint64_t mba, uint64_t entry)
{
    uint64_t old = log->ledger[mba];
    SQ_CHECK(log, sq_entry_state(old) != SQ_LIVE && sq_entry_state(old) != SQ_SUMMARY);
    log->ledger[mba] = entry;
    if (old != 0) {
        if (log->cleaner.latencies != NULL)
            sq_note_latency(log, old, log->stats.position);
        sq_block_gone(log, mba, old, log->stats.position);
    }
    return SQ_OK;
}

/* The block at mba becomes what the entry says, at once or when its record is written; time goes on by one
 * block. */
static inline int sq_block_claim(sq_log *log, uint64_t mba, uint64_t entry)
{
    if (log->head->record.pending != NULL)
        log->head->record.pending[mba - log->head->record.mba] = entry;
    else
        SQ_TRY(sq_block_settle(log, mba, entry));
    log->stats.position++;
    return SQ_OK;
}

/* Enters the block that the caller has put at sq_record_next_mba. */
static inline int sq_block_add(sq_log *log, const struct sq_layer *layer, uint64_t lba, uint32_t checksum,
                               uint8_t flags)
{
    uint32_t mba = sq_record_next_mba(log);
    SQ_TRY(sq_block_claim(log, mba, sq_entry(SQ_LIVE, layer->slot, lba)));
    if (log->tags != NULL) {
        log->tags[mba] = sq_tag_data(layer->number, lba);
        log->head->record.entry_count++;
    } else {
        log->checksums[mba] = checksum;
        sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_DATA, .flags = flags, .lba = lba,
                                                      .volume = layer->number, .value = checksum});
    }
    log->head->record.data_count++;
    log->segments[log->head->segment].live_blocks++;
    log->segments[log->head->segment].data_blocks++;
    log->cleaner.data_blocks++;
    return SQ_OK;
}

/* Enters a block of the log's own that the caller has put at sq_record_next_mba: a page of a checkpoint, or
 * padding. */
static inline int sq_block_add_own(sq_log *log, const struct sq_entry_fields *entry)
{
    uint64_t state = entry->kind == SQ_ENTRY_PAD ? 0 : sq_entry(SQ_SUMMARY, 0, 0);
    SQ_TRY(sq_block_claim(log, sq_record_next_mba(log), state));
    sq_record_note(log, entry);
    log->head->record.data_count++;
    return SQ_OK;
}

#endif
