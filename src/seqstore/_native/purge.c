/* purge.c: deleted data written over at once, or before a time that no writing brings about.
 *
 * What holds residue of the scope is due now: live neighbours move, into what has been freed already as far
 * as that reaches, and what nothing was written over is filled with zeros. Then the medium is synced, and all
 * of it is read back.
 *
 * A crash in the middle is a crash like any other. The residue that is left is in the ledger again after it,
 * and whoever asked asks again.
 */
#include <stdlib.h>

#include "append.h"
#include "bytes.h"
#include "purge.h"
#include "record.h"
#include "recover.h"

/* Each but the first is for what the one before left of its own. */
#define TURNS_MOST 16u

static uint64_t died(const sq_log *log, uint64_t entry)
{
    uint64_t now = log->stats.position;
    return now - ((now - sq_entry_value(entry)) & SQ_VALUE_MASK);
}

/* ---- what is affected ----------------------------------------------------------------------------- */

static int is_residue(const sq_log *log, const struct sq_purge_scope *scope, uint64_t mba)
{
    uint64_t entry = log->ledger[mba];
    unsigned state = sq_entry_state(entry);
    return (state == SQ_DEAD || state == SQ_MOVED) && died(log, entry) <= scope->died_before &&
           sq_in_scope(log->layers[sq_entry_slot(entry)], scope->kind, scope->id);
}

static int has_residue(const sq_log *log, const struct sq_purge_scope *scope, uint64_t mba, uint64_t end)
{
    while (mba < end && !is_residue(log, scope, mba))
        mba++;
    return mba < end;
}

/* Finds from where on each segment has to be written over: segment_blocks if it has no residue of the scope,
 * and so much as the head has not come to yet where it lies only there. */
static uint64_t find_residue(const sq_log *log, const struct sq_purge_scope *scope, uint32_t *from)
{
    uint64_t count = 0;
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        uint64_t first = (uint64_t)segment * log->segment_blocks, end = first + log->segment_blocks;
        uint64_t written = end;
        if (log->segments[segment].state == SQ_SEGMENT_OPEN)
            written = first + log->heads[log->segments[segment].class].open_blocks;
        from[segment] = has_residue(log, scope, first, written)  ? 0
                        : has_residue(log, scope, written, end) ? (uint32_t)(written - first)
                                                                : log->segment_blocks;
        count += from[segment] < log->segment_blocks;
    }
    return count;
}

/* What has to be written over is due now. */
static void mark(sq_log *log, const struct sq_purge_scope *scope, const uint32_t *from)
{
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        uint64_t first = (uint64_t)segment * log->segment_blocks;
        if (from[segment] == log->segment_blocks)
            continue;
        if (from[segment] == 0)
            sq_due_now(log, segment);
        if (log->segments[segment].state != SQ_SEGMENT_OPEN)
            continue;
        const struct sq_head *head = &log->heads[log->segments[segment].class];
        if (has_residue(log, scope, first + head->open_blocks, first + log->segment_blocks))
            sq_due_rest_now(log, log->segments[segment].class);
    }
}

/* ---- writing over --------------------------------------------------------------------------------- */

static int move_live(sq_log *log, uint32_t victim)
{
    struct sq_head *head = log->head;
    int status = log->durable.on ? sq_head_clean(log, victim) : sq_clean_segment(log, victim);
    log->head = log->durable.on ? log->head : head;
    /* What the next victim may need. */
    return status == SQ_OK ? sq_head_refill(log) : status;
}

/* Nothing is zeroed, and no call returns, before all that it follows from is safe. */
static int sync(sq_log *log)
{
    if (!log->durable.on)
        return SQ_OK;
    SQ_TRY(sq_record_close(log));
    return sq_sync_now(log);
}

static int put_zeros(sq_log *log, uint64_t mba, uint32_t count, const uint8_t *zeros)
{
    if (log->durable.on) {
        log->durable.error_mba = mba;
        return sq_medium_write(log->medium, mba, count, zeros, &log->durable.os_error);
    }
    if (log->tags != NULL)
        memset(&log->tags[mba], 0, count * sizeof *log->tags);
    for (uint32_t i = 0; log->payload != NULL && i < count; i++)
        log->kernels->zero(sq_payload_at(log, mba + i), log->block_bytes);
    return sq_medium_publish(log->medium, mba, count);
}

