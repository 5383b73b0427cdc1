/* seqstore_api.h: what the C core offers. Read twice: by the C compiler (through seqstore.h, which
 * adds the include guard) and by cffi. Declarations only; see docs/explanation/design.md.
 *
 * Conventions
 *   - Every function that can fail returns 0 or a negative SQ_E_* status; on failure nothing has
 *     changed and the outs are untouched, except where a comment says more. After SQ_E_NO_MEMORY a
 *     request that changes may be half done, block by block; the log stays sound.
 *   - Any number of threads may call. A log is guarded by one reader-writer lock: calls that only
 *     read run side by side, calls that change run alone.
 *   - Sizes and positions are unsigned; the unit is the last word of the name.
 *   - "position" is the log's own time: media blocks that its heads have put on the medium so far. It stands
 *     still while a purge writes zeros, so that nothing else comes due by that.
 */

/* ---- status codes ------------------------------------------------------------------------- */

#define SQ_OK 0
#define SQ_E_INVALID -1      /* an argument outside its range */
#define SQ_E_NO_MEMORY -2    /* the process is out of memory */
#define SQ_E_CLOSED -3       /* the log was closed */
#define SQ_E_NOT_FOUND -4    /* no such volume (any more) */
#define SQ_E_BOUNDS -5       /* beyond the end of the volume or the medium */
#define SQ_E_OUT_OF_SPACE -6 /* fault: needed_blocks, available_blocks */
#define SQ_E_UNWRITTEN -7    /* fault: lba, count: the first unwritten run of the request */
#define SQ_E_CORRUPT -8      /* fault: volume, lba, mba */
#define SQ_E_SEQUENTIAL -9   /* an append that does not start at the zone's write pointer */
#define SQ_E_NO_PAYLOAD -10  /* the medium keeps tags, not bytes */
#define SQ_E_LIMIT -11       /* more volumes than the log or the medium can number */
#define SQ_E_INVARIANT -12   /* a bug in seqstore; the log is latched, see sq_log_invariant */
#define SQ_E_OWNED -13       /* the medium belongs to a log, which alone appends and resets */
#define SQ_E_IO -14          /* the medium failed; a change may be half done. fault: mba, count, os_error */
#define SQ_E_FORMAT -15      /* no drive of seqstore, or damaged where it cannot do without. fault: mba */
#define SQ_E_VERSION -16     /* a newer format. fault: count: its version */
#define SQ_E_LOST -17        /* flushed records are missing. fault: lba: last there is, count: last flushed */
#define SQ_E_READ_ONLY -18   /* a snapshot, or a log that was opened for reading */
#define SQ_E_FAILED -19      /* a sync or half a change failed: no more of them until it is opened again */
#define SQ_E_STALE -20       /* the medium is of another moment, or copy. fault: count: its last opening */
#define SQ_E_DISOWNED -21    /* the process was forked from the one that opened the log */
#define SQ_E_POLICY -22      /* the caller's policy failed, or chose what is not there */
#define SQ_E_REENTERED -23   /* called by a function that the log itself had called */
#define SQ_E_BOUND -24       /* no bound so small can be kept. fault: count: the smallest */
#define SQ_E_NO_CRYPTO -25   /* libcrypto is not there, is too old, or refuses */
#define SQ_E_NO_KEY -26      /* the key of sealed blocks is dead, or not at hand. fault: as SQ_E_CORRUPT */

/* ---- values -------------------------------------------------------------------------------- */

#define SQ_NO_ADDRESS 0xFFFFFFFFFFFFFFFF /* "none" for an lba, mba or position */

enum sq_medium_kind { SQ_MEDIUM_MEMORY = 0, SQ_MEDIUM_TAGS = 1, SQ_MEDIUM_FILE = 2, SQ_MEDIUM_CALLS = 3 };

/* What a media block is to the log. MOVED is a dead copy that the cleaner left behind while its
 * data lived on elsewhere; SUMMARY is a block of the log's own, in use; one that is no longer is DEAD,
 * with tenant and volume 0. */
