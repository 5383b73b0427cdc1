/* fixer.c: makes an edited image right in all that is only arithmetic: edits get behind the checksums.
 *
 * Offsets are those of docs/reference/on-media-format.md; nothing here is the engine's.
 */
#include <string.h>

#include "image.h"

#define HEAD_BYTES 96u
#define ENTRY_BYTES 24u
#define SEALED_ENTRY_BYTES 64u
#define AT_VERSION 8u
#define AT_CHECKSUM 12u
#define AT_SEQUENCE 24u
#define AT_PREVIOUS 36u
#define AT_ENTRIES 40u
#define AT_BLOCKS 42u

#define KIND_DATA 1u
#define KIND_CHECKPOINT 9u
#define KIND_PAD 11u

uint32_t fixer_crc(uint32_t state, const uint8_t *data, size_t bytes)
{
    static uint32_t table[256];
    if (table[1] == 0)
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value >> 1 ^ (value & 1 ? 0x82F63B78u : 0);
            table[i] = value;
        }
    for (size_t i = 0; i < bytes; i++)
        state = state >> 8 ^ table[(state ^ data[i]) & 0xFF];
    return state;
}

uint64_t fixer_get(const uint8_t *at, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

void fixer_put(uint8_t *at, uint32_t bytes, uint64_t value)
{
    for (uint32_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

int fixer_is_summary(struct image *image, uint32_t mba)
{
    return memcmp(image_block(image, mba), "SEQSREC1", 8) == 0;
}

int fixer_is_sealed(const uint8_t *summary)
{
    return fixer_get(summary + AT_VERSION, 2) == 2;
}

uint32_t fixer_entry_bytes(const uint8_t *summary)
{
    return fixer_is_sealed(summary) ? SEALED_ENTRY_BYTES : ENTRY_BYTES;
}

static uint32_t entries_of(const uint8_t *summary)
{
    uint32_t entries = (uint32_t)fixer_get(summary + AT_ENTRIES, 2);
    uint32_t most = (BLOCK_BYTES - HEAD_BYTES) / fixer_entry_bytes(summary);
    return entries < most ? entries : most;
}

/* The checksums of the data blocks, in the entries of the summary at mba. */
static void fix_entries(struct image *image, uint32_t mba)
{
    uint8_t *summary = image_block(image, mba);
    uint32_t left = SEGMENT_BLOCKS - 1 - mba % SEGMENT_BLOCKS;
    for (uint32_t i = 0; i < entries_of(summary) && left > 0; i++) {
        uint8_t *entry = summary + HEAD_BYTES + (size_t)i * fixer_entry_bytes(summary);
        if (entry[20] != KIND_DATA && entry[20] != KIND_CHECKPOINT && entry[20] != KIND_PAD)
            continue;
        uint8_t tag[16];
        memcpy(tag, entry + 8, 8);
        memcpy(tag + 8, entry, 8);
        uint32_t state = fixer_crc(0xFFFFFFFF, tag, sizeof tag);
        fixer_put(entry + 16, 4, ~fixer_crc(state, image_block(image, ++mba), BLOCK_BYTES));
        left--;
    }
}

/* The summary of the record of that sequence; BLOCKS if there is none. */
static uint32_t find(struct image *image, const uint32_t *summaries, uint32_t count, uint64_t sequence)
{
    for (uint32_t i = 0; i < count; i++)
        if (fixer_get(image_block(image, summaries[i]) + AT_SEQUENCE, 8) == sequence)
            return summaries[i];
    return BLOCKS;
}

static void fix_summary(struct image *image, uint32_t mba, const uint32_t *summaries, uint32_t count)
{
    uint8_t *summary = image_block(image, mba);
    uint64_t sequence = fixer_get(summary + AT_SEQUENCE, 8);
    uint32_t before = sequence == 0 ? BLOCKS : find(image, summaries, count, sequence - 1);
    if (before != BLOCKS)
        memcpy(summary + AT_PREVIOUS, image_block(image, before) + AT_CHECKSUM, 4);
    fixer_put(summary + AT_CHECKSUM, 4, 0);
    fixer_put(summary + AT_CHECKSUM, 4, ~fixer_crc(0xFFFFFFFF, summary, BLOCK_BYTES));
}

void fixer_fix(struct image *image)
{
    uint32_t summaries[BLOCKS], count = 0;
    for (uint32_t mba = 0; mba < BLOCKS; mba++) {
        uint32_t segment_end = (mba / SEGMENT_BLOCKS + 1) * SEGMENT_BLOCKS;
        if (!fixer_is_summary(image, mba)) {
            mba = segment_end - 1;
            continue;
        }
        summaries[count++] = mba;
        fix_entries(image, mba);
        uint64_t next = mba + fixer_get(image_block(image, mba) + AT_BLOCKS, 2);
        mba = next < segment_end ? (uint32_t)next : segment_end - 1;
    }
    /* In the order of their sequence, since each names the checksum of the one before. */
    for (uint32_t done = 0; done < count; done++) {
        uint32_t least = done;
        for (uint32_t i = done + 1; i < count; i++)
            if (fixer_get(image_block(image, summaries[i]) + AT_SEQUENCE, 8) <
                fixer_get(image_block(image, summaries[least]) + AT_SEQUENCE, 8))
                least = i;
        uint32_t mba = summaries[least];
        summaries[least] = summaries[done];
        summaries[done] = mba;
        fix_summary(image, mba, summaries, done);
    }
}
