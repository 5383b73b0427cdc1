/* sanitize_api.h: what the C core offers to overwrite a whole medium and to look whether that was done; read
 * like seqstore_api.h, and behind it. docs/explanation/sanitization.md says what for.
 */

/* What lies on a medium afterwards: a pattern that is repeated from byte 0 on, or the stream of AES-256 in
 * counter mode over zeros, whose key is the seed and whose counter at byte n, big-endian, is n / 16. */
typedef struct sq_fill sq_fill;
#define SQ_FILL_PATTERN_BYTES 4096 /* the longest pattern */
#define SQ_FILL_SEED_BYTES 32

int sq_fill_create(const uint8_t *pattern, uint64_t pattern_bytes, sq_fill **fill_out);
int sq_fill_create_stream(sq_crypto *crypto, const uint8_t *seed, sq_fill **fill_out);
void sq_fill_destroy(sq_fill *fill);

/* The bytes from offset_bytes on, both multiples of 16. */
int sq_fill_bytes(const sq_fill *fill, uint64_t offset_bytes, uint64_t bytes, uint8_t *data_out);

/* Several threads, each with its buffers, that go over a medium with a fill. The medium belongs to it, as to
 * a log: SQ_E_OWNED where it belongs to one. Fill and medium must outlive it. One call at a time. */
typedef struct sq_sweep sq_sweep;

/* piece_blocks are moved at once, by as many workers; 0: automatic, as many as suit the kind of medium. */
int sq_sweep_create(sq_medium *medium, const sq_fill *fill, uint64_t piece_blocks, uint64_t workers,
                    sq_sweep **sweep_out);
void sq_sweep_destroy(sq_sweep *sweep);

struct sq_span {
    uint64_t first;
    uint64_t count;
};

/* Blocks that are not as they should be. */
struct sq_sweep_find {
    uint64_t first;
    uint64_t count;
    uint64_t os_error;       /* errno; 0: they could be read and hold something else */
};

struct sq_sweep_options {
    uint64_t retries;        /* further attempts at a block that fails */
    uint64_t stop_at_first;  /* mismatch, of a reading */
    uint64_t failures_in_row; /* pieces of which nothing can be moved, one after the other: it is dead */
};

struct sq_sweep_report {
    uint64_t done_blocks;    /* written, or read and compared */
    uint64_t failed_blocks;  /* could not be; of a writing forward, those behind a bad one in its piece too */
    uint64_t other_blocks;   /* read, and held something else */
    uint64_t retries;
    uint64_t find_count;     /* of finds_out: all that did not go well, in no order */
    uint64_t next_span;      /* where to go on, where it stopped early; else span_count and 0 */
    uint64_t next_block;     /* blocks of that span which are over */
    uint64_t is_dead;        /* failures_in_row were met */
};

/* How many finds a call needs room for at least. */
uint64_t sq_sweep_least_finds(const sq_sweep *sweep);

/* Overwrites the blocks of spans, in their order, which are ascending pieces of the medium. Of a piece that
 * fails, what comes before the first bad block is written and the rest left out, for sq_sweep_write_back.
 * Stops where finds_out is full. SQ_OK also where blocks failed; nothing is synced. */
int sq_sweep_write(sq_sweep *sweep, const struct sq_span *spans, uint64_t span_count,
                   const struct sq_sweep_options *options, uint64_t capacity,
                   struct sq_sweep_find *finds_out, struct sq_sweep_report *report_out);

/* Overwrites one span block by block from its far end, every block of it, so that the finds are exact. Stops
 * where finds_out is full: next_block are then over, counted from the far end. */
int sq_sweep_write_back(sq_sweep *sweep, const struct sq_span *span, const struct sq_sweep_options *options,
                        uint64_t capacity, struct sq_sweep_find *finds_out,
                        struct sq_sweep_report *report_out);

/* Reads the blocks of spans and compares them with the fill. Every block is tried; finds are exact. */
int sq_sweep_read(sq_sweep *sweep, const struct sq_span *spans, uint64_t span_count,
                  const struct sq_sweep_options *options, uint64_t capacity,
                  struct sq_sweep_find *finds_out, struct sq_sweep_report *report_out);

/* What was written is safe from a power cut when it returns. */
int sq_sweep_sync(sq_sweep *sweep, int *os_error_out);

/* All write pointers move to the starts of their zones: the medium is as new. */
void sq_sweep_rewind(sq_sweep *sweep);

/* How many bytes of a file the system's cache holds. SQ_E_IO if it does not say. */
int sq_file_cached_bytes(int descriptor, uint64_t bytes, uint64_t *cached_out, int *os_error_out);
