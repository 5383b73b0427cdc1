/* scan.c: finding checkpoints and records on a medium.
 *
 * There is no superblock: the first block of every segment that was ever written is a summary, and the one with
 * the highest sequence is near the end of the log. Any of them may be damaged, torn, or left over from long ago;
 * what cannot be read counts as not there.
 */
#include <stdlib.h>

#include "bytes.h"
#include "checkpoint.h"
#include "record.h"
#include "recover.h"

int sq_scan_init(struct sq_scan *scan, sq_log *log, struct sq_recovery *report)
{
    *scan = (struct sq_scan){.log = log, .report = report};
    scan->block = sq_buffer(log->block_bytes);
    scan->record = sq_buffer((size_t)log->record_entries << log->block_shift);
    scan->headers = calloc(log->segment_count, sizeof *scan->headers);
    return scan->block == NULL || scan->record == NULL || scan->headers == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

void sq_scan_free(struct sq_scan *scan)
{
    if (scan->record != NULL)
        sq_wipe(scan->record, (size_t)scan->log->record_entries << scan->log->block_shift);
    free(scan->block);
    free(scan->record);
    free(scan->headers);
    free(scan->candidates);
    free(scan->links);
}

int sq_scan_fetch(struct sq_scan *scan, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    scan->report->read_blocks += count;
    return sq_medium_fetch(scan->log->medium, mba, count, data_out, &scan->log->durable.os_error);
}

/* What a summary that is not this drive's may be: of another drive, or of a later format. */
static void look_closer(struct sq_scan *scan)
{
    if (memcmp(scan->block + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 7) != 0)
        return;
    uint32_t version = sq_get_u16(scan->block + SQ_AT_VERSION);
    if (version > SQ_RECORD_VERSION && version > scan->found_version)
        scan->found_version = version;
    if (sq_get_u64(scan->block + SQ_AT_DRIVE) != scan->log->drive)
        scan->found_drive = sq_get_u64(scan->block + SQ_AT_DRIVE);
}

int sq_scan_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out)
{
    int status = sq_scan_fetch(scan, mba, 1, scan->block);
    if (status != SQ_OK)
        return SQ_E_NOT_FOUND;
    if (!sq_summary_parse(scan->log, scan->block, mba, out))
        return SQ_E_NOT_FOUND;
    if (out->flushed > scan->flushed)
        scan->flushed = out->flushed;
    if (out->sequence > scan->highest)
        scan->highest = out->sequence;
    if (out->window > scan->window)
        scan->window = out->window;
    return SQ_OK;
}

/* ---- headers and candidates -------------------------------------------------------------------- */

static int compare_headers(const void *left, const void *right)
{
    uint64_t a = ((const struct sq_header *)left)->sequence, b = ((const struct sq_header *)right)->sequence;
    return (a > b) - (a < b);
}

