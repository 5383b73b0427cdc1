/* keyed.c: keys for drives whose blocks are encrypted, and the numbers of the openings that use them.
 *
 * The secrets are the same in each run. An opening has a number that no image made before can know: so a
 * nonce that comes twice under one key was on the image already, or is the engine's fault.
 */
#include <string.h>

#include "image.h"

#define KEYS 64u
#define LIVE_MOST (2 * BLOCKS)

static sq_key_ring *shared_ring(void)
{
    static sq_crypto *crypto;
    static sq_key_ring *ring;
    if (ring != NULL)
        return ring;
    if (sq_crypto_open(NULL, &crypto) != SQ_OK || sq_key_ring_create(crypto, KEYS, &ring) != SQ_OK)
        fail("no libcrypto", 0);
    for (uint8_t number = 1; number <= KEYS; number++) {
        uint8_t secret[SQ_KEY_BYTES] = {number, 0x5E, 0xC2};
        if (sq_key_ring_add(ring, number, secret) != SQ_OK)
            fail("a key of the ring", number);
    }
    return ring;
}

void keyed_options(struct sq_log_options *options, uint64_t opening)
{
    options->sealed = 1;
    options->ring = shared_ring();
    options->sealing = opening;
}

void keyed_volumes(sq_log *log)
{
    static struct sq_volume_entry entries[VOLUMES_MOST];
    uint64_t count = 0;
    expect_ok(log, "list", sq_volume_list(log, VOLUMES_MOST, entries, &count));
    for (uint64_t i = 0; i < count && i < VOLUMES_MOST; i++) {
        uint64_t number = entries[i].number;
        /* A log that is not encrypted refuses, and so do snapshots. */
        int status = sq_volume_seal(log, entries[i].handle, (uint32_t)(1 + number % KEYS), number % 2 != 0);
        if (status != SQ_OK && status != SQ_E_INVALID && status != SQ_E_READ_ONLY)
            expect_ok(log, "a key for a volume", status);
    }
}

void keyed_list(sq_log *log)
{
    static struct sq_live_seal seals[LIVE_MOST];
    uint32_t keys[KEYS];
    struct sq_fault fault;
    uint64_t count = 0;
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = i + 1;
    expect_ok(log, "live seals", sq_log_live_seals(log, keys, KEYS, LIVE_MOST, seals, &count, &fault));
    if (count > BLOCKS)
        fail("more seals than blocks", (int)count);
}
