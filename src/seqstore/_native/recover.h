/* recover.h: what the parts of recovery offer to each other.
 *
 *   summary.c           one summary block: is it one, and what does it say
 *   scan.c              the segments' headers, and the chain of records
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
    uint32_t window;
};

/* A record of the chain that is rolled forward. */
struct sq_link {
    uint32_t mba;
    uint32_t void_from; /* entries from here on that the cleaner did not make have no effect */
    uint32_t entries;
    uint32_t open;
    uint8_t opens; /* it is the first after an opening */
};

/* The first record of a segment that has one. */
struct sq_header {
    uint64_t sequence;
    uint32_t segment;
};

struct sq_candidate {
    uint64_t sequence;
    uint32_t mba;
};

struct sq_scan {
    sq_log *log;
    uint8_t *block;  /* the summary read last */
    uint8_t *record; /* data blocks of a record */
    struct sq_header *headers; /* ascending by sequence */
    uint32_t header_count;
    struct sq_candidate *candidates; /* checkpoints, the newest first */
    uint32_t candidate_count;
    struct sq_link *links;
    uint64_t link_count;
    uint64_t link_capacity;
    int check_flushed;      /* the medium's syncs are not believed */
    uint64_t flushed;       /* highest that any summary names */
    uint64_t highest;       /* sequence of any summary */
    uint32_t window;        /* the largest that any summary names */
    uint64_t last_sequence; /* of the chain */
    uint32_t last_checksum;
    int clean;              /* the last record closes the log */
    uint64_t found_drive;   /* identity in a summary that is whole but of another drive */
    uint32_t found_version; /* newest that was seen */
    struct sq_recovery *report;
};

/* ---- summary.c ------------------------------------------------------------------------------ */

/* Is the block a summary that was written at mba of this log's drive? */
int sq_summary_parse(const sq_log *log, const uint8_t *block, uint64_t mba, struct sq_summary *out);
struct sq_entry_fields sq_summary_entry(const uint8_t *block, uint32_t index);

/* Has an entry of that kind a block behind the summary? */
int sq_kind_has_block(uint8_t kind);

/* ---- scan.c --------------------------------------------------------------------------------- */

int sq_scan_init(struct sq_scan *scan, sq_log *log, struct sq_recovery *report);
void sq_scan_free(struct sq_scan *scan);

/* Reads blocks, and counts them. */
int sq_scan_fetch(struct sq_scan *scan, uint64_t mba, uint64_t count, uint8_t *data_out);

/* Reads the summary at mba into scan->block; SQ_E_NOT_FOUND if there is none. */
int sq_scan_summary(struct sq_scan *scan, uint64_t mba, struct sq_summary *out);

/* Reads all headers, and finds the checkpoints that there may be. */
int sq_scan_headers(struct sq_scan *scan);

/* The record behind *summary, which it replaces; SQ_E_NOT_FOUND at the end of the chain. */
int sq_scan_next(struct sq_scan *scan, struct sq_summary *summary);

/* Reads a checkpoint's stream; SQ_E_NOT_FOUND if it is not whole. The caller frees it. */
int sq_scan_stream(struct sq_scan *scan, const struct sq_candidate *candidate, uint8_t **stream_out,
                   uint64_t *bytes_out);

/* Lists the records from the candidate on, as far as they are whole. */
int sq_scan_chain(struct sq_scan *scan, const struct sq_candidate *candidate);

/* ---- replay.c ------------------------------------------------------------------------------- */

/* The record in scan->block happens to the log. */
int sq_replay(sq_log *log, const uint8_t *block, const struct sq_summary *summary, const struct sq_link *link);

/* ---- aftermath.c ----------------------------------------------------------------------------- */

/* With the state recovered and the log durable: frees what is empty. After a crash it also overwrites what lost
 * writes may have left, and makes the unfinished request void for good. */
int sq_recover_clear(struct sq_scan *scan);

#endif
