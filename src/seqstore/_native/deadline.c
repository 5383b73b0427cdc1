/* deadline.c: bounds on how long deleted data lie, and what the cleaner does to keep them.
 *
 * A segment with residue has to be written over from its first block to its last before its due. Users'
 * writes do that, if a head takes it in time, and cost nothing; so it is enough that the segments that are
 * due first are free when heads need one. As long as there is time for all, the policy chooses what is
 * cleaned. When there is not (due.c), the segment that is due first is cleaned next, and heads take free
 * segments in the order of their dues, which is the best that any order can do.
 *
 * A head that fills so slowly that the rest of its segment would be late is filled up with zeros.
 */
#include "append.h"
#include "purge.h"

/* Segments of writing that may go elsewhere once time is short: what the heads have begun, what the cleaner
 * moves from a victim, and where that goes. */
#define MARGIN_SEGMENTS 4u

/* Where checkpoints use up free segments others may have to be cleaned before those that are due. */
static uint64_t of_checkpoints(const sq_log *log)
{
    const struct sq_durability *durable = &log->durable;
    uint64_t checkpoints = durable->on ? log->block_count / durable->checkpoint_interval : 0; /* in a lap */
    return checkpoints * durable->checkpoint_segments / 2;
}

static uint64_t margin(const sq_log *log)
{
    uint64_t segments = (uint64_t)log->class_count + log->cleaner.spare_segments + MARGIN_SEGMENTS;
    return (segments + of_checkpoints(log)) * log->segment_blocks;
}

/* Free segments are taken in the order of their dues, or, where that has to outlive the process, in the order
 * in which they were freed: then what is freed next comes behind all of them. Whatever is written meanwhile
 * brings it nearer by as much as time goes on, so that only the order in which segments are freed counts. */
static uint64_t queue(const sq_log *log)
{
    return log->durable.on ? (uint64_t)log->free_ring.count * log->segment_blocks : 0;
}

/* At worst everything is due at once, a lap from now. */
uint64_t sq_deadline_least(const sq_log *log)
{
    return log->block_count + margin(log) + 2 * sq_due_step(log);
}

int sq_deadline_presses(const sq_log *log, uint64_t segments)
{
    return sq_due_presses(log, margin(log) + queue(log) + segments * log->segment_blocks);
}

uint64_t sq_deadline_latest(const sq_log *log, uint64_t segments)
{
    return log->stats.position + margin(log) + segments * log->segment_blocks;
}

/* ---- heads ---------------------------------------------------------------------------------------- */

/* Puts a block of zeros into the open record. */
static int add_zeros(sq_log *log, uint64_t *padded_io)
{
    struct sq_entry_fields entry = {.kind = SQ_ENTRY_PAD};
    uint32_t mba = sq_record_next_mba(log);
    ++*padded_io;
    if (log->tags != NULL) {
        log->tags[mba] = 0;
    } else {
        uint8_t *place = sq_place_at(log, mba);
        memset(place, 0, log->block_bytes);
        entry.value = ~log->kernels->crc(sq_tag_crc(log, 0, 0), place, log->block_bytes);
    }
    return sq_block_add_own(log, &entry);
}

int sq_head_pad(sq_log *log, uint64_t *padded_io)
{
    while (log->head->open_blocks < log->segment_blocks) {
        if (!log->head->record.open)
            SQ_TRY(sq_record_open(log));
        while (sq_record_room(log) > 0)
            SQ_TRY(add_zeros(log, padded_io));
        SQ_TRY(sq_record_close(log));
    }
    return SQ_OK;
}

/* Recovery finds each head in a segment. One that was too slow for what was due there is not given the same
 * again, or it would use up the free segments. */