int sq_segment_erase(sq_log *log, uint32_t segment, const uint8_t *zeros)
{
    uint64_t first = (uint64_t)segment * log->segment_blocks, end = first + log->segment_blocks;
    SQ_CHECK(log, log->segments[segment].state == SQ_SEGMENT_FREE);
    if (log->durable.on && log->durable.freed[segment] > sq_flushed(log))
        SQ_TRY(sync(log));
    SQ_TRY(sq_medium_restart(log->medium, segment));
    log->durable.has_erased = log->durable.on;
    for (uint64_t mba = first; mba < end;) {
        uint32_t count = end - mba < SQ_ERASE_BLOCKS ? (uint32_t)(end - mba) : SQ_ERASE_BLOCKS;
        SQ_TRY(put_zeros(log, mba, count, zeros));
        for (uint64_t stop = mba + count; mba < stop; mba++) {
            SQ_TRY(sq_block_settle(log, mba, 0));
            log->stats.overwritten_blocks++;
            log->erased_blocks++;
        }
    }
    sq_due_erased(log, segment);
    return log->durable.on ? SQ_OK : sq_medium_restart(log->medium, segment);
}

static int erase_free(sq_log *log, uint64_t limit, const uint8_t *zeros)
{
    for (uint32_t first; (first = sq_due_first(log, 1)) != log->segment_count;) {
        if (log->dues.due[first] > limit)
            return SQ_OK;
        SQ_TRY(sq_segment_erase(log, first, zeros));
    }
    return SQ_OK;
}

/* The head's segment is filled up, and may be cleaned. Where the head goes on nothing of what is due lies. */
static int end_head(sq_log *log, uint32_t class, uint64_t limit, const uint8_t *zeros)
{
    SQ_TRY(sync(log));
    SQ_TRY(erase_free(log, limit, zeros));
    SQ_TRY(sq_head_end(log, class));
    return sq_head_refill(log);
}

/* Behind a head that came to the segment once more lies the middle of a record that is not whole any more. */
static int is_torn(const sq_log *log, const struct sq_head *head, const uint32_t *from)
{
    if (head->segment == SQ_NO_SEGMENT || from[head->segment] == log->segment_blocks)
        return 0;
    const uint64_t *entries = &log->ledger[(uint64_t)head->segment * log->segment_blocks];
    uint32_t at = head->open_blocks;
    while (at < log->segment_blocks && entries[at] == 0)
        at++;
    return at < log->segment_blocks;
}

/* Nothing of what is to be read back is torn: such heads go on where nothing lies. */
static int mend_torn(sq_log *log, const uint32_t *from, const uint8_t *zeros)
{
    for (uint32_t class = 0; class < log->class_count; class++) {
        if (!is_torn(log, &log->heads[class], from))
            continue;
        SQ_TRY(sync(log));
        if (log->durable.on && log->free_ring.count > 0)
            SQ_TRY(sq_segment_erase(log, log->free_ring.items[log->free_ring.first], zeros));
        SQ_TRY(sq_head_end(log, class));
    }
    return SQ_OK;
}

/* Until nothing that was due by then holds anything live, or is the rest of a head. */
static int empty_all(sq_log *log, uint64_t limit, const uint8_t *zeros)
{
    for (;;) {
        uint32_t first = sq_due_first(log, 0), class = 0;
        if (first != log->segment_count && log->dues.due[first] <= limit) {
            const struct sq_segment *segment = &log->segments[first];
            SQ_TRY(segment->state == SQ_SEGMENT_OPEN ? end_head(log, segment->class, limit, zeros)
                                                     : move_live(log, first));
            continue;
        }
        while (class < log->class_count && log->dues.rest[class] > limit)
            class++;
        if (class == log->class_count)
            return SQ_OK;
        SQ_TRY(end_head(log, class, limit, zeros));
    }
}

/* What would be late if so many segments were written first is written over before. */
static int keep_deadlines(sq_log *log, uint64_t segments, const uint8_t *zeros)
{
    for (;;) {
        /* Each turn, since what moves meanwhile is time that goes on. */
        for (uint32_t class = 0; class < log->class_count; class++)
            while (log->dues.rest[class] < sq_deadline_latest(log, segments))
                SQ_TRY(end_head(log, class, log->dues.rest[class], zeros));
        if (!sq_deadline_presses(log, segments))
            return SQ_OK;
        uint32_t busy = sq_due_first(log, 0), unused = sq_due_first(log, 1), none = log->segment_count;
        uint64_t due = busy == none ? SQ_NEVER : log->dues.due[busy];
        if (unused != none && log->dues.due[unused] <= due)
            SQ_TRY(sq_segment_erase(log, unused, zeros));
        else if (busy == none)
            return SQ_OK;
        else if (log->segments[busy].state == SQ_SEGMENT_OPEN)
            SQ_TRY(end_head(log, log->segments[busy].class, due, zeros));
        else
            SQ_TRY(move_live(log, busy));
    }
}

/* ---- reading back --------------------------------------------------------------------------------- */

