/* log.c: the log as a whole: creation and closing. views.c looks at it. */
#include <stdlib.h>

#include "due.h"
#include "layer.h"
#include "pages.h"
#include "record.h"
#include "recorder.h"

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
    log->entry_bytes = log->sealing.on ? SQ_SEALED_ENTRY_BYTES : SQ_ENTRY_BYTES;
    log->record_entries = (geometry->block_bytes - SQ_HEAD_BYTES) / log->entry_bytes;
    log->record_blocks =
        log->record_entries < log->segment_blocks - 1 ? log->record_entries : log->segment_blocks - 1;
    log->segment_data = data_blocks(log->segment_blocks, log->record_entries);
    log->summary_size = 1;
    if (options->summaries_apart) {
        log->summary_size = 0;
        log->record_entries = UINT32_MAX;
        log->record_blocks = log->segment_data = log->segment_blocks;
    }
    uint64_t capacity = (uint64_t)log->segment_count * log->segment_data;
    uint64_t usable = (uint64_t)((unsigned __int128)capacity * (1000000 - options->reserve_ppm) / 1000000);
    /* The heads' segments are open, and some are the cleaner's: less than the rest could leave it nothing to
     * gain. */
    uint64_t kept = (uint64_t)log->class_count + log->cleaner.spare_segments;
    uint64_t most = log->segment_count <= kept ? 0 : (log->segment_count - kept) * log->segment_data;
    log->stats.data_capacity_blocks = capacity;
    log->stats.usable_blocks = usable < most ? usable : most;
    log->stats.block_count = log->block_count;
}

static int init_ring(struct sq_ring *ring, uint32_t capacity)
{
    *ring = (struct sq_ring){.items = calloc(capacity, sizeof *ring->items), .capacity = capacity};
    return ring->items == NULL ? SQ_E_NO_MEMORY : SQ_OK;
}

uint8_t *sq_buffer(size_t bytes)
{
    size_t whole = (bytes + 4095) / 4096 * 4096;
    uint8_t *start = aligned_alloc(4096, whole);
    if (start != NULL)
        memset(start, 0, whole);
    return start;
}

/* What only a log on a medium that outlives the process needs. */
static int allocate_durable(sq_log *log, const struct sq_log_options *options)
{
    struct sq_durability *durable = &log->durable;
    durable->read_only = options->read_only != 0;
    durable->next_opening = options->opening;
    durable->newest = calloc(log->segment_count, sizeof *durable->newest);
    durable->freed = calloc(log->segment_count, sizeof *durable->freed);
    durable->window = calloc(durable->window_segments, sizeof *durable->window);
    durable->clean_buffer = sq_buffer((size_t)SQ_CLEAN_SPAN << log->block_shift);
    int complete = durable->newest != NULL && durable->freed != NULL && durable->window != NULL &&
                   durable->clean_buffer != NULL;
    return complete ? SQ_OK : SQ_E_NO_MEMORY;
}

/* Bytes of the record that is being filled: on media in memory, of its summary alone. */
static size_t image_bytes(const sq_log *log)
{
    return (log->medium->ops == NULL ? 1 : (size_t)log->record_blocks + 1) << log->block_shift;
}

/* Where the records of all heads are one sequence they share the buffer: one is open at a time. */
static int allocate_heads(sq_log *log)
{
    log->heads = calloc(SQ_CLASSES_MAX, sizeof *log->heads);
    if (log->heads == NULL)
        return SQ_E_NO_MEMORY;
    log->head = log->heads;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        struct sq_head *head = &log->heads[class];
        head->segment = SQ_NO_SEGMENT;
        head->open_blocks = log->segment_blocks;
        int is_shared = class > 0 && log->medium->ops != NULL;
        if (log->tags != NULL || (!is_shared && class >= log->class_count))
            continue;
        head->record.image = is_shared ? log->heads[0].record.image : sq_buffer(image_bytes(log));
        if (head->record.image == NULL)
            return SQ_E_NO_MEMORY;
    }
    return SQ_OK;
}

/* From now on records gather before they are written. */
int sq_log_gather(sq_log *log)
{
    uint64_t *pending = calloc((size_t)log->record_blocks + 1, sizeof *pending);
    if (pending == NULL)
        return SQ_E_NO_MEMORY;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++)
        log->heads[class].record.pending = pending;
    return SQ_OK;
}

static void release_heads(sq_log *log)
{
    uint32_t images = log->medium->ops != NULL ? 1 : log->class_count;
    if (log->heads == NULL)
        return;
    free(log->heads[0].record.pending);
    for (uint32_t class = 0; class < images; class++) {
        if (log->heads[class].record.image != NULL)
            sq_wipe(log->heads[class].record.image, image_bytes(log));
        free(log->heads[class].record.image);
    }
    free(log->heads);
    log->heads = log->head = NULL;
}

