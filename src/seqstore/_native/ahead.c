/* ahead.c: reading and verifying, in several threads, the segments that are to be rolled forward.
 *
 * The headers say in which order segments were written, so that the chain of records need not be walked to
 * know what has to be read. What is found here is kept for the walk (chain.c), which follows the same chain
 * and reads for itself what is not there: whatever goes wrong here only makes it slower.
 * Invariants: pieces before `linked` are done and continue each other; what is read lies within
 * `apart` segments of those, so that where the chain breaks little is read that is not part of it.
 * Lock: ahead->mutex, for everything but the piece that a thread has claimed and its own reader.
 */
#include <stdlib.h>

#include "medium.h"
#include "recover.h"

/* How far apart threads may get: enough that none has to wait for one that the system set aside. */
#define APART_BYTES ((uint64_t)64 << 20)
#define APART_LEAST (2 * (SQ_CREW_MOST + 1))
#define READ_BYTES ((size_t)1 << 20) /* at once; more is not faster */

/* A segment: what its records say. */
struct piece {
    uint64_t mba;
    uint64_t sequence;     /* of the first, as the header said */
    struct sq_kept *first; /* those that were read as a whole, in a list */
    struct sq_kept *last;
    uint64_t first_sequence; /* of all that it has; 0 if none */
    uint64_t last_sequence;
    uint32_t first_previous;
    uint32_t last_checksum;
    uint8_t done;
    uint8_t is_full; /* its records go on to its end */
};

struct sq_ahead {
    const sq_log *log;
    struct sq_crew crew;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct piece *pieces;
    uint32_t count;
    uint32_t claimed;
    uint32_t linked;
    uint32_t apart;
    int stopped;
    uint64_t doubtful_from; /* records from here on are read as a whole */
    struct sq_reader readers[SQ_CREW_MOST + 1];
    uint32_t reader_count; /* in use */
};

/* ---- a segment -------------------------------------------------------------------------------- */

/* Takes the record that was read; 0 where the chain within the segment ends. */
static int add_record(struct sq_reader *reader, struct piece *piece, const struct sq_summary *summary,
                      int is_doubtful, uint8_t fault)
{
    if (piece->first_sequence == 0) {
        piece->first_sequence = summary->sequence;
        piece->first_previous = summary->previous;
    } else if (summary->sequence != piece->last_sequence + 1 || summary->previous != piece->last_checksum) {
        return 0;
    }
    struct sq_kept *kept = NULL;
    if (is_doubtful) {
        kept = fault == SQ_LINK_UNREADABLE ? NULL : sq_reader_keep(reader, summary, fault);
        if (kept == NULL)
            return 0;
        *(piece->first == NULL ? &piece->first : &piece->last->next) = kept;
        piece->last = kept;
    }
    piece->last_sequence = summary->sequence;
    piece->last_checksum = summary->checksum;
    return 1;
}

static void read_piece(const struct sq_ahead *ahead, struct sq_reader *reader, struct piece *piece)
{
    uint64_t mba = piece->mba, end = mba + ahead->log->segment_blocks, sequence = piece->sequence;
    struct sq_summary summary;
    while (mba < end) {
        uint8_t fault = SQ_LINK_WHOLE;
        int is_doubtful = sequence >= ahead->doubtful_from;
        if (sq_reader_summary(reader, mba, &summary, is_doubtful ? &fault : NULL) != SQ_OK ||
            !add_record(reader, piece, &summary, is_doubtful, fault))
            return;
        sequence = summary.sequence + 1;
        mba += 1 + (uint64_t)summary.blocks;
    }
    piece->is_full = 1;
}

/* ---- all of them ------------------------------------------------------------------------------ */

/* With the mutex held: what is done and continues what came before is part of the chain. */
static void link_pieces(struct sq_ahead *ahead)
{
    while (!ahead->stopped && ahead->linked < ahead->claimed && ahead->pieces[ahead->linked].done) {
        const struct piece *piece = &ahead->pieces[ahead->linked], *before = piece - 1;
        ahead->stopped = piece->first_sequence == 0 ||
                         (ahead->linked > 0 && (piece->first_sequence != before->last_sequence + 1 ||
                                                piece->first_previous != before->last_checksum));
        ahead->linked += !ahead->stopped;
        ahead->stopped = ahead->stopped || !piece->is_full;
    }
}

