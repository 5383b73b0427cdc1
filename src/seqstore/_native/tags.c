/* tags.c: the two steps that a simulated drive does all day: writing tags, and moving them. They do what
 * sq_block_add, sq_layer_put and sq_block_dies do (append.h), and add up the counters of a batch once. A
 * block of the batch that dies within it makes a counter wrap for a while.
 */
#include "tags.h"

#include "append.h"
#include "place.h"

/* What the block was written over is gone; the ledger says what is there now. */
static inline int settle(sq_log *log, uint32_t mba, uint64_t entry, uint64_t position)
{
    uint64_t old = log->ledger[mba];
    SQ_CHECK(log, sq_entry_state(old) != SQ_LIVE && sq_entry_state(old) != SQ_SUMMARY);
    log->ledger[mba] = entry;
    if (old == 0)
        return SQ_OK;
    if (log->cleaner.latencies != NULL)
        sq_note_latency(log, old, position);
    sq_block_gone(log, mba, old, position);
    return SQ_OK;
}

/* count blocks were put behind each other from the head's next one on. */
static void count_batch(sq_log *log, uint32_t count)
{
    struct sq_segment *segment = &log->segments[log->head->segment];
    log->head->record.data_count += count;
    log->head->record.entry_count += count;
    segment->live_blocks += count;
    segment->data_blocks += count;
    log->cleaner.data_blocks += count;
    log->stats.position += count;
}

/* Puts the block of the layer at mba, which is the position-th that the log writes; what it replaces dies. */
static inline int put(sq_log *log, struct sq_layer *layer, uint64_t lba, uint32_t mba, uint64_t position,
                      uint32_t *added_io)
{
    SQ_TRY(settle(log, mba, sq_entry(SQ_LIVE, layer->slot, lba), position));
    log->tags[mba] = sq_tag_data(layer->number, lba);
    uint32_t old = sq_map_put(&layer->map, lba, mba);
    if (old == SQ_UNMAPPED) {
        ++*added_io;
        return SQ_OK;
    }
    log->ledger[old] = SQ_PLANTED(ledger_keeps_no_residue) ? 0 : sq_entry(SQ_DEAD, layer->slot, position + 1);
    uint32_t segment = sq_segment_of(log, old);
    sq_segment_loses(log, segment);
    sq_due_note(log, segment, layer, position + 1);
    return SQ_OK;
}

static void count_writes(sq_log *log, struct sq_layer *layer, uint32_t count, uint32_t added)
{
    layer->dead_blocks += SQ_PLANTED(ledger_keeps_no_residue) ? 0 : count - added;
    layer->work->user_blocks += count;
    log->stats.live_blocks += added;
    log->stats.user_blocks += count;
    count_batch(log, count);
}

int sq_tags_write(sq_log *log, struct sq_layer *layer, const uint64_t *lbas, uint32_t count,
                  const uint64_t *list, uint64_t done, uint64_t list_count)
{
    uint32_t first = sq_record_next_mba(log), added = 0;
    uint64_t position = log->stats.position;
    for (uint32_t i = 0; i < count; i++) {
        sq_fetch_ahead(log, &layer->map, list, done + i, list_count);
        SQ_TRY(put(log, layer, lbas[i], first + i, position + i, &added));
    }
    count_writes(log, layer, count, added);
    return SQ_OK;
}

int sq_tags_write_one(sq_log *log, struct sq_layer *layer, uint64_t lba, uint64_t death)
{
    uint32_t mba = sq_record_next_mba(log), added = 0;
    SQ_TRY(put(log, layer, lba, mba, log->stats.position, &added));
    count_writes(log, layer, 1, added);
    sq_times_begin(log, mba, death);
    return SQ_OK;
}

static void fetch_leaf(const sq_log *log, uint32_t mba)
{
    uint64_t entry = log->ledger[mba];
    sq_map_prefetch_leaf(&log->layers[sq_entry_slot(entry)]->map, sq_entry_value(entry));
}

/* Live blocks of the victim to the head, for which its record has room. */
static int move_part(sq_log *log, const uint32_t *live, uint32_t count, const uint32_t *next,
                     uint32_t next_count)
{
    uint32_t first = sq_record_next_mba(log), victim = sq_segment_of(log, live[0]);
    uint64_t position = log->stats.position;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t mba = live[i];
        uint64_t entry = log->ledger[mba];
        struct sq_layer *layer = log->layers[sq_entry_slot(entry)];
        if (i < next_count)
            fetch_leaf(log, next[i]);
        SQ_TRY(settle(log, first + i, entry, position + i));
        log->tags[first + i] = log->tags[mba];
        uint32_t old = sq_map_put(&layer->map, sq_entry_value(entry), first + i);
        SQ_CHECK(log, old == mba);
        log->ledger[mba] =
            SQ_PLANTED(ledger_keeps_no_residue) ? 0 : sq_entry(SQ_MOVED, layer->slot, position + i + 1);
        sq_due_note(log, victim, layer, position + i + 1);
        sq_times_move(log, mba, first + i);
        layer->moved_blocks += !SQ_PLANTED(ledger_keeps_no_residue);
        layer->work->relocated_blocks++;
    }
    log->segments[victim].live_blocks -= count;
    log->cleaner.garbage_blocks += count;
    log->stats.relocated_blocks += count;
    count_batch(log, count);
    return SQ_OK;
}

/* Blocks from the first on that go to the same head. */
static uint32_t run_of_class(const uint8_t *classes, uint32_t count)
{
    uint32_t run = 1;
    while (run < count && classes[run] == classes[0])
        run++;
    return run;
}

int sq_tags_move(sq_log *log, const uint32_t *live, uint32_t count, const uint8_t *classes,
                 const uint32_t *next, uint32_t next_count)
{
    for (uint32_t done = 0, part; done < count; done += part) {
        part = count - done;
        if (classes != NULL) {
            part = run_of_class(classes + done, part);
            SQ_TRY(sq_head_select(log, classes[done]));
        }
        SQ_TRY(sq_head_advance(log, 0));
        part = sq_record_room(log) < part ? sq_record_room(log) : part;
        uint32_t left = next_count > done ? next_count - done : 0;
        SQ_TRY(move_part(log, live + done, part, next + done, left));
        if (log->class_count > 1)
            SQ_TRY(sq_head_finish(log));
    }
    return SQ_OK;
}
