/* scan.c: finding checkpoints and records on a medium.
 *
 * There is no superblock: the first block of every segment that was ever written is a summary, and the one
 * with the highest sequence is near the end of the log. Any of them may be damaged, torn, or left over from
 * long ago; what cannot be read counts as not there.
 */
#include <stdlib.h>

#include "bytes.h"
#include "medium.h"
#include "record.h"
#include "recover.h"

/* Headers that a thread reads at once, and the medium is told of first. */
#define HINT_SEGMENTS 512u

int sq_scan_init(struct sq_scan *scan, sq_log *log, struct sq_recovery *report)
{
    *scan = (struct sq_scan){.log = log, .report = report};
    scan->headers = calloc(log->segment_count, sizeof *scan->headers);
    SQ_TRY(sq_reader_init(&scan->reader, log, log->record_blocks + 1));
    scan->record = scan->reader.memory;
    scan->places = calloc(SQ_CLASSES_MAX, sizeof *scan->places);
    return scan->headers == NULL || scan->places == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

void sq_scan_free(struct sq_scan *scan)
{
    sq_ahead_free(scan);
    scan->report->read_blocks += scan->reader.read_blocks;
    sq_reader_free(&scan->reader);
    free(scan->headers);
    free(scan->places);
    free(scan->candidates);
    free(scan->links);
}

/* ---- what any summary says about the whole log ------------------------------------------------- */

static void take_marks(struct sq_scan *scan, const struct sq_summary *summary)
{
    if (summary->flushed > scan->flushed)
        scan->flushed = summary->flushed;
    if (summary->sequence > scan->highest)
        scan->highest = summary->sequence;
    if (summary->window > scan->window)
        scan->window = summary->window;
}

/* What a summary that is not this drive's may be: of another drive, or of a later format. */
static void look_closer(struct sq_scan *scan, uint64_t mba)
{
    const uint8_t *block = scan->reader.record;
    if (memcmp(block + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 7) != 0)
        return;
    uint32_t version = sq_get_u16(block + SQ_AT_VERSION);
    uint32_t own = scan->log->sealing.on ? SQ_SEALED_VERSION : SQ_RECORD_VERSION;
    if (version != own && version > scan->found_version)
        scan->found_version = version;
    if (sq_get_u64(block + SQ_AT_DRIVE) != scan->log->drive) {
        scan->found_drive = sq_get_u64(block + SQ_AT_DRIVE);
        scan->found_mba = mba;
    }
}

static int read_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out, uint8_t *fault_out)
{
    int status = sq_reader_summary(&scan->reader, mba, out, fault_out);
    if (status == SQ_OK)
        take_marks(scan, out);
    if (status == SQ_E_IO) {
        scan->unreadable = scan->reader.os_error;
        scan->unreadable_mba = mba;
    }
    return status;
}

int sq_scan_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out, uint8_t *fault_out)
{
    scan->found = NULL;
    if (scan->kept != NULL && scan->kept->summary.mba == mba) {
        scan->found = scan->kept;
        scan->kept = scan->kept->next;
        *out = scan->found->summary;
        if (fault_out != NULL)
            *fault_out = scan->found->fault;
        take_marks(scan, out);
        return SQ_OK;
    }
    int status = read_summary(scan, mba, out, fault_out);
    scan->log->durable.os_error = scan->reader.os_error;
    scan->log->durable.error_mba = mba;
    return status;
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
    if (SQ_PLANTED(older_checkpoint_wins)) return (a > b) - (a < b);
    return (a < b) - (a > b);
}

/* The array was allocated for all that can come. */
static void add_candidate(struct sq_scan *scan, uint64_t sequence, uint64_t mba)
{
    if (sequence != 0 && mba < scan->log->block_count)
        scan->candidates[scan->candidate_count++] =
            (struct sq_candidate){.sequence = sequence, .mba = (uint32_t)mba};
}

/* The records of a head's newest segment may name checkpoints that no header does yet. */
static void walk_segment(struct sq_scan *scan, uint32_t segment)
{
    const sq_log *log = scan->log;
    uint64_t first = (uint64_t)segment * log->segment_blocks;
    struct sq_summary summary;
    for (uint64_t mba = first; mba < first + log->segment_blocks; mba = summary.mba + 1 + summary.blocks) {
        if (sq_scan_summary(scan, mba, &summary, NULL) != SQ_OK)
            return;
        add_candidate(scan, summary.checkpoint, summary.checkpoint_mba);
        for (uint32_t i = 0; i < summary.entries; i++) {
            struct sq_entry_fields entry = sq_summary_entry(scan->log, scan->reader.record, i);
            /* What came before a checkpoint was safe before it began. */
            if (entry.kind == SQ_ENTRY_CHECKPOINT_END && entry.lba <= summary.sequence &&
                summary.flushed + 1 >= entry.lba) {
                add_candidate(scan, entry.lba, entry.volume);
                break; /* a record ends one at most */
            }
        }
    }
}