enum sq_block_state { SQ_FREE = 0, SQ_LIVE = 1, SQ_DEAD = 2, SQ_MOVED = 3, SQ_SUMMARY = 4 };

enum sq_segment_state { SQ_SEGMENT_FREE = 0, SQ_SEGMENT_OPEN = 1, SQ_SEGMENT_SEALED = 2 };

/* Which segment is cleaned next, and which head takes a block: select.c, place.c. */
enum sq_selection {
    SQ_SELECT_FIFO = 0, SQ_SELECT_GREEDY = 1, SQ_SELECT_COST_BENEFIT = 2, SQ_SELECT_COST_BENEFIT_SQRT = 3,
    SQ_SELECT_D_CHOICES = 4, SQ_SELECT_WINDOWED_GREEDY = 5, SQ_SELECT_RANDOM_GREEDY = 6, SQ_SELECT_CUSTOM = 7
};
enum sq_placement {
    SQ_PLACE_SINGLE = 0, SQ_PLACE_SEPARATE = 1, SQ_PLACE_DAC = 2, SQ_PLACE_SEPBIT = 3, SQ_PLACE_MULTILOG = 4,
    SQ_PLACE_BY_TENANT = 5, SQ_PLACE_BY_VOLUME = 6, SQ_PLACE_ORACLE = 7, SQ_PLACE_CUSTOM = 8
};

/* Bins of histograms: utilization of victims in hundredths; deletion latency in 32nds of a lap, and more. */
#define SQ_VICTIM_BINS 101
#define SQ_LATENCY_BINS 4096
#define SQ_LATENCY_BINS_A_LAP 32
#define SQ_NO_CLASS 65535

/* A segment that may be cleaned, for a policy of the caller's. Times are in blocks written on request. */
struct sq_policy_segment {
    uint64_t segment;
    uint64_t live_blocks;
    uint64_t data_blocks;    /* live and dead */
    uint64_t age;            /* since it was sealed */
    uint64_t lifespan;       /* since it was opened */
    uint64_t class_id;
};

/* A block that is to be placed, for a policy of the caller's. */
struct sq_policy_block {
    uint64_t tenant;
    uint64_t volume;
    uint64_t lba;
    uint64_t age;            /* since it was last written on request, modulo 2^32; SQ_NO_ADDRESS: never */
    uint64_t class_id;       /* where it lies now, or SQ_NO_CLASS */
    uint64_t relocated;      /* by the cleaner */
};

/* A caller's policies. Each returns 0, or anything else if it failed. Called with the log's lock held: they
 * must not call the log. */
struct sq_policy_calls {
    int (*select)(void *context, const struct sq_policy_segment *segments, uint64_t count,
                  uint64_t *index_out);
    int (*place)(void *context, const struct sq_policy_block *blocks, uint64_t count, uint8_t *classes_out);
};

enum sq_scope { SQ_SCOPE_ALL = 0, SQ_SCOPE_TENANT = 1, SQ_SCOPE_VOLUME = 2 };

struct sq_geometry {
    uint64_t block_count;    /* a multiple of zone_blocks, below 2^32 - 16 */
    uint32_t block_bytes;    /* a power of two, 512 to 65536 */
    uint32_t zone_blocks;    /* blocks of a zone, which is a segment of the log; at least 4 */
};

