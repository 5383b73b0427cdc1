/* tags.c: the two steps that a simulated drive does all day, for a log with one head: writing a batch of
 * tags, and moving one. They do what sq_block_add, sq_layer_put and sq_block_dies do (append.h), and add up
 * the counters of a batch once. A block of the batch that dies within it makes a counter wrap for a while.
 */
#include "tags.h"

#include "append.h"

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

int sq_tags_write(sq_log *log, struct sq_layer *layer, const uint64_t *lbas, uint32_t count,
                  const uint64_t *list, uint64_t done, uint64_t list_count)
{
    uint32_t first = sq_record_next_mba(log), added = 0;
    uint64_t position = log->stats.position;
    for (uint32_t i = 0; i < count; i++) {
        sq_fetch_ahead(log, &layer->map, list, done + i, list_count);
        SQ_TRY(settle(log, first + i, sq_entry(SQ_LIVE, layer->slot, lbas[i]), position + i));
        log->tags[first + i] = sq_tag_data(layer->number, lbas[i]);
        uint32_t old = sq_map_put(&layer->map, lbas[i], first + i);
        if (old == SQ_UNMAPPED) {
            added++;
            continue;
        }
        log->ledger[old] = sq_entry(SQ_DEAD, layer->slot, position + i + 1);
        uint32_t segment = sq_segment_of(log, old);
        sq_segment_loses(log, segment);
        sq_due_note(log, segment, layer, position + i + 1);
    }
    layer->dead_blocks += count - added;
    layer->work->user_blocks += count;
    log->stats.live_blocks += added;
    log->stats.user_blocks += count;
    count_batch(log, count);
    return SQ_OK;
}

static void fetch_leaf(const sq_log *log, uint32_t mba)
{
    uint64_t entry = log->ledger[mba];
    sq_map_prefetch_leaf(&log->layers[sq_entry_slot(entry)]->map, sq_entry_value(entry));
}

int sq_tags_move(sq_log *log, const uint32_t *live, uint32_t count, const uint32_t *next, uint32_t next_count)
{
    uint32_t index = sq_segment_of(log, live[0]);
    struct sq_segment *victim = &log->segments[index];
    for (uint32_t done = 0, part; done < count; done += part) {
        SQ_TRY(sq_head_advance(log, 0));
        uint32_t first = sq_record_next_mba(log);
        uint64_t position = log->stats.position;
        part = sq_record_room(log) < count - done ? sq_record_room(log) : count - done;
        for (uint32_t i = 0; i < part; i++) {
            uint32_t mba = live[done + i];
            uint64_t entry = log->ledger[mba];
            struct sq_layer *layer = log->layers[sq_entry_slot(entry)];
            if (done + i < next_count)
                fetch_leaf(log, next[done + i]);
            SQ_TRY(settle(log, first + i, entry, position + i));
            log->tags[first + i] = log->tags[mba];
            uint32_t old = sq_map_put(&layer->map, sq_entry_value(entry), first + i);
            SQ_CHECK(log, old == mba);
            log->ledger[mba] = sq_entry(SQ_MOVED, layer->slot, position + i + 1);
            sq_due_note(log, index, layer, position + i + 1);
            layer->moved_blocks++;
            layer->work->relocated_blocks++;
        }
        victim->live_blocks -= part;
        log->cleaner.garbage_blocks += part;
        log->stats.relocated_blocks += part;
        count_batch(log, part);
    }
    return SQ_OK;
}