static int compare_candidates(const void *left, const void *right)
{
    uint64_t a = ((const struct sq_candidate *)left)->sequence, b = ((const struct sq_candidate *)right)->sequence;
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
        if (sq_scan_summary(scan, mba, &summary) != SQ_OK)
            return;
        add_candidate(scan, summary.checkpoint, summary.checkpoint_mba);
        for (uint32_t i = 0; i < summary.entries; i++) {
            struct sq_entry_fields entry = sq_summary_entry(scan->block, i);
            /* What came before a checkpoint was safe before it began. */
            if (entry.kind == SQ_ENTRY_CHECKPOINT_END && entry.lba <= summary.sequence &&
                summary.flushed + 1 >= entry.lba) {
                add_candidate(scan, entry.lba, entry.volume);
                break; /* a record ends one at most */
            }
        }
    }
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
        if (sq_scan_summary(scan, (uint64_t)segment * log->segment_blocks, &summary) != SQ_OK) {
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

/* ---- the chain ------------------------------------------------------------------------------- */

/* Where the record of that sequence begins a segment; SQ_NO_ADDRESS if none does. */
static uint64_t find_header(const struct sq_scan *scan, uint64_t sequence)
{
    uint32_t low = 0, high = scan->header_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (scan->headers[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == scan->header_count || scan->headers[low].sequence != sequence)
        return SQ_NO_ADDRESS;
    return (uint64_t)scan->headers[low].segment * scan->log->segment_blocks;
}

int sq_scan_next(struct sq_scan *scan, struct sq_summary *summary)
{
    uint64_t mba = (uint64_t)summary->mba + 1 + summary->blocks;
    struct sq_summary found;
    if (mba % scan->log->segment_blocks == 0)
        mba = find_header(scan, summary->sequence + 1);
    if (mba == SQ_NO_ADDRESS || sq_scan_summary(scan, mba, &found) != SQ_OK ||
        found.sequence != summary->sequence + 1 || found.previous != summary->checksum)
        return SQ_E_NOT_FOUND;
    *summary = found;
    return SQ_OK;
}

/* Are the data blocks of the record, which are read into scan->record, as its entries say? */
static int blocks_are_right(struct sq_scan *scan, const struct sq_summary *summary)
{
    const sq_log *log = scan->log;
    if (summary->blocks == 0)
        return 1;
    if (sq_scan_fetch(scan, summary->mba + 1, summary->blocks, scan->record) != SQ_OK)
        return 0;
    const uint8_t *block = scan->record;
    for (uint32_t i = 0; i < summary->entries; i++) {
        struct sq_entry_fields entry = sq_summary_entry(scan->block, i);
        if (!sq_kind_has_block(entry.kind))
            continue;
        if (~log->kernels->crc(sq_tag_crc(log, entry.volume, entry.lba), block, log->block_bytes) != entry.value)
            return 0;
        block += log->block_bytes;
    }
    return 1;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

struct reading {
    uint8_t *stream;
    uint64_t stream_bytes; /* known with the first page */
    uint64_t room_bytes;
    uint64_t pages;
};

static int take_page(const sq_log *log, struct reading *reading, const uint8_t *page)
{
    if (reading->pages == 0) {
        reading->stream_bytes = sq_get_u64(page + SQ_CKP_AT_STREAM_BYTES);
        if (memcmp(page, SQ_CHECKPOINT_MAGIC, 8) != 0 || reading->stream_bytes < SQ_CKP_HEAD_BYTES ||
            reading->stream_bytes > sq_checkpoint_most_bytes(log))
            return SQ_E_NOT_FOUND;
        uint64_t pages = (reading->stream_bytes + log->block_bytes - 1) >> log->block_shift;
        reading->room_bytes = pages << log->block_shift;
        reading->stream = malloc(reading->room_bytes);
        if (reading->stream == NULL)
            return SQ_E_NO_MEMORY;
    }
    uint64_t at = reading->pages << log->block_shift;
    if (at + log->block_bytes > reading->room_bytes)
        return SQ_E_NOT_FOUND;
    memcpy(reading->stream + at, page, log->block_bytes);
    reading->pages++;
    return SQ_OK;
}

/* Takes the pages of a record; *done when it ends the checkpoint. */
static int take_record(struct sq_scan *scan, const struct sq_summary *summary, uint64_t first_sequence,
                       struct reading *reading, int *done)
{
    const uint8_t *block = scan->record;
    for (uint32_t i = 0; i < summary->entries && !*done; i++) {
        struct sq_entry_fields entry = sq_summary_entry(scan->block, i);
        if (entry.kind == SQ_ENTRY_CHECKPOINT && entry.lba == reading->pages) {
            SQ_TRY(take_page(scan->log, reading, block));
            block += scan->log->block_bytes;
        } else if (entry.kind == SQ_ENTRY_CHECKPOINT_END && entry.lba == first_sequence &&
                   entry.value == reading->pages) {
            *done = 1;
        } else {
            return SQ_E_NOT_FOUND;
        }
    }
    return SQ_OK;
}

int sq_scan_stream(struct sq_scan *scan, const struct sq_candidate *candidate, uint8_t **stream_out,
                   uint64_t *bytes_out)
{
    struct reading reading = {0};
    struct sq_summary summary;
    int done = 0, status = sq_scan_summary(scan, candidate->mba, &summary);
    if (status == SQ_OK && summary.sequence != candidate->sequence)
        status = SQ_E_NOT_FOUND;
    while (status == SQ_OK && !done) {
        status = blocks_are_right(scan, &summary) ? SQ_OK : SQ_E_NOT_FOUND;
        if (status == SQ_OK)
            status = take_record(scan, &summary, candidate->sequence, &reading, &done);
        if (status == SQ_OK && !done)
            status = sq_scan_next(scan, &summary);
    }
    if (status == SQ_OK && (reading.stream == NULL || reading.pages << scan->log->block_shift != reading.room_bytes))
        status = SQ_E_NOT_FOUND;
    if (status != SQ_OK) {
        free(reading.stream);
        return status;
    }
    *stream_out = reading.stream;
    *bytes_out = reading.stream_bytes;
    return SQ_OK;
}

/* ---- roll-forward: which records ----------------------------------------------------------------- */

static int add_link(struct sq_scan *scan, const struct sq_summary *summary)
{
    if (scan->link_count == scan->link_capacity) {
        uint64_t capacity = scan->link_capacity == 0 ? 64 : 2 * scan->link_capacity;
        struct sq_link *links = realloc(scan->links, capacity * sizeof *links);
        if (links == NULL)
            return SQ_E_NO_MEMORY;
        scan->links = links;
        scan->link_capacity = capacity;
    }
    scan->links[scan->link_count++] = (struct sq_link){
        .mba = summary->mba,
        .entries = summary->entries,
        .void_from = summary->entries,
        .open = summary->open,
        .opens = summary->entries > 0 && sq_summary_entry(scan->block, 0).kind == SQ_ENTRY_OPENED,
    };
    return SQ_OK;
}

/* The request that is unfinished at the end of the link never happened. */
static void make_void(struct sq_scan *scan, uint64_t at)
{
    while (scan->links[at].open > 0) {
        struct sq_link *link = &scan->links[at];
        uint32_t open = link->open < link->entries ? link->open : link->entries;
        link->void_from = link->entries - open;
        scan->report->void_entries += open;
        if (open < link->entries || at == 0)
            return;
        at--;
    }
}

static void find_void(struct sq_scan *scan)
{
    for (uint64_t at = 0; at < scan->link_count; at++)
        if (at + 1 == scan->link_count || scan->links[at + 1].opens)
            make_void(scan, at);
}

/* Cuts the chain where the first record that need not be safe is not whole. */
static void verify_tail(struct sq_scan *scan, uint64_t first_sequence)
{
    uint64_t at = scan->flushed < first_sequence || scan->check_flushed ? 0 : scan->flushed - first_sequence + 1;
    struct sq_summary summary;
    for (; at < scan->link_count; at++) {
        if (sq_scan_summary(scan, scan->links[at].mba, &summary) != SQ_OK || !blocks_are_right(scan, &summary))
            break;
        scan->report->verified_blocks += summary.blocks;
    }
    if (at < scan->link_count)
        scan->link_count = at;
}

static int note_end(struct sq_scan *scan, uint64_t first_sequence)
{
    struct sq_summary summary;
    if (scan->link_count == 0 ||
        sq_scan_summary(scan, scan->links[scan->link_count - 1].mba, &summary) != SQ_OK)
        return SQ_E_NOT_FOUND;
    scan->last_sequence = first_sequence + scan->link_count - 1;
    scan->last_checksum = summary.checksum;
    struct sq_entry_fields last = {0};
    if (summary.entries > 0)
        last = sq_summary_entry(scan->block, summary.entries - 1);
    scan->clean = last.kind == SQ_ENTRY_CHECKPOINT_END && last.flags == SQ_FLAG_CLEAN;
    return SQ_OK;
}

int sq_scan_chain(struct sq_scan *scan, const struct sq_candidate *candidate)
{
    struct sq_summary summary;
    SQ_TRY(sq_scan_summary(scan, candidate->mba, &summary));
    int status = SQ_OK;
    while (status == SQ_OK) {
        SQ_TRY(add_link(scan, &summary));
        status = sq_scan_next(scan, &summary);
    }
    if (status != SQ_E_NOT_FOUND)
        return status;
    verify_tail(scan, candidate->sequence);
    SQ_TRY(note_end(scan, candidate->sequence));
    find_void(scan);
    return SQ_OK;
}
