/* scan.c: finding checkpoints and records on a medium.
 *
 * There is no superblock: the first block of every segment that was ever written is a summary, and the one
 * with the highest sequence is near the end of the log. Any of them may be damaged, torn, or left over from
 * long ago; what cannot be read counts as not there.
 */
#include <stdlib.h>

#include "bytes.h"
#include "record.h"
#include "recover.h"

#define HINT_SEGMENTS 1024u

int sq_scan_init(struct sq_scan *scan, sq_log *log, struct sq_recovery *report)
{
    *scan = (struct sq_scan){.log = log, .report = report};
    scan->record = sq_buffer(((size_t)log->record_blocks + 1) << log->block_shift);
    scan->headers = calloc(log->segment_count, sizeof *scan->headers);
    return scan->record == NULL || scan->headers == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

void sq_scan_free(struct sq_scan *scan)
{
    if (scan->record != NULL)
        sq_wipe(scan->record, ((size_t)scan->log->record_blocks + 1) << scan->log->block_shift);
    free(scan->record);
    free(scan->headers);
    free(scan->candidates);
    free(scan->links);
    free(scan->images);
}

int sq_scan_fetch(struct sq_scan *scan, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    scan->report->read_blocks += count;
    return sq_medium_fetch(scan->log->medium, mba, count, data_out, &scan->log->durable.os_error);
}

/* What a summary that is not this drive's may be: of another drive, or of a later format. */
static void look_closer(struct sq_scan *scan)
{
    if (memcmp(scan->record + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 7) != 0)
        return;
    uint32_t version = sq_get_u16(scan->record + SQ_AT_VERSION);
    if (version > SQ_RECORD_VERSION && version > scan->found_version)
        scan->found_version = version;
    if (sq_get_u64(scan->record + SQ_AT_DRIVE) != scan->log->drive)
        scan->found_drive = sq_get_u64(scan->record + SQ_AT_DRIVE);
}

/* Are the data blocks of the record as its entries say? */
static int blocks_are_right(const struct sq_scan *scan, const struct sq_summary *summary)
{
    const sq_log *log = scan->log;
    const uint8_t *block = scan->record + log->block_bytes;
    for (uint32_t i = 0; i < summary->entries; i++) {
        struct sq_entry_fields entry = sq_summary_entry(scan->record, i);
        if (!sq_kind_has_block(entry.kind))
            continue;
        uint32_t state = sq_tag_crc(log, entry.volume, entry.lba);
        if (~log->kernels->crc(state, block, log->block_bytes) != entry.value)
            return 0;
        block += log->block_bytes;
    }
    return 1;
}

/* Blocks from mba on into scan->record: those that were read before, or else, if whole is set, as many as a
 * record can have, before it is known how many it has: records that follow each other are read in one go. */
static int fetch_record(struct sq_scan *scan, uint64_t mba, int whole)
{
    const sq_log *log = scan->log;
    uint64_t behind = mba - scan->record_mba;
    uint32_t left = log->segment_blocks - (uint32_t)(mba % log->segment_blocks);
    if (mba >= scan->record_mba && behind < scan->record_count) {
        scan->record_count -= (uint32_t)behind;
        if (behind != 0)
            memmove(scan->record, scan->record + (behind << log->block_shift),
                    (size_t)scan->record_count << log->block_shift);
        scan->record_mba = mba;
        return SQ_OK;
    }
    scan->record_mba = mba;
    scan->record_count = !whole ? 1 : left < log->record_blocks + 1 ? left : log->record_blocks + 1;
    int status = sq_scan_fetch(scan, mba, scan->record_count, scan->record);
    if (status != SQ_OK && scan->record_count > 1) {
        scan->record_count = 1; /* a bad block may lie in the record, or behind it */
        status = sq_scan_fetch(scan, mba, 1, scan->record);
    }
    if (status != SQ_OK)
        scan->record_count = 0;
    return status;
}

/* The data blocks of the record whose summary is in scan->record. */
static int fetch_blocks(struct sq_scan *scan, const struct sq_summary *summary)
{
    uint32_t have = scan->record_count, needed = 1 + summary->blocks;
    if (have >= needed)
        return SQ_OK;
    scan->record_count = 1;
    SQ_TRY(sq_scan_fetch(scan, summary->mba + have, needed - have,
                         scan->record + ((size_t)have << scan->log->block_shift)));
    scan->record_count = needed;
    return SQ_OK;
}

static void take_marks(struct sq_scan *scan, const struct sq_summary *summary)
{
    if (summary->flushed > scan->flushed)
        scan->flushed = summary->flushed;
    if (summary->sequence > scan->highest)
        scan->highest = summary->sequence;
    if (summary->window > scan->window)
        scan->window = summary->window;
}

int sq_scan_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out, uint8_t *fault_out)
{
    int status = fetch_record(scan, mba, fault_out != NULL);
    if (status != SQ_OK) {
        scan->unreadable = scan->log->durable.os_error;
        scan->unreadable_mba = mba;
        return SQ_E_IO;
    }
    if (!sq_summary_parse(scan->log, scan->record, mba, out))
        return SQ_E_NOT_FOUND;
    take_marks(scan, out);
    if (fault_out == NULL)
        return SQ_OK;
    status = fetch_blocks(scan, out);
    *fault_out = status != SQ_OK                 ? SQ_LINK_UNREADABLE
                 : blocks_are_right(scan, out) ? SQ_LINK_WHOLE
                                               : SQ_LINK_TORN;
    return SQ_OK;
}

