/* head.c: room at the head: the next record, the next segment, or a segment to be cleaned first.
 *
 * In memory: free segments are kept for the cleaner, one for each head that it fills: what is live in a
 * segment fits into an empty one. A head takes a free segment only while there are more, and cleans in the
 * middle of a request when it must. Where the cleaner has taken some itself, the room that this left in its
 * heads is not for users: it goes on until they are free again.
 *
 * On media that outlive the process a request is whole after a crash, or has not happened. So all the
 * cleaning comes before it: then nothing that the request replaces can be written over before the request
 * is safe. Free segments are kept for the cleaner and for a checkpoint, which can come at any time.
 */
#include "append.h"
#include "due.h"

int sq_head_select(sq_log *log, uint32_t class)
{
    struct sq_head *head = &log->heads[class];
    if (head == log->head)
        return SQ_OK;
    if (log->durable.on)
        SQ_TRY(sq_record_close(log));
    log->head = head;
    return SQ_OK;
}

static int has_room(const sq_log *log, int only_entry)
{
    const struct sq_record *record = &log->head->record;
    return only_entry ? record->open && record->entry_count < log->record_entries : sq_record_room(log) > 0;
}

int sq_head_advance(sq_log *log, int only_entry)
{
    for (;;) {
        if (has_room(log, only_entry))
            return SQ_OK;
        SQ_TRY(sq_record_close(log));
        if (log->head->open_blocks == log->segment_blocks)
            SQ_TRY(sq_segment_next(log));
        SQ_TRY(sq_record_open(log));
    }
}

int sq_head_finish(sq_log *log)
{
    if (log->durable.on || sq_record_room(log) > 0)
        return SQ_OK;
    SQ_TRY(sq_record_close(log));
    if (log->head->open_blocks == log->segment_blocks)
        sq_head_seal(log, log->head);
    return SQ_OK;
}

/* Chooses by what is due, by the policy, or by what gains most. */
static int choose(sq_log *log, int by_policy, uint32_t *victim_out)
{
    SQ_TRY(sq_deadline_next(log, UINT32_MAX, victim_out));
    if (*victim_out != log->segment_count)
        return SQ_OK;
    int status = by_policy ? sq_clean_next(log, 0, victim_out) : sq_clean_emptiest(log, victim_out);
    SQ_CHECK(log, status != SQ_E_NOT_FOUND);
    return status;
}

/* Cleans a segment and goes on at the same head. */
static int clean_for_room(sq_log *log, uint32_t victim, int by_policy)
{
    struct sq_head *head = log->head;
    int status = victim == log->segment_count ? choose(log, by_policy, &victim) : SQ_OK;
    if (status == SQ_OK)
        status = sq_clean_segment(log, victim);
    log->head = head;
    return status;
}

int sq_head_make_room(sq_log *log, int only_entry)
{
    if (log->durable.on)
        return sq_head_advance(log, only_entry);
    /* Each turn seals a record or cleans a segment; live blocks leave a whole segment free, so a lap of
     * cleaning finds room. A policy may choose so badly that it does not: then the emptiest are taken. */
    for (uint64_t turn = 0; turn < 4 * (uint64_t)log->segment_count + 4; turn++) {
        int is_short = log->free_ring.count < log->cleaner.spare_segments;
        if (!is_short && has_room(log, only_entry))
            return SQ_OK;
        SQ_TRY(sq_record_close(log));
        if (!is_short && log->head->open_blocks < log->segment_blocks) {
            SQ_TRY(sq_record_open(log));
            continue;
        }
        uint32_t victim;
        SQ_TRY(sq_deadline_next(log, 1, &victim));
        if (victim == log->segment_count && log->free_ring.count > log->cleaner.spare_segments)
            SQ_TRY(sq_segment_next(log));
        else
            SQ_TRY(clean_for_room(log, victim, turn < log->segment_count || log->cleaner.candidates == NULL));
    }
    SQ_CHECK(log, !"room after a lap of cleaning");
    return SQ_OK;
}

/* ---- before a request ------------------------------------------------------------------------- */

/* The first record after an opening says so, before any other can be lost: without it a log that was closed
 * would still look closed. */
static int begin_use(sq_log *log)
{
    if (log->durable.begun)
        return SQ_OK;
    SQ_TRY(sq_head_advance(log, 1));
    if (log->head->record.entry_count == 0)
        sq_record_note_opening(log);
    SQ_TRY(sq_record_close(log));
    SQ_TRY(sq_sync_now(log));
    log->durable.begun = 1;
    log->durable.clean = 0;
    return SQ_OK;
}

/* Segments that so many blocks and entries take at most, the rest of the open one not counted. */
static uint32_t segments_for(const sq_log *log, uint64_t blocks, uint64_t entries)
{
    uint64_t per_segment = log->segment_data, classes = log->class_count;
    uint64_t records = entries / log->record_entries + 2; /* of entries alone, a block each */
    if (classes == 1)
        return (uint32_t)((blocks + records + per_segment - 1) / per_segment);
    /* At worst each block has a record of its own, and all segments are full. */
    return (uint32_t)((2 * blocks + records + per_segment - 1) / per_segment + classes);
}