struct sq_log_options {
    uint64_t drive;          /* number of the drive, stands in every record */
    uint32_t reserve_ppm;    /* share of the data capacity kept back for cleaning, in millionths */
    uint32_t verify;         /* 0 switches the checksum of reads off; the owner is always checked */
    /* For logs on media that outlive the process, where records are gathered, synced and recovered: */
    uint32_t read_only;
    uint32_t accept_loss;    /* opens what is left where SQ_E_LOST would refuse */
    uint32_t check_flushed;  /* opening reads also what was flushed, for media whose sync lies */
    uint64_t checkpoint_blocks; /* written between checkpoints; 0: automatic */
    uint64_t window_blocks;     /* written without a sync, about, at most; 0: automatic */
    uint64_t expect_sequence;   /* of a record that is known to have been flushed; 0: unknown */
    uint64_t opening;           /* random, names this opening on the medium */
    uint64_t expect_openings[4]; /* the last opening must have been one of them; all 0: any */
    uint32_t sealed;            /* blocks are encrypted; of an old log, whether they are is known */
    struct sq_key_ring *ring;   /* outlives the log; NULL: sealed blocks can be neither written nor read */
    uint64_t sealing;           /* random, of this use alone: blocks are sealed under keys derived with it */
    /* Cleaning: */
    uint32_t selection;      /* enum sq_selection */
    uint32_t placement;      /* enum sq_placement */
    uint32_t classes;        /* heads; what single and separate need is known */
    uint32_t choices;        /* of SQ_SELECT_D_CHOICES; 0: 10 */
    uint32_t window_ppm;     /* of SQ_SELECT_WINDOWED_GREEDY; 0: 900000 */
    uint32_t spare_segments; /* free ones that start the cleaner; at least as many as it may need */
    uint32_t garbage_ppm;    /* share of garbage that starts it instead, and that a victim has; 0: none */
    uint32_t note_latencies; /* count how long dead blocks lie before they are written over */
    uint32_t summaries_apart; /* on a tags medium: summaries are counted, and take no block's place */
    uint32_t note_operations; /* with summaries_apart: for sq_log_operations */
    uint64_t seed;
    const struct sq_policy_calls *calls;
    void *context;
};

/* What opening a log found and did. */
struct sq_recovery {
    uint64_t clean;               /* the log had been closed */
    uint64_t checkpoint_sequence; /* first record rolled forward */
    uint64_t last_sequence;
    uint64_t position;
    uint64_t opening;             /* the last one that the medium knew */
    uint64_t records;             /* rolled forward */
    uint64_t read_blocks;
    uint64_t verified_blocks;     /* data blocks read, of records not known to have been flushed */
    uint64_t zeroed_blocks;       /* written over, since lost writes may lie there */
    uint64_t void_entries;        /* of a request that the crash cut in two */
    uint64_t cut_records;         /* behind the end: not whole, or out of reach behind such a one */
    uint64_t lost_records;        /* flushed, and not there */
};

/* Where and how a request failed; only the fields that the status names are filled. */
struct sq_fault {
    uint64_t volume;
    uint64_t lba;
    uint64_t mba;
    uint64_t count;
    uint64_t needed_blocks;
    uint64_t available_blocks;
    uint64_t os_error;       /* errno */
};

struct sq_invariant {
    const char *file;
    const char *condition;
    int line;
};

struct sq_extent {
    uint64_t lba;
    uint64_t count;
    uint64_t drive;
    uint64_t mba;
};

struct sq_ledger_entry {
    uint64_t tenant;         /* 0: the log itself */
    uint64_t volume;         /* 0: the log itself */
    uint64_t lba;            /* while LIVE, else SQ_NO_ADDRESS */
    uint64_t died;           /* position of its death while DEAD or MOVED, else SQ_NO_ADDRESS */
    uint64_t state;          /* enum sq_block_state */
};

struct sq_segment_info {
    uint64_t first_mba;
    uint64_t live_blocks;
    uint64_t write_pointer;  /* blocks from the segment's start; counts the open record */
    uint64_t state;          /* enum sq_segment_state */
};

/* Tag of a block on a tags medium. */
struct sq_tag {
    uint64_t volume;         /* 0: nothing written, or a summary */
    uint64_t lba;
    uint64_t state;          /* SQ_FREE: never written; SQ_LIVE: data; SQ_SUMMARY */
};