int sq_scan_unreadable(const struct sq_scan *scan)
{
    scan->log->durable.os_error = scan->unreadable;
    scan->log->durable.error_mba = scan->unreadable_mba;
    return SQ_E_IO;
}

/* ---- headers and candidates -------------------------------------------------------------------- */

static int compare_headers(const void *left, const void *right)
{
    uint64_t a = ((const struct sq_header *)left)->sequence, b = ((const struct sq_header *)right)->sequence;
    return (a > b) - (a < b);
}

static int compare_candidates(const void *left, const void *right)
{
    uint64_t a = ((const struct sq_candidate *)left)->sequence;
    uint64_t b = ((const struct sq_candidate *)right)->sequence;
    return (a < b) - (a > b);
}

/* The array was allocated for all that can come. */
static void add_candidate(struct sq_scan *scan, uint64_t sequence, uint64_t mba)
{
    if (sequence != 0 && mba < scan->log->block_count)
        scan->candidates[scan->candidate_count++] =
            (struct sq_candidate){.sequence = sequence, .mba = (uint32_t)mba};
}

/* The records of the newest segment may name checkpoints that no header does yet. */
static void walk_newest(struct sq_scan *scan)
{
    const sq_log *log = scan->log;
    uint64_t first = (uint64_t)scan->headers[scan->header_count - 1].segment * log->segment_blocks;
    struct sq_summary summary;
    for (uint64_t mba = first; mba < first + log->segment_blocks; mba = summary.mba + 1 + summary.blocks) {
        if (sq_scan_summary(scan, mba, &summary, NULL) != SQ_OK)
            return;
        add_candidate(scan, summary.checkpoint, summary.checkpoint_mba);
        for (uint32_t i = 0; i < summary.entries; i++) {
            struct sq_entry_fields entry = sq_summary_entry(scan->record, i);
            /* What came before a checkpoint was safe before it began. */
            if (entry.kind == SQ_ENTRY_CHECKPOINT_END && entry.lba <= summary.sequence &&
                summary.flushed + 1 >= entry.lba) {
                add_candidate(scan, entry.lba, entry.volume);
                break; /* a record ends one at most */
            }
        }
    }
}

/* Headers lie far apart: the medium can look for many of them at once. */
static void hint_headers(const struct sq_scan *scan, uint32_t first)
{
    const sq_log *log = scan->log;
    for (uint32_t i = first; i < log->segment_count && i - first < HINT_SEGMENTS; i++)
        sq_medium_hint(log->medium, (uint64_t)i * log->segment_blocks, 1);
}

int sq_scan_headers(struct sq_scan *scan)
{
    const sq_log *log = scan->log;
    struct sq_summary summary;
    uint64_t most = log->segment_count + 2 * (uint64_t)log->segment_blocks;
    scan->candidates = calloc(most, sizeof *scan->candidates);
    if (scan->candidates == NULL)
        return SQ_E_NO_MEMORY;
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        if (segment % HINT_SEGMENTS == 0)
            hint_headers(scan, segment);
        if (sq_scan_summary(scan, (uint64_t)segment * log->segment_blocks, &summary, NULL) != SQ_OK) {
            look_closer(scan);
            continue;
        }
        scan->headers[scan->header_count++] =
            (struct sq_header){.sequence = summary.sequence, .segment = segment};
        add_candidate(scan, summary.checkpoint, summary.checkpoint_mba);
    }
    if (scan->header_count == 0)
        return SQ_OK;
    qsort(scan->headers, scan->header_count, sizeof *scan->headers, compare_headers);
    walk_newest(scan);
    qsort(scan->candidates, scan->candidate_count, sizeof *scan->candidates, compare_candidates);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < scan->candidate_count; i++)
        if (kept == 0 || scan->candidates[kept - 1].sequence != scan->candidates[i].sequence)
            scan->candidates[kept++] = scan->candidates[i];
    scan->candidate_count = kept;
    return SQ_OK;
}
