/* checkpoint.c: writing down the log's state, so that recovery need not read the log from its beginning.
 *
 * A checkpoint is a stream of bytes, cut into blocks that go to the head like data, in records of their
 * own. It tells the state before its first record. Volumes, layers, holes and rings are put together in
 * memory, since writing the stream changes the rings; the tables of segments, most of it, are made page by
 * page.
 *
 * Cost: 12 bytes a media block that was ever written, 0.3 % of a drive with blocks of 4 KiB.
 */
#include "checkpoint.h"

#include <stdlib.h>

#include "append.h"
#include "bytes.h"

#define MIB ((uint64_t)1 << 20)
#define HEADS_BYTES ((uint64_t)SQ_CLASSES_MAX * SQ_CKP_OPEN_BYTES)

/* ---- sizes ---------------------------------------------------------------------------------- */

static uint64_t at_least(uint64_t value, uint64_t least)
{
    return value < least ? least : value;
}

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value > most ? most : value;
}

uint64_t sq_checkpoint_most_bytes(const sq_log *log)
{
    uint64_t table = SQ_CKP_TABLE_HEAD_BYTES + (uint64_t)SQ_CKP_BLOCK_BYTES * log->segment_blocks;
    uint64_t heads = (log->class_count - 1) * (uint64_t)SQ_CKP_OPEN_BYTES;
    return SQ_CKP_HEAD_BYTES + heads + log->durable.tables_most_bytes +
           log->segment_count * (2 * (uint64_t)SQ_CKP_RUN_BYTES + table);
}

/* Segments that the largest checkpoint takes, the rest of the open one not counted. */
static uint64_t most_segments(const sq_log *log)
{
    uint64_t pages = (sq_checkpoint_most_bytes(log) + log->block_bytes - 1) >> log->block_shift;
    return (pages + 2) / log->segment_data + 1;
}

int sq_checkpoint_plan(sq_log *log, const struct sq_log_options *options)
{
    struct sq_durability *durable = &log->durable;
    uint64_t segments = log->segment_count, segment_bytes = (uint64_t)log->segment_blocks << log->block_shift;
    uint64_t capacity_bytes = log->block_count << log->block_shift;
    durable->tables_most_bytes = at_least(capacity_bytes / 256, 4 * (uint64_t)log->block_bytes);
    uint64_t checkpoint = most_segments(log);
    durable->checkpoint_segments = (uint32_t)checkpoint;
    /* Those of the cleaner, one for the record that marks an opening. */
    durable->kept_segments = (uint32_t)(1 + log->cleaner.spare_segments + checkpoint);
    durable->batch_segments = (uint32_t)at_least(at_most(segments / 32, 64 * MIB / segment_bytes), 1);
    /* A request of a few blocks is whole even where segments are tiny. */
    uint64_t unit = at_least(at_most(segments / 64, 16 * MIB / segment_bytes), 1 + 16 / log->segment_data);
    durable->atomic_blocks = unit * log->segment_data - 4;
    durable->window_segments = (uint32_t)at_least(
        at_most(options->window_blocks == 0 ? 64 * MIB / segment_bytes
                                            : options->window_blocks / log->segment_blocks, segments / 8), 1);
    uint64_t pages = checkpoint * log->segment_data;
    durable->checkpoint_interval =
        options->checkpoint_blocks != 0
            ? options->checkpoint_blocks
            : at_most(at_least(16 * pages, 64 * MIB >> log->block_shift), log->block_count / 4);
    /* The open segments, one that is filled in part, what the newest checkpoint lies in, and what has to be
     * free before a request. With classes each block of a request may need a summary of its own, and cleaning
     * a segment leaves a record that is not full in each class. */
    uint64_t classes = log->class_count, wasted = 2 * (classes - 1);
    uint64_t other = 1 + classes + (checkpoint + 1) + durable->kept_segments +
                     (classes > 1 ? 2 * unit + classes : unit + 1) + durable->batch_segments;
    if (segments <= other || log->segment_data <= 2 * wasted)
        return SQ_E_INVALID;
    log->stats.usable_blocks = at_most(log->stats.usable_blocks,
                                       (segments - other) * (log->segment_data - wasted));
    log->stats.atomic_blocks = durable->atomic_blocks;
    return SQ_OK;
}

/* ---- the part that is put together in memory --------------------------------------------------- */

struct draft {
    uint8_t *bytes;
    uint64_t count;
    uint32_t *index_of_slot; /* place of each layer in the list */
    uint8_t *has_table;      /* by segment */
    uint32_t tables;
};

static void discard(struct draft *draft)
{
    free(draft->bytes);
    free(draft->index_of_slot);
    free(draft->has_table);
}