struct sq_stats {
    uint64_t user_blocks;      /* written on request */
    uint64_t relocated_blocks; /* written by the cleaner */
    uint64_t summary_blocks;   /* written as heads of records */
    uint64_t trimmed_blocks;   /* unmapped by trim, shrinking or deletion */
    uint64_t cleaned_segments;
    uint64_t live_blocks;
    uint64_t usable_blocks;    /* live blocks that the log accepts at most */
    uint64_t data_capacity_blocks;
    uint64_t block_count;
    uint64_t position;
    uint64_t head_mba;         /* where the next block goes */
    uint64_t map_bytes;        /* memory of all extent maps */
    uint64_t last_number;      /* highest number given to a volume, snapshot or layer so far */
    uint64_t last_sequence;    /* of a record on the medium */
    uint64_t flushed_sequence; /* of a record that is safe there */
    uint64_t read_blocks;      /* counted by sq_log_batch */
    uint64_t syncs;
    uint64_t garbage_blocks;   /* dead ones in sealed segments */
    uint64_t free_segments;
    uint64_t longest_latency;  /* blocks from a death to the writing over, at most; with note_latencies */
    uint64_t overwritten_blocks; /* with zeros, so that nothing is left behind */
    uint64_t checkpoints;
    uint64_t checkpoint_blocks; /* written, their summaries not counted */
    uint64_t atomic_blocks;     /* of a request that a crash does not cut in two; 0: none outlives one */
};

struct sq_work_entry {
    uint64_t tenant;
    uint64_t user_blocks;
    uint64_t relocated_blocks;
};

struct sq_volume_info {
    uint64_t size_bytes;
    uint64_t mapped_blocks;  /* that reads find, parents' included */
    uint64_t origin;         /* of a snapshot: the volume; of a clone: the snapshot; else 0 */
    uint64_t layer;          /* number of the one that it writes to */
};

struct sq_volume_entry {
    uint64_t number;
    uint64_t tenant;
    uint64_t size_bytes;
    uint64_t handle;
    uint64_t origin;
    uint64_t flags;          /* 1: unwritten is an error, 2: snapshot */
};

struct sq_reach {
    uint64_t number;         /* of a volume or snapshot */
    uint64_t blocks;
};

struct sq_damage {
    uint64_t volume;
    uint64_t lba;
    uint64_t mba;
    uint64_t os_error;       /* errno, or 0: it could be read and is wrong */
};

typedef struct sq_medium sq_medium;
typedef struct sq_log sq_log;

/* ---- kernels, for tests ----------------------------------------------------------------------
 * The raw CRC-32C state after bytes, by the kernels at index, from the fastest (0) that this processor
 * runs; SQ_E_NOT_FOUND behind the last. With to (aligned to 64, bytes a multiple of 512) it copies on the
 * way. */
int sq_kernels_try(uint32_t index, uint32_t state, const uint8_t *from, uint64_t bytes, uint8_t *to,
                   uint32_t *crc_out);

/* ---- medium --------------------------------------------------------------------------------
 * A row of zones with write pointers. Bytes change only by being written over. After SQ_E_IO
 * os_error_out (may be NULL, like in all calls below) is the errno. Of two appends to one zone that meet
 * one is SQ_E_SEQUENTIAL, and so is a reset that meets an append. */

/* SQ_MEDIUM_MEMORY or SQ_MEDIUM_TAGS. */
int sq_medium_create(int kind, const struct sq_geometry *geometry, sq_medium **medium_out);

/* How the bytes of a file are reached: through the system's cache, past it (the file was opened with
 * O_DIRECT), or, for reading, as mapped memory: half the cost, but an error of the drive, or a file that
 * another process cuts short, ends the process with SIGBUS. */
enum sq_file_access { SQ_FILE_CACHED = 0, SQ_FILE_DIRECT = 1, SQ_FILE_MAPPED = 2 };

/* A regular file or block device, open for what will be done with it and at least as large as the geometry
 * says. Takes the descriptor over and closes it in the end; on failure it stays the caller's. */
int sq_medium_create_file(const struct sq_geometry *geometry, int descriptor, int access,
                          sq_medium **medium_out);

