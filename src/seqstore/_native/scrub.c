/* scrub.c: reads what is live and compares it with its checksums, in the order of the medium; and of the
 * log's own blocks those that the next opening depends on: the summaries, and pages of checkpoints, in
 * segments with any record from the newest checkpoint on.
 *
 * The lock is given back between chunks. What the cleaner moves meanwhile from in front of the scrub to
 * behind it is met on the next pass. The records of a segment are read together, when the scrub comes to its
 * first block.
 */
#include <stdlib.h>

#include "internal.h"
#include "recover.h"

#define CHUNK_BLOCKS 1024u            /* of the ledger, in one hold of the lock */
#define SPAN_BYTES ((size_t)256 << 10) /* read from the medium in one call, about */

struct scrub {
    uint8_t *span; /* NULL where the medium is in memory */
    uint32_t span_blocks;
    uint64_t capacity;
    struct sq_damage *damage_out;
    uint64_t damaged;
    uint64_t read_blocks;
};

static int is_on_medium(const sq_log *log, uint64_t mba)
{
    return sq_entry_state(log->ledger[mba]) == SQ_LIVE && !sq_is_staged(log, mba);
}

static void report(const sq_log *log, struct scrub *scrub, uint64_t mba, int os_error)
{
    const struct sq_layer *layer = log->layers[sq_entry_slot(log->ledger[mba])];
    if (scrub->damaged < scrub->capacity)
        scrub->damage_out[scrub->damaged] = (struct sq_damage){
            .volume = layer->volume,
            .lba = sq_entry_value(log->ledger[mba]),
            .mba = mba,
            .os_error = (uint64_t)os_error,
        };
    scrub->damaged++;
}

/* ---- the log's own ---------------------------------------------------------------------------- */

static void report_own(struct scrub *scrub, uint64_t mba, int os_error)
{
    if (scrub->damaged < scrub->capacity)
        scrub->damage_out[scrub->damaged] =
            (struct sq_damage){.lba = SQ_NO_ADDRESS, .mba = mba, .os_error = (uint64_t)os_error};
    scrub->damaged++;
}

/* The blocks of a record that are pages of a checkpoint; its summary is the first block of the span. */
static void check_pages(const sq_log *log, struct scrub *scrub, const struct sq_summary *summary)
{
    uint8_t *page = scrub->span + log->block_bytes;
    uint64_t mba = summary->mba;
    for (uint32_t i = 0; i < summary->entries; i++) {
        struct sq_entry_fields entry = sq_summary_entry(log, scrub->span, i);
        int os_error = 0;
        mba += (uint64_t)sq_kind_has_block(entry.kind);
        if (entry.kind != SQ_ENTRY_CHECKPOINT)
            continue;
        scrub->read_blocks++;
        if (sq_medium_fetch(log->medium, mba, 1, page, &os_error) != SQ_OK ||
            ~log->kernels->crc(sq_tag_crc(log, entry.volume, entry.lba), page, log->block_bytes) !=
                entry.value)
            report_own(scrub, mba, os_error);
    }
}

static int is_own(const sq_log *log, uint64_t mba)
{
    return sq_entry_state(log->ledger[mba]) == SQ_SUMMARY && !sq_is_staged(log, mba);
}

/* Walks through the records of a segment. Behind a summary that is damaged it goes on with the next block
 * that is one: what lies between them may be pages. */
static void check_records(const sq_log *log, struct scrub *scrub, uint64_t mba)
{
    uint64_t end = mba + log->segment_blocks;
    int is_lost = 0;
    while (mba < end && (is_lost || is_own(log, mba))) {
        struct sq_summary summary;
        int os_error = 0, is_one = 0;
        if (is_own(log, mba)) {
            scrub->read_blocks++;
            is_one = sq_medium_fetch(log->medium, mba, 1, scrub->span, &os_error) == SQ_OK &&
                     sq_summary_parse(log, scrub->span, mba, &summary);
        }
        if (is_one)
            check_pages(log, scrub, &summary);
        else if (!is_lost)
            report_own(scrub, mba, os_error);
        mba += is_one ? 1 + (uint64_t)summary.blocks : 1;
        is_lost = !is_one;
    }
}

