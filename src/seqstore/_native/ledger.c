/* ledger.c: what each media block is, and what is left of whom. Encoding: internal.h.
 *
 * The ledger is also the reverse map: the entry of a live block names its volume and lba, so the cleaner
 * needs no other look-up to know what it moves.
 *
 * Invariants: LIVE entries and mappings of extent maps are the same set; dead_blocks and moved_blocks of
 * a layer are the counts of its DEAD and MOVED entries; a layer's slot is not reused before.
 * Times of death are kept modulo 2^38: exact as long as no residue is older than 2^38 blocks.
 */
#include "internal.h"

static uint64_t died(const sq_log *log, uint64_t entry)
{
    uint64_t now = log->stats.position;
    return now - ((now - sq_entry_value(entry)) & SQ_VALUE_MASK);
}

static int is_residue(uint64_t entry)
{
    return sq_entry_state(entry) == SQ_DEAD || sq_entry_state(entry) == SQ_MOVED;
}

int sq_log_ledger(sq_log *log, uint64_t mba, uint64_t count, struct sq_ledger_entry *entries_out)
{
    SQ_TRY(sq_lock_shared(log));
    int inside = mba <= log->block_count && count <= log->block_count - mba;
    for (uint64_t i = 0; inside && i < count; i++) {
        uint64_t entry = log->ledger[mba + i];
        const struct sq_layer *layer = log->layers[sq_entry_slot(entry)];
        entries_out[i] = (struct sq_ledger_entry){
            .tenant = layer->tenant,
            .volume = layer->volume,
            .lba = sq_entry_state(entry) == SQ_LIVE ? sq_entry_value(entry) : SQ_NO_ADDRESS,
            .died = is_residue(entry) ? died(log, entry) : SQ_NO_ADDRESS,
            .state = sq_entry_state(entry),
        };
    }
    sq_unlock(log);
    return inside ? SQ_OK : SQ_E_BOUNDS;
}
