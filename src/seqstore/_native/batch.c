/* batch.c: many requests of many volumes in one call: how traces are replayed. */
#include "layer.h"
#include "recorder.h"

/* Requests for which the lock is held at once, so that others need not wait for the whole batch. */
#define AT_ONCE 4096u

static int do_one(sq_log *log, const struct sq_batch_calls *calls, uint64_t i, struct sq_fault *fault_out)
{
    uint32_t index = calls->volumes[i], count = calls->blocks[i];
    struct sq_volume *volume = index < calls->handle_count ? sq_volume_of(log, calls->handles[index]) : NULL;
    if (volume == NULL)
        return SQ_E_NOT_FOUND;
    if (log->recorder != NULL)
        sq_recorder_begin(log, i);
    switch (calls->kinds[i]) {
    case SQ_BATCH_WRITE:
        return count == 0 ? SQ_OK : sq_write_run_alone(log, volume, calls->lbas[i], count, fault_out);
    case SQ_BATCH_READ:
        log->stats.read_blocks += count;
        if (log->recorder != NULL)
            sq_recorder_read(log, volume, calls->lbas[i], count);
        return SQ_OK;
    case SQ_BATCH_TRIM:
        return count == 0 ? SQ_OK : sq_trim_run(log, volume, calls->lbas[i], count);
    default:
        return SQ_E_INVALID;
    }
}

int sq_log_batch(sq_log *log, const struct sq_batch_calls *calls, uint64_t count, uint64_t *done_out,
                 struct sq_fault *fault_out)
{
    int status = log->tags == NULL ? SQ_E_INVALID : SQ_OK;
    uint64_t done = 0;
    while (status == SQ_OK && done < count) {
        uint64_t end = count - done < AT_ONCE ? count : done + AT_ONCE;
        status = sq_lock_alone(log);
        if (status != SQ_OK)
            break;
        for (; status == SQ_OK && done < end; done += status == SQ_OK)
            status = do_one(log, calls, done, fault_out);
        sq_unlock_alone(log);
    }
    *done_out = done;
    return status;
}