static uint8_t *take(struct draft *draft, uint64_t bytes)
{
    uint8_t *at = draft->bytes + draft->count;
    draft->count += bytes;
    return at;
}

static void draft_volumes(const sq_log *log, struct draft *draft, uint32_t *count_out)
{
    uint32_t count = 0;
    for (uint32_t index = 0; index < log->volume_count; index++) {
        const struct sq_volume *volume = log->volumes[index];
        if (volume == NULL)
            continue;
        uint8_t *at = take(draft, SQ_CKP_VOLUME_BYTES);
        sq_put_u64(at, volume->number);
        sq_put_u64(at + 8, volume->tenant);
        sq_put_u64(at + 16, volume->size_bytes);
        sq_put_u64(at + 24, volume->head->number);
        sq_put_u64(at + 32, volume->origin);
        sq_put_u32(at + 40, (volume->unwritten_error ? SQ_CKP_UNWRITTEN_ERROR : 0) |
                                (volume->is_snapshot ? SQ_CKP_SNAPSHOT : 0));
        count++;
    }
    *count_out = count;
}

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = (*(struct sq_layer *const *)left)->number, b = (*(struct sq_layer *const *)right)->number;
    return (a > b) - (a < b);
}

static int draft_layers(const sq_log *log, struct draft *draft, uint32_t *count_out)
{
    const struct sq_layer **sorted = calloc(log->layer_count, sizeof *sorted);
    if (sorted == NULL)
        return SQ_E_NO_MEMORY;
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL)
            sorted[count++] = log->layers[slot];
    qsort(sorted, count, sizeof *sorted, compare_numbers);
    for (uint32_t index = 0; index < count; index++) {
        uint8_t *at = take(draft, SQ_CKP_LAYER_BYTES);
        sq_put_u64(at, sorted[index]->number);
        sq_put_u64(at + 8, sorted[index]->tenant);
        sq_put_u64(at + 16, sorted[index]->volume);
        sq_put_u64(at + 24, sorted[index]->parent == NULL ? 0 : sorted[index]->parent->number);
        sq_put_u32(at + 32, sorted[index]->dropped ? SQ_CKP_DROPPED : 0);
        draft->index_of_slot[sorted[index]->slot] = index;
    }
    free(sorted);
    *count_out = count;
    return SQ_OK;
}

static void draft_holes(const struct sq_layer *layer, struct draft *draft, uint32_t *count)
{
    const struct sq_map *holes = &layer->holes;
    for (uint64_t leaf = 0; leaf < holes->leaf_count; leaf++) {
        if (holes->directory[leaf] == 0 || SQ_PLANTED(checkpoint_forgets_holes))
            continue;
        uint8_t *at = take(draft, SQ_CKP_HOLES_BYTES);
        sq_put_u64(at, layer->number);
        sq_put_u64(at + 8, leaf);
        for (uint32_t i = 0; i < SQ_LEAF_BLOCKS; i++)
            if (sq_map_get(holes, leaf * SQ_LEAF_BLOCKS + i) != SQ_UNMAPPED)
                at[16 + i / 8] = (uint8_t)(at[16 + i / 8] | 1u << i % 8);
        ++*count;
    }
}

/* The open segments of all heads but the one in use. */
static uint32_t draft_heads(const sq_log *log, struct draft *draft)
{
    uint32_t count = 0;
    for (uint32_t class = 0; class < SQ_CLASSES_MAX; class++) {
        const struct sq_head *head = &log->heads[class];
        if (head->segment == SQ_NO_SEGMENT || head == log->head)
            continue;
        uint8_t *at = take(draft, SQ_CKP_OPEN_BYTES);
        sq_put_u32(at, class);
        sq_put_u32(at + 4, head->segment);
        sq_put_u32(at + 8, head->open_blocks);
        count++;
    }
    return count;
}

/* Segments one after the other, as runs of neighbours. */
struct runs {
    uint8_t *last;
    uint32_t count;
};

static void draft_segment(struct runs *runs, struct draft *draft, uint32_t segment)
{
    if (runs->count > 0 && sq_get_u32(runs->last) + sq_get_u32(runs->last + 4) == segment) {
        sq_put_u32(runs->last + 4, sq_get_u32(runs->last + 4) + 1);
        return;
    }
    runs->last = take(draft, SQ_CKP_RUN_BYTES);
    sq_put_u32(runs->last, segment);
    sq_put_u32(runs->last + 4, 1);
    runs->count++;
}

static uint32_t draft_free(const sq_log *log, struct draft *draft)
{
    const struct sq_ring *ring = &log->free_ring;
    struct runs runs = {0};
    for (uint32_t i = 0; i < ring->count; i++)
        draft_segment(&runs, draft, ring->items[((uint64_t)ring->first + i) % ring->capacity]);
    return runs.count;
}