static int go_on(sq_log *log)
{
    uint32_t next = log->free_ring.items[log->free_ring.first];
    if (log->free_ring.count > 0 && log->dues.due != NULL && log->dues.due[next] != SQ_NEVER) {
        uint8_t *zeros = log->durable.clean_buffer;
        memset(zeros, 0, (size_t)SQ_ERASE_BLOCKS << log->block_shift);
        SQ_TRY(sq_segment_erase(log, next, zeros));
    }
    SQ_TRY(sq_segment_next(log));
    /* A record says where the head is before another takes a segment, and before its last one is free. */
    SQ_TRY(sq_record_open(log));
    SQ_TRY(add_zeros(log, &log->stats.overwritten_blocks));
    return sq_record_close(log);
}

int sq_head_end(sq_log *log, uint32_t class)
{
    uint32_t present = (uint32_t)(log->head - log->heads);
    SQ_TRY(sq_head_select(log, class));
    SQ_TRY(sq_record_close(log));
    SQ_TRY(sq_head_pad(log, &log->stats.overwritten_blocks));
    if (log->durable.on)
        SQ_TRY(go_on(log));
    else
        sq_head_seal(log, log->head);
    return sq_head_select(log, present);
}

/* ---- what comes next ------------------------------------------------------------------------------ */

int sq_deadline_heads(sq_log *log, uint32_t segments)
{
    for (uint32_t class = 0; log->dues.due != NULL && class < log->class_count; class++)
        if (log->dues.rest[class] < sq_deadline_latest(log, segments))
            SQ_TRY(sq_head_end(log, class));
    return SQ_OK;
}

/* So that the segment that is due first can be cleaned. */
static int finish_first(sq_log *log)
{
    for (;;) {
        uint32_t first = sq_due_first(log, 0);
        if (first == log->segment_count || log->segments[first].state != SQ_SEGMENT_OPEN)
            return SQ_OK;
        SQ_TRY(sq_head_end(log, log->segments[first].class));
    }
}

/* Free segments that are due before the first one that is not free. */
static uint32_t count_ready(const sq_log *log, uint64_t due)
{
    const struct sq_due_heap *heap = &log->dues.heaps[1];
    uint32_t ready = 0;
    for (uint32_t i = 0; i < heap->count; i++)
        ready += log->dues.due[heap->items[i]] <= due;
    return ready;
}

/* In memory the room in heads belongs to the cleaner while free segments are short: no head is filled up, and
 * if one should be, what gains most is cleaned first. */
static int choose_short(sq_log *log, uint32_t *victim_out)
{
    uint64_t latest = sq_deadline_latest(log, 1), rest = SQ_NEVER;
    for (uint32_t class = 0; class < log->class_count; class++)
        rest = log->dues.rest[class] < rest ? log->dues.rest[class] : rest;
    uint32_t first = sq_due_first(log, 0);
    int has_first = first != log->segment_count && log->segments[first].state != SQ_SEGMENT_OPEN;
    if (rest < latest || (!has_first && first != log->segment_count)) {
        SQ_CHECK(log, sq_clean_emptiest(log, victim_out) == SQ_OK);
        return SQ_OK;
    }
    *victim_out = first;
    return SQ_OK;
}

int sq_deadline_next(sq_log *log, uint32_t ready, uint32_t *victim_out)
{
    *victim_out = log->segment_count;
    /* Where the rests of heads are not counted, they are looked at in any case: a policy may clean a lap for
     * a few segments, and a head stands still meanwhile. */
    if (log->durable.on)
        SQ_TRY(sq_deadline_heads(log, 1));
    if (!sq_deadline_presses(log, 1))
        return SQ_OK;
    if (!log->durable.on) {
        if (log->free_ring.count < log->cleaner.spare_segments)
            return choose_short(log, victim_out);
        SQ_TRY(sq_deadline_heads(log, 1));
    }
    SQ_TRY(finish_first(log));
    uint32_t first = sq_due_first(log, 0);
    if (first != log->segment_count && count_ready(log, log->dues.due[first]) < ready)
        *victim_out = first;
    return SQ_OK;
}

/* ---- bounds --------------------------------------------------------------------------------------- */

