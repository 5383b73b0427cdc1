/* replay.c: the effects of a record's entries, as they were when it was written. Used by recovery alone.
 *
 * The chain of checksums says that the log wrote these records; what does not fit the state all the same is
 * SQ_E_FORMAT, before it can do harm.
 */
#include "append.h"
#include "recover.h"

/* Writes of one layer come one after the other: the slot that was found last is tried first. */
static struct sq_layer *find_layer(sq_log *log, uint64_t number)
{
    uint32_t *found = &log->durable.replayed_slot;
    struct sq_layer *last = *found < log->layer_count ? log->layers[*found] : NULL;
    if (last != NULL && last->number == number && number != 0)
        return last;
    for (uint32_t slot = 1; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL && log->layers[slot]->number == number) {
            *found = slot;
            return log->layers[slot];
        }
    return NULL;
}

static struct sq_volume *find_volume(const sq_log *log, uint64_t number)
{
    for (uint32_t index = 0; index < log->volume_count; index++)
        if (log->volumes[index] != NULL && log->volumes[index]->number == number)
            return log->volumes[index];
    return NULL;
}

/* ---- where the head goes ---------------------------------------------------------------------- */

/* The log went on in this segment, the next of those that are free. */
static int open_segment(sq_log *log, uint32_t segment)
{
    const struct sq_ring *ring = &log->free_ring;
    if (log->head->open_blocks != log->segment_blocks || ring->count == 0 ||
        ring->items[ring->first] != segment)
        return SQ_E_FORMAT;
    return sq_segment_next(log);
}

static int take_place(sq_log *log, const struct sq_summary *summary)
{
    uint32_t segment = sq_segment_of(log, summary->mba), offset = summary->mba % log->segment_blocks;
    log->head = &log->heads[summary->class];
    if (segment != log->head->segment || offset != log->head->open_blocks)
        SQ_TRY(open_segment(log, segment));
    if (offset != log->head->open_blocks || segment != log->head->segment ||
        summary->position != log->stats.position || summary->sequence != log->sequence + 1)
        return SQ_E_FORMAT;
    return sq_block_claim(log, summary->mba, sq_entry(SQ_SUMMARY, 0, 0));
}

/* Only the heads of volumes are written, within their size. */
static int may_write(const sq_log *log, const struct sq_layer *layer, uint64_t lba, uint64_t count)
{
    if (layer == NULL || layer->reader == NULL || layer->reader->is_snapshot)
        return 0;
    uint64_t blocks = sq_volume_blocks(log, layer->reader);
    return lba <= blocks && count <= blocks - lba;
}

/* ---- entries --------------------------------------------------------------------------------- */

static int replay_data(sq_log *log, const struct sq_entry_fields *entry, uint32_t mba, int is_void)
{
    struct sq_layer *layer = find_layer(log, entry->volume);
    struct sq_segment *segment = &log->segments[sq_segment_of(log, mba)];
    int relocated = (entry->flags & SQ_FLAG_RELOCATED) != 0;
    if (relocated ? layer == NULL || sq_map_get(&layer->map, entry->lba) == SQ_UNMAPPED
                  : !may_write(log, layer, entry->lba, 1))
        return SQ_E_FORMAT;
    segment->data_blocks++;
    log->cleaner.data_blocks++;
    if (is_void) {
        SQ_TRY(sq_block_claim(log, mba, sq_entry(SQ_DEAD, layer->slot, log->stats.position)));
        layer->dead_blocks++;
        return SQ_OK;
    }
    SQ_TRY(sq_block_claim(log, mba, sq_entry(SQ_LIVE, layer->slot, entry->lba)));
    log->checksums[mba] = (entry->flags & SQ_FLAG_DAMAGED) != 0 ? ~entry->value : entry->value;
    segment->live_blocks++;
    if (!relocated) {
        log->stats.live_blocks++;
        SQ_TRY(sq_layer_reserve(log, layer, entry->lba + 1, (uint64_t)1 << SQ_VALUE_BITS));
        sq_layer_put(log, layer, entry->lba, mba);
        return SQ_OK;
    }
    if (sq_map_reserve(&layer->map, 0, 0) != 0)
        return SQ_E_NO_MEMORY;
    sq_block_dies(log, sq_map_put(&layer->map, entry->lba, mba), layer, SQ_MOVED);
    return SQ_OK;
}

