/* log.c: the log as a whole: creation, closing, statistics. */
#include <stdlib.h>

#include "internal.h"
#include "pages.h"
#include "record.h"

static int init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
#if defined(__GLIBC__)
    /* A writer must not wait for as long as readers keep coming. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
    int status = pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return status == 0 ? SQ_OK : SQ_E_NO_MEMORY;
}

/* ---- creation and closing ------------------------------------------------------------------- */

/* A full map of so many blocks, 4 MiB, no longer fits the second-level cache. */
#define HUGE_MAP_BLOCKS ((uint64_t)1 << 20)

/* Fills the segment from its start with full records: how many data blocks is that? */
static uint32_t data_blocks(uint32_t segment_blocks, uint32_t record_entries)
{
    uint32_t record_blocks = record_entries + 1, rest = segment_blocks % record_blocks;
    return segment_blocks / record_blocks * record_entries + (rest == 0 ? 0 : rest - 1);
}

static void measure(sq_log *log, const struct sq_log_options *options)
{
    struct sq_geometry *geometry = &log->medium->geometry;
    log->block_count = geometry->block_count;
    log->block_bytes = geometry->block_bytes;
    log->block_shift = (uint32_t)__builtin_ctz(geometry->block_bytes);
    log->segment_blocks = geometry->zone_blocks;
    log->segment_count = (uint32_t)(geometry->block_count / geometry->zone_blocks);
    log->segment_magic = UINT64_MAX / geometry->zone_blocks + 1;
    log->record_entries = (geometry->block_bytes - SQ_HEAD_BYTES) / SQ_ENTRY_BYTES;
    log->segment_data = data_blocks(log->segment_blocks, log->record_entries);
    uint64_t capacity = (uint64_t)log->segment_count * log->segment_data;
    uint64_t usable = (uint64_t)((unsigned __int128)capacity * (1000000 - options->reserve_ppm) / 1000000);
    /* One segment is open and one is the cleaner's: less than the rest could leave it nothing to gain. */
    uint64_t most = (uint64_t)(log->segment_count - 2) * log->segment_data;
    log->stats.data_capacity_blocks = capacity;
    log->stats.usable_blocks = usable < most ? usable : most;
    log->stats.block_count = log->block_count;
}

