/* bases.c: the drives that edits begin with: made by the engine itself, closed, cut off and recovered. */
#include <stdlib.h>
#include <string.h>

#include "image.h"

#define KNOWN_MOST 8u
#define VOLUME_BLOCKS 40u
#define OPENINGS 0xBA5E000000000000u
#define LARGE_BLOCKS 1300u /* leaves of the extent map hold 512 */

uint64_t bases_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void expect(sq_log *log, int status)
{
    if (status == SQ_E_INVARIANT)
        expect_ok(log, "a broken invariant in service", status);
}

/* What was made can be written to once it has a key. */
static void expect_made(sq_log *log, int status)
{
    expect(log, status);
    if (status == SQ_OK)
        keyed_volumes(log);
}

static void write_some(sq_log *log, uint64_t handle, uint64_t *random)
{
    uint8_t data[6 * BLOCK_BYTES];
    memset(data, (int)(bases_random(random) | 1), sizeof data);
    uint64_t lba = bases_random(random);
    lba %= bases_random(random) % 4 != 0 ? VOLUME_BLOCKS : LARGE_BLOCKS;
    uint64_t count = 1 + bases_random(random) % 6;
    if (bases_random(random) % 4 != 0)
        expect(log, sq_volume_write_run(log, handle, lba, count, data, NULL));
    else
        expect(log, sq_volume_write(log, handle, lba * BLOCK_BYTES + 100, (const char *)data, count * 300,
                                    NULL));
}

/* What changes a volume or snapshot as a whole. */
static void change_one(sq_log *log, const struct sq_volume_entry *entry, uint64_t *random)
{
    uint64_t handle = entry->handle, made, tenant, size;
    switch (bases_random(random) % 6) {
    case 0:
        expect(log, sq_volume_snapshot(log, handle, 0, &made));
        break;
    case 1:
        expect_made(log, sq_volume_clone(log, handle, 0, 1 + bases_random(random) % 3, 0, &made));
        break;
    case 2:
        expect(log, sq_volume_resize(log, handle,
                                     (8 + bases_random(random) % VOLUME_BLOCKS) * BLOCK_BYTES - 7, NULL));
        break;
    case 3:
        expect(log, sq_volume_delete(log, handle));
        break;
    default:
        /* One after the other: compilers evaluate arguments in orders of their own. */
        tenant = 1 + bases_random(random) % 3;
        size = (bases_random(random) % 2 ? VOLUME_BLOCKS : LARGE_BLOCKS) * BLOCK_BYTES;
        expect_made(log, sq_volume_create(log, 0, tenant, size, bases_random(random) % 2 != 0, &made));
    }
}

static void change(sq_log *log, uint64_t *random)
{
    struct sq_volume_entry entries[KNOWN_MOST];
    uint64_t count = 0, made, offset;
    expect(log, sq_volume_list(log, KNOWN_MOST, entries, &count));
    if (count == 0) {
        expect_made(log, sq_volume_create(log, 0, 1, LARGE_BLOCKS * BLOCK_BYTES, 0, &made));
        return;
    }
    uint64_t known = count < KNOWN_MOST ? count : KNOWN_MOST;
    const struct sq_volume_entry *entry = &entries[bases_random(random) % known];
    switch (bases_random(random) % 16) {
    case 0:
        expect(log, sq_log_flush(log, NULL));
        break;
    case 1:
    case 2:
        offset = bases_random(random) % 64 * 256;
        expect(log, sq_volume_trim(log, entry->handle, offset, bases_random(random) % 32 * 256, NULL));
        break;
    case 3:
        if (count >= KNOWN_MOST)
            expect(log, sq_volume_delete(log, entry->handle));
        else
            change_one(log, entry, random);
        break;
    case 4:
        expect(log, sq_volume_rollback(log, entry->handle, entries[bases_random(random) % known].handle, 0));
        break;
    default:
        write_some(log, entry->handle, random);
    }
}

void bases_churn(sq_log *log, uint64_t seed, uint32_t requests)
{
    for (; requests > 0; requests--)
        change(log, &seed);
}

/* ---- the bases ------------------------------------------------------------------------------- */

