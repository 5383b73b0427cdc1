/* head.c: room at the head: the next record, the next segment, or a segment to be cleaned first.
 *
 * One free segment is kept for the cleaner, which needs at most that one: what is live in a segment fits
 * into an empty one. The head takes a free segment only while there are two.
 */
#include "append.h"

int sq_head_make_room(sq_log *log, int only_entry)
{
    /* Each turn seals a record or cleans a segment; live blocks leave a whole segment free, so a lap of
     * cleaning finds room. */
    for (uint64_t turn = 0; turn < 4 * (uint64_t)log->segment_count + 4; turn++) {
        if (only_entry ? log->record.open && log->record.entry_count < log->record_entries
                       : sq_record_room(log) > 0)
            return SQ_OK;
        SQ_TRY(sq_record_close(log));
        if (log->open_blocks < log->segment_blocks)
            SQ_TRY(sq_record_open(log));
        else if (log->free_ring.count > 1)
            SQ_TRY(sq_segment_next(log));
        else
            SQ_TRY(sq_clean_oldest(log));
    }
    SQ_CHECK(log, !"room after a lap of cleaning");
    return SQ_OK;
}