static int init_ring(struct sq_ring *ring, uint32_t capacity)
{
    *ring = (struct sq_ring){.items = calloc(capacity, sizeof *ring->items), .capacity = capacity};
    return ring->items == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

/* 64-byte aligned, for the kernels. */
static uint8_t *buffer(size_t bytes)
{
    uint8_t *start = aligned_alloc(64, bytes);
    if (start != NULL)
        memset(start, 0, bytes);
    return start;
}

static int allocate(sq_log *log)
{
    log->ledger = sq_pages_array(log->block_count * sizeof *log->ledger);
    log->segments = calloc(log->segment_count, sizeof *log->segments);
    log->record.image = buffer(log->block_bytes);
    log->scratch = buffer(2 * (size_t)log->block_bytes);
    if (log->payload != NULL)
        log->checksums = sq_pages_array(log->block_count * sizeof *log->checksums);
    if (log->ledger == NULL || log->segments == NULL || log->record.image == NULL ||
        log->scratch == NULL || (log->payload != NULL && log->checksums == NULL))
        return SQ_E_NO_MEMORY;
    SQ_TRY(init_ring(&log->free_ring, log->segment_count));
    SQ_TRY(init_ring(&log->sealed_ring, log->segment_count));
    struct sq_volume *self;
    return sq_volume_add(log, 0, 0, &self);
}

static void leaf_moved(void *context, uint64_t owner, void *leaf)
{
    sq_log *log = context;
    sq_map_leaf_moved(&log->volumes[owner >> 32]->map, owner & 0xFFFFFFFF, leaf);
}

/* Everything but the lock and the reasons for refusing. */
static void release(sq_log *log)
{
    for (uint32_t slot = 0; slot < log->slot_count; slot++) {
        if (log->volumes[slot] != NULL)
            sq_map_discard(&log->volumes[slot]->map);
        free(log->volumes[slot]);
    }
    sq_medium_release(log->medium);
    if (log->record.image != NULL)
        sq_wipe(log->record.image, log->block_bytes);
    sq_leaf_pool_free(&log->leaves);
    sq_pages_unmap(log->ledger, log->block_count * sizeof *log->ledger);
    sq_pages_unmap(log->checksums, log->block_count * sizeof *log->checksums);
    free(log->segments);
    free(log->free_ring.items);
    free(log->sealed_ring.items);
    free(log->record.image);
    free(log->scratch);
    free(log->volumes);
    free(log->free_slots);
    log->slot_count = 0;
    log->volumes = NULL;
    log->free_slots = NULL;
    log->ledger = NULL;
    log->checksums = NULL;
    log->segments = NULL;
    log->free_ring.items = NULL;
    log->sealed_ring.items = NULL;
    log->record.image = NULL;
    log->scratch = NULL;
}

int sq_log_create(sq_medium *medium, const struct sq_log_options *options, sq_log **log_out)
{
    const struct sq_geometry *geometry = &medium->geometry;
    if (options->reserve_ppm >= 1000000 || geometry->block_count / geometry->zone_blocks < 4)
        return SQ_E_INVALID;
    sq_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return SQ_E_NO_MEMORY;
    if (init_lock(&log->lock) != SQ_OK) {
        free(log);
        return SQ_E_NO_MEMORY;
    }
    log->medium = medium;
    log->payload = medium->payload;
    log->tags = medium->tags;
    log->kernels = sq_kernels_at(0);
    log->drive = options->drive;
    log->verify = options->verify;
    measure(log, options);
    if (log->stats.usable_blocks == 0 || sq_medium_claim(medium) != SQ_OK) {
        pthread_rwlock_destroy(&log->lock);
        free(log);
        return SQ_E_INVALID;
    }
    sq_leaf_pool_init(&log->leaves, log->block_count >= HUGE_MAP_BLOCKS, leaf_moved, log);
    int status = allocate(log);
    if (status != SQ_OK) {
        sq_log_destroy(log);
        return status;
    }
    log->segments[0].state = SQ_SEGMENT_OPEN;
    for (uint32_t segment = 1; segment < log->segment_count; segment++)
        sq_ring_push(&log->free_ring, segment);
    *log_out = log;
    return SQ_OK;
}

void sq_log_close(sq_log *log)
{
    pthread_rwlock_wrlock(&log->lock);
    if (!log->closed)
        release(log);
    log->closed = 1;
    pthread_rwlock_unlock(&log->lock);
}

void sq_log_destroy(sq_log *log)
{
    if (log == NULL)
        return;
    if (!log->closed)
        release(log);
    pthread_rwlock_destroy(&log->lock);
    free(log);
}

/* ---- views ---------------------------------------------------------------------------------- */

int sq_log_stats(sq_log *log, struct sq_stats *stats_out)
{
    SQ_TRY(sq_lock_shared(log));
    *stats_out = log->stats;
    stats_out->head_mba = log->record.open ? sq_record_next_mba(log)
                                           : (uint64_t)log->open_segment * log->segment_blocks +
                                                 log->open_blocks;
    if (stats_out->head_mba == log->block_count)
        stats_out->head_mba = 0;
    stats_out->map_bytes = log->leaves.used_bytes + log->leaves.directory_bytes;
    sq_unlock(log);
    return SQ_OK;
}

int sq_log_raw(sq_log *log, uint64_t mba, uint64_t count, uint8_t *data_out)
{
    SQ_TRY(sq_lock_shared(log));
    int status = sq_medium_read(log->medium, mba, count, data_out, NULL);
    sq_unlock(log);
    return status;
}

int sq_log_segments(sq_log *log, uint64_t first, uint64_t count, struct sq_segment_info *out)
{
    SQ_TRY(sq_lock_shared(log));
    int inside = first <= log->segment_count && count <= log->segment_count - first;
    for (uint64_t i = 0; inside && i < count; i++) {
        const struct sq_segment *segment = &log->segments[first + i];
        uint64_t written = segment->state == SQ_SEGMENT_FREE ? 0 : log->segment_blocks;
        if (segment->state == SQ_SEGMENT_OPEN)
            written = log->open_blocks + (log->record.open ? 1 + (uint64_t)log->record.data_count : 0);
        out[i] = (struct sq_segment_info){
            .first_mba = (first + i) * log->segment_blocks,
            .live_blocks = segment->live_blocks,
            .write_pointer = written,
            .state = segment->state,
        };
    }
    sq_unlock(log);
    return inside ? SQ_OK : SQ_E_BOUNDS;
}