/* What a segment is read against. */
struct reading {
    uint8_t *summary;  /* of the record that it comes to */
    uint32_t entry;    /* that comes next */
    uint32_t left;     /* data blocks */
    uint64_t new_from; /* mba: from there on all was written after the record before */
    uint64_t before;   /* its sequence */
};

/* What a lost write has left is a record, too: an older one. */
static int begin_record(const sq_log *log, struct reading *reading, uint64_t mba, const uint8_t *block)
{
    uint8_t *summary = reading->summary;
    memcpy(summary, block, log->block_bytes);
    sq_put_u32(summary + SQ_AT_CHECKSUM, 0);
    if (~log->kernels->crc(0xFFFFFFFF, summary, log->block_bytes) != sq_get_u32(block + SQ_AT_CHECKSUM))
        return SQ_E_CORRUPT;
    reading->entry = 0;
    reading->left = sq_get_u16(summary + SQ_AT_BLOCKS);
    int is_old = sq_get_u64(summary + SQ_AT_SEQUENCE) <= reading->before;
    int is_here = sq_get_u32(summary + SQ_AT_MBA) == mba && sq_get_u64(summary + SQ_AT_DRIVE) == log->drive;
    return is_here && !(is_old && mba + reading->left >= reading->new_from) ? SQ_OK : SQ_E_CORRUPT;
}

static int check_data(const sq_log *log, struct reading *reading, const uint8_t *block)
{
    struct sq_entry_fields entry;
    do
        entry = sq_summary_entry(log, reading->summary, reading->entry++);
    while (!sq_kind_has_block(entry.kind));
    reading->left--;
    uint32_t state = sq_tag_crc(log, entry.volume, entry.lba);
    return ~log->kernels->crc(state, block, log->block_bytes) == entry.value ? SQ_OK : SQ_E_CORRUPT;
}

/* Is the block part of a record, as its summary has it, or zero? Nothing else can have been written. */
static int check_block(const sq_log *log, struct reading *reading, uint64_t mba, const uint8_t *block)
{
    if (reading->left > 0)
        return check_data(log, reading, block);
    if (memcmp(block + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 8) == 0)
        return begin_record(log, reading, mba, block);
    return sq_is_zero(block, log->block_bytes) ? SQ_OK : SQ_E_CORRUPT;
}

/* Where the blocks can be read: in memory as they lie there. */
static int fetch(sq_log *log, uint64_t mba, uint64_t count, uint8_t *buffer, const uint8_t **blocks_out)
{
    *blocks_out = log->payload != NULL ? sq_payload_at(log, mba) : buffer;
    if (log->payload != NULL)
        return SQ_OK;
    log->durable.error_mba = mba;
    return sq_medium_fetch(log->medium, mba, count, buffer, &log->durable.os_error);
}

static int read_segment(sq_log *log, uint32_t segment, uint8_t *buffer, struct reading *reading,
                        struct sq_fault *fault_out)
{
    uint64_t mba = (uint64_t)segment * log->segment_blocks, end = mba + log->segment_blocks;
    const uint8_t *blocks;
    reading->left = 0;
    sq_medium_forget(log->medium, mba, log->segment_blocks);
    while (mba < end) {
        uint64_t count = end - mba < SQ_ERASE_BLOCKS ? end - mba : SQ_ERASE_BLOCKS;
        SQ_TRY(fetch(log, mba, count, buffer, &blocks));
        for (uint64_t i = 0; i < count; i++, mba++)
            if (check_block(log, reading, mba, blocks + (i << log->block_shift)) != SQ_OK) {
                if (fault_out != NULL)
                    fault_out->mba = mba;
                return SQ_E_CORRUPT;
            }
    }
    return SQ_OK;
}

/* before: sequence of the last record that was there before the purge. */
static int read_back(sq_log *log, const uint32_t *from, uint64_t before, uint8_t *buffer,
                     struct sq_purge *report, struct sq_fault *fault_out)
{
    struct reading reading = {.summary = sq_buffer(log->block_bytes), .before = before};
    int status = reading.summary == NULL ? SQ_E_NO_MEMORY : SQ_OK;
    for (uint32_t segment = 0; status == SQ_OK && segment < log->segment_count; segment++)
        if (from[segment] < log->segment_blocks) {
            reading.new_from = (uint64_t)segment * log->segment_blocks + from[segment];
            status = read_segment(log, segment, buffer, &reading, fault_out);
            report->verified_blocks += log->segment_blocks - from[segment];
        }
    free(reading.summary);
    return status;
}

/* In memory each head has a record open, whose summary is not in its place yet. */
static int close_records(sq_log *log)
{
    struct sq_head *present = log->head;
    int status = SQ_OK;
    if (log->durable.on)
        return sync(log);
    for (uint32_t class = 0; status == SQ_OK && class < log->class_count; class++) {
        log->head = &log->heads[class];
        status = sq_record_close(log);
    }
    log->head = present;
    return status;
}

