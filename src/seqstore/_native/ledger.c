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

static int in_scope(const struct sq_layer *layer, int scope, uint64_t id)
{
    if (layer == NULL || layer->slot == 0)
        return 0;
    return scope == SQ_SCOPE_ALL || (scope == SQ_SCOPE_TENANT ? layer->tenant : layer->volume) == id;
}

int sq_log_remanence(sq_log *log, int scope, uint64_t scope_id, struct sq_remanence *out)
{
    if (scope != SQ_SCOPE_ALL && scope != SQ_SCOPE_TENANT && scope != SQ_SCOPE_VOLUME)
        return SQ_E_INVALID;
    struct sq_remanence found = {.residue_blocks = 0, .moved_blocks = 0, .oldest = SQ_NO_ADDRESS};
    SQ_TRY(sq_lock_shared(log));
    found.position = log->stats.position;
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (in_scope(log->layers[slot], scope, scope_id)) {
            found.residue_blocks += log->layers[slot]->dead_blocks + log->layers[slot]->moved_blocks;
            found.moved_blocks += log->layers[slot]->moved_blocks;
        }
    for (uint64_t mba = 0; found.residue_blocks != 0 && mba < log->block_count; mba++) {
        uint64_t entry = log->ledger[mba];
        if (is_residue(entry) && in_scope(log->layers[sq_entry_slot(entry)], scope, scope_id) &&
            died(log, entry) < found.oldest)
            found.oldest = died(log, entry);
    }
    sq_unlock(log);
    *out = found;
    return SQ_OK;
}
