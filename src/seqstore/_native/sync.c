/* sync.c: what is safe on the medium, and waiting for it.
 *
 * A flush closes the open record under the log's lock and waits for the sync without it, so that others
 * write on meanwhile. Of the threads that wait one syncs, for all whose records had been appended by then.
 *
 * After a sync that failed nobody knows what the medium holds (the operating system may have dropped what
 * it could not write and call the next sync a success): the log takes no more changes until it is opened
 * again.
 *
 * Invariants: flushed <= written, and neither goes back. Lock: durable.mutex for syncing, waiting and the
 * growth of flushed; it is taken after the log's lock, never before, and never held during a sync.
 */
#include "internal.h"

int sq_sync_init(sq_log *log)
{
    struct sq_durability *durable = &log->durable;
    if (pthread_mutex_init(&durable->mutex, NULL) != 0)
        return SQ_E_NO_MEMORY;
    if (pthread_cond_init(&durable->changed, NULL) == 0)
        return SQ_OK;
    pthread_mutex_destroy(&durable->mutex);
    return SQ_E_NO_MEMORY;
}

void sq_sync_free(sq_log *log)
{
    pthread_cond_destroy(&log->durable.changed);
    pthread_mutex_destroy(&log->durable.mutex);
}

/* The medium said that all up to sequence is safe, or that it failed. With the mutex held. */
static int take_result(sq_log *log, uint64_t sequence, int status, int os_error)
{
    struct sq_durability *durable = &log->durable;
    __atomic_add_fetch(&log->stats.syncs, 1, __ATOMIC_RELAXED);
    if (status != SQ_OK) {
        durable->os_error = os_error;
        durable->error_mba = SQ_NO_ADDRESS;
        __atomic_store_n(&durable->failed, 1, __ATOMIC_RELEASE);
    } else if (durable->failed) {
        status = SQ_E_FAILED;
    } else if (sequence > durable->flushed) {
        __atomic_store_n(&durable->flushed, sequence, __ATOMIC_RELEASE);
    }
    return status;
}

int sq_sync_now(sq_log *log)
{
    struct sq_durability *durable = &log->durable;
    int os_error = 0;
    SQ_CHECK(log, !log->head->record.open);
    pthread_mutex_lock(&durable->mutex);
    /* One at a time: the operating system reports an error to one of them only. */
    while (durable->syncing)
        pthread_cond_wait(&durable->changed, &durable->mutex);
    durable->syncing = 1;
    pthread_mutex_unlock(&durable->mutex);
    int status = sq_medium_sync(log->medium, &os_error);
    pthread_mutex_lock(&durable->mutex);
    durable->syncing = 0;
    status = take_result(log, durable->written, status, os_error);
    pthread_cond_broadcast(&durable->changed);
    pthread_mutex_unlock(&durable->mutex);
    return status;
}

/* ---- requests -------------------------------------------------------------------------------- */

int sq_fault_io(const sq_log *log, int status, struct sq_fault *fault_out)
{
    if (status == SQ_E_IO && fault_out != NULL) {
        fault_out->mba = log->durable.error_mba;
        fault_out->os_error = (uint64_t)log->durable.os_error;
    }
    return status;
}

void sq_log_failure(const sq_log *log, struct sq_fault *fault_out)
{
    sq_fault_io(log, SQ_E_IO, fault_out);
}

/* Closes the open record; sequence_out is what a sync must reach. */
static int close_record(sq_log *log, uint64_t *sequence_out, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    struct sq_durability *durable = &log->durable;
    int status = SQ_OK;
    *sequence_out = 0;
    if (durable->on && !durable->read_only && !SQ_PLANTED(flush_forgets_the_open_record))
        status = durable->disowned ? SQ_E_DISOWNED : durable->failed ? SQ_E_FAILED : sq_record_close(log);
    if (status == SQ_OK && durable->on)
        *sequence_out = durable->written;
    if (status == SQ_OK && *sequence_out > sq_flushed(log)) {
        /* Closing the log waits for this call, though it gives the lock back. */
        pthread_mutex_lock(&durable->mutex);
        durable->waiting++;
        pthread_mutex_unlock(&durable->mutex);
    } else {
        *sequence_out = 0;
    }
    sq_fault_io(log, status, fault_out);
    sq_unlock_alone(log);
    return status;
}

/* Waits until the record of that sequence is safe; ends what close_record began. */
static int wait_for(sq_log *log, uint64_t sequence, struct sq_fault *fault_out)
{
    struct sq_durability *durable = &log->durable;
    int status = SQ_OK;
    pthread_mutex_lock(&durable->mutex);
    while (status == SQ_OK && durable->flushed < sequence) {
        if (__atomic_load_n(&durable->failed, __ATOMIC_ACQUIRE)) {
            status = SQ_E_FAILED;
        } else if (durable->syncing) {
            pthread_cond_wait(&durable->changed, &durable->mutex);
        } else {
            /* Read before the sync begins: what is appended during it may be missed by it. */
            uint64_t written = __atomic_load_n(&durable->written, __ATOMIC_ACQUIRE);
            int os_error = 0;
            durable->syncing = 1;
            pthread_mutex_unlock(&durable->mutex);
            status = SQ_PLANTED(flush_does_not_sync) ? SQ_OK : sq_medium_sync(log->medium, &os_error);
            pthread_mutex_lock(&durable->mutex);
            durable->syncing = 0;
            status = take_result(log, written, status, os_error);
            pthread_cond_broadcast(&durable->changed);
        }
    }
    sq_fault_io(log, status, fault_out);
    durable->waiting--;
    pthread_cond_broadcast(&durable->changed);
    pthread_mutex_unlock(&durable->mutex);
    return status;
}

int sq_log_flush(sq_log *log, struct sq_fault *fault_out)
{
    uint64_t sequence;
    SQ_TRY(close_record(log, &sequence, fault_out));
    if (sequence == 0)
        return SQ_OK;
    return wait_for(log, sequence, fault_out);
}

void sq_sync_drain(sq_log *log)
{
    struct sq_durability *durable = &log->durable;
    pthread_mutex_lock(&durable->mutex);
    while (durable->waiting > 0)
        pthread_cond_wait(&durable->changed, &durable->mutex);
    pthread_mutex_unlock(&durable->mutex);
}