/* What a medium made of functions consists of. Each returns 0 or an errno, and may be called from several
 * threads at once; ranges and write pointers were checked before. All but the last are needed. */
struct sq_medium_calls {
    int (*append)(void *context, uint64_t mba, uint64_t count, const uint8_t *data);
    int (*read)(void *context, uint64_t mba, uint64_t count, uint8_t *data_out);
    int (*sync)(void *context);
    int (*reset)(void *context, uint64_t zone);
    int (*overwrite)(void *context, uint64_t mba, uint64_t count, const uint8_t *data); /* or NULL */
};
int sq_medium_create_calls(const struct sq_geometry *geometry, const struct sq_medium_calls *functions,
                           void *context, sq_medium **medium_out);

void sq_medium_destroy(sq_medium *medium);
void sq_medium_geometry(const sq_medium *medium, struct sq_geometry *geometry_out);

/* Appends count blocks at mba, which must be the write pointer of an unfilled zone and leave the
 * run inside that zone: SQ_E_SEQUENTIAL otherwise. A tags medium takes tags (count of them), the others
 * take data (count blocks); the other argument is ignored. After SQ_E_IO the write pointer has not moved,
 * and what lies behind it is undefined. */
int sq_medium_append(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                     const struct sq_tag *tags, int *os_error_out);

/* Reads what lies there, before or behind a write pointer. SQ_E_NO_PAYLOAD on a tags medium. After SQ_E_IO
 * data_out is undefined. */
int sq_medium_read(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out,
                   int *os_error_out);
int sq_medium_read_tags(sq_medium *medium, uint64_t mba, uint64_t count, struct sq_tag *tags_out);

/* Returns when all appends that had returned before are safe from a power cut, as far as the medium is at
 * all. After SQ_E_IO any of them since the last sync may be lost, whatever a later sync says. */
int sq_medium_flush(sq_medium *medium, int *os_error_out);

/* Moves the zone's write pointer to its start. Bytes stay. Like an append, SQ_E_OWNED while a log lies on
 * the medium. */
int sq_medium_reset(sq_medium *medium, uint64_t zone, int *os_error_out);
int sq_medium_write_pointer(sq_medium *medium, uint64_t zone, uint64_t *mba_out);

/* Overwrites in place, whatever the write pointers: for sanitization, never in normal service.
 * SQ_E_INVALID on a medium made of functions that has none for it. */
int sq_medium_overwrite(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data,
                        int *os_error_out);

/* ---- log -----------------------------------------------------------------------------------
 * The log owns the medium until it is closed, and keeps it alive. The medium must be new (SQ_E_INVALID). */

/* SQ_E_INVALID also if the medium is too small, or nothing of it is left beside the reserve. On a medium that
 * outlives the process the empty log is on it, and safe, on return. */
int sq_log_create(sq_medium *medium, const struct sq_log_options *options, sq_log **log_out);

/* Recovers the log that lies on the medium. recovery_out and fault_out may be NULL. */
int sq_log_open(sq_medium *medium, const struct sq_log_options *options, sq_log **log_out,
                struct sq_recovery *recovery_out, struct sq_fault *fault_out);

/* Everything acknowledged before is on the medium, safe. Calls from several threads share a sync. */
int sq_log_flush(sq_log *log, struct sq_fault *fault_out);

/* Where and how the medium failed last: for a request that changes, which must not be repeated to ask. */
void sq_log_failure(const sq_log *log, struct sq_fault *fault_out);

/* Writes a checkpoint, so that the next opening has less to do. */
int sq_log_checkpoint(sq_log *log, struct sq_fault *fault_out);

/* In a child process after a fork: the log belongs to the parent. Calls that would write are refused from
 * now on, and nothing of it may be closed or destroyed. Takes no lock, which the fork may have caught held.
 */
void sq_log_disown(sq_log *log);

/* The clean end, to be followed by sq_log_close, which alone is like a crash of the process. */
int sq_log_finish(sq_log *log, struct sq_fault *fault_out);

