/* target.c: what has to hold of every image, whatever is wrong with it.
 *
 *   - Opening says what is wrong, or the log opens; reading alone never writes.
 *   - What has been opened is sound: the deep check holds, also after any requests; everything can be listed
 *     and read, if only as damaged.
 *   - What was flushed is there after a crash, and after closing, and looks the same.
 *   - Of an encrypted drive: no key seals twice with one nonce, unless the image has that already.
 */
#include <stdlib.h>
#include <string.h>

#include "image.h"

#define EXTENTS_MOST 512u
#define OPENINGS 0x7A46E70000000000u

/* Larger volumes are right, but take long to walk through. */
#define SIZE_MOST ((uint64_t)1 << 30)

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x100000001B3u + (hash >> 29);
}

/* ---- what a log shows ------------------------------------------------------------------------- */

/* A block as it was read, wherever it lies: the cleaner may have moved it. Bytes behind it are zero. */
static uint64_t mix_block(uint64_t hash, uint64_t offset, int status, const char *bytes, uint64_t length)
{
    hash = mix(mix(hash, offset), (uint64_t)(uint32_t)-status);
    for (uint64_t at = 0; status == SQ_OK && at < length; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof word);
        hash = mix(hash, word);
    }
    return hash;
}

/* What cannot be opened is not handed out. */
static void expect_zeros(const char *bytes, uint64_t length)
{
    for (uint64_t at = 0; at < length; at++)
        if (bytes[at] != 0)
            fail("bytes of a block that is an error", (int)at);
}

static uint64_t show_bytes(sq_log *log, uint64_t handle, uint64_t offset, uint64_t length, uint64_t hash)
{
    static char bytes[IMAGE_BYTES + sizeof(uint64_t)];
    int whole = sq_volume_read(log, handle, offset, bytes, length, NULL);
    if (whole != SQ_OK && whole != SQ_E_CORRUPT && whole != SQ_E_NO_KEY)
        expect_ok(log, "reading what is mapped", whole);
    memset(bytes + length, 0, sizeof(uint64_t));
    for (uint64_t done = 0; done < length; done += BLOCK_BYTES) {
        uint64_t here = length - done < BLOCK_BYTES ? length - done : BLOCK_BYTES;
        char *block = bytes + done;
        int status = whole == SQ_OK ? SQ_OK : sq_volume_read(log, handle, offset + done, block, here, NULL);
        if (status == SQ_E_CORRUPT || status == SQ_E_NO_KEY)
            expect_zeros(block, here);
        hash = mix_block(hash, offset + done, status, block, here);
    }
    return hash;
}

static uint64_t show_extent(sq_log *log, const struct sq_volume_entry *entry, const struct sq_extent *extent,
                            uint64_t hash)
{
    if (extent->count > BLOCKS || extent->mba >= BLOCKS || extent->count > BLOCKS - extent->mba)
        fail("an extent beyond the drive", 0);
    uint64_t offset = extent->lba * BLOCK_BYTES, length = extent->count * BLOCK_BYTES;
    if (offset >= entry->size_bytes)
        fail("an extent beyond the volume", 0);
    if (length > entry->size_bytes - offset) /* it ends within the last block */
        length = entry->size_bytes - offset;
    return show_bytes(log, entry->handle, offset, length, hash);
}

static uint64_t show_volume(sq_log *log, const struct sq_volume_entry *entry, uint64_t hash)
{
    static struct sq_extent extents[EXTENTS_MOST];
    struct sq_reach reach[4];
    struct sq_volume_info info;
    uint64_t count = 0, reached = 0;
    expect_ok(log, "info", sq_volume_info(log, entry->handle, &info));
    expect_ok(log, "extents", sq_volume_extents(log, entry->handle, 0, EXTENTS_MOST, extents, &count));
    expect_ok(log, "reach", sq_volume_reach(log, entry->number, 0, UINT64_MAX, 4, reach, &reached));
    hash = mix(mix(mix(hash, entry->number), entry->tenant), entry->size_bytes);
    hash = mix(mix(mix(hash, entry->origin), entry->flags), info.mapped_blocks);
    hash = mix(hash, reached);
    for (uint64_t i = 0; i < count; i++)
        hash = show_extent(log, entry, &extents[i], hash);
    return hash;
}

static void show_drive(sq_log *log)
{
    static struct sq_ledger_entry ledger[BLOCKS];
    struct sq_segment_info segments[SEGMENTS];
    struct sq_remanence remanence;
    struct sq_damage damage[4];
    struct sq_stats stats;
    uint64_t damaged, blocks;
    expect_ok(log, "stats", sq_log_stats(log, &stats));
    expect_ok(log, "ledger", sq_log_ledger(log, 0, BLOCKS, ledger));
    expect_ok(log, "segments", sq_log_segments(log, 0, SEGMENTS, segments));
    expect_ok(log, "remanence", sq_log_remanence(log, SQ_SCOPE_ALL, 0, &remanence, NULL));
    expect_ok(log, "scrub", sq_log_scrub(log, 0, BLOCKS, 4, damage, &damaged, &blocks));
}

