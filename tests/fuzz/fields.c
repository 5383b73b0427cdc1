/* fields.c: where the numbers of an image lie that its decoders believe: in summaries, and in the newest
 * checkpoint. Offsets are those of docs/reference/on-media-format.md; nothing here is the engine's. */
#include <string.h>

#include "image.h"

#define HEAD_BYTES 96u
#define KIND_CHECKPOINT 9u

static uint32_t below(uint64_t *random, uint64_t end)
{
    return (uint32_t)(bases_random(random) % end);
}

uint32_t fields_summary(struct image *image, uint64_t *random)
{
    uint32_t mba = below(random, BLOCKS);
    for (uint32_t step = 0; step < BLOCKS && !fixer_is_summary(image, mba); step++)
        mba = (mba + 1) % BLOCKS;
    return mba;
}

void fields_in_summary(struct image *image, struct field *field, uint64_t *random)
{
    static const uint8_t head[][2] = {{8, 2},  {10, 1}, {16, 8}, {24, 8}, {32, 4}, {36, 4}, {40, 2}, {42, 2},
                                      {44, 2}, {48, 8}, {56, 8}, {64, 8}, {72, 4}, {76, 4}, {80, 4}, {84, 4}};
    static const uint8_t entry[][2] = {{0, 8}, {8, 8}, {16, 4}, {20, 1}, {21, 1}};
    static const uint8_t sealed[][2] = {{0, 8},  {8, 8},  {16, 4}, {20, 1}, {21, 1},
                                        {24, 8}, {40, 8}, {48, 8}, {56, 4}, {60, 4}};
    field->mba = fields_summary(image, random);
    uint64_t entries = fixer_get(image_block(image, field->mba) + 40, 2) % 18;
    uint32_t entry_bytes = fixer_entry_bytes(image_block(image, field->mba));
    if (HEAD_BYTES + entries * entry_bytes > BLOCK_BYTES)
        entries = (BLOCK_BYTES - HEAD_BYTES) / entry_bytes;
    const uint8_t *chosen = head[below(random, sizeof head / sizeof head[0])];
    field->offset = chosen[0];
    if (entries != 0 && below(random, 3) != 0) {
        chosen = entry[below(random, sizeof entry / sizeof entry[0])];
        if (fixer_is_sealed(image_block(image, field->mba)))
            chosen = sealed[below(random, sizeof sealed / sizeof sealed[0])];
        field->offset = HEAD_BYTES + below(random, entries) * entry_bytes + chosen[0];
    }
    field->width = chosen[1];
}

/* ---- the newest checkpoint ---------------------------------------------------------------------- */

/* Its first page; BLOCKS if there is none. */
static uint32_t first_page(struct image *image)
{
    uint32_t found = BLOCKS;
    for (uint32_t mba = 0; mba < BLOCKS; mba++)
        if (memcmp(image_block(image, mba), "SEQSCKP1", 8) == 0 &&
            (found == BLOCKS ||
             fixer_get(image_block(image, mba) + 24, 8) > fixer_get(image_block(image, found) + 24, 8)))
            found = mba;
    return found;
}

/* The page of that number in the record at mba, or BLOCKS. */
static uint32_t page_in(struct image *image, uint32_t mba, uint64_t page)
{
    const uint8_t *summary = image_block(image, mba);
    uint64_t entries = fixer_get(summary + 40, 2) % 18;
    if (HEAD_BYTES + entries * fixer_entry_bytes(summary) > BLOCK_BYTES)
        entries = (BLOCK_BYTES - HEAD_BYTES) / fixer_entry_bytes(summary);
    for (uint64_t i = 0; i < entries && mba + 1 < BLOCKS; i++) {
        const uint8_t *entry = summary + HEAD_BYTES + i * fixer_entry_bytes(summary);
        if (entry[20] != KIND_CHECKPOINT)
            continue;
        mba++;
        if (fixer_get(entry, 8) == page)
            return mba;
    }
    return BLOCKS;
}

/* The block with that page of the checkpoint whose first record has the sequence, or BLOCKS. */
static uint32_t find_page(struct image *image, uint64_t sequence, uint64_t page)
{
    uint64_t best = UINT64_MAX;
    uint32_t found = BLOCKS;
    for (uint32_t mba = 0; mba < BLOCKS; mba++) {
        if (!fixer_is_summary(image, mba))
            continue;
        uint64_t of_record = fixer_get(image_block(image, mba) + 24, 8);
        uint32_t at = of_record < sequence || of_record >= best ? BLOCKS : page_in(image, mba, page);
        if (at == BLOCKS)
            continue;
        best = of_record;
        found = at;
    }
    return found;
}

