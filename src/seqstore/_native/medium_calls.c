/* medium_calls.c: a medium that is somebody else's functions. Nothing is locked while they run. */
#include <stdlib.h>
#include <string.h>

#include "medium.h"

struct calls {
    struct sq_medium_calls functions;
    void *context;
};

static int calls_append(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data)
{
    const struct calls *calls = medium->backend;
    return calls->functions.append(calls->context, mba, count, data);
}

static int calls_read(sq_medium *medium, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    const struct calls *calls = medium->backend;
    /* A function that fills less leaves zeros, not what this memory held before. */
    memset(data_out, 0, count * medium->geometry.block_bytes);
    return calls->functions.read(calls->context, mba, count, data_out);
}

static int calls_sync(sq_medium *medium)
{
    const struct calls *calls = medium->backend;
    return calls->functions.sync(calls->context);
}

static int calls_reset(sq_medium *medium, uint64_t zone)
{
    const struct calls *calls = medium->backend;
    return calls->functions.reset(calls->context, zone);
}

static int calls_overwrite(sq_medium *medium, uint64_t mba, uint64_t count, const uint8_t *data)
{
    const struct calls *calls = medium->backend;
    return calls->functions.overwrite(calls->context, mba, count, data);
}

static void calls_destroy(sq_medium *medium)
{
    free(medium->backend);
}

static const struct sq_medium_ops calls_ops = {
    .append = calls_append,
    .read = calls_read,
    .sync = calls_sync,
    .reset = calls_reset,
    .overwrite = calls_overwrite,
    .destroy = calls_destroy,
};

/* Of a medium that cannot be sanitized. */
static const struct sq_medium_ops calls_ops_without_overwrite = {
    .append = calls_append,
    .read = calls_read,
    .sync = calls_sync,
    .reset = calls_reset,
    .destroy = calls_destroy,
};

int sq_medium_create_calls(const struct sq_geometry *geometry, const struct sq_medium_calls *functions,
                           void *context, sq_medium **medium_out)
{
    if (functions->append == NULL || functions->read == NULL || functions->sync == NULL ||
        functions->reset == NULL)
        return SQ_E_INVALID;
    struct calls *calls = malloc(sizeof *calls);
    if (calls == NULL)
        return SQ_E_NO_MEMORY;
    *calls = (struct calls){.functions = *functions, .context = context};
    const struct sq_medium_ops *ops =
        functions->overwrite == NULL ? &calls_ops_without_overwrite : &calls_ops;
    int status = sq_medium_make(SQ_MEDIUM_CALLS, geometry, ops, calls, medium_out);
    if (status != SQ_OK)
        free(calls);
    return status;
}