static uint32_t draft_sealed(const sq_log *log, struct draft *draft)
{
    uint32_t segment = sq_list_first(&log->sealed, log->segment_count);
    struct runs runs = {0};
    for (; segment != log->segment_count; segment = log->sealed.next[segment])
        draft_segment(&runs, draft, segment);
    return runs.count;
}

static void find_tables(const sq_log *log, struct draft *draft)
{
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        const uint64_t *entry = &log->ledger[(uint64_t)segment * log->segment_blocks];
        for (uint32_t i = 0; i < log->segment_blocks && !draft->has_table[segment]; i++)
            draft->has_table[segment] = entry[i] != 0;
        draft->tables += draft->has_table[segment];
    }
}

static int draft_state(const sq_log *log, struct draft *draft)
{
    uint64_t rings = 2 * SQ_CKP_RUN_BYTES * (uint64_t)log->segment_count;
    uint64_t most = SQ_CKP_HEAD_BYTES + sq_tables_bytes(log) + rings + HEADS_BYTES;
    draft->bytes = calloc(1, most);
    draft->index_of_slot = calloc(log->layer_count, sizeof *draft->index_of_slot);
    draft->has_table = calloc(log->segment_count, 1);
    if (draft->bytes == NULL || draft->index_of_slot == NULL || draft->has_table == NULL)
        return SQ_E_NO_MEMORY;
    uint32_t volumes, layers, leaves = 0;
    take(draft, SQ_CKP_HEAD_BYTES);
    draft_volumes(log, draft, &volumes);
    SQ_TRY(draft_layers(log, draft, &layers));
    for (uint32_t slot = 0; slot < log->layer_count; slot++)
        if (log->layers[slot] != NULL)
            draft_holes(log->layers[slot], draft, &leaves);
    uint32_t heads = draft_heads(log, draft);
    uint32_t free_runs = draft_free(log, draft);
    uint32_t sealed_runs = draft_sealed(log, draft);
    find_tables(log, draft);
    uint64_t table = SQ_CKP_TABLE_HEAD_BYTES + (uint64_t)SQ_CKP_BLOCK_BYTES * log->segment_blocks;
    uint8_t *head = draft->bytes;
    memcpy(head + SQ_CKP_AT_MAGIC, SQ_CHECKPOINT_MAGIC, 8);
    sq_put_u32(head + SQ_CKP_AT_VERSION, SQ_CHECKPOINT_VERSION);
    sq_put_u32(head + SQ_CKP_AT_HEADS, heads);
    sq_put_u64(head + SQ_CKP_AT_DRIVE, log->drive);
    sq_put_u64(head + SQ_CKP_AT_SEQUENCE, log->sequence + 1);
    sq_put_u64(head + SQ_CKP_AT_POSITION, log->stats.position);
    sq_put_u64(head + SQ_CKP_AT_LAST_NUMBER, log->last_number);
    sq_put_u32(head + SQ_CKP_AT_VOLUMES, volumes);
    sq_put_u32(head + SQ_CKP_AT_LAYERS, layers);
    sq_put_u32(head + SQ_CKP_AT_HOLE_LEAVES, leaves);
    sq_put_u32(head + SQ_CKP_AT_FREE_RUNS, free_runs);
    sq_put_u32(head + SQ_CKP_AT_SEALED_RUNS, sealed_runs);
    sq_put_u32(head + SQ_CKP_AT_TABLES, draft->tables);
    sq_put_u32(head + SQ_CKP_AT_OPEN_SEGMENT, log->head->segment);
    sq_put_u32(head + SQ_CKP_AT_OPEN_BLOCKS, log->head->open_blocks);
    sq_put_u64(head + SQ_CKP_AT_OPENING, log->durable.opening);
    sq_put_u64(head + SQ_CKP_AT_STREAM_BYTES, draft->count + draft->tables * table);
    return SQ_OK;
}

/* ---- the stream ----------------------------------------------------------------------------- */

struct stream {
    sq_log *log;
    uint8_t *page; /* the block that is being filled */
    uint32_t filled;
    uint32_t pages;
    uint64_t first_sequence;
    uint32_t start_segment; /* the open one and how much of it was written, before the stream */
    uint32_t start_blocks;
};

static int stream_page(struct stream *stream)
{
    sq_log *log = stream->log;
    SQ_TRY(sq_head_advance(log, 0));
    memcpy(sq_place_at(log, sq_record_next_mba(log)), stream->page, log->block_bytes);
    uint32_t checksum = ~log->kernels->crc(sq_tag_crc(log, 0, stream->pages), stream->page, log->block_bytes);
    SQ_TRY(sq_block_add_own(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_CHECKPOINT, .lba = stream->pages,
                                                           .value = checksum}));
    log->stats.checkpoint_blocks++;
    stream->pages++;
    stream->filled = 0;
    memset(stream->page, 0, log->block_bytes);
    return SQ_OK;
}

