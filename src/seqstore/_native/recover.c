/* recover.c: opening a log: which checkpoint, which records. docs/reference/on-media-format.md, "Recovery".
 *
 * Until the state is complete nothing on the medium changes, and a log that is opened for reading never
 * changes it.
 */
#include "recover.h"

#include <stdlib.h>

/* What the medium is, if it is no drive with a log that can be recovered. */
static int no_log(const struct sq_scan *scan, struct sq_fault *fault_out)
{
    if (scan->found_version > 0 && scan->header_count == 0) {
        fault_out->count = scan->found_version;
        return SQ_E_VERSION;
    }
    fault_out->mba = scan->header_count == 0 ? 0 : (uint64_t)scan->headers[scan->header_count - 1].segment *
                                                       scan->log->segment_blocks;
    fault_out->volume = scan->header_count == 0 ? scan->found_drive : 0;
    return SQ_E_FORMAT;
}

/* Loads the newest checkpoint that can be read. */
static int load_checkpoint(struct sq_scan *scan, struct sq_candidate *taken_out, struct sq_fault *fault_out)
{
    int status = SQ_E_NOT_FOUND;
    uint8_t *stream = NULL;
    uint64_t stream_bytes = 0;
    for (uint32_t i = 0; i < scan->candidate_count && status == SQ_E_NOT_FOUND; i++) {
        *taken_out = scan->candidates[i];
        status = sq_checkpoint_read(scan, taken_out, &stream, &stream_bytes);
    }
    if (status == SQ_E_NOT_FOUND && scan->unreadable != 0)
        return sq_scan_unreadable(scan);
    if (status == SQ_E_NOT_FOUND)
        return no_log(scan, fault_out);
    if (status != SQ_OK)
        return status;
    fault_out->mba = taken_out->mba;
    sq_ahead_start(scan); /* beside what follows, which reads nothing */
    status = sq_checkpoint_load(scan->log, stream, stream_bytes);
    free(stream);
    return status;
}

/* Everything between the checkpoint and the end of the chain happens again. */
static int roll_forward(struct sq_scan *scan, struct sq_fault *fault_out)
{
    for (uint64_t i = 0; i < scan->link_count; i++) {
        const struct sq_link *link = &scan->links[i];
        fault_out->mba = link->summary.mba;
        SQ_TRY(sq_replay(scan->log, link));
    }
    scan->report->records = scan->link_count;
    return SQ_OK;
}

/* The medium is what the state says, and the log's counters begin here. */
static void settle(struct sq_scan *scan, const struct sq_candidate *taken)
{
    sq_log *log = scan->log;
    struct sq_durability *durable = &log->durable;
    /* The reserve may be larger than it was when all this was written. */
    if (log->stats.live_blocks > log->stats.usable_blocks)
        log->stats.usable_blocks = log->stats.live_blocks;
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        const struct sq_segment *here = &log->segments[segment];
        uint32_t written = here->state == SQ_SEGMENT_SEALED ? log->segment_blocks
                           : here->state == SQ_SEGMENT_OPEN ? log->heads[here->class].open_blocks
                                                            : 0;
        sq_medium_place(log->medium, segment, written);
    }
    durable->checkpoint = taken->sequence;
    durable->checkpoint_mba = taken->mba;
    durable->checkpoint_position = durable->opened_position;
    durable->written = scan->last_sequence;
    int all_flushed = scan->clean || scan->flushed > scan->last_sequence;
    durable->flushed = all_flushed ? scan->last_sequence : scan->flushed;
    durable->opened_position = log->stats.position;
    log->stats.trimmed_blocks = 0;
    /* Blocks may have been written over by what was lost: none is handed out unchecked. */
    struct sq_recovery *report = scan->report;
    log->verify |= report->lost_records > 0;
    report->clean = scan->clean && report->lost_records == 0;
    report->checkpoint_sequence = taken->sequence;
    report->last_sequence = scan->last_sequence;
    report->position = log->stats.position;
}

static int check_loss(struct sq_scan *scan, const struct sq_log_options *options, struct sq_fault *fault_out)
{
    uint64_t flushed = scan->flushed > options->expect_sequence ? scan->flushed : options->expect_sequence;
    if (flushed <= scan->last_sequence)
        return SQ_OK;
    scan->report->lost_records = flushed - scan->last_sequence;
    scan->highest = flushed > scan->highest ? flushed : scan->highest;
    fault_out->lba = scan->last_sequence;
    fault_out->count = flushed;
    return options->accept_loss ? SQ_OK : SQ_E_LOST;
}

/* Is the medium the one that was used last, and not a copy that went its own way? */
static int check_opening(struct sq_scan *scan, const struct sq_log_options *options,
                         struct sq_fault *fault_out)
{
    uint64_t found = scan->log->durable.opening;
    int expects = 0;
    scan->report->opening = found;
    for (uint32_t i = 0; i < sizeof options->expect_openings / sizeof options->expect_openings[0]; i++) {
        expects = expects || options->expect_openings[i] != 0;
        if (options->expect_openings[i] == found)
            return SQ_OK;
    }
    fault_out->count = found;
    return expects && !options->accept_loss ? SQ_E_STALE : SQ_OK;
}

static int recover(struct sq_scan *scan, const struct sq_log_options *options, struct sq_fault *fault_out)
{
    sq_log *log = scan->log;
    struct sq_candidate taken;
    SQ_TRY(sq_scan_headers(scan));
    SQ_TRY(load_checkpoint(scan, &taken, fault_out));
    log->durable.opened_position = log->stats.position;
    sq_ahead_finish(scan);
    SQ_TRY(sq_chain_list(scan, &taken));
    SQ_TRY(check_loss(scan, options, fault_out));
    SQ_TRY(roll_forward(scan, fault_out));
    SQ_TRY(check_opening(scan, options, fault_out));
    settle(scan, &taken);
    return SQ_OK;
}

/* From here on records gather, and the medium changes. */
static int begin(struct sq_scan *scan)
{
    sq_log *log = scan->log;
    log->durable.on = 1;
    if (!scan->report->clean)
        SQ_TRY(sq_recover_erased(scan));
    if (log->durable.read_only)
        return SQ_OK;
    SQ_TRY(sq_log_gather(log));
    log->durable.clean = scan->report->clean != 0;
    SQ_TRY(sq_recover_clear(scan));
    log->durable.opened_position = log->stats.position;
    log->stats.summary_blocks = 0;
    log->stats.checkpoint_blocks = 0;
    return SQ_OK;
}

int sq_log_open(sq_medium *medium, const struct sq_log_options *options, sq_log **log_out,
                struct sq_recovery *recovery_out, struct sq_fault *fault_out)
{
    struct sq_recovery report = {0};
    struct sq_fault fault = {0};
    struct sq_scan scan;
    sq_log *log;
    if (medium->ops == NULL)
        return SQ_E_INVALID;
    SQ_TRY(sq_log_make(medium, options, 1, &log));
    log->durable.on = 0;
    int status = sq_scan_init(&scan, log, &report);
    scan.check_flushed = options->check_flushed != 0;
    scan.accept_loss = options->accept_loss != 0;
    if (status == SQ_OK)
        status = recover(&scan, options, &fault);
    if (status == SQ_OK)
        status = begin(&scan);
    sq_fault_io(log, status, &fault);
    sq_scan_free(&scan);
    if (fault_out != NULL)
        *fault_out = fault;
    if (recovery_out != NULL)
        *recovery_out = report;
    if (status != SQ_OK) {
        sq_log_destroy(log);
        return status;
    }
    *log_out = log;
    return SQ_OK;
}
