/* sealed.c: blocks that are encrypted: sealed when they are written, opened when they are read.
 *
 * The entry of a block has its seal behind the fields of every entry, and the seal goes along when the
 * cleaner moves the block, which needs no key for that. In memory there is a seal for each media block; those
 * of a segment are read from its summaries when the first of them is needed. docs/explanation/keys.md.
 *
 * Invariants: no key seals twice with one nonce, since a number comes once in a use of the log, and each use
 * has keys of its own. A seal that was read belongs to the very block that the log expects there: the
 * checksums of both agree.
 * Lock: the log's. Readers, who share it, take sealing->loading for a segment whose seals are not all there.
 */
#include "sealed.h"

#include <stdlib.h>

#include "bytes.h"
#include "layer.h"
#include "pages.h"
#include "record.h"
#include "recover.h"

#define SEQUENCES ((uint64_t)1 << 48) /* that a number has room for */

/* ---- life ------------------------------------------------------------------------------------- */

int sq_sealing_init(sq_log *log, const struct sq_log_options *options)
{
    struct sq_sealing *sealing = &log->sealing;
    if (!log->sealing.on)
        return SQ_OK;
    sealing->ring = options->ring;
    sealing->opening = options->sealing;
    sealing->seals = sq_pages_array(log->block_count * sizeof *sealing->seals);
    sealing->has_all = calloc(log->segment_count, 1);
    sealing->summary = sq_buffer(log->block_bytes);
    int complete = sealing->seals != NULL && sealing->has_all != NULL && sealing->summary != NULL;
    return complete ? SQ_OK : SQ_E_NO_MEMORY;
}

void sq_sealing_free(sq_log *log)
{
    struct sq_sealing *sealing = &log->sealing;
    sq_pages_unmap(sealing->seals, log->block_count * sizeof *sealing->seals);
    free(sealing->has_all);
    free(sealing->summary);
    sealing->seals = NULL;
    sealing->has_all = NULL;
    sealing->summary = NULL;
}

void sq_sealing_begin(sq_log *log, uint32_t segment)
{
    /* In recovery it begins to fill again what was filled before. */
    if (log->sealing.on && log->durable.on)
        __atomic_store_n(&log->sealing.has_all[segment], 1, __ATOMIC_RELEASE);
}

/* ---- sealing ---------------------------------------------------------------------------------- */

static int hold(const struct sq_sealing *sealing, const struct sq_volume *volume, sq_key **key_out)
{
    if (sealing->ring == NULL || volume->key == 0 || sealing->opening == 0)
        return SQ_E_NO_KEY;
    int status = sq_key_ring_hold(sealing->ring, volume->key, sealing->opening, key_out);
    return status == SQ_E_NOT_FOUND ? SQ_E_NO_KEY : status;
}

int sq_seal_check(sq_log *log, const struct sq_volume *volume)
{
    sq_key *key;
    if (!log->sealing.on)
        return SQ_OK;
    SQ_TRY(hold(&log->sealing, volume, &key));
    sq_key_ring_release(log->sealing.ring, key);
    return SQ_OK;
}

int sq_seal_take(sq_log *log, struct sq_volume *volume)
{
    struct sq_sealing *sealing = &log->sealing;
    if (!sealing->on)
        return SQ_OK;
    SQ_CHECK(log, sealing->writer == NULL);
    if (!volume->by_leaf)
        SQ_TRY(hold(sealing, volume, &sealing->key));
    else
        SQ_TRY(sealing->ring == NULL || sealing->opening == 0 ? SQ_E_NO_KEY
                                                              : sq_walk_begin(sealing->ring, &sealing->walk));
    sealing->writer = volume;
    return SQ_OK;
}

void sq_seal_give_back(sq_log *log)
{
    struct sq_sealing *sealing = &log->sealing;
    if (sealing->key != NULL)
        sq_key_ring_release(sealing->ring, sealing->key);
    sealing->key = NULL;
    sq_walk_end(&sealing->walk);
    sealing->writer = NULL;
}