/* A list of the stream: where it begins, its rows and their fields. */
struct list {
    uint64_t start;
    uint64_t rows;
    uint64_t row_bytes;
    const uint8_t (*fields)[2];
    uint32_t field_count;
};

#define FIELDS(table) .fields = (table), .field_count = sizeof(table) / sizeof((table)[0])

static struct list pick_list(const uint8_t *head, uint64_t *random)
{
    static const uint8_t heads[][2] = {{8, 4},  {16, 8}, {24, 8}, {32, 8}, {40, 8}, {48, 4}, {52, 4}, {56, 4},
                                       {60, 4}, {64, 4}, {68, 4}, {72, 4}, {76, 4}, {80, 8}, {88, 8}};
    static const uint8_t volume[][2] = {{0, 8}, {8, 8}, {16, 8}, {24, 8}, {32, 8}, {40, 4}, {44, 4}};
    static const uint8_t layer[][2] = {{0, 8}, {8, 8}, {16, 8}, {24, 8}, {24, 8}, {32, 4}, {36, 4}};
    static const uint8_t holes[][2] = {{0, 8}, {8, 8}, {16, 8}, {24, 8}};
    static const uint8_t run[][2] = {{0, 4}, {4, 4}};
    static const uint8_t table[][2] = {{0, 4}, {4, 4}};
    static const uint8_t block[][2] = {{0, 8}, {0, 2}, {4, 3}, {7, 1}, {8, 4}};
    const uint64_t table_bytes = 8 + 12 * (uint64_t)SEGMENT_BLOCKS;
    struct list lists[] = {
        {.rows = 1, .row_bytes = HEAD_BYTES, FIELDS(heads)},
        {.rows = fixer_get(head + 48, 4), .row_bytes = 48, FIELDS(volume)},
        {.rows = fixer_get(head + 52, 4), .row_bytes = 40, FIELDS(layer)},
        {.rows = fixer_get(head + 56, 4), .row_bytes = 80, FIELDS(holes)},
        {.rows = fixer_get(head + 60, 4) + fixer_get(head + 64, 4), .row_bytes = 8, FIELDS(run)},
        {.rows = fixer_get(head + 68, 4), .row_bytes = table_bytes, FIELDS(table)},
    };
    uint32_t count = sizeof lists / sizeof lists[0], chosen = below(random, count + 1);
    for (uint32_t i = 1; i < count; i++)
        lists[i].start = lists[i - 1].start + lists[i - 1].rows * lists[i - 1].row_bytes;
    if (chosen < count)
        return lists[chosen];
    /* The blocks of one of the tables. */
    struct list tables = lists[count - 1];
    uint64_t start = tables.start + (tables.rows == 0 ? 0 : below(random, tables.rows) * table_bytes) + 8;
    return (struct list){.start = start, .rows = SEGMENT_BLOCKS, .row_bytes = 12, FIELDS(block)};
}

/* Where the bytes at that place of the stream lie; what does not fit into the page is left out. */
static int place(struct image *image, uint64_t sequence, uint64_t at, uint32_t width, struct field *field)
{
    field->mba = find_page(image, sequence, at / BLOCK_BYTES);
    field->offset = (uint32_t)(at % BLOCK_BYTES);
    field->width = width < BLOCK_BYTES - field->offset ? width : BLOCK_BYTES - field->offset;
    return field->mba != BLOCKS;
}

int fields_in_checkpoint(struct image *image, struct field *field, struct field *like, uint64_t *random)
{
    uint32_t page = first_page(image);
    if (page == BLOCKS)
        return 0;
    const uint8_t *head = image_block(image, page);
    uint64_t sequence = fixer_get(head + 24, 8);
    struct list list = pick_list(head, random);
    if (list.rows == 0)
        return 0;
    const uint8_t *chosen = list.fields[below(random, list.field_count)];
    uint64_t at = list.start + chosen[0];
    return place(image, sequence, at + below(random, list.rows) * list.row_bytes, chosen[1], field) &&
           place(image, sequence, at + below(random, list.rows) * list.row_bytes, chosen[1], like);
}