static int stream_put(struct stream *stream, const uint8_t *data, uint64_t count)
{
    while (count > 0) {
        uint64_t room = stream->log->block_bytes - stream->filled;
        uint64_t here = count < room ? count : room;
        memcpy(stream->page + stream->filled, data, here);
        stream->filled += (uint32_t)here;
        data += here;
        count -= here;
        if (stream->filled == stream->log->block_bytes)
            SQ_TRY(stream_page(stream));
    }
    return SQ_OK;
}

/* Was the block written by this stream? It tells the state before itself: then nothing is there. */
static int is_own(const struct stream *stream, uint32_t segment, uint32_t offset)
{
    const sq_log *log = stream->log;
    /* The stream has not come so far yet: the old blocks still lie there. */
    if (segment == log->head->segment && offset >= log->head->open_blocks)
        return 0;
    if (segment == stream->start_segment)
        return offset >= stream->start_blocks;
    return log->durable.newest[segment] >= stream->first_sequence;
}

static int stream_table(struct stream *stream, const struct draft *draft, uint32_t segment)
{
    const sq_log *log = stream->log;
    uint8_t head[SQ_CKP_TABLE_HEAD_BYTES] = {0}, row[SQ_CKP_BLOCK_BYTES];
    sq_put_u32(head, segment);
    SQ_TRY(stream_put(stream, head, sizeof head));
    for (uint32_t offset = 0; offset < log->segment_blocks; offset++) {
        uint64_t mba = (uint64_t)segment * log->segment_blocks + offset;
        uint64_t entry = is_own(stream, segment, offset) ? 0 : log->ledger[mba];
        unsigned state = sq_entry_state(entry);
        sq_put_u64(row, sq_entry(state, draft->index_of_slot[sq_entry_slot(entry)], sq_entry_value(entry)));
        sq_put_u32(row + 8, state == SQ_LIVE ? log->checksums[mba] : 0);
        SQ_TRY(stream_put(stream, row, sizeof row));
    }
    return SQ_OK;
}

static int stream_all(struct stream *stream, const struct draft *draft)
{
    SQ_TRY(stream_put(stream, draft->bytes, draft->count));
    for (uint32_t segment = 0; segment < stream->log->segment_count; segment++)
        if (draft->has_table[segment])
            SQ_TRY(stream_table(stream, draft, segment));
    return stream->filled == 0 ? SQ_OK : stream_page(stream);
}

static int write_stream(sq_log *log, struct stream *stream, const struct draft *draft, int clean)
{
    struct sq_durability *durable = &log->durable;
    uint64_t position = log->stats.position;
    SQ_TRY(sq_head_advance(log, 1)); /* opens the first record, also where there is no room for a page */
    uint32_t first_mba = log->head->record.mba;
    SQ_TRY(stream_all(stream, draft));
    SQ_TRY(sq_head_advance(log, 1));
    sq_record_note(log, &(struct sq_entry_fields){.kind = SQ_ENTRY_CHECKPOINT_END,
                                                  .flags = clean ? SQ_FLAG_CLEAN : 0,
                                                  .lba = stream->first_sequence, .volume = first_mba,
                                                  .value = stream->pages});
    SQ_TRY(sq_record_close(log));
    if (!SQ_PLANTED(checkpoint_before_the_data)) SQ_TRY(sq_sync_now(log));
    durable->checkpoint = stream->first_sequence;
    durable->checkpoint_mba = first_mba;
    durable->checkpoint_position = position;
    log->stats.checkpoints++;
    return SQ_OK;
}

int sq_checkpoint_write(sq_log *log, int clean)
{
    struct draft draft = {0};
    /* All records before are safe when the state is taken, since recovery from a checkpoint does not read
     * them. The stream begins a record. */
    SQ_TRY(sq_record_close(log));
    SQ_TRY(sq_head_select(log, 0));
    int has_unsafe = sq_flushed(log) < log->durable.written && !SQ_PLANTED(checkpoint_before_the_data);
    if (has_unsafe || log->durable.has_erased)
        SQ_TRY(sq_sync_now(log));
    log->durable.has_erased = 0;
    struct stream stream = {.log = log, .first_sequence = log->sequence + 1,
                            .start_segment = log->head->segment, .start_blocks = log->head->open_blocks,
                            .page = calloc(1, log->block_bytes)};
    int status = stream.page == NULL ? SQ_E_NO_MEMORY : draft_state(log, &draft);
    if (status == SQ_OK)
        status = write_stream(log, &stream, &draft, clean);
    discard(&draft);
    free(stream.page);
    return status;
}
