/* aftermath.c: after a crash: what the writes that were lost have left on the medium.
 *
 * They were not safe yet, so some of their blocks may lie there and others not, and no summary may say
 * whose they are. They can only lie in the rest of the open segment and in the segments that the head would
 * have taken next, as many as the window allows. All that is written over before the log goes on, so that
 * the ledger is true again, and so that no record from before the crash can ever continue the chain.
 *
 * A crash in the middle of this is a crash like any other: nothing of it changes what was recovered.
 */
#include "append.h"
#include "bytes.h"
#include "due.h"
#include "recover.h"

/* Blocks of a segment behind done that fit the scan's buffer. */
static uint32_t piece(const sq_log *log, uint32_t done)
{
    uint32_t left = log->segment_blocks - done;
    return left < log->record_blocks ? left : log->record_blocks;
}

/* Reads the segment in pieces that fit the scan's buffer. */
static int segment_is_zero(struct sq_scan *scan, uint32_t segment)
{
    const sq_log *log = scan->log;
    uint64_t first = (uint64_t)segment * log->segment_blocks;
    for (uint32_t done = 0; done < log->segment_blocks;) {
        uint32_t here = piece(log, done);
        int os_error;
        if (sq_medium_fetch(log->medium, first + done, here, scan->record, &os_error) != SQ_OK ||
            !sq_is_zero(scan->record, (size_t)here << log->block_shift))
            return 0;
        done += here;
    }
    return 1;
}

/* Appends zeros over a free segment, which stays free. */
static int zero_segment(struct sq_scan *scan, uint32_t segment)
{
    sq_log *log = scan->log;
    uint64_t first = (uint64_t)segment * log->segment_blocks;
    SQ_TRY(sq_medium_restart(log->medium, segment));
    memset(scan->record, 0, (size_t)log->record_blocks << log->block_shift);
    for (uint32_t done = 0; done < log->segment_blocks;) {
        uint32_t here = piece(log, done);
        log->durable.error_mba = first + done;
        SQ_TRY(sq_medium_write(log->medium, first + done, here, scan->record, &log->durable.os_error));
        done += here;
    }
    scan->report->zeroed_blocks += log->segment_blocks;
    return SQ_OK;
}

static int clear_segment(struct sq_scan *scan, uint32_t segment)
{
    sq_log *log = scan->log;
    uint64_t first = (uint64_t)segment * log->segment_blocks;
    int stays = SQ_PLANTED(lost_writes_stay_on_the_medium) || SQ_PLANTED(revives_what_a_crash_took_back);
    if (!stays && !segment_is_zero(scan, segment))
        SQ_TRY(zero_segment(scan, segment));
    for (uint64_t mba = first; mba < first + log->segment_blocks; mba++)
        SQ_TRY(sq_block_settle(log, mba, 0));
    return SQ_OK;
}

/* Blocks from the given one of a segment on are no residue where they are zeros, if the first one is. */
static int find_erased(struct sq_scan *scan, uint32_t segment, uint32_t from)
{
    sq_log *log = scan->log;
    uint64_t first = (uint64_t)segment * log->segment_blocks;
    for (uint32_t done = from, here; done < log->segment_blocks; done += here) {
        int os_error;
        here = done == from ? 1 : piece(log, done);
        if (sq_medium_fetch(log->medium, first + done, here, scan->record, &os_error) != SQ_OK)
            return SQ_OK;
        for (uint32_t i = 0; i < here; i++) {
            if (sq_is_zero(scan->record + ((size_t)i << log->block_shift), log->block_bytes))
                SQ_TRY(sq_block_settle(log, first + done + i, 0));
            else if (done == from)
                return SQ_OK;
        }
    }
    return SQ_OK;
}

/* A purge writes zeros over free segments, and no record says so; a head may have begun such a one since. */
int sq_recover_erased(struct sq_scan *scan)
{
    const sq_log *log = scan->log;
    const struct sq_ring *ring = &log->free_ring;
    for (uint32_t i = 0; i < ring->count; i++)
        SQ_TRY(find_erased(scan, ring->items[((uint64_t)ring->first + i) % ring->capacity], 0));
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++)
        if (log->heads[class].segment != SQ_NO_SEGMENT)
            SQ_TRY(find_erased(scan, log->heads[class].segment, log->heads[class].open_blocks));
    return SQ_OK;
}

/* Zeros up to the end of the head's segment; the first record of all says that the log was opened. */
static int fill_segment(struct sq_scan *scan)
{
    sq_log *log = scan->log;
    if (log->head->open_blocks == log->segment_blocks)
        return SQ_OK;
    SQ_TRY(sq_record_open(log));
    if (!log->durable.begun)
        sq_record_note_opening(log);
    log->durable.begun = 1;
    return sq_head_pad(log, &scan->report->zeroed_blocks);
}

/* The record that makes void what was unfinished, and zeros where lost writes may lie. Where all segments are
 * full already the first request writes the record: opening again and again must not use up the drive. */
static int close_segments(struct sq_scan *scan)
{
    sq_log *log = scan->log;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        SQ_TRY(sq_head_select(log, class));
        SQ_TRY(fill_segment(scan));
    }
    SQ_TRY(sq_head_select(log, 0));
    return log->durable.begun ? sq_sync_now(log) : SQ_OK;
}

/* Is a segment open at a head that this opening has no use for? */
static int has_idle_heads(const sq_log *log)
{
    for (uint32_t class = log->class_count; class < SQ_CLASSES_MAX; class++)
        if (log->heads[class].segment != SQ_NO_SEGMENT)
            return 1;
    return 0;
}

/* Their segments, full by now, would never be cleaned: they are sealed, and a checkpoint says so. */
static int seal_idle_heads(sq_log *log)
{
    if (!has_idle_heads(log))
        return SQ_OK;
    for (uint32_t class = log->class_count; class < SQ_CLASSES_MAX; class++)
        sq_head_seal(log, &log->heads[class]);
    return sq_checkpoint_write(log, 0);
}

int sq_recover_clear(struct sq_scan *scan)
{
    sq_log *log = scan->log;
    if (scan->report->clean && !has_idle_heads(log))
        return SQ_OK;
    log->durable.clean = 0;
    /* What was recovered may be no safer than what was lost. */
    SQ_TRY(sq_sync_now(log));
    /* The window may have been larger when the writes were lost. */
    uint32_t window = log->durable.window_segments;
    window = scan->window > window ? scan->window : window;
    window = window < log->free_ring.count ? window + 1 : log->free_ring.count;
    if (scan->report->lost_records > 0)
        window = log->free_ring.count; /* a medium that lost what was safe may hold anything anywhere */
    const struct sq_ring *ring = &log->free_ring;
    for (uint32_t i = 0; i < window; i++)
        SQ_TRY(clear_segment(scan, ring->items[((uint64_t)ring->first + i) % ring->capacity]));
    SQ_TRY(sq_sync_now(log));
    if (scan->report->lost_records == 0) {
        SQ_TRY(close_segments(scan));
        return seal_idle_heads(log);
    }
    /* Records behind what was lost may lie anywhere, also in segments that are still needed. The log goes
     * on with numbers above all of them, from a checkpoint of its own, and never meets them again. */
    log->sequence = scan->highest;
    SQ_TRY(close_segments(scan));
    SQ_TRY(seal_idle_heads(log));
    return sq_checkpoint_write(log, 0);
}