struct recipe {
    uint64_t seed;
    uint32_t requests;
    int finish; /* it is closed */
    int torn;
    uint32_t more; /* requests after opening it again; 0: it is not */
    int sealed;    /* its blocks are encrypted */
};

/* Opens the log on the image, or creates it; works; closes it or leaves it. */
static void live(struct image *image, int create, const struct recipe *recipe, uint32_t requests, int finish)
{
    struct sq_log_options options = image_options();
    uint64_t seed = recipe->seed + (create ? 0 : 100);
    if (recipe->sealed)
        keyed_options(&options, OPENINGS + seed);
    sq_medium *medium = image_medium(image);
    sq_log *log = NULL;
    if (medium == NULL)
        fail("out of memory", 0);
    int status = create ? sq_log_create(medium, &options, &log)
                        : sq_log_open(medium, &options, &log, NULL, NULL);
    if (status != SQ_OK)
        fail("a base cannot be made", status);
    keyed_volumes(log);
    bases_churn(log, seed, requests);
    expect(log, finish ? sq_log_finish(log, NULL) : sq_log_flush(log, NULL));
    sq_log_destroy(log);
    sq_medium_destroy(medium);
}

/* Zeroes the last block of the newest record that has one, as if it had been lost. */
static void tear(struct image *image)
{
    uint64_t newest = 0;
    uint32_t last = BLOCKS;
    for (uint32_t mba = 0; mba < BLOCKS; mba++) {
        if (!fixer_is_summary(image, mba))
            continue;
        uint64_t sequence = fixer_get(image_block(image, mba) + 24, 8);
        uint64_t blocks = fixer_get(image_block(image, mba) + 42, 2);
        if (sequence > newest && blocks > 0) {
            newest = sequence;
            last = mba + (uint32_t)blocks;
        }
    }
    if (last < BLOCKS)
        memset(image_block(image, last), 0, BLOCK_BYTES);
}

static const struct recipe plain_recipes[] = {
    {.seed = 1, .requests = 0},
    {.seed = 2, .requests = 12},
    {.seed = 3, .requests = 40, .finish = 1},
    {.seed = 4, .requests = 120},
    {.seed = 5, .requests = 400, .torn = 1},
    {.seed = 6, .requests = 300, .torn = 1, .more = 3},
    {.seed = 7, .requests = 500, .finish = 1, .more = 20},
    {.seed = 8, .requests = 900, .finish = 1},
    {.seed = 9, .requests = 250, .more = 1},
};

static const struct recipe sealed_recipes[] = {
    {.seed = 21, .requests = 12, .sealed = 1},
    {.seed = 22, .requests = 40, .finish = 1, .sealed = 1},
    {.seed = 23, .requests = 300, .torn = 1, .more = 3, .sealed = 1},
    {.seed = 24, .requests = 500, .finish = 1, .more = 20, .sealed = 1},
    {.seed = 25, .requests = 700, .finish = 1, .sealed = 1},
};

#define PLAIN_RECIPES (sizeof plain_recipes / sizeof plain_recipes[0])
#define SEALED_RECIPES (sizeof sealed_recipes / sizeof sealed_recipes[0])

static struct image *make(const struct recipe *recipe)
{
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL)
        fail("out of memory", 0);
    live(image, 1, recipe, recipe->requests, recipe->finish);
    if (recipe->torn)
        tear(image);
    if (recipe->more > 0)
        live(image, 0, recipe, recipe->more, 0);
    return image;
}

/* What an input of version 1 names does not depend on how many bases version 2 has. */
const struct image *bases_of(const uint8_t *input)
{
    static struct image *plain[PLAIN_RECIPES], *sealed[SEALED_RECIPES];
    int is_sealed = (input[0] & INPUT_SEALED) != 0;
    uint32_t index = input[1] % (uint32_t)(is_sealed ? SEALED_RECIPES : PLAIN_RECIPES);
    struct image **made = is_sealed ? &sealed[index] : &plain[index];
    if (*made == NULL)
        *made = make(is_sealed ? &sealed_recipes[index] : &plain_recipes[index]);
    return *made;
}