static void bind(const sq_log *log, struct sq_layer *layer)
{
    uint64_t bound = log->bound < layer->work->bound ? log->bound : layer->work->bound;
    /* What was promised for a volume that has gone is kept, also where snapshots keep its layers. */
    for (uint32_t index = 0; index < log->volume_count; index++)
        if (log->volumes[index] != NULL && log->volumes[index]->number == layer->volume)
            layer->volume_bound = log->volumes[index]->bound;
    bound = layer->volume_bound < bound ? layer->volume_bound : bound;
    layer->bound = layer->dropped && layer->bound < bound ? layer->bound : bound;
}

void sq_deadline_bind(const sq_log *log, struct sq_layer *layer)
{
    if (layer->slot != 0)
        bind(log, layer);
}

/* What was promised for a volume that has gone, before the log was opened. */
static void bind_gone(const sq_log *log, uint64_t volume, uint64_t blocks)
{
    for (uint32_t slot = 1; slot < log->layer_count; slot++) {
        struct sq_layer *layer = log->layers[slot];
        if (layer != NULL && layer->volume == volume && blocks < layer->volume_bound)
            layer->volume_bound = blocks;
    }
}

/* What was promised outranks how often the log is to be checkpointed in this opening. */
static void make_room_for(sq_log *log, uint64_t bound)
{
    while (log->durable.on && sq_deadline_least(log) > bound && of_checkpoints(log) > 0)
        log->durable.checkpoint_interval *= 2;
}

/* So does what is due: less time may be left for it than checkpoints take that come more often than when it
 * died. */
static void make_room_for_dues(sq_log *log)
{
    while (log->durable.on && of_checkpoints(log) > 0 && sq_deadline_presses(log, 0))
        log->durable.checkpoint_interval *= 2;
}

static int set_bound(sq_log *log, int scope, uint64_t id, uint64_t blocks)
{
    struct sq_work *work;
    switch (scope) {
    case SQ_SCOPE_ALL:
        log->bound = blocks;
        return SQ_OK;
    case SQ_SCOPE_TENANT:
        SQ_TRY(sq_work_of(log, id, &work));
        work->bound = blocks;
        return SQ_OK;
    default:
        for (uint32_t index = 0; index < log->volume_count; index++)
            if (log->volumes[index] != NULL && log->volumes[index]->number == id) {
                log->volumes[index]->bound = blocks;
                return SQ_OK;
            }
        return SQ_E_NOT_FOUND;
    }
}

int sq_log_bound(sq_log *log, int scope, uint64_t scope_id, uint64_t blocks, int is_kept,
                 struct sq_fault *fault_out)
{
    if (scope != SQ_SCOPE_ALL && scope != SQ_SCOPE_TENANT && scope != SQ_SCOPE_VOLUME)
        return SQ_E_INVALID;
    SQ_TRY(sq_lock_alone(log));
    int status = SQ_OK;
    if (is_kept)
        make_room_for(log, blocks);
    if (blocks < sq_deadline_least(log)) {
        if (fault_out != NULL)
            fault_out->count = sq_deadline_least(log);
        status = SQ_E_BOUND;
    }
    if (status == SQ_OK)
        status = set_bound(log, scope, scope_id, blocks < SQ_NEVER ? blocks : SQ_NEVER);
    if (status == SQ_E_NOT_FOUND && is_kept) {
        bind_gone(log, scope_id, blocks);
        status = SQ_OK;
    }
    for (uint32_t slot = 1; status == SQ_OK && slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL)
            bind(log, log->layers[slot]);
    if (status == SQ_OK)
        status = sq_due_settle(log, is_kept ? 0 : sq_deadline_least(log));
    if (status == SQ_OK && is_kept)
        make_room_for_dues(log);
    sq_unlock_alone(log);
    return status;
}

int sq_log_smallest_bound(sq_log *log, uint64_t *blocks_out)
{
    SQ_TRY(sq_lock_shared(log));
    *blocks_out = sq_deadline_least(log);
    sq_unlock(log);
    return SQ_OK;
}