/* Does the deep check fail for a nonce that two blocks have? Anybody can write that on a drive. */
static int repeats_a_nonce(sq_log *log, int status)
{
    struct sq_invariant invariant;
    return status == SQ_E_INVARIANT && sq_log_invariant(log, &invariant) == SQ_OK &&
           strcmp(invariant.condition, "twice == 0") == 0;
}

/* All that can be seen, as one number. 0 if there is too much of it, or the image, which nobody has worked on
 * yet, has a nonce twice. */
static uint64_t show(sq_log *log, int is_new)
{
    static struct sq_volume_entry entries[VOLUMES_MOST];
    uint64_t count = 0, hash = 0xCBF29CE484222325u;
    expect_ok(log, "list", sq_volume_list(log, VOLUMES_MOST, entries, &count));
    for (uint64_t i = 0; i < count && i < VOLUMES_MOST; i++)
        if (entries[i].size_bytes > SIZE_MOST)
            return 0;
    int status = sq_log_check(log);
    if (is_new && repeats_a_nonce(log, status))
        return 0;
    expect_ok(log, "the deep check", status);
    for (uint64_t i = 0; i < count && i < VOLUMES_MOST; i++)
        hash = show_volume(log, &entries[i], hash);
    return hash | 1;
}

/* ---- lives ------------------------------------------------------------------------------------ */

static sq_medium *medium_over(struct image *image)
{
    sq_medium *medium = image_medium(image);
    if (medium == NULL)
        fail("out of memory", 0);
    return medium;
}

static int try_open(sq_medium *medium, const struct sq_log_options *options, sq_log **log)
{
    struct sq_recovery recovery;
    struct sq_fault fault;
    int status = sq_log_open(medium, options, log, &recovery, &fault);
    if (status != SQ_OK && status != SQ_E_FORMAT && status != SQ_E_VERSION && status != SQ_E_LOST &&
        status != SQ_E_NO_MEMORY && status != SQ_E_OUT_OF_SPACE)
        fail("opening", status);
    return status;
}

/* All that can be asked of a log that was opened for reading; 0 if no more is to be tried with it. */
static uint64_t look_at(sq_log *log, int is_sealed)
{
    struct sq_invariant invariant;
    uint64_t shown = show(log, 1);
    if (sq_log_invariant(log, &invariant) == SQ_OK)
        return 0;
    show_drive(log);
    if (is_sealed)
        keyed_list(log);
    int status = sq_log_flush(log, NULL);
    if (status != SQ_OK && status != SQ_E_READ_ONLY)
        fail("a flush of a log opened for reading", status);
    if (sq_log_checkpoint(log, NULL) != SQ_E_READ_ONLY)
        fail("a checkpoint of a log opened for reading", 0);
    return shown;
}

/* Reading alone: shows what there is, and leaves it. */
static int look(struct image *image, struct sq_log_options options)
{
    sq_medium *medium = medium_over(image);
    sq_log *log = NULL;
    uint64_t shown = 0;
    options.read_only = 1;
    if (try_open(medium, &options, &log) == SQ_OK) {
        shown = look_at(log, options.sealed != 0);
        sq_log_destroy(log);
    }
    sq_medium_destroy(medium);
    if (image->appended_blocks != 0)
        fail("a log opened for reading has written", 0);
    return shown != 0;
}

/* Opens the image, which must hold what was shown before if anything was; works on it; flushes, and leaves it
 * with or without closing. Returns what it shows then. */
static uint64_t work(struct image *image, struct sq_log_options *options, uint64_t shown, uint32_t requests,
                     int finish)
{
    options->sealing++;
    sq_medium *medium = medium_over(image);
    sq_log *log = NULL;
    int status = try_open(medium, options, &log);
    uint64_t left = 0;
    if (shown != 0 && status != SQ_OK)
        fail("opening what was flushed", status);
    if (status == SQ_OK) {
        keyed_volumes(log);
        left = show(log, shown == 0);
        if (shown != 0 && left != shown)
            fail("something else after opening again", 0);
        if (left != 0 && requests > 0) {
            bases_churn(log, left, requests);
            left = show(log, 0);
        }
        status = finish ? sq_log_finish(log, NULL) : sq_log_flush(log, NULL);
        if (status != SQ_OK && status != SQ_E_OUT_OF_SPACE)
            fail("the end of the work", status);
        left = status == SQ_OK ? left : 0;
        sq_log_destroy(log);
    }
    sq_medium_destroy(medium);
    return left;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
    static struct image image;
    struct sq_log_options options = image_options();
    if (bytes < INPUT_HEAD_BYTES)
        return 0;
    options.check_flushed = (input[0] & INPUT_FLUSHED) != 0;
    options.accept_loss = (input[0] & INPUT_LOSS) != 0;
    if (input[0] & INPUT_SEALED)
        keyed_options(&options, OPENINGS);
    edits_apply(input, bytes, &image);
    if (!look(&image, options))
        return 0;
    uint64_t shown = work(&image, &options, 0, 24, 0);
    /* Without what an accepted loss leaves behind, nothing is lost from here on. */
    if (shown == 0 || options.accept_loss)
        return 0;
    shown = work(&image, &options, shown, 60, 1);
    if (shown != 0)
        work(&image, &options, shown, 0, 1);
    return 0;
}