/* ---- requests ------------------------------------------------------------------------------------- */

static int write_over_once(sq_log *log, const struct sq_purge_scope *scope, const uint32_t *from,
                           const uint8_t *zeros)
{
    mark(log, scope, from);
    uint64_t limit = log->stats.position;
    SQ_TRY(empty_all(log, limit, zeros));
    SQ_TRY(sync(log));
    return erase_free(log, limit, zeros);
}

/* What is left is read back as well as what was there before. */
static uint64_t find_more(const sq_log *log, const struct sq_purge_scope *scope, uint32_t *from,
                          uint32_t *more_out)
{
    uint64_t count = find_residue(log, scope, more_out);
    for (uint32_t segment = 0; segment < log->segment_count; segment++)
        from[segment] = more_out[segment] < from[segment] ? more_out[segment] : from[segment];
    return count;
}

/* from, before: for read_back; more: room for as much. */
static int write_over(sq_log *log, const struct sq_purge_scope *scope, uint32_t *from, uint32_t *more,
                      uint64_t *before, const uint8_t *zeros, struct sq_purge *report)
{
    struct sq_stats counted = log->stats;
    SQ_TRY(sq_head_refill(log));
    SQ_TRY(close_records(log));
    uint64_t segments = find_residue(log, scope, from);
    if (segments > 0)
        SQ_TRY(keep_deadlines(log, segments, zeros));
    SQ_TRY(close_records(log));
    report->segments = find_residue(log, scope, from);
    *before = log->sequence;
    SQ_TRY(write_over_once(log, scope, from, zeros));
    /* What was written meanwhile may have been moved once more, and left copies behind. */
    for (uint32_t turn = 0; turn < TURNS_MOST && find_more(log, scope, from, more) != 0; turn++)
        SQ_TRY(write_over_once(log, scope, more, zeros));
    SQ_TRY(mend_torn(log, from, zeros));
    SQ_TRY(close_records(log));
    report->relocated_blocks = log->stats.relocated_blocks - counted.relocated_blocks;
    report->overwritten_blocks = log->stats.overwritten_blocks - counted.overwritten_blocks;
    return SQ_OK;
}

static int purge(sq_log *log, const struct sq_purge_scope *scope, struct sq_purge *report,
                 struct sq_fault *fault_out)
{
    uint8_t *buffer = sq_buffer((size_t)SQ_ERASE_BLOCKS << log->block_shift);
    uint32_t *from = calloc(2 * (size_t)log->segment_count, sizeof *from);
    uint64_t before = 0;
    int status = buffer == NULL || from == NULL ? SQ_E_NO_MEMORY : sq_due_begin_use(log);
    if (status == SQ_OK)
        status = write_over(log, scope, from, from + log->segment_count, &before, buffer, report);
    if (status == SQ_OK && log->tags == NULL)
        status = read_back(log, from, before, buffer, report, fault_out);
    if (buffer != NULL)
        sq_wipe(buffer, (size_t)SQ_ERASE_BLOCKS << log->block_shift);
    free(buffer);
    free(from);
    sq_due_end_use(log);
    return status;
}

int sq_deadline_keep(sq_log *log, uint64_t segments)
{
    if (log->dues.due == NULL || !sq_deadline_presses(log, segments))
        return SQ_OK;
    uint8_t *zeros = sq_buffer((size_t)SQ_ERASE_BLOCKS << log->block_shift);
    if (zeros == NULL)
        return SQ_E_NO_MEMORY;
    memset(zeros, 0, (size_t)SQ_ERASE_BLOCKS << log->block_shift);
    int status = close_records(log);
    if (status == SQ_OK)
        status = keep_deadlines(log, segments, zeros);
    free(zeros);
    return status;
}

int sq_log_purge(sq_log *log, int scope, uint64_t scope_id, uint64_t died_before, struct sq_purge *purge_out,
                 struct sq_fault *fault_out)
{
    struct sq_purge_scope wanted = {.kind = scope, .id = scope_id, .died_before = died_before};
    if (scope != SQ_SCOPE_ALL && scope != SQ_SCOPE_TENANT && scope != SQ_SCOPE_VOLUME)
        return SQ_E_INVALID;
    *purge_out = (struct sq_purge){0};
    SQ_TRY(sq_lock_alone(log));
    int status = sq_request_begin(log, 0, 1);
    sq_request_end(log, status);
    if (status == SQ_OK)
        status = purge(log, &wanted, purge_out, fault_out);
    purge_out->position = log->stats.position;
    sq_fault_io(log, status, fault_out);
    sq_unlock_alone(log);
    return status;
}