/* Entries from index on that write consecutive blocks of a volume: how many, a batch at most. Where blocks
 * may hide others below them each comes at its own time. */
static uint32_t run_length(sq_log *log, const struct sq_link *link, uint32_t index, uint32_t end)
{
    struct sq_entry_fields first = sq_summary_entry(log, link->image, index);
    const struct sq_layer *layer = first.kind == SQ_ENTRY_DATA ? find_layer(log, first.volume) : NULL;
    uint32_t count = 0;
    if (layer == NULL || layer->parent != NULL)
        return 0;
    for (end = end - index < SQ_BATCH ? end : index + SQ_BATCH; index < end; index++, count++) {
        struct sq_entry_fields entry = sq_summary_entry(log, link->image, index);
        if (entry.kind != SQ_ENTRY_DATA || entry.flags != 0 || entry.volume != first.volume ||
            entry.lba != first.lba + count)
            break;
    }
    return count;
}

/* What replay_data does for each of them, with one look-up. */
static int replay_run(sq_log *log, const struct sq_link *link, uint32_t index, uint32_t count, uint32_t mba)
{
    struct sq_entry_fields first = sq_summary_entry(log, link->image, index);
    struct sq_layer *layer = find_layer(log, first.volume);
    uint64_t position = log->stats.position;
    uint32_t old[SQ_BATCH];
    if (!may_write(log, layer, first.lba, count))
        return SQ_E_FORMAT;
    SQ_TRY(sq_layer_reserve(log, layer, first.lba + count, (uint64_t)1 << SQ_VALUE_BITS));
    for (uint32_t i = 0; i < count; i++) {
        SQ_TRY(sq_block_claim(log, mba + i, sq_entry(SQ_LIVE, layer->slot, first.lba + i)));
        log->checksums[mba + i] = sq_summary_entry(log, link->image, index + i).value;
    }
    log->segments[sq_segment_of(log, mba)].live_blocks += count;
    log->segments[sq_segment_of(log, mba)].data_blocks += count;
    log->cleaner.data_blocks += count;
    log->stats.live_blocks += count;
    sq_map_put_run(&layer->map, first.lba, count, mba, old);
    for (uint32_t i = 0; i < count; i++)
        if (old[i] != SQ_UNMAPPED) {
            log->stats.position = position + i + 1; /* the time of each death */
            sq_block_dies(log, old[i], layer, SQ_DEAD);
        }
    log->stats.position = position + count;
    return SQ_OK;
}

static int replay_trim(sq_log *log, const struct sq_entry_fields *entry)
{
    struct sq_layer *layer = find_layer(log, entry->volume);
    int changed;
    if (!may_write(log, layer, entry->lba, entry->value))
        return SQ_E_FORMAT;
    return sq_layer_clear(log, layer, entry->lba, entry->lba + entry->value, &changed);
}

static int replay_freed(sq_log *log, uint64_t segment)
{
    if (segment >= log->segment_count || log->segments[segment].state != SQ_SEGMENT_SEALED ||
        log->segments[segment].live_blocks != 0)
        return SQ_E_FORMAT;
    return sq_clean_retire(log, (uint32_t)segment);
}

static int take_number(sq_log *log, uint64_t number)
{
    if (number <= log->last_number || number >= UINT32_MAX)
        return SQ_E_FORMAT;
    log->last_number = number;
    return SQ_OK;
}

/* What is cut off was trimmed before. */
static int replay_resize(sq_log *log, struct sq_volume *volume, uint64_t size_bytes)
{
    volume->size_bytes = size_bytes;
    uint64_t blocks = sq_volume_blocks(log, volume);
    if (!sq_map_fits(&volume->head->map, blocks))
        return SQ_E_FORMAT;
    sq_map_cut(&volume->head->map, blocks);
    return SQ_OK;
}