/* Waits for the calls under way; later ones return SQ_E_CLOSED. Frees all but the handle. */
void sq_log_close(sq_log *log);

/* Frees the handle; no call may be under way or follow. */
void sq_log_destroy(sq_log *log);

int sq_log_stats(sq_log *log, struct sq_stats *stats_out);

/* What was written for each tenant, deleted ones too (tenant 0: the log itself); all are counted, capacity of
 * them listed. */
int sq_log_work(sq_log *log, uint64_t capacity, struct sq_work_entry *entries_out, uint64_t *count_out);

/* Utilization of victims in hundredths, SQ_VICTIM_BINS; how long blocks lay until they were written over,
 * since they were DEAD, then since they were MOVED: SQ_LATENCY_BINS each, of which SQ_LATENCY_BINS_A_LAP make
 * a lap; zero without note_latencies. */
int sq_log_histograms(sq_log *log, uint64_t *victims_out, uint64_t *latencies_out);

/* Many requests in one call, on a tags medium: writes, reads (which are counted, no more) and trims of runs
 * of blocks. Stops at the first that fails; done_out: how many came before it. */
enum sq_batch_kind { SQ_BATCH_WRITE = 0, SQ_BATCH_READ = 1, SQ_BATCH_TRIM = 2 };
struct sq_batch_calls {
    const uint8_t *kinds;     /* enum sq_batch_kind */
    const uint32_t *volumes;  /* index of a handle */
    const uint64_t *lbas;
    const uint32_t *blocks;   /* 0: nothing is done */
    const uint64_t *handles;
    uint64_t handle_count;
};
int sq_log_batch(sq_log *log, const struct sq_batch_calls *calls, uint64_t count, uint64_t *done_out,
                 struct sq_fault *fault_out);

/* What requests of batches, and the cleaner in their course, asked of the medium since the last call. If more
 * than capacity of them are there (count_out), nothing is handed out. SQ_E_NO_MEMORY: some were not noted. */
enum sq_operation_kind { SQ_OPERATION_APPEND = 0, SQ_OPERATION_READ = 1, SQ_OPERATION_RESET = 2 };
struct sq_operation {
    uint64_t mba;
    uint64_t request;         /* that caused it: its place in its batch */
    uint32_t count;
    uint16_t kind;            /* enum sq_operation_kind; a reset is of a whole segment */
    uint16_t by_cleaner;
};
int sq_log_operations(sq_log *log, uint64_t capacity, struct sq_operation *operations_out,
                      uint64_t *count_out);

/* sq_volume_write_blocks on a tags medium, where it is known when each block will be written next: user time,
 * blocks written on request since the log was made. */
int sq_volume_write_fated(sq_log *log, uint64_t handle, const uint64_t *lbas, const uint64_t *deaths,
                          uint64_t count, struct sq_fault *fault_out);

int sq_log_invariant(sq_log *log, struct sq_invariant *invariant_out);

/* Walks every structure and compares them; SQ_E_INVARIANT at the first disagreement. */
int sq_log_check(sq_log *log);

int sq_log_raw(sq_log *log, uint64_t mba, uint64_t count, uint8_t *data_out);
int sq_log_ledger(sq_log *log, uint64_t mba, uint64_t count, struct sq_ledger_entry *entries_out);
int sq_log_segments(sq_log *log, uint64_t first, uint64_t count, struct sq_segment_info *out);

/* scope_id: a tenant's or volume's number; ignored for SQ_SCOPE_ALL. Knows deleted ones. */

/* Reads the live blocks of [mba, mba + count) and compares them with their checksums; and of segments that
 * begin there what the next opening needs of the log's own (volume 0, lba SQ_NO_ADDRESS). damage_out gets
 * the first capacity damaged ones, damaged_out how many there are. */
int sq_log_scrub(sq_log *log, uint64_t mba, uint64_t count, uint64_t capacity, struct sq_damage *damage_out,
                 uint64_t *damaged_out, uint64_t *read_blocks_out);
