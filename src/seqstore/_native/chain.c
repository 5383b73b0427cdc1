/* chain.c: the records from a checkpoint on: how far they go, and what of them counts.
 *
 * Each record names the checksum of the one before, so that nothing left over from earlier can continue the
 * chain. Records that some summary says were flushed are taken by their summaries; of the others all is
 * read, once, and the first that is not whole ends the log. Links keep what replay needs, so that no
 * summary is read again.
 */
#include <stdlib.h>

#include "record.h"
#include "recover.h"

#define HINTS 8u /* segments that the medium is told of ahead of time */

/* ---- from record to record -------------------------------------------------------------------- */

/* Goes on to the record at mba, if it is the next. */
static int step_to(struct sq_scan *scan, uint64_t mba, struct sq_summary *summary, uint8_t *fault_out)
{
    struct sq_summary found;
    SQ_TRY(sq_scan_summary(scan, mba, &found, fault_out));
    if (SQ_PLANTED(revives_what_a_crash_took_back)) found.previous = summary->checksum;
    if (found.sequence != summary->sequence + 1 || found.previous != summary->checksum)
        return SQ_E_NOT_FOUND;
    *summary = found;
    return SQ_OK;
}

/* At the start of a segment. One that was left over from long ago may have the same number. */
static int step_over(struct sq_scan *scan, struct sq_summary *summary, uint8_t *fault_out)
{
    uint64_t sequence = summary->sequence + 1;
    int status = SQ_E_NOT_FOUND;
    for (uint32_t i = sq_scan_header(scan, sequence); status == SQ_E_NOT_FOUND && i < scan->header_count &&
                                                  scan->headers[i].sequence == sequence; i++)
        status = step_to(scan, (uint64_t)scan->headers[i].segment * scan->log->segment_blocks, summary,
                         fault_out);
    return status;
}

/* Where blocks have classes the log may go on where another head is. A place that cannot be read is the end
 * of nothing, unless the log goes on elsewhere. */
static int step_aside(struct sq_scan *scan, struct sq_summary *summary, uint8_t *fault_out)
{
    int failed = 0;
    uint32_t own = summary->class;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        if (class == own || scan->places[class] == 0)
            continue;
        int status = step_to(scan, scan->places[class], summary, fault_out);
        if (status != SQ_E_NOT_FOUND && status != SQ_E_IO)
            return status;
        failed = failed || status == SQ_E_IO;
    }
    return failed ? SQ_E_IO : SQ_E_NOT_FOUND;
}

int sq_chain_next(struct sq_scan *scan, struct sq_summary *summary, uint8_t *fault_out)
{
    const sq_log *log = scan->log;
    uint64_t mba = (uint64_t)summary->mba + 1 + summary->blocks;
    if (scan->class_count <= 1)
        return mba % log->segment_blocks != 0 ? step_to(scan, mba, summary, fault_out)
                                              : step_over(scan, summary, fault_out);
    int here = SQ_E_NOT_FOUND;
    if (mba % log->segment_blocks != 0)
        here = step_to(scan, mba, summary, fault_out);
    int status = here == SQ_OK ? SQ_OK : step_over(scan, summary, fault_out);
    if (status == SQ_E_NOT_FOUND || status == SQ_E_IO)
        status = step_aside(scan, summary, fault_out);
    int failed = status == SQ_E_IO || (status == SQ_E_NOT_FOUND && here == SQ_E_IO);
    return failed ? sq_scan_unreadable(scan) : status;
}

/* Where the heads are when the state of the checkpoint has been loaded. */
static void find_places(struct sq_scan *scan)
{
    const sq_log *log = scan->log;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        const struct sq_head *head = &log->heads[class];
        int is_open = head->segment != SQ_NO_SEGMENT && head->open_blocks < log->segment_blocks;
        uint64_t mba = (uint64_t)head->segment * log->segment_blocks + head->open_blocks;
        scan->places[class] = is_open ? mba : 0;
        if (head->segment != SQ_NO_SEGMENT && scan->class_count <= class)
            scan->class_count = class + 1;
    }
}

static void move_place(struct sq_scan *scan, const struct sq_summary *summary)
{
    uint64_t end = (uint64_t)summary->mba + 1 + summary->blocks;
    scan->places[summary->class] = end % scan->log->segment_blocks == 0 ? 0 : end;
}

/* ---- the list --------------------------------------------------------------------------------- */

