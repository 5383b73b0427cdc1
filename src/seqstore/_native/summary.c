/* summary.c: reading a summary block. Nothing is taken from one that is not right in every respect. */
#include "bytes.h"
#include "record.h"
#include "recover.h"

/* More records than any log can write, and far from where numbers wrap; those of seals have 48 bits. */
#define SEQUENCE_MOST ((uint64_t)1 << 62)
#define SEALED_SEQUENCE_MOST (((uint64_t)1 << 48) - ((uint64_t)1 << 40))

struct sq_entry_fields sq_summary_entry(const sq_log *log, const uint8_t *block, uint32_t index)
{
    const uint8_t *at = block + SQ_HEAD_BYTES + (size_t)index * log->entry_bytes;
    return (struct sq_entry_fields){
        .lba = sq_get_u64(at + SQ_ENTRY_AT_LBA),
        .volume = sq_get_u64(at + SQ_ENTRY_AT_VOLUME),
        .value = sq_get_u32(at + SQ_ENTRY_AT_VALUE),
        .kind = at[SQ_ENTRY_AT_KIND],
        .flags = at[SQ_ENTRY_AT_FLAGS],
    };
}

int sq_kind_has_block(uint8_t kind)
{
    return kind == SQ_ENTRY_DATA || kind == SQ_ENTRY_CHECKPOINT || kind == SQ_ENTRY_PAD;
}

/* The checksum of the block as if its own field were zero. */
static uint32_t checksum_of(const sq_log *log, const uint8_t *block)
{
    static const uint8_t none[4] = {0};
    uint32_t state = log->kernels->crc(0xFFFFFFFF, block, SQ_AT_CHECKSUM);
    state = log->kernels->crc(state, none, sizeof none);
    return ~log->kernels->crc(state, block + SQ_AT_CHECKSUM + 4, log->block_bytes - SQ_AT_CHECKSUM - 4);
}

/* Of a block whose seal was lost with its summary there is none; it is marked as damaged. */
static int seal_fits(const uint8_t *entry, uint8_t kind)
{
    const uint8_t *seal = entry + SQ_ENTRY_BYTES;
    if (kind == SQ_ENTRY_DATA && sq_get_u32(seal + SQ_SEAL_AT_KEY) != 0)
        return 1;
    int may_lack = kind != SQ_ENTRY_DATA || (entry[SQ_ENTRY_AT_FLAGS] & SQ_FLAG_DAMAGED) != 0;
    return may_lack && sq_is_zero(seal, SQ_ENTRY_SEAL_BYTES);
}

static int entries_fit(const sq_log *log, const uint8_t *block, const struct sq_summary *summary)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < summary->entries; i++) {
        const uint8_t *at = block + SQ_HEAD_BYTES + (size_t)i * log->entry_bytes;
        uint8_t kind = at[SQ_ENTRY_AT_KIND];
        uint8_t most_flags = kind == SQ_ENTRY_DATA ? SQ_FLAG_RELOCATED | SQ_FLAG_DAMAGED : 1;
        if (kind < SQ_ENTRY_DATA || kind > SQ_ENTRY_FREED || at[SQ_ENTRY_AT_FLAGS] > most_flags ||
            sq_get_u16(at + SQ_ENTRY_AT_FLAGS + 1) != 0 || (log->sealing.on && !seal_fits(at, kind)))
            return 0;
        blocks += (uint32_t)sq_kind_has_block(kind);
    }
    return blocks == summary->blocks;
}

int sq_summary_parse(const sq_log *log, const uint8_t *block, uint64_t mba, struct sq_summary *out)
{
    if (memcmp(block + SQ_AT_MAGIC, SQ_RECORD_MAGIC, 8) != 0 ||
        sq_get_u32(block + SQ_AT_CHECKSUM) != checksum_of(log, block))
        return 0;
    struct sq_summary found = {
        .sequence = sq_get_u64(block + SQ_AT_SEQUENCE),
        .position = sq_get_u64(block + SQ_AT_POSITION),
        .flushed = sq_get_u64(block + SQ_AT_FLUSHED),
        .checkpoint = sq_get_u64(block + SQ_AT_CHECKPOINT),
        .checkpoint_mba = sq_get_u32(block + SQ_AT_CHECKPOINT_MBA),
        .mba = sq_get_u32(block + SQ_AT_MBA),
        .checksum = sq_get_u32(block + SQ_AT_CHECKSUM),
        .previous = sq_get_u32(block + SQ_AT_PREVIOUS),
        .entries = sq_get_u16(block + SQ_AT_ENTRIES),
        .blocks = sq_get_u16(block + SQ_AT_BLOCKS),
        .open = sq_get_u16(block + SQ_AT_OPEN),
        .class = sq_get_u16(block + SQ_AT_CLASS),
        .window = sq_get_u32(block + SQ_AT_WINDOW),
    };
    uint32_t version = log->sealing.on ? SQ_SEALED_VERSION : SQ_RECORD_VERSION;
    if (sq_get_u16(block + SQ_AT_VERSION) != version ||
        block[SQ_AT_BLOCK_SHIFT] != log->block_shift || block[SQ_AT_BLOCK_SHIFT + 1] != 0 ||
        sq_get_u64(block + SQ_AT_DRIVE) != log->drive || found.mba != mba || found.sequence == 0 ||
        found.sequence > (log->sealing.on ? SEALED_SEQUENCE_MOST : SEQUENCE_MOST) ||
        found.class >= SQ_CLASSES_MAX || !sq_is_zero(block + SQ_AT_WINDOW + 4, 8) ||
        sq_get_u32(block + SQ_AT_SEGMENT_BLOCKS) != log->segment_blocks ||
        sq_get_u32(block + SQ_AT_BLOCK_COUNT) != log->block_count ||
        found.entries > log->record_entries || found.open > (found.entries == 0 ? 1 : found.entries) ||
        found.blocks > found.entries ||
        found.flushed >= found.sequence || found.checkpoint >= found.sequence ||
        found.checkpoint_mba >= log->block_count ||
        found.blocks >= log->segment_blocks - mba % log->segment_blocks)
        return 0;
    size_t used = SQ_HEAD_BYTES + (size_t)found.entries * log->entry_bytes;
    if (!sq_is_zero(block + used, log->block_bytes - used) || !entries_fit(log, block, &found))
        return 0;
    *out = found;
    return 1;
}