/* After the checkpoint that the segment's records may be needed for. */
int sq_head_clean(sq_log *log, uint32_t given)
{
    const struct sq_durability *durable = &log->durable;
    uint32_t victim = given;
    int has_given = given != log->segment_count;
    int status = has_given ? SQ_OK : sq_clean_next(log, 0, &victim);
    if (status == SQ_E_NOT_FOUND || (status == SQ_OK && durable->newest[victim] >= durable->checkpoint)) {
        /* Only crash after crash in the middle of checkpoints can have left so little. */
        if (log->free_ring.count <= durable->checkpoint_segments)
            return SQ_E_OUT_OF_SPACE;
        SQ_TRY(sq_checkpoint_write(log, 0));
        status = has_given ? SQ_OK : sq_clean_next(log, 0, &victim);
    }
    SQ_CHECK(log, status != SQ_E_NOT_FOUND);
    SQ_TRY(status);
    SQ_CHECK(log, durable->newest[victim] < durable->checkpoint);
    return sq_clean_segment(log, victim);
}

static int is_old(const sq_log *log, uint32_t segment)
{
    return log->durable.newest[segment] < log->durable.checkpoint;
}

/* Does it gain a quarter of a segment to clean it, beside summaries? */
static int gains_much(const sq_log *log, uint32_t segment)
{
    return 4 * (log->segments[segment].live_blocks + 2) <= 3 * log->segment_blocks;
}

/* And that without a checkpoint before? */
static int gains_enough(const sq_log *log, uint32_t victim)
{
    return is_old(log, victim) && gains_much(log, victim);
}

static int has_new_garbage(const sq_log *log)
{
    for (uint32_t segment = 0; segment < log->segment_count; segment++)
        if (log->segments[segment].state == SQ_SEGMENT_SEALED && !is_old(log, segment) &&
            gains_much(log, segment))
            return 1;
    return 0;
}

/* What gains most. Where that is little, and more lies in what was written since the checkpoint, such as
 * heads that a purge filled up with zeros, there is another one, as long as there is room for it. */
static int choose_gain(sq_log *log, uint32_t *victim_out)
{
    SQ_CHECK(log, sq_clean_emptiest(log, victim_out) == SQ_OK);
    if (gains_enough(log, *victim_out) || log->free_ring.count <= log->durable.checkpoint_segments ||
        !has_new_garbage(log))
        return SQ_OK;
    SQ_TRY(sq_checkpoint_write(log, 0));
    SQ_CHECK(log, sq_clean_emptiest(log, victim_out) == SQ_OK);
    return SQ_OK;
}

/* What is due first may gain nothing, or less. When room runs short what gains most is cleaned before; bounds
 * leave time for that as often as checkpoints come by themselves. Somebody may ask for more of them, each of
 * which leaves segments that would always gain most: so what is due comes first where it gains enough. */
static int choose_due(sq_log *log, uint32_t *victim_out)
{
    SQ_TRY(sq_deadline_next(log, UINT32_MAX, victim_out));
    if (*victim_out != log->segment_count && log->free_ring.count < log->durable.kept_segments &&
        !gains_enough(log, *victim_out))
        SQ_TRY(choose_gain(log, victim_out));
    return SQ_OK;
}

static int free_segments(sq_log *log, uint32_t needed)
{
    uint32_t least = log->durable.kept_segments + needed;
    if (log->free_ring.count >= least)
        return SQ_OK;
    for (uint32_t turn = 0; log->free_ring.count < least + log->durable.batch_segments; turn++) {
        SQ_CHECK(log, turn < 4 * log->segment_count);
        uint32_t victim;
        SQ_TRY(choose_due(log, &victim));
        SQ_TRY(sq_head_clean(log, victim));
    }
    return SQ_OK;
}

int sq_head_refill(sq_log *log)
{
    if (log->durable.on)
        return free_segments(log, 0);
    for (uint64_t turn = 0; log->free_ring.count < log->cleaner.spare_segments; turn++) {
        SQ_CHECK(log, turn < 4 * (uint64_t)log->segment_count);
        SQ_TRY(clean_for_room(log, log->segment_count,
                              turn < log->segment_count || log->cleaner.candidates == NULL));
    }
    return SQ_OK;
}

int sq_request_begin(sq_log *log, uint64_t blocks, uint64_t entries)
{
    struct sq_durability *durable = &log->durable;
    if (!durable->on)
        return SQ_OK;
    SQ_CHECK(log, !durable->in_request);
    if (durable->ended || durable->read_only)
        return durable->ended ? SQ_E_CLOSED : SQ_E_READ_ONLY;
    if (durable->failed || durable->disowned)
        return durable->disowned ? SQ_E_DISOWNED : SQ_E_FAILED;
    SQ_TRY(begin_use(log));
    SQ_TRY(free_segments(log, 0));
    if (log->stats.position - durable->checkpoint_position >= durable->checkpoint_interval)
        SQ_TRY(sq_checkpoint_write(log, 0));
    uint32_t needed = segments_for(log, blocks, entries);
    SQ_TRY(sq_deadline_heads(log, needed));
    SQ_TRY(free_segments(log, needed));
    durable->in_request = 1;
    durable->request_noted = log->noted;
    log->head->record.request_entry = log->head->record.entry_count;
    return SQ_OK;
}

/* What is already noted of a request cannot be taken back, and the next record would make it whole. As the
 * medium stands the request has not happened, so it is left as it stands. */
int sq_request_end(sq_log *log, int status)
{
    struct sq_durability *durable = &log->durable;
    int is_half = durable->in_request && log->noted != durable->request_noted;
    if (is_half && (status == SQ_E_IO || status == SQ_E_NO_MEMORY || status == SQ_E_POLICY ||
                    status == SQ_E_NO_CRYPTO))
        __atomic_store_n(&durable->failed, 1, __ATOMIC_RELEASE);
    durable->in_request = 0;
    return status;
}