/* Room for count more items of size bytes behind used ones; *items_io may move. */
static int make_room(void **items_io, uint64_t *capacity_io, uint64_t used, uint64_t count, size_t size)
{
    uint64_t capacity = *capacity_io == 0 ? 64 : *capacity_io;
    while (capacity < used + count)
        capacity *= 2;
    if (capacity == *capacity_io)
        return SQ_OK;
    void *items = realloc(*items_io, capacity * size);
    if (items == NULL)
        return SQ_E_NO_MEMORY;
    *items_io = items;
    *capacity_io = capacity;
    return SQ_OK;
}

static int add_link(struct sq_scan *scan, const struct sq_summary *summary, uint8_t fault)
{
    const struct sq_kept *kept = scan->found;
    void *links = scan->links;
    int status = make_room(&links, &scan->link_capacity, scan->link_count, 1, sizeof *scan->links);
    scan->links = links;
    if (status == SQ_OK && kept == NULL)
        kept = sq_reader_keep(&scan->reader, summary, fault);
    if (status != SQ_OK || kept == NULL)
        return SQ_E_NO_MEMORY;
    scan->links[scan->link_count++] = (struct sq_link){
        .summary = *summary,
        .image = kept->image,
        .void_from = summary->entries,
        .fault = fault,
        .opens = summary->entries > 0 && sq_summary_entry(scan->log, kept->image, 0).kind == SQ_ENTRY_OPENED,
    };
    return SQ_OK;
}

/* Does the record have to be read as a whole? Not if it is known to be safe, as far as that is known yet. */
static int is_doubtful(const struct sq_scan *scan, uint64_t sequence)
{
    return sequence > scan->verified && (scan->check_flushed || sequence > scan->flushed);
}

/* Full records lie at the same places in every segment, and the headers say in which order segments were
 * written: the medium can look for summaries long before the walk comes to them. */
static void hint_summaries(const struct sq_scan *scan, uint32_t header)
{
    const sq_log *log = scan->log;
    if (header >= scan->header_count)
        return;
    uint64_t first = (uint64_t)scan->headers[header].segment * log->segment_blocks;
    for (uint32_t at = 0; at < log->segment_blocks; at += log->record_blocks + 1)
        sq_medium_hint(log->medium, first + at, 1);
}

/* The medium fetches what the walk will want next: at a segment's first record the summaries of one segment
 * more, HINTS ahead of it; at the start, all up to there. Where everything is read the system sees by itself
 * that it is one block after the other, and hints only get in its way. */
static void hint_ahead(const struct sq_scan *scan, const struct sq_summary *summary, int start)
{
    if (summary->mba % scan->log->segment_blocks != 0 && !start)
        return;
    uint32_t header = sq_scan_header(scan, summary->sequence);
    for (uint32_t i = start ? 0 : HINTS; i <= HINTS; i++)
        hint_summaries(scan, header + i);
}

/* Records behind the end, in the segments that were open, may say that more than what was found had been
 * safe. */
static void look_behind(struct sq_scan *scan)
{
    uint64_t last = scan->links[scan->link_count - 1].summary.sequence;
    struct sq_summary found;
    uint8_t fault;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++)
        for (uint64_t mba = scan->places[class]; mba % scan->log->segment_blocks != 0; mba++)
            if (sq_scan_summary(scan, mba, &found, &fault) == SQ_OK)
                scan->report->cut_records += found.sequence > last;
}

static int ends_segment(const struct sq_scan *scan)
{
    if (scan->link_count == 0)
        return 0;
    const struct sq_summary *last = &scan->links[scan->link_count - 1].summary;
    return ((uint64_t)last->mba + 1 + last->blocks) % scan->log->segment_blocks == 0;
}

/* The segment that a head would have taken next: free ones are taken in the order in which they were freed,
 * before the checkpoint and behind it. SQ_NO_SEGMENT if there is none. */
static uint32_t next_segment(const struct sq_scan *scan)
{
    const sq_log *log = scan->log;
    const struct sq_ring *ring = &log->free_ring;
    uint64_t taken = 0, freed = ring->count;
    for (uint64_t at = 0; at < scan->link_count; at++)
        taken += scan->links[at].summary.mba % log->segment_blocks == 0;
    /* The checkpoint of a new log begins in a segment that is open and empty. */
    taken -= taken > 0 && log->heads[0].open_blocks == 0;
    if (taken < ring->count)
        return ring->items[((uint64_t)ring->first + taken) % ring->capacity];
    for (uint64_t at = 0; at < scan->link_count; at++)
        for (uint32_t i = 0; i < scan->links[at].summary.entries; i++) {
            struct sq_entry_fields entry = sq_summary_entry(scan->log, scan->links[at].image, i);
            if (entry.kind == SQ_ENTRY_FREED && freed++ == taken)
                return entry.lba < log->segment_count ? (uint32_t)entry.lba : SQ_NO_SEGMENT;
        }
    return SQ_NO_SEGMENT;
}