static void check_own(const sq_log *log, struct scrub *scrub, uint64_t mba, uint64_t end)
{
    const struct sq_durability *durable = &log->durable;
    if (!durable->on || durable->checkpoint == 0)
        return;
    uint64_t segment = (mba + log->segment_blocks - 1) / log->segment_blocks;
    for (; segment * log->segment_blocks < end; segment++)
        if (log->segments[segment].state != SQ_SEGMENT_FREE &&
            durable->newest[segment] >= durable->checkpoint)
            check_records(log, scrub, segment * log->segment_blocks);
}

/* ---- what is live ------------------------------------------------------------------------------ */

/* Checks neighbours that are all live. */
static void check_run(const sq_log *log, struct scrub *scrub, uint64_t mba, uint32_t count)
{
    int os_error = 0, status = SQ_OK;
    const uint8_t *blocks = scrub->span == NULL ? sq_payload_at(log, mba) : scrub->span;
    if (scrub->span != NULL)
        status = sq_medium_fetch(log->medium, mba, count, scrub->span, &os_error);
    if (status != SQ_OK && count > 1) {
        for (uint32_t i = 0; i < count; i++)
            check_run(log, scrub, mba + i, 1);
        return;
    }
    scrub->read_blocks += count;
    for (uint32_t i = 0; i < count; i++, mba++, blocks += log->block_bytes) {
        const struct sq_layer *layer = log->layers[sq_entry_slot(log->ledger[mba])];
        uint64_t lba = sq_entry_value(log->ledger[mba]);
        if (status != SQ_OK || !sq_block_is_right(log, layer, lba, (uint32_t)mba, blocks))
            report(log, scrub, mba, os_error);
    }
}

static void check_chunk(const sq_log *log, struct scrub *scrub, uint64_t mba, uint64_t end)
{
    while (mba < end) {
        uint32_t run = 0;
        while (run < scrub->span_blocks && mba + run < end && is_on_medium(log, mba + run))
            run++;
        if (run != 0)
            check_run(log, scrub, mba, run);
        mba += run == 0 ? 1 : run;
    }
}

static int check_range(sq_log *log, struct scrub *scrub, uint64_t mba, uint64_t end)
{
    while (mba < end) {
        uint64_t chunk_end = end - mba < CHUNK_BLOCKS ? end : mba + CHUNK_BLOCKS;
        SQ_TRY(sq_lock_shared(log));
        check_chunk(log, scrub, mba, chunk_end);
        check_own(log, scrub, mba, chunk_end);
        sq_unlock(log);
        mba = chunk_end;
    }
    return SQ_OK;
}

/* What the scrub needs, while the log is known to be there. */
static int prepare(sq_log *log, struct scrub *scrub, uint64_t mba, uint64_t count)
{
    size_t span_bytes = SPAN_BYTES; /* four of the largest blocks */
    SQ_TRY(sq_lock_shared(log));
    int status = mba > log->block_count || count > log->block_count - mba ? SQ_E_BOUNDS
                 : log->tags != NULL                                     ? SQ_E_NO_PAYLOAD
                                                                         : SQ_OK;
    scrub->span_blocks = (uint32_t)(span_bytes >> log->block_shift);
    if (status == SQ_OK && log->payload == NULL) {
        scrub->span = aligned_alloc(4096, span_bytes);
        status = scrub->span == NULL ? SQ_E_NO_MEMORY : SQ_OK;
    }
    sq_unlock(log);
    return status;
}

int sq_log_scrub(sq_log *log, uint64_t mba, uint64_t count, uint64_t capacity, struct sq_damage *damage_out,
                 uint64_t *damaged_out, uint64_t *read_blocks_out)
{
    struct scrub scrub = {.capacity = capacity, .damage_out = damage_out};
    SQ_TRY(prepare(log, &scrub, mba, count));
    int status = check_range(log, &scrub, mba, mba + count);
    if (scrub.span != NULL)
        sq_wipe(scrub.span, (size_t)scrub.span_blocks << log->block_shift);
    free(scrub.span);
    if (status == SQ_OK) {
        *damaged_out = scrub.damaged;
        *read_blocks_out = scrub.read_blocks;
    }
    return status;
}
