/* edits.c: an input as changes to a base, and how one input is made of another.
 *
 * An edit is: what u8, bytes u8, mba u16, offset u16, other u16, value u64, little-endian; bytes, mba and
 * offset count modulo what there is, so that every input means something.
 */
#include <string.h>

#include "image.h"

enum what { SET, ADD, XOR, COPY_BLOCK, ZERO_BLOCK, COPY_ENTRY, COPY_FIELD, WHATS };

#define HEAD_BYTES 96u

/* ---- applying -------------------------------------------------------------------------------- */

static void apply(const uint8_t *edit, struct image *image)
{
    uint32_t width = 1 + edit[1] % 8u, mba = (uint32_t)fixer_get(edit + 2, 2) % BLOCKS;
    uint32_t offset = (uint32_t)fixer_get(edit + 4, 2) % (BLOCK_BYTES - width + 1);
    uint32_t other = (uint32_t)fixer_get(edit + 6, 2) % BLOCKS;
    uint64_t value = fixer_get(edit + 8, 8);
    uint8_t *block = image_block(image, mba), *at = block + offset;
    uint32_t entry_bytes = fixer_entry_bytes(block);
    switch (edit[0] % WHATS) {
    case SET:
        fixer_put(at, width, value);
        break;
    case ADD:
        fixer_put(at, width, fixer_get(at, width) + value);
        break;
    case XOR:
        fixer_put(at, width, fixer_get(at, width) ^ value);
        break;
    case COPY_BLOCK:
        memmove(block, image_block(image, other), BLOCK_BYTES);
        break;
    case ZERO_BLOCK:
        memset(block, 0, BLOCK_BYTES);
        break;
    case COPY_ENTRY:
        memmove(block + offset % (BLOCK_BYTES - entry_bytes + 1),
                image_block(image, other) + value % (BLOCK_BYTES - entry_bytes + 1), entry_bytes);
        break;
    default:
        memmove(at, image_block(image, other) + value % (BLOCK_BYTES - width + 1), width);
    }
}

static void apply_whole(const uint8_t *at, size_t bytes, struct image *image)
{
    memset(image->bytes, 0, sizeof image->bytes);
    while (bytes >= 4) {
        uint32_t mba = (uint32_t)fixer_get(at, 2) % BLOCKS, length = (uint32_t)fixer_get(at + 2, 2);
        at += 4;
        bytes -= 4;
        if (length > BLOCK_BYTES || length > bytes)
            return;
        memcpy(image_block(image, mba), at, length);
        at += length;
        bytes -= length;
    }
}

void edits_apply(const uint8_t *input, size_t bytes, struct image *image)
{
    uint32_t flags = input[0];
    const uint8_t *end = input + bytes;
    if (flags & INPUT_WHOLE) {
        apply_whole(input + INPUT_HEAD_BYTES, bytes - INPUT_HEAD_BYTES, image);
    } else {
        memcpy(image->bytes, bases_of(input)->bytes, sizeof image->bytes);
        for (const uint8_t *edit = input + INPUT_HEAD_BYTES; end - edit >= EDIT_BYTES; edit += EDIT_BYTES)
            apply(edit, image);
    }
    if (flags & INPUT_FIX)
        fixer_fix(image);
}

size_t edits_freeze(const uint8_t *input, size_t bytes, uint8_t *out, size_t room)
{
    static struct image image;
    size_t done = INPUT_HEAD_BYTES;
    edits_apply(input, bytes, &image);
    out[0] = (uint8_t)((input[0] | INPUT_WHOLE) & ~INPUT_FIX);
    out[1] = 0;
    for (uint32_t mba = 0; mba < BLOCKS; mba++) {
        uint32_t length = BLOCK_BYTES;
        while (length > 0 && image_block(&image, mba)[length - 1] == 0)
            length--;
        if (length == 0)
            continue;
        if (done + 4 + length > room)
            return 0;
        fixer_put(out + done, 2, mba);
        fixer_put(out + done + 2, 2, length);
        memcpy(out + done + 4, image_block(&image, mba), length);
        done += 4 + length;
    }
    return done;
}

/* ---- mutation -------------------------------------------------------------------------------- */

static uint64_t below(uint64_t *random, uint64_t end)
{
    return bases_random(random) % end;
}