/* The next leaf of the writer's tree. When a tree has none left there is another one. */
static int seal_by_leaf(const sq_log *log, struct sq_sealing *sealing, const uint8_t *nonce,
                        const uint8_t *identity, const uint8_t *plain, uint8_t *cipher_out,
                        struct sq_seal *seal)
{
    struct sq_volume *volume = sealing->writer;
    uint64_t leaf = volume->leaves % SQ_GROVE_LEAVES;
    const uint8_t *key;
    seal->opening = sealing->opening + volume->leaves / SQ_GROVE_LEAVES;
    seal->leaf = (uint32_t)(leaf + 1);
    volume->leaves++;
    int status = sq_walk_to(&sealing->walk, volume->key, seal->opening, leaf, &key);
    if (status != SQ_OK)
        return status == SQ_E_NOT_FOUND ? SQ_E_NO_KEY : status;
    const struct sq_crypto *crypto = sq_key_ring_grove(sealing->ring)->crypto;
    return sq_context_seal(crypto, sealing->walk.context, key, nonce, identity, SQ_IDENTITY_BYTES, plain,
                           log->block_bytes, cipher_out, seal->tag)
               ? SQ_OK
               : SQ_E_NO_CRYPTO;
}

int sq_seal_block(sq_log *log, const struct sq_layer *layer, uint64_t lba, const uint8_t *plain)
{
    struct sq_sealing *sealing = &log->sealing;
    uint64_t sequence = log->sequence + 1;
    uint32_t mba = sq_record_next_mba(log), index = log->head->record.data_count;
    uint8_t nonce[SQ_NONCE_BYTES], identity[SQ_IDENTITY_BYTES];
    SQ_CHECK(log, sealing->writer != NULL && sequence < SEQUENCES && index <= UINT16_MAX);
    struct sq_seal *seal = &sealing->seals[mba];
    uint8_t *place = sq_place_at(log, mba);
    sq_block_nonce(sequence, index, nonce);
    sq_block_identity(layer->tenant, layer->number, lba, identity);
    seal->opening = sealing->opening;
    seal->number = sequence << 16 | index;
    seal->key = sealing->writer->key;
    seal->leaf = 0;
    if (sealing->key == NULL)
        return seal_by_leaf(log, sealing, nonce, identity, plain, place, seal);
    return sq_key_seal(sealing->key, nonce, identity, sizeof identity, plain, log->block_bytes, place,
                       seal->tag);
}

void sq_seal_put(const sq_log *log, uint32_t mba, uint8_t *entry)
{
    const struct sq_seal *seal = &log->sealing.seals[mba];
    if (seal->key == 0)
        return; /* of a block that is damaged, and is marked as such */
    memcpy(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_TAG, seal->tag, SQ_SEAL_BYTES);
    sq_put_u64(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_OPENING, seal->opening);
    sq_put_u64(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_NUMBER, seal->number);
    sq_put_u32(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_KEY, seal->key);
    sq_put_u32(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_LEAF, seal->leaf);
}

/* ---- seals on the medium ---------------------------------------------------------------------- */

/* Takes the seals of a record's blocks that live. What a summary says that was left over from a write which
 * the medium lost does not fit. */
static void take_seals(sq_log *log, const uint8_t *block, const struct sq_summary *summary)
{
    uint32_t mba = summary->mba;
    for (uint32_t i = 0; i < summary->entries; i++) {
        struct sq_entry_fields fields = sq_summary_entry(log, block, i);
        const uint8_t *entry = block + SQ_HEAD_BYTES + (size_t)i * log->entry_bytes;
        mba += (uint32_t)sq_kind_has_block(fields.kind);
        if (fields.kind != SQ_ENTRY_DATA || sq_entry_state(log->ledger[mba]) != SQ_LIVE ||
            fields.value != log->checksums[mba])
            continue;
        struct sq_seal *seal = &log->sealing.seals[mba];
        memcpy(seal->tag, entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_TAG, SQ_SEAL_BYTES);
        seal->opening = sq_get_u64(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_OPENING);
        seal->number = sq_get_u64(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_NUMBER);
        seal->key = sq_get_u32(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_KEY);
        seal->leaf = sq_get_u32(entry + SQ_ENTRY_BYTES + SQ_SEAL_AT_LEAF);
    }
}

/* Behind a summary that is damaged it goes on with the next block that is one. */
static int load(sq_log *log, uint32_t segment, int *os_error)
{
    struct sq_sealing *sealing = &log->sealing;
    const struct sq_segment *here = &log->segments[segment];
    uint64_t mba = (uint64_t)segment * log->segment_blocks;
    uint64_t end = mba + (here->state == SQ_SEGMENT_OPEN ? log->heads[here->class].open_blocks
                                                         : log->segment_blocks);
    int status = SQ_OK;
    while (mba < end) {
        struct sq_summary summary;
        int fetched = sq_medium_fetch(log->medium, mba, 1, sealing->summary, os_error);
        if (fetched != SQ_OK)
            status = fetched;
        if (fetched != SQ_OK || !sq_summary_parse(log, sealing->summary, mba, &summary)) {
            mba++;
            continue;
        }
        take_seals(log, sealing->summary, &summary);
        mba += 1 + (uint64_t)summary.blocks;
    }
    if (status == SQ_OK)
        __atomic_store_n(&sealing->has_all[segment], 1, __ATOMIC_RELEASE);
    return status;
}