/* Where a segment's first block cannot be read, the chain may go on there: that is no end. With one head it
 * can only do so from the end of a segment. */
static int check_end(struct sq_scan *scan)
{
    struct sq_summary found;
    if (scan->unreadable == 0 || scan->accept_loss)
        return SQ_OK;
    if (scan->class_count <= 1)
        return ends_segment(scan) ? sq_scan_unreadable(scan) : SQ_OK;
    uint32_t segment = next_segment(scan);
    if (segment == SQ_NO_SEGMENT)
        return SQ_OK;
    int status = sq_scan_summary(scan, (uint64_t)segment * scan->log->segment_blocks, &found, NULL);
    return status == SQ_E_IO ? sq_scan_unreadable(scan) : SQ_OK;
}

static int walk(struct sq_scan *scan, const struct sq_candidate *candidate)
{
    struct sq_summary summary;
    uint8_t fault = SQ_LINK_WHOLE;
    int doubtful = is_doubtful(scan, candidate->sequence);
    int status = sq_scan_summary(scan, candidate->mba, &summary, doubtful ? &fault : NULL);
    int start = 1;
    while (status == SQ_OK) {
        if (!doubtful)
            hint_ahead(scan, &summary, start);
        start = 0;
        scan->report->verified_blocks += doubtful ? summary.blocks : 0;
        SQ_TRY(add_link(scan, &summary, fault));
        move_place(scan, &summary);
        fault = SQ_LINK_WHOLE;
        doubtful = is_doubtful(scan, summary.sequence + 1);
        status = sq_chain_next(scan, &summary, doubtful ? &fault : NULL);
    }
    if (status == SQ_E_NOT_FOUND)
        SQ_TRY(check_end(scan));
    if (status == SQ_E_NOT_FOUND && scan->link_count > 0)
        look_behind(scan);
    return status == SQ_E_NOT_FOUND || (status == SQ_E_IO && scan->accept_loss) ? SQ_OK : status;
}

/* Cuts the chain at the first record that need not be safe and is not whole. A medium that cannot read what
 * may have been safe is no crash: that is said, not taken for the end. */
static int cut_torn(struct sq_scan *scan)
{
    for (uint64_t at = 0; at < scan->link_count; at++) {
        const struct sq_link *link = &scan->links[at];
        if (link->fault == SQ_LINK_WHOLE ||
            (link->summary.sequence <= scan->flushed && !scan->check_flushed))
            continue;
        if (link->fault == SQ_LINK_UNREADABLE && !scan->accept_loss) {
            scan->log->durable.error_mba = link->summary.mba;
            return SQ_E_IO;
        }
        scan->report->cut_records += scan->link_count - at;
        scan->link_count = at;
    }
    return SQ_OK;
}

/* ---- requests that the crash cut in two -------------------------------------------------------- */

/* The request that is unfinished at the end of the link never happened. */
static void make_void(struct sq_scan *scan, uint64_t at)
{
    while (scan->links[at].summary.open > 0) {
        struct sq_link *link = &scan->links[at];
        uint32_t entries = link->summary.entries;
        uint32_t open = link->summary.open < entries ? link->summary.open : entries;
        link->void_from = entries - open;
        scan->report->void_entries += open;
        if (open < entries || at == 0)
            return;
        at--;
    }
}

static void find_void(struct sq_scan *scan)
{
    for (uint64_t at = 0; at < scan->link_count && !SQ_PLANTED(half_a_request_counts); at++)
        if (at + 1 == scan->link_count || scan->links[at + 1].opens)
            make_void(scan, at);
}

int sq_chain_list(struct sq_scan *scan, const struct sq_candidate *candidate)
{
    find_places(scan);
    SQ_TRY(walk(scan, candidate));
    SQ_TRY(cut_torn(scan));
    if (scan->link_count == 0)
        return SQ_E_FORMAT;
    find_void(scan);
    const struct sq_link *last = &scan->links[scan->link_count - 1];
    scan->last_sequence = last->summary.sequence;
    if (last->summary.entries > 0) {
        struct sq_entry_fields entry = sq_summary_entry(scan->log, last->image, last->summary.entries - 1);
        scan->clean = entry.kind == SQ_ENTRY_CHECKPOINT_END && entry.flags == SQ_FLAG_CLEAN;
    }
    return SQ_OK;
}