static void walk_newest(struct sq_scan *scan)
{
    uint8_t seen[SQ_CLASSES_MAX] = {0};
    for (uint32_t i = scan->header_count; i-- > 0;) {
        uint32_t class = scan->headers[i].class;
        if (scan->class_count <= class)
            scan->class_count = class + 1;
        if (!seen[class])
            walk_segment(scan, scan->headers[i].segment);
        seen[class] = 1;
    }
}

/* Headers lie far apart: the medium can look for many of them at once. */
static void hint_headers(const sq_log *log, uint32_t first, uint32_t end)
{
    for (uint32_t segment = first; segment < end; segment++)
        sq_medium_hint(log->medium, (uint64_t)segment * log->segment_blocks, 1);
}

/* What several threads have to know who read the headers of one log. */
struct headers {
    struct sq_scan *scan;
    struct sq_candidate *candidates; /* by segment, as scan->headers; 0 as a sequence: none */
    pthread_mutex_t mutex;           /* of the scan's marks */
    uint32_t next;                   /* segment that no thread has taken yet; atomic */
    int status;
};

/* What a thread met is as if the scan had met it, segment after segment. */
static void merge(struct sq_scan *scan, const struct sq_scan *part)
{
    take_marks(scan, &(struct sq_summary){
                         .flushed = part->flushed, .sequence = part->highest, .window = part->window});
    if (part->unreadable != 0 && (scan->unreadable == 0 || part->unreadable_mba > scan->unreadable_mba)) {
        scan->unreadable = part->unreadable;
        scan->unreadable_mba = part->unreadable_mba;
    }
    if (part->found_mba >= scan->found_mba && part->found_drive != 0) {
        scan->found_drive = part->found_drive;
        scan->found_mba = part->found_mba;
    }
    if (part->found_version > scan->found_version)
        scan->found_version = part->found_version;
    scan->reader.read_blocks += part->reader.read_blocks;
}

static void read_header(struct sq_scan *part, const struct headers *headers, uint32_t segment)
{
    struct sq_summary summary;
    uint64_t mba = (uint64_t)segment * part->log->segment_blocks;
    int status = read_summary(part, mba, &summary, NULL);
    if (status == SQ_E_NOT_FOUND)
        look_closer(part, mba);
    if (status != SQ_OK)
        return;
    headers->scan->headers[segment] =
        (struct sq_header){.sequence = summary.sequence, .segment = segment, .class = summary.class};
    headers->candidates[segment] =
        (struct sq_candidate){.sequence = summary.checkpoint, .mba = summary.checkpoint_mba};
}

static void *read_headers(void *context)
{
    struct headers *headers = context;
    sq_log *log = headers->scan->log;
    struct sq_scan part = {.log = log};
    int status = sq_reader_init(&part.reader, log, 1);
    while (status == SQ_OK) {
        uint32_t first = __atomic_fetch_add(&headers->next, HINT_SEGMENTS, __ATOMIC_RELAXED);
        if (first >= log->segment_count)
            break;
        uint32_t left = log->segment_count - first;
        uint32_t end = first + (left < HINT_SEGMENTS ? left : HINT_SEGMENTS);
        hint_headers(log, first, end);
        for (uint32_t segment = first; segment < end; segment++)
            read_header(&part, headers, segment);
    }
    pthread_mutex_lock(&headers->mutex);
    merge(headers->scan, &part);
    if (status != SQ_OK)
        headers->status = status;
    pthread_mutex_unlock(&headers->mutex);
    sq_reader_free(&part.reader);
    return NULL;
}

/* The headers by segment, and the checkpoints that they name. */
static int gather_headers(struct sq_scan *scan, struct sq_candidate *candidates)
{
    struct headers headers = {.scan = scan, .candidates = candidates};
    struct sq_crew crew = {0};
    pthread_mutex_init(&headers.mutex, NULL);
    if (sq_medium_is_parallel(scan->log->medium) && scan->log->segment_count > HINT_SEGMENTS)
        sq_crew_start(&crew, read_headers, &headers);
    read_headers(&headers);
    sq_crew_join(&crew);
    pthread_mutex_destroy(&headers.mutex);
    return headers.status;
}

int sq_scan_headers(struct sq_scan *scan)
{
    uint32_t segments = scan->log->segment_count;
    uint64_t most = segments + 2 * (uint64_t)SQ_CLASSES_MAX * scan->log->segment_blocks;
    scan->candidates = calloc(most, sizeof *scan->candidates);
    if (scan->candidates == NULL)
        return SQ_E_NO_MEMORY;
    SQ_TRY(gather_headers(scan, scan->candidates));
    for (uint32_t segment = 0; segment < segments; segment++) {
        if (scan->headers[segment].sequence == 0)
            continue;
        /* Neither list overtakes the segment. */
        scan->headers[scan->header_count++] = scan->headers[segment];
        add_candidate(scan, scan->candidates[segment].sequence, scan->candidates[segment].mba);
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

uint32_t sq_scan_header(const struct sq_scan *scan, uint64_t sequence)
{
    uint32_t low = 0, high = scan->header_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (scan->headers[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