/* The seal of a live block, if there is one. */
static int find(sq_log *log, uint32_t mba, struct sq_seal *seal_out, int *os_error)
{
    struct sq_sealing *sealing = &log->sealing;
    uint32_t segment = sq_segment_of(log, mba);
    int status = SQ_OK;
    if (__atomic_load_n(&sealing->has_all[segment], __ATOMIC_ACQUIRE) || sq_is_staged(log, mba)) {
        *seal_out = sealing->seals[mba];
    } else {
        (void)pthread_mutex_lock(&sealing->loading);
        if (!sealing->has_all[segment])
            status = load(log, segment, os_error);
        *seal_out = sealing->seals[mba];
        (void)pthread_mutex_unlock(&sealing->loading);
    }
    return seal_out->key != 0 ? SQ_OK : status != SQ_OK ? status : SQ_E_CORRUPT;
}

int sq_seal_move(sq_log *log, uint32_t from, uint32_t to)
{
    struct sq_seal *seal = &log->sealing.seals[to];
    int os_error;
    if (find(log, from, seal, &os_error) == SQ_OK)
        return 1;
    *seal = (struct sq_seal){0};
    return 0;
}

/* ---- opening ---------------------------------------------------------------------------------- */

static int hold_for(const sq_log *log, struct sq_opener *opener, const struct sq_seal *seal)
{
    if (opener->key != NULL && opener->number == seal->key && opener->opening == seal->opening)
        return SQ_OK;
    sq_opener_end(log, opener);
    int status = sq_key_ring_hold(log->sealing.ring, seal->key, seal->opening, &opener->key);
    if (status != SQ_OK)
        return status == SQ_E_NOT_FOUND ? SQ_E_NO_KEY : status;
    opener->number = seal->key;
    opener->opening = seal->opening;
    return SQ_OK;
}

static int open_by_leaf(const sq_log *log, struct sq_opener *opener, const struct sq_seal *seal,
                        const uint8_t *nonce, const uint8_t *identity, const uint8_t *cipher,
                        uint8_t *plain_out)
{
    const uint8_t *key;
    if (opener->walk.ring == NULL)
        SQ_TRY(sq_walk_begin(log->sealing.ring, &opener->walk));
    int status = sq_walk_to(&opener->walk, seal->key, seal->opening, seal->leaf - 1, &key);
    if (status != SQ_OK)
        return status == SQ_E_NOT_FOUND ? SQ_E_NO_KEY : status;
    const struct sq_crypto *crypto = sq_key_ring_grove(log->sealing.ring)->crypto;
    return sq_context_open(crypto, opener->walk.context, key, nonce, identity, SQ_IDENTITY_BYTES, cipher,
                           log->block_bytes, seal->tag, plain_out)
               ? SQ_OK
               : SQ_E_CORRUPT;
}

static int open_with(const sq_log *log, struct sq_opener *opener, const struct sq_seal *seal,
                     const struct sq_layer *layer, uint64_t lba, const uint8_t *cipher, uint8_t *plain_out)
{
    uint8_t nonce[SQ_NONCE_BYTES], identity[SQ_IDENTITY_BYTES];
    if (log->sealing.ring == NULL)
        return SQ_E_NO_KEY;
    sq_block_nonce(seal->number >> 16, (uint32_t)(seal->number & UINT16_MAX), nonce);
    sq_block_identity(layer->tenant, layer->number, lba, identity);
    if (seal->leaf != 0)
        return open_by_leaf(log, opener, seal, nonce, identity, cipher, plain_out);
    SQ_TRY(hold_for(log, opener, seal));
    return sq_key_open(opener->key, nonce, identity, sizeof identity, cipher, log->block_bytes, seal->tag,
                       plain_out);
}

int sq_open_block(sq_log *log, struct sq_opener *opener, const struct sq_layer *layer, uint64_t lba,
                  uint32_t mba, const uint8_t *cipher, uint8_t *plain_out, int *os_error)
{
    struct sq_seal seal;
    int status = find(log, mba, &seal, os_error);
    if (status == SQ_OK)
        status = open_with(log, opener, &seal, layer, lba, cipher, plain_out);
    if (status != SQ_OK)
        memset(plain_out, 0, log->block_bytes);
    return status;
}