/* With the mutex held: the next piece to read, or NULL when there is no more to do. */
static struct piece *claim(struct sq_ahead *ahead)
{
    while (!ahead->stopped && ahead->claimed < ahead->count && ahead->claimed >= ahead->linked + ahead->apart)
        pthread_cond_wait(&ahead->changed, &ahead->mutex);
    if (ahead->stopped || ahead->claimed == ahead->count)
        return NULL;
    return &ahead->pieces[ahead->claimed++];
}

static void *work(void *context)
{
    struct sq_ahead *ahead = context;
    const sq_log *log = ahead->log;
    uint32_t room = (uint32_t)(READ_BYTES >> log->block_shift);
    room = room < log->segment_blocks ? room : log->segment_blocks;
    room = room < log->record_blocks + 1 ? log->record_blocks + 1 : room;
    pthread_mutex_lock(&ahead->mutex);
    struct sq_reader *reader = &ahead->readers[ahead->reader_count++];
    struct piece *piece = sq_reader_init(reader, log, room) == SQ_OK ? claim(ahead) : NULL;
    while (piece != NULL) {
        pthread_mutex_unlock(&ahead->mutex);
        read_piece(ahead, reader, piece);
        pthread_mutex_lock(&ahead->mutex);
        piece->done = 1;
        link_pieces(ahead);
        pthread_cond_broadcast(&ahead->changed);
        piece = claim(ahead);
    }
    pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

/* Segments that hold records from doubtful_from on. One alone is not worth it. */
static struct sq_ahead *make(const struct sq_scan *scan, uint64_t doubtful_from)
{
    uint32_t first = sq_scan_header(scan, doubtful_from + 1);
    first -= first > 0;
    struct sq_ahead *ahead = scan->header_count - first < 2 ? NULL : calloc(1, sizeof *ahead);
    if (ahead == NULL)
        return NULL;
    uint64_t apart = APART_BYTES / ((uint64_t)scan->log->segment_blocks << scan->log->block_shift);
    *ahead = (struct sq_ahead){
        .log = scan->log,
        .count = scan->header_count - first,
        .apart = apart < APART_LEAST ? APART_LEAST : (uint32_t)apart,
        .doubtful_from = doubtful_from,
    };
    ahead->pieces = calloc(ahead->count, sizeof *ahead->pieces);
    if (ahead->pieces == NULL) {
        free(ahead);
        return NULL;
    }
    for (uint32_t i = 0; i < ahead->count; i++) {
        const struct sq_header *header = &scan->headers[first + i];
        ahead->pieces[i].mba = (uint64_t)header->segment * scan->log->segment_blocks;
        ahead->pieces[i].sequence = header->sequence;
        sq_medium_stream(scan->log->medium, ahead->pieces[i].mba, scan->log->segment_blocks);
    }
    pthread_mutex_init(&ahead->mutex, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    return ahead;
}

void sq_ahead_start(struct sq_scan *scan)
{
    uint64_t safe = scan->check_flushed || scan->verified > scan->flushed ? scan->verified : scan->flushed;
    if (!sq_medium_is_parallel(scan->log->medium))
        return;
    scan->ahead = make(scan, safe + 1);
    if (scan->ahead != NULL)
        sq_crew_start(&scan->ahead->crew, work, scan->ahead);
}

void sq_ahead_finish(struct sq_scan *scan)
{
    struct sq_ahead *ahead = scan->ahead;
    if (ahead == NULL)
        return;
    work(ahead);
    sq_crew_join(&ahead->crew);
    struct sq_kept **end = &scan->kept;
    for (uint32_t i = 0; i < ahead->linked; i++)
        if (ahead->pieces[i].first != NULL) {
            *end = ahead->pieces[i].first;
            end = &ahead->pieces[i].last->next;
        }
}

void sq_ahead_free(struct sq_scan *scan)
{
    struct sq_ahead *ahead = scan->ahead;
    if (ahead == NULL)
        return;
    pthread_mutex_lock(&ahead->mutex);
    ahead->stopped = 1;
    pthread_cond_broadcast(&ahead->changed);
    pthread_mutex_unlock(&ahead->mutex);
    sq_crew_join(&ahead->crew);
    for (uint32_t i = 0; i < ahead->reader_count; i++) {
        scan->report->read_blocks += ahead->readers[i].read_blocks;
        sq_reader_free(&ahead->readers[i]);
    }
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->mutex);
    free(ahead->pieces);
    free(ahead);
    scan->ahead = NULL;
}
