/* checkpoint_read.c: a checkpoint's stream from its records. One that is not whole counts as not there: an
 * older one may do, since recovery only has to begin earlier.
 */
#include <stdlib.h>

#include "bytes.h"
#include "checkpoint.h"
#include "recover.h"

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
    const uint8_t *block = scan->reader.record + scan->log->block_bytes;
    for (uint32_t i = 0; i < summary->entries && !*done; i++) {
        struct sq_entry_fields entry = sq_summary_entry(scan->log, scan->reader.record, i);
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

/* All pages are there, and nothing but zeros follows in the last. */
static int is_whole(const sq_log *log, const struct reading *reading)
{
    return reading->stream != NULL && reading->pages << log->block_shift == reading->room_bytes &&
           sq_is_zero(reading->stream + reading->stream_bytes, reading->room_bytes - reading->stream_bytes);
}

int sq_checkpoint_read(struct sq_scan *scan, const struct sq_candidate *candidate, uint8_t **stream_out,
                       uint64_t *bytes_out)
{
    struct reading reading = {0};
    struct sq_summary summary;
    uint8_t fault = SQ_LINK_WHOLE;
    int done = 0, status = sq_scan_summary(scan, candidate->mba, &summary, &fault);
    if (status == SQ_OK && summary.sequence != candidate->sequence)
        status = SQ_E_NOT_FOUND;
    while (status == SQ_OK && !done) {
        status = fault == SQ_LINK_WHOLE ? take_record(scan, &summary, candidate->sequence, &reading, &done)
                                        : SQ_E_NOT_FOUND;
        if (status == SQ_OK && !done)
            status = sq_chain_next(scan, &summary, &fault);
    }
    if (status == SQ_OK && !is_whole(scan->log, &reading))
        status = SQ_E_NOT_FOUND;
    if (status != SQ_OK) {
        free(reading.stream);
        return status == SQ_E_IO ? SQ_E_NOT_FOUND : status;
    }
    scan->verified = summary.sequence;
    *stream_out = reading.stream;
    *bytes_out = reading.stream_bytes;
    return SQ_OK;
}