static int allocate(sq_log *log, const struct sq_log_options *options)
{
    log->ledger = sq_pages_array(log->block_count * sizeof *log->ledger);
    log->segments = calloc(log->segment_count, sizeof *log->segments);
    log->scratch = sq_buffer(2 * (size_t)log->block_bytes);
    if (log->ledger == NULL || log->segments == NULL || log->scratch == NULL)
        return SQ_E_NO_MEMORY;
    SQ_TRY(allocate_heads(log));
    if (log->tags == NULL) {
        log->checksums = sq_pages_array(log->block_count * sizeof *log->checksums);
        if (log->checksums == NULL)
            return SQ_E_NO_MEMORY;
    }
    if (log->medium->ops != NULL)
        SQ_TRY(allocate_durable(log, options));
    SQ_TRY(sq_sealing_init(log, options));
    SQ_TRY(init_ring(&log->free_ring, log->segment_count));
    SQ_TRY(sq_list_init(&log->sealed, log->segment_count));
    int is_by_class = log->medium->ops != NULL || log->cleaner.placement == SQ_PLACE_CUSTOM;
    if (is_by_class && log->class_count > 1 &&
        (log->cleaner.victim_classes = calloc(log->segment_blocks, 1)) == NULL)
        return SQ_E_NO_MEMORY;
    SQ_TRY(sq_cleaner_init(log, options));
    SQ_TRY(sq_place_init(log));
    if (options->note_operations)
        SQ_TRY(sq_recorder_init(log));
    struct sq_layer *self;
    return sq_layer_add(log, 0, 0, 0, NULL, &self);
}

/* Maps name themselves to the pool by the slot of their layer, those of holes with a bit more. */
static void leaf_moved(void *context, uint64_t owner, void *leaf)
{
    sq_log *log = context;
    uint64_t map = owner >> 32;
    struct sq_layer *layer = log->layers[map & (SQ_OWNER_HOLES - 1)];
    sq_map_leaf_moved(map & SQ_OWNER_HOLES ? &layer->holes : &layer->map, owner & 0xFFFFFFFF, leaf);
}

static void release_durable(sq_log *log)
{
    struct sq_durability *durable = &log->durable;
    if (durable->clean_buffer != NULL)
        sq_wipe(durable->clean_buffer, (size_t)SQ_CLEAN_SPAN << log->block_shift);
    free(durable->newest);
    free(durable->freed);
    free(durable->window);
    free(durable->clean_buffer);
    durable->newest = NULL;
    durable->freed = NULL;
    durable->window = NULL;
    durable->clean_buffer = NULL;
}

static void release_tables(sq_log *log)
{
    for (uint32_t slot = 0; slot < log->layer_count; slot++) {
        if (log->layers[slot] != NULL) {
            sq_map_discard(&log->layers[slot]->map);
            sq_map_discard(&log->layers[slot]->holes);
        }
        free(log->layers[slot]);
    }
    for (uint32_t index = 0; index < log->volume_count; index++)
        free(log->volumes[index]);
    for (uint32_t i = 0; i < log->work_count; i++)
        free(log->works[i]);
    free(log->works);
    free(log->layers);
    free(log->free_slots);
    free(log->volumes);
    free(log->free_indexes);
    log->layer_count = 0;
    log->volume_count = 0;
    log->work_count = 0;
    log->works = NULL;
    log->layers = NULL;
    log->free_slots = NULL;
    log->volumes = NULL;
    log->free_indexes = NULL;
}

/* Everything but the locks and the reasons for refusing. */
static void release(sq_log *log)
{
    release_heads(log);
    release_durable(log);
    sq_sealing_free(log);
    sq_place_free(log);
    sq_recorder_free(log);
    sq_due_release(&log->dues);
    free(log->gone.runs);
    log->gone = (struct sq_gone){0};
    sq_cleaner_free(&log->cleaner);
    release_tables(log);
    sq_medium_release(log->medium);
    sq_leaf_pool_free(&log->leaves);
    sq_pages_unmap(log->ledger, log->block_count * sizeof *log->ledger);
    sq_pages_unmap(log->checksums, log->block_count * sizeof *log->checksums);
    free(log->segments);
    free(log->free_ring.items);
    sq_list_free(&log->sealed);
    free(log->scratch);
    log->ledger = NULL;
    log->checksums = NULL;
    log->segments = NULL;
    log->free_ring.items = NULL;
    log->scratch = NULL;
}

static int init_locks(sq_log *log)
{
    SQ_TRY(init_lock(&log->lock));
    (void)pthread_mutex_init(&log->sealing.loading, NULL);
    if (sq_sync_init(log) == SQ_OK)
        return SQ_OK;
    (void)pthread_mutex_destroy(&log->sealing.loading);
    pthread_rwlock_destroy(&log->lock);
    return SQ_E_NO_MEMORY;
}

static void free_handle(sq_log *log)
{
    sq_sync_free(log);
    (void)pthread_mutex_destroy(&log->sealing.loading);
    pthread_rwlock_destroy(&log->lock);
    free(log);
}

