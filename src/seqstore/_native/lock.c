/* lock.c: the lock of a log, and the latch: a log that has failed a check of its own refuses every call. */
#include "internal.h"

#include <errno.h>

int sq_latch(sq_log *log, const char *file, int line, const char *condition)
{
    int expected = 0;
    /* Readers may fail side by side: the first one is kept. 1: being written, 2: to be read. */
    if (__atomic_compare_exchange_n(&log->latched, &expected, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        log->invariant = (struct sq_invariant){.file = file, .condition = condition, .line = line};
        __atomic_store_n(&log->latched, 2, __ATOMIC_RELEASE);
    }
    return SQ_E_INVARIANT;
}

static int refuse(sq_log *log)
{
    int status = log->closed                                          ? SQ_E_CLOSED
                 : __atomic_load_n(&log->latched, __ATOMIC_ACQUIRE) ? SQ_E_INVARIANT
                                                                    : SQ_OK;
    if (status != SQ_OK)
        pthread_rwlock_unlock(&log->lock);
    return status;
}

/* A policy or a medium of the caller's is called with the lock held, and must not come back. */
int sq_lock_shared(sq_log *log)
{
    if (pthread_rwlock_rdlock(&log->lock) == EDEADLK)
        return SQ_E_REENTERED;
    return refuse(log);
}

int sq_lock_alone(sq_log *log)
{
    if (pthread_rwlock_wrlock(&log->lock) == EDEADLK)
        return SQ_E_REENTERED;
    return refuse(log);
}

void sq_unlock_alone(sq_log *log)
{
    log->kernels->fence();
    pthread_rwlock_unlock(&log->lock);
}

void sq_unlock(sq_log *log)
{
    pthread_rwlock_unlock(&log->lock);
}

int sq_log_invariant(sq_log *log, struct sq_invariant *invariant_out)
{
    if (__atomic_load_n(&log->latched, __ATOMIC_ACQUIRE) != 2)
        return SQ_E_NOT_FOUND;
    *invariant_out = log->invariant;
    return SQ_OK;
}
