/* evidence.c: what lies on the medium of deleted data, for those who have to show it: how much, how old,
 * where, until when; and when what is watched was written over.
 */
#include <stdlib.h>

#include "purge.h"

static uint64_t died(const sq_log *log, uint64_t entry)
{
    uint64_t now = log->stats.position;
    return now - ((now - sq_entry_value(entry)) & SQ_VALUE_MASK);
}

static int is_residue_of(const sq_log *log, uint64_t entry, int scope, uint64_t id)
{
    unsigned state = sq_entry_state(entry);
    return (state == SQ_DEAD || state == SQ_MOVED) &&
           sq_in_scope(log->layers[sq_entry_slot(entry)], scope, id);
}

static int is_scope(int scope)
{
    return scope == SQ_SCOPE_ALL || scope == SQ_SCOPE_TENANT || scope == SQ_SCOPE_VOLUME;
}

/* ---- remanence ------------------------------------------------------------------------------------ */

/* By when the block will be written over: what was promised, and not before what could be. */
static uint64_t due_of(const sq_log *log, uint64_t mba, uint64_t entry)
{
    uint64_t bound = log->layers[sq_entry_slot(entry)]->bound, due = died(log, entry) + bound;
    if (bound == SQ_NEVER)
        return SQ_NO_ADDRESS;
    uint64_t of_segment = log->dues.due == NULL ? due : log->dues.due[sq_segment_of(log, mba)];
    return of_segment != SQ_NEVER && of_segment > due ? of_segment : due;
}

static void count_block(const sq_log *log, uint64_t mba, struct sq_remanence *found, uint64_t *ages)
{
    uint64_t entry = log->ledger[mba], age = log->stats.position - died(log, entry);
    uint64_t due = due_of(log, mba, entry);
    uint64_t bin = (uint64_t)((unsigned __int128)age * SQ_AGE_BINS_A_LAP / log->block_count);
    if (died(log, entry) < found->oldest)
        found->oldest = died(log, entry);
    if (sq_entry_state(entry) == SQ_MOVED && died(log, entry) < found->oldest_moved)
        found->oldest_moved = died(log, entry);
    found->due = due < found->due ? due : found->due;
    found->last_due = due != SQ_NO_ADDRESS && due > found->last_due ? due : found->last_due;
    found->unbounded_blocks += due == SQ_NO_ADDRESS;
    if (ages != NULL)
        ages[bin < SQ_AGE_BINS ? bin : SQ_AGE_BINS - 1]++;
}

/* Blocks of the scope, from the layers, so that nothing is walked through where there is nothing. */
static void count_layers(const sq_log *log, int scope, uint64_t id, struct sq_remanence *found)
{
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (sq_in_scope(log->layers[slot], scope, id)) {
            found->residue_blocks += log->layers[slot]->dead_blocks + log->layers[slot]->moved_blocks;
            found->moved_blocks += log->layers[slot]->moved_blocks;
        }
}

int sq_log_remanence(sq_log *log, int scope, uint64_t scope_id, struct sq_remanence *out, uint64_t *ages_out)
{
    struct sq_remanence found = {.oldest = SQ_NO_ADDRESS, .oldest_moved = SQ_NO_ADDRESS,
                                 .due = SQ_NO_ADDRESS};
    uint64_t before = SQ_NO_ADDRESS;
    if (!is_scope(scope))
        return SQ_E_INVALID;
    SQ_TRY(sq_lock_shared(log));
    found.position = log->stats.position;
    count_layers(log, scope, scope_id, &found);
    for (uint64_t mba = 0; found.residue_blocks != 0 && mba < log->block_count; mba++)
        if (is_residue_of(log, log->ledger[mba], scope, scope_id)) {
            count_block(log, mba, &found, ages_out);
            found.segments += sq_segment_of(log, mba) != before;
            before = sq_segment_of(log, mba);
        }
    sq_unlock(log);
    *out = found;
    return SQ_OK;
}

int sq_log_residue(sq_log *log, int scope, uint64_t scope_id, uint64_t *mba_io, uint64_t capacity,
                   struct sq_residue_run *runs_out, uint64_t *count_out)
{
    uint64_t count = 0, mba = *mba_io;
    if (!is_scope(scope))
        return SQ_E_INVALID;
    SQ_TRY(sq_lock_shared(log));
    for (; mba < log->block_count; mba++) {
        uint64_t entry = log->ledger[mba];
        if (!is_residue_of(log, entry, scope, scope_id))
            continue;
        const struct sq_layer *layer = log->layers[sq_entry_slot(entry)];
        struct sq_residue_run *last = count > 0 ? &runs_out[count - 1] : NULL;
        unsigned state = sq_entry_state(entry);
        if (last != NULL && last->mba + last->count == mba && last->volume == layer->volume &&
            last->state == state && last->died == died(log, entry)) {
            last->count++;
            continue;
        }
        if (count == capacity)
            break;
        runs_out[count++] = (struct sq_residue_run){.tenant = layer->tenant, .volume = layer->volume,
                                                    .mba = mba, .count = 1, .died = died(log, entry),
                                                    .state = state};
    }
    sq_unlock(log);
    *mba_io = mba;
    *count_out = count;
    return SQ_OK;
}

/* ---- what is written over ------------------------------------------------------------------------- */

void sq_gone_note(sq_log *log, const struct sq_layer *layer, uint64_t mba, uint64_t position)
{
    struct sq_gone *gone = &log->gone;
    struct sq_overwritten *last = gone->count > 0 ? &gone->runs[gone->count - 1] : NULL;
    if (last != NULL && last->volume == layer->volume && last->mba + last->count == mba) {
        last->count++;
        last->position = position;
        return;
    }
    if (gone->count == gone->capacity) {
        uint64_t capacity = gone->capacity == 0 ? 256 : 2 * gone->capacity;
        struct sq_overwritten *runs = realloc(gone->runs, capacity * sizeof *runs);
        gone->is_lossy |= runs == NULL;
        if (runs == NULL)
            return;
        gone->runs = runs;
        gone->capacity = capacity;
    }
    gone->runs[gone->count++] =
        (struct sq_overwritten){.volume = layer->volume, .mba = mba, .count = 1, .position = position};
}

int sq_log_watch(sq_log *log, int scope, uint64_t scope_id, int is_watched)
{
    if (!is_scope(scope))
        return SQ_E_INVALID;
    SQ_TRY(sq_lock_alone(log));
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (sq_in_scope(log->layers[slot], scope, scope_id))
            log->layers[slot]->watched = is_watched != 0;
    sq_unlock_alone(log);
    return SQ_OK;
}

int sq_log_overwritten(sq_log *log, uint64_t capacity, struct sq_overwritten *runs_out, uint64_t *count_out,
                       int *is_lossy_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_gone *gone = &log->gone;
    uint64_t count = gone->count < capacity ? gone->count : capacity;
    if (count > 0) {
        memcpy(runs_out, gone->runs, count * sizeof *runs_out);
        memmove(gone->runs, gone->runs + count, (gone->count - count) * sizeof *runs_out);
        gone->count -= count;
    }
    *count_out = count;
    *is_lossy_out = gone->is_lossy;
    gone->is_lossy = 0;
    sq_unlock_alone(log);
    return SQ_OK;
}