static int replay_life(sq_log *log, const struct sq_entry_fields *entry)
{
    struct sq_volume *volume = find_volume(log, entry->volume), *other;
    int unwritten_error = (entry->flags & SQ_FLAG_UNWRITTEN_ERROR) != 0;
    if (entry->kind == SQ_ENTRY_CREATE) {
        SQ_TRY(take_number(log, entry->volume));
        if (!sq_size_is_valid(log, entry->lba))
            return SQ_E_FORMAT;
        return sq_volume_make(log, entry->volume, entry->value, entry->lba, unwritten_error, &other);
    }
    if (entry->kind == SQ_ENTRY_CLONE) {
        struct sq_volume *snapshot = find_volume(log, entry->lba);
        SQ_TRY(take_number(log, entry->volume));
        if (snapshot == NULL || !snapshot->is_snapshot)
            return SQ_E_FORMAT;
        return sq_volume_branch(log, snapshot, entry->volume, entry->value, unwritten_error, &other);
    }
    if (volume == NULL)
        return SQ_E_FORMAT;
    if (entry->kind == SQ_ENTRY_DELETE && SQ_PLANTED(replays_a_volume_but_not_its_deletion)) return SQ_OK;
    if (entry->kind == SQ_ENTRY_DELETE)
        return sq_volume_end(log, volume);
    if (volume->is_snapshot)
        return SQ_E_FORMAT;
    if (entry->kind == SQ_ENTRY_SNAPSHOT) {
        SQ_TRY(take_number(log, entry->lba));
        return sq_volume_freeze(log, volume, entry->lba, &other);
    }
    if (entry->kind == SQ_ENTRY_ROLLBACK) {
        struct sq_volume *snapshot = find_volume(log, entry->value);
        SQ_TRY(take_number(log, entry->lba));
        if (snapshot == NULL || !snapshot->is_snapshot)
            return SQ_E_FORMAT;
        return sq_volume_return(log, volume, snapshot, entry->lba);
    }
    if (!sq_size_is_valid(log, entry->lba))
        return SQ_E_FORMAT;
    return replay_resize(log, volume, entry->lba);
}

static int replay_entry(sq_log *log, const struct sq_entry_fields *entry, uint32_t mba, int is_void)
{
    switch (entry->kind) {
    case SQ_ENTRY_DATA:
        return replay_data(log, entry, mba, is_void && (entry->flags & SQ_FLAG_RELOCATED) == 0);
    case SQ_ENTRY_CHECKPOINT:
        return sq_block_claim(log, mba, sq_entry(SQ_SUMMARY, 0, 0));
    case SQ_ENTRY_PAD:
        return sq_block_claim(log, mba, 0);
    case SQ_ENTRY_CHECKPOINT_END:
        return SQ_OK;
    case SQ_ENTRY_OPENED:
        log->durable.opening = entry->lba;
        return SQ_OK;
    case SQ_ENTRY_FREED:
        return replay_freed(log, entry->lba);
    case SQ_ENTRY_TRIM:
        if (SQ_PLANTED(replays_a_write_but_not_its_trim)) return SQ_OK;
        return is_void ? SQ_OK : replay_trim(log, entry);
    default:
        return is_void ? SQ_OK : replay_life(log, entry);
    }
}

int sq_replay(sq_log *log, const struct sq_link *link)
{
    const struct sq_summary *summary = &link->summary;
    SQ_TRY(take_place(log, summary));
    uint32_t mba = summary->mba + 1;
    for (uint32_t i = 0; i < summary->entries;) {
        uint32_t run = i < link->void_from ? run_length(log, link, i, link->void_from) : 0;
        if (run > 1) {
            SQ_TRY(replay_run(log, link, i, run, mba));
            mba += run;
            i += run;
            continue;
        }
        struct sq_entry_fields entry = sq_summary_entry(log, link->image, i);
        SQ_TRY(replay_entry(log, &entry, mba, i >= link->void_from));
        mba += (uint32_t)sq_kind_has_block(entry.kind);
        i++;
    }
    log->head->open_blocks += 1 + summary->blocks;
    log->sequence = summary->sequence;
    log->previous = summary->checksum;
    log->durable.newest[log->head->segment] = summary->sequence;
    return SQ_OK;
}
