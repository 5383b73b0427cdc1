/* recover.h: what the parts of recovery offer to each other.
 *
 *   summary.c           one summary block: is it one, and what does it say
 *   reader.c            reading records, and keeping what their summaries say
 *   scan.c              the segments' headers, and the checkpoints that they name
 *   crew.c ahead.c      several threads; with them, what has to be rolled forward is read early
 *   chain.c             the chain of records: how far it goes, and what of it counts
 *   checkpoint_read.c   a checkpoint's stream, page by page
 *   checkpoint_load.c   the state from a checkpoint
 *   replay.c            the effects of records on it
 *   recover.c           which checkpoint, which records
 *   aftermath.c         what is done about the end
 */
#ifndef SEQSTORE_RECOVER_H
#define SEQSTORE_RECOVER_H

#include "internal.h"

/* A summary's head, checked. */
struct sq_summary {
    uint64_t sequence;
    uint64_t position;
    uint64_t flushed;
    uint64_t checkpoint;
    uint32_t checkpoint_mba;
    uint32_t mba;
    uint32_t checksum;
    uint32_t previous;
    uint32_t entries;
    uint32_t blocks;
    uint32_t open;
    uint32_t class;
    uint32_t window;
};

/* Why a record's data blocks are not what its entries say. */
enum sq_link_fault { SQ_LINK_WHOLE = 0, SQ_LINK_TORN = 1, SQ_LINK_UNREADABLE = 2 };

/* A record of which replay needs nothing more to be read. */
struct sq_kept {
    struct sq_kept *next; /* in a list of those that were read ahead */
    struct sq_summary summary;
    uint8_t fault;   /* enum sq_link_fault, if it was read as a whole */
    uint8_t image[]; /* the used part of the summary block */
};

/* A record of the chain that is rolled forward. */
struct sq_link {
    struct sq_summary summary;
    const uint8_t *image;
    uint32_t void_from; /* entries from here on that the cleaner did not make have no effect */
    uint8_t fault;      /* enum sq_link_fault, for those that were read as a whole */
    uint8_t opens;      /* it is the first after an opening */
};

/* The first record of a segment that has one. */
struct sq_header {
    uint64_t sequence;
    uint32_t segment;
    uint32_t class; /* of its head */
};

struct sq_candidate {
    uint64_t sequence;
    uint32_t mba;
};

/* Where a thread reads records into. */
struct sq_reader {
    const sq_log *log;
    uint8_t *memory;
    uint32_t room_blocks;
    uint8_t *record; /* within memory: the summary read last, and blocks behind it */
    uint64_t record_mba;
    uint32_t record_count;
    uint64_t read_blocks;
    int os_error; /* of the last read that failed */
    struct sq_chunk *chunk; /* memory of what was kept */
};

/* Threads beside the caller's; on more than a few a drive is no faster. */
#define SQ_CREW_MOST 3u

struct sq_crew {
    pthread_t threads[SQ_CREW_MOST];
    uint32_t count;
};

struct sq_scan {
    sq_log *log;
    struct sq_reader reader;
    uint8_t *record; /* the reader's memory, record_blocks + 1 blocks, for others too */
    struct sq_ahead *ahead; /* or NULL */
    struct sq_kept *kept;   /* what was read ahead and not yet asked for */
    const struct sq_kept *found; /* the summary asked for last, if it is one of these; else NULL */
    struct sq_header *headers; /* ascending by sequence */
    uint32_t header_count;
    struct sq_candidate *candidates; /* checkpoints, the newest first */
    uint32_t candidate_count;
    struct sq_link *links;
    uint64_t link_count;
    uint64_t link_capacity;
    uint64_t *places;       /* by class: where its head would go on; 0: at a segment's end, or none */
    uint32_t class_count;   /* one more than the highest class met */
    uint64_t verified;      /* records up to this one were read as a whole, with their checkpoint */
    int accept_loss;        /* what cannot be read counts as not there */
    int check_flushed;      /* the medium's syncs are not believed */
    uint64_t flushed;       /* highest that any summary names */
    uint64_t highest;       /* sequence of any summary */
    uint32_t window;        /* the largest that any summary names */
    uint64_t last_sequence; /* of the chain */
    uint32_t last_checksum;
    int clean;              /* the last record closes the log */
    int unreadable;         /* some summary could not be read; an errno, and where */
    uint64_t unreadable_mba;
    uint64_t found_drive;   /* identity in the last header of another drive, and where */
    uint64_t found_mba;
    uint32_t found_version; /* newest that was seen */
    struct sq_recovery *report;
};