void sq_opener_end(const sq_log *log, struct sq_opener *opener)
{
    if (opener->key != NULL)
        sq_key_ring_release(log->sealing.ring, opener->key);
    opener->key = NULL;
    sq_walk_end(&opener->walk);
}

/* ---- what lives ----------------------------------------------------------------------------------- */

static int compare_leaves(const void *left, const void *right)
{
    const struct sq_live_seal *a = left, *b = right;
    if (a->key != b->key)
        return (a->key > b->key) - (a->key < b->key);
    if (a->opening != b->opening)
        return (a->opening > b->opening) - (a->opening < b->opening);
    return (a->leaf > b->leaf) - (a->leaf < b->leaf);
}

static int is_among(uint32_t key, const uint32_t *keys, uint64_t count)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && keys[low] == key;
}

static int list_live(sq_log *log, const uint32_t *keys, uint64_t key_count, uint64_t capacity,
                     struct sq_live_seal *seals_out, uint64_t *count_out, struct sq_fault *fault_out)
{
    uint64_t count = 0;
    for (uint64_t mba = 0; mba < log->block_count; mba++) {
        struct sq_seal seal;
        int os_error = 0;
        if (sq_entry_state(*sq_entry_of(log, mba)) != SQ_LIVE)
            continue;
        int status = find(log, (uint32_t)mba, &seal, &os_error);
        if (status == SQ_E_CORRUPT)
            continue;
        if (status != SQ_OK) {
            fault_out->mba = mba;
            fault_out->os_error = (uint64_t)os_error;
            return status;
        }
        if (!is_among(seal.key, keys, key_count))
            continue;
        if (count < capacity)
            seals_out[count] = (struct sq_live_seal){seal.opening, seal.key, seal.leaf};
        count++;
    }
    *count_out = count;
    return SQ_OK;
}

/* Reads the seals that are not in memory, segment by segment, so that nobody waits for all of them. What
 * cannot be read is tried again. */
static int load_all(sq_log *log)
{
    for (uint32_t segment = 0; segment < log->segment_count; segment++) {
        int os_error;
        SQ_TRY(sq_lock_shared(log));
        (void)pthread_mutex_lock(&log->sealing.loading);
        if (log->segments[segment].live_blocks > 0 && !log->sealing.has_all[segment])
            (void)load(log, segment, &os_error);
        (void)pthread_mutex_unlock(&log->sealing.loading);
        sq_unlock(log);
    }
    return SQ_OK;
}

int sq_log_live_seals(sq_log *log, const uint32_t *keys, uint64_t key_count, uint64_t capacity,
                      struct sq_live_seal *seals_out, uint64_t *count_out, struct sq_fault *fault_out)
{
    if (!log->sealing.on)
        return SQ_E_INVALID;
    SQ_TRY(load_all(log));
    SQ_TRY(sq_lock_shared(log));
    int status = list_live(log, keys, key_count, capacity, seals_out, count_out, fault_out);
    sq_unlock(log);
    if (status == SQ_OK && *count_out <= capacity && *count_out > 0)
        qsort(seals_out, *count_out, sizeof *seals_out, compare_leaves);
    return status;
}

/* ---- the deep check --------------------------------------------------------------------------- */

static int compare_nonces(const void *left, const void *right)
{
    const struct sq_seal *a = left, *b = right;
    if (a->key != b->key)
        return (a->key > b->key) - (a->key < b->key);
    if (a->opening != b->opening)
        return (a->opening > b->opening) - (a->opening < b->opening);
    return (a->number > b->number) - (a->number < b->number);
}

/* Of the live blocks whose seals are in memory, or can be read. */
static uint64_t list_seals(sq_log *log, struct sq_seal *seals_out)
{
    uint64_t count = 0;
    for (uint64_t mba = 0; mba < log->block_count; mba++) {
        int os_error;
        if (sq_entry_state(*sq_entry_of(log, mba)) == SQ_LIVE &&
            find(log, (uint32_t)mba, &seals_out[count], &os_error) == SQ_OK)
            count++;
    }
    return count;
}

int sq_sealing_check(sq_log *log)
{
    if (!log->sealing.on)
        return SQ_OK;
    struct sq_seal *seals = calloc(log->stats.live_blocks + 1, sizeof *seals);
    if (seals == NULL)
        return SQ_E_NO_MEMORY;
    uint64_t count = list_seals(log, seals), twice = 0;
    qsort(seals, count, sizeof *seals, compare_nonces);
    for (uint64_t i = 1; i < count; i++)
        twice += compare_nonces(&seals[i - 1], &seals[i]) == 0;
    free(seals);
    SQ_CHECK(log, twice == 0);
    return SQ_OK;
}