int sq_log_make(sq_medium *medium, const struct sq_log_options *options, int is_old, sq_log **log_out)
{
    const struct sq_geometry *geometry = &medium->geometry;
    if (options->reserve_ppm >= 1000000 || geometry->block_count / geometry->zone_blocks < 4)
        return SQ_E_INVALID;
    sq_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return SQ_E_NO_MEMORY;
    if (init_locks(log) != SQ_OK) {
        free(log);
        return SQ_E_NO_MEMORY;
    }
    log->medium = medium;
    log->payload = medium->payload;
    log->tags = medium->tags;
    log->kernels = sq_kernels_at(0);
    log->drive = options->drive;
    log->bound = SQ_NEVER;
    log->verify = options->verify;
    log->sealing.on = options->sealed != 0;
    int status = sq_place_plan(log, options);
    if (status == SQ_OK && (options->selection > SQ_SELECT_CUSTOM ||
                            (options->summaries_apart && medium->tags == NULL) ||
                            (options->note_operations && !options->summaries_apart) ||
                            (options->sealed && medium->ops == NULL)))
        status = SQ_E_INVALID;
    if (status == SQ_OK)
        measure(log, options);
    if (status == SQ_OK && medium->ops != NULL)
        status = sq_checkpoint_plan(log, options);
    if (status == SQ_OK && log->stats.usable_blocks == 0)
        status = SQ_E_INVALID;
    if (status == SQ_OK)
        status = is_old ? sq_medium_adopt(medium) : sq_medium_claim(medium);
    if (status != SQ_OK) {
        free_handle(log);
        return status;
    }
    sq_leaf_pool_init(&log->leaves, log->block_count >= HUGE_MAP_BLOCKS, leaf_moved, log);
    status = allocate(log, options);
    if (status != SQ_OK) {
        sq_log_destroy(log);
        return status;
    }
    *log_out = log;
    return SQ_OK;
}

/* An empty log is on the medium, and safe there. */
static int begin_durable(sq_log *log)
{
    SQ_TRY(sq_log_gather(log));
    log->durable.on = 1;
    log->durable.begun = 1;
    log->durable.opening = log->durable.next_opening;
    return sq_checkpoint_write(log, 0);
}

int sq_log_create(sq_medium *medium, const struct sq_log_options *options, sq_log **log_out)
{
    sq_log *log;
    SQ_TRY(sq_log_make(medium, options, 0, &log));
    for (uint32_t segment = 1; segment < log->segment_count; segment++)
        sq_ring_push(&log->free_ring, segment);
    log->head->segment = 0;
    log->head->open_blocks = 0;
    sq_segment_begin(log, log->head);
    int status = medium->ops == NULL ? SQ_OK : begin_durable(log);
    if (status != SQ_OK) {
        sq_log_destroy(log);
        return status;
    }
    *log_out = log;
    return SQ_OK;
}

int sq_log_checkpoint(sq_log *log, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    int status = sq_request_begin(log, 0, 1);
    sq_request_end(log, status);
    /* Bounds have a reserve for checkpoints that come by themselves. */
    if (status == SQ_OK && log->durable.on)
        status = sq_deadline_keep(log, 2 * (uint64_t)log->durable.checkpoint_segments);
    if (status == SQ_OK && log->durable.on)
        status = sq_checkpoint_write(log, 0);
    sq_fault_io(log, status, fault_out);
    sq_unlock_alone(log);
    return status;
}

void sq_log_disown(sq_log *log)
{
    log->durable.disowned = 1;
}

/* The last thing that the medium learns of this use of the log. */
static int finish(sq_log *log)
{
    struct sq_durability *durable = &log->durable;
    if (durable->disowned)
        return SQ_E_DISOWNED;
    if (!durable->on || durable->read_only || durable->clean)
        return SQ_OK;
    /* After a crash the log may not have been used yet: then its use begins and ends here. */
    int status = sq_request_begin(log, 0, 1);
    SQ_TRY(sq_request_end(log, status));
    SQ_TRY(sq_checkpoint_write(log, 1));
    durable->clean = 1;
    return SQ_OK;
}

int sq_log_finish(sq_log *log, struct sq_fault *fault_out)
{
    SQ_TRY(sq_lock_alone(log));
    int status = sq_fault_io(log, finish(log), fault_out);
    log->durable.ended = 1;
    sq_unlock_alone(log);
    return status;
}

void sq_log_close(sq_log *log)
{
    /* A function that the log has called cannot end it. */
    if (pthread_rwlock_wrlock(&log->lock) != 0)
        return;
    if (!log->closed) {
        sq_sync_drain(log);
        release(log);
    }
    log->closed = 1;
    pthread_rwlock_unlock(&log->lock);
}

void sq_log_destroy(sq_log *log)
{
    if (log == NULL)
        return;
    if (!log->closed)
        release(log);
    free_handle(log);
}