/* ---- summary.c ------------------------------------------------------------------------------ */

/* Is the block a summary that was written at mba of this log's drive? */
int sq_summary_parse(const sq_log *log, const uint8_t *block, uint64_t mba, struct sq_summary *out);
struct sq_entry_fields sq_summary_entry(const sq_log *log, const uint8_t *block, uint32_t index);

/* Has an entry of that kind a block behind the summary? */
int sq_kind_has_block(uint8_t kind);

/* ---- reader.c ------------------------------------------------------------------------------- */

/* A reader of so many blocks at once, a record's at least unless it reads summaries alone. What was
 * initialised is to be freed, also on failure. */
int sq_reader_init(struct sq_reader *reader, const sq_log *log, uint32_t room_blocks);
void sq_reader_free(struct sq_reader *reader);

/* Reads the summary at mba into reader->record; SQ_E_NOT_FOUND if there is none, SQ_E_IO if it cannot be
 * read. With fault_out it reads the data blocks too and says whether they are as the entries say. */
int sq_reader_summary(struct sq_reader *reader, uint64_t mba, struct sq_summary *out, uint8_t *fault_out);

/* Keeps the record that was read, until the reader is freed; NULL when memory is short. */
struct sq_kept *sq_reader_keep(struct sq_reader *reader, const struct sq_summary *summary, uint8_t fault);

/* ---- crew.c --------------------------------------------------------------------------------- */

/* Others begin to do the same work on the same context, as many as there are processors for. The caller
 * does it too, and then joins them. */
void sq_crew_start(struct sq_crew *crew, void *(*work)(void *context), void *context);
void sq_crew_join(struct sq_crew *crew);

/* ---- ahead.c -------------------------------------------------------------------------------- */

/* With the headers and the checkpoint read: begins to read what has to be rolled forward as a whole, where
 * the medium gains by it. Finish waits for it; what was found is at scan->kept. */
void sq_ahead_start(struct sq_scan *scan);
void sq_ahead_finish(struct sq_scan *scan);
void sq_ahead_free(struct sq_scan *scan);

/* ---- scan.c --------------------------------------------------------------------------------- */

int sq_scan_init(struct sq_scan *scan, sq_log *log, struct sq_recovery *report);
void sq_scan_free(struct sq_scan *scan);

/* The summary at mba, as of sq_reader_summary, read now or found among what was read ahead. */
int sq_scan_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out, uint8_t *fault_out);

/* SQ_E_IO, with the place of what could not be read. */
int sq_scan_unreadable(const struct sq_scan *scan);

/* Reads all headers, and finds the checkpoints that there may be. */
int sq_scan_headers(struct sq_scan *scan);

/* Index of the first header of at least that sequence. */
uint32_t sq_scan_header(const struct sq_scan *scan, uint64_t sequence);

/* ---- chain.c -------------------------------------------------------------------------------- */

/* The record behind *summary, which it replaces, as sq_scan_summary; SQ_E_NOT_FOUND at the end of the
 * chain. */
int sq_chain_next(struct sq_scan *scan, struct sq_summary *summary, uint8_t *fault_out);

/* Lists the records from the candidate on, as far as they are whole. */
int sq_chain_list(struct sq_scan *scan, const struct sq_candidate *candidate);

/* ---- checkpoint_read.c ----------------------------------------------------------------------- */

/* Reads a checkpoint's stream; SQ_E_NOT_FOUND if it is not whole. The caller frees it. */
int sq_checkpoint_read(struct sq_scan *scan, const struct sq_candidate *candidate, uint8_t **stream_out,
                       uint64_t *bytes_out);

/* ---- replay.c ------------------------------------------------------------------------------- */

/* The record of the link happens to the log. */
int sq_replay(sq_log *log, const struct sq_link *link);

/* ---- aftermath.c ----------------------------------------------------------------------------- */

/* With the state recovered, after a crash: sees where zeros lie instead of residue. Reads alone. */
int sq_recover_erased(struct sq_scan *scan);

/* With the state recovered and the log durable, after a crash: overwrites what lost writes may have left, and
 * makes the unfinished request void for good. */
int sq_recover_clear(struct sq_scan *scan);

#endif