/* A value that decoders get wrong more easily than others. */
static uint64_t odd_value(uint64_t *random)
{
    static const uint64_t values[] = {
        0, 1, 2, 7, 8, 0xFF, BLOCKS - 1, BLOCKS, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, ((uint64_t)1 << 38) - 1,
        (uint64_t)1 << 61, (uint64_t)2 << 61, UINT64_MAX};
    switch (below(random, 4)) {
    case 0:
        return values[below(random, sizeof values / sizeof values[0])];
    case 1:
        return bases_random(random);
    default:
        return below(random, 64);
    }
}

/* A number of a summary or of the newest checkpoint becomes another. */
static void edit_field(uint8_t *edit, struct image *base, uint64_t *random)
{
    struct field field, like;
    uint32_t what = (uint32_t)below(random, COPY_BLOCK);
    uint64_t value = what == ADD   ? below(random, 5) - 2
                     : what == XOR ? (uint64_t)1 << below(random, 64)
                                   : odd_value(random);
    if (below(random, 5) < 2 || !fields_in_checkpoint(base, &field, &like, random)) {
        fields_in_summary(base, &field, random);
        like = field;
    } else if (below(random, 2)) {
        what = COPY_FIELD;
        value = like.offset;
    }
    edit[0] = (uint8_t)what;
    edit[1] = (uint8_t)(field.width - 1);
    fixer_put(edit + 2, 2, field.mba);
    fixer_put(edit + 4, 2, field.offset);
    fixer_put(edit + 6, 2, like.mba);
    fixer_put(edit + 8, 8, value);
}

/* A block or an entry of a summary takes the place of another, or a block is lost. */
static void edit_block(uint8_t *edit, struct image *base, uint64_t *random)
{
    edit[0] = (uint8_t)(COPY_BLOCK + below(random, 3));
    edit[1] = 0;
    uint32_t mba = (uint32_t)(below(random, 2) ? fields_summary(base, random) : below(random, BLOCKS));
    uint32_t entry_bytes = fixer_entry_bytes(image_block(base, mba));
    uint32_t entries = (BLOCK_BYTES - HEAD_BYTES) / entry_bytes;
    fixer_put(edit + 2, 2, mba);
    fixer_put(edit + 4, 2, HEAD_BYTES + below(random, entries) * entry_bytes);
    fixer_put(edit + 6, 2, below(random, 2) ? fields_summary(base, random) : below(random, BLOCKS));
    fixer_put(edit + 8, 8, HEAD_BYTES + below(random, 4) * entry_bytes);
}

static void make_edit(uint8_t *edit, struct image *base, uint64_t *random)
{
    if (below(random, 6) != 0)
        edit_field(edit, base, random);
    else
        edit_block(edit, base, random);
}

size_t edits_mutate(uint8_t *input, size_t bytes, size_t room, uint64_t *random)
{
    static struct image base;
    if (bytes < INPUT_HEAD_BYTES || (input[0] & INPUT_WHOLE)) {
        /* A whole image has no base to choose fields of: bytes of it change. */
        for (uint64_t i = 1 + below(random, 4); bytes > INPUT_HEAD_BYTES && i > 0; i--)
            input[1 + below(random, bytes - 1)] = (uint8_t)odd_value(random);
        if (bytes >= INPUT_HEAD_BYTES)
            return bytes;
        input[0] = (uint8_t)(INPUT_FIX | below(random, 2) * INPUT_SEALED);
        input[1] = (uint8_t)below(random, 256);
        bytes = INPUT_HEAD_BYTES;
    }
    size_t edits = (bytes - INPUT_HEAD_BYTES) / EDIT_BYTES;
    uint8_t *edit = input + INPUT_HEAD_BYTES + (edits == 0 ? 0 : below(random, edits)) * EDIT_BYTES;
    switch (below(random, 12)) {
    case 0:
        input[0] = (uint8_t)(below(random, 2 * INPUT_SEALED) & ~INPUT_WHOLE);
        break;
    case 1:
        input[1] = (uint8_t)below(random, 256);
        break;
    case 2:
    case 3:
        if (edits > 0)
            memmove(edit, input + INPUT_HEAD_BYTES + --edits * EDIT_BYTES, EDIT_BYTES);
        break;
    case 4:
    case 5:
        if (edits > 0)
            fixer_put(edit + 8, 8, odd_value(random));
        break;
    default:
        if (INPUT_HEAD_BYTES + (edits + 1) * EDIT_BYTES <= room) {
            memcpy(base.bytes, bases_of(input)->bytes, sizeof base.bytes);
            make_edit(input + INPUT_HEAD_BYTES + edits++ * EDIT_BYTES, &base, random);
        }
    }
    return INPUT_HEAD_BYTES + edits * EDIT_BYTES;
}
