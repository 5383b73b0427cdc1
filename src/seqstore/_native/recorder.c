/* recorder.c: what requests ask of the medium, in the order in which it is asked.
 *
 * A request, or the cleaning of a segment in its course, is noted when it is over: head by head, whatever the
 * order in which blocks went to the heads. Before that come the cleaner's reads: it reads all of a segment,
 * over small gaps as where the log outlives the process, and writes then.
 *
 * Invariants: what was appended to a segment is noted from its first block on, without a gap; appends end
 * where segments do.
 */
#include "recorder.h"

#include <stdlib.h>

#include "layer.h"

#define FIRST_CAPACITY 1024u

struct sq_recorder {
    struct sq_operation *operations;
    uint64_t count;
    uint64_t capacity;
    uint64_t request;
    uint32_t noted[SQ_CLASSES_MAX]; /* by head: blocks of its segment */
    uint16_t is_cleaning;
    int is_incomplete; /* there was no memory for more */
};

int sq_recorder_init(sq_log *log)
{
    log->recorder = calloc(1, sizeof *log->recorder);
    return log->recorder == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

void sq_recorder_free(sq_log *log)
{
    if (log->recorder != NULL)
        free(log->recorder->operations);
    free(log->recorder);
    log->recorder = NULL;
}

static int grow(struct sq_recorder *recorder)
{
    uint64_t capacity = recorder->capacity == 0 ? FIRST_CAPACITY : 2 * recorder->capacity;
    struct sq_operation *operations = realloc(recorder->operations, capacity * sizeof *operations);
    if (operations == NULL)
        return SQ_E_NO_MEMORY;
    recorder->operations = operations;
    recorder->capacity = capacity;
    return SQ_OK;
}

/* Without memory the log goes on: it is the note that is no good, which sq_log_operations says. */
static void note(struct sq_recorder *recorder, unsigned kind, uint64_t mba, uint32_t count)
{
    if (recorder->count == recorder->capacity && grow(recorder) != SQ_OK) {
        recorder->is_incomplete = 1;
        return;
    }
    recorder->operations[recorder->count++] = (struct sq_operation){
        .mba = mba, .request = recorder->request, .count = count, .kind = (uint16_t)kind,
        .by_cleaner = recorder->is_cleaning};
}

/* What the head got since it was noted last. */
static void note_head(sq_log *log, const struct sq_head *head)
{
    uint32_t *noted = &log->recorder->noted[head - log->heads];
    uint32_t blocks = head->segment == SQ_NO_SEGMENT ? 0 : (uint32_t)sq_head_blocks(log, head);
    if (blocks > *noted) {
        uint64_t first = (uint64_t)head->segment * log->segment_blocks;
        note(log->recorder, SQ_OPERATION_APPEND, first + *noted, blocks - *noted);
    }
    *noted = blocks;
}

static void note_heads(sq_log *log)
{
    for (uint32_t class = 0; class < log->class_count; class++)
        note_head(log, &log->heads[class]);
}

void sq_recorder_seal(sq_log *log, const struct sq_head *head)
{
    note_head(log, head);
    log->recorder->noted[head - log->heads] = 0;
}

void sq_recorder_begin(sq_log *log, uint64_t request)
{
    note_heads(log);
    log->recorder->request = request;
    log->recorder->is_cleaning = 0;
}

void sq_recorder_read(sq_log *log, const struct sq_volume *volume, uint64_t lba, uint64_t count)
{
    struct sq_layer_view view = {.layer = volume->head};
    uint64_t size = sq_volume_blocks(log, volume);
    uint64_t end = lba >= size ? lba : count < size - lba ? lba + count : size;
    while (lba < end) {
        struct sq_map_run run = sq_view_run_at(&view, lba, end);
        if (run.mba != SQ_UNMAPPED)
            note(log->recorder, SQ_OPERATION_READ, run.mba, (uint32_t)run.count);
        lba += run.count;
    }
}

void sq_recorder_clean(sq_log *log, uint32_t first, uint32_t end)
{
    uint32_t from = first, count = 0;
    note_heads(log);
    log->recorder->is_cleaning = 1;
    for (uint32_t mba = first; mba < end; mba++) {
        if (sq_entry_state(log->ledger[mba]) != SQ_LIVE)
            continue;
        if (count > 0 && mba - (from + count) > SQ_CLEAN_GAP) {
            note(log->recorder, SQ_OPERATION_READ, from, count);
            count = 0;
        }
        from = count == 0 ? mba : from;
        count = mba - from + 1;
    }
    if (count > 0)
        note(log->recorder, SQ_OPERATION_READ, from, count);
}

void sq_recorder_cleaned(sq_log *log, uint32_t first)
{
    note_heads(log);
    note(log->recorder, SQ_OPERATION_RESET, first, log->segment_blocks);
    log->recorder->is_cleaning = 0;
}

int sq_log_operations(sq_log *log, uint64_t capacity, struct sq_operation *operations_out,
                      uint64_t *count_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_recorder *recorder = log->recorder;
    if (recorder != NULL)
        note_heads(log);
    int status = recorder == NULL ? SQ_E_INVALID : recorder->is_incomplete ? SQ_E_NO_MEMORY : SQ_OK;
    if (status == SQ_OK) {
        *count_out = recorder->count;
        if (recorder->count != 0 && recorder->count <= capacity) {
            memcpy(operations_out, recorder->operations, recorder->count * sizeof *operations_out);
            recorder->count = recorder->request = 0;
        }
    }
    sq_unlock_alone(log);
    return status;
}
