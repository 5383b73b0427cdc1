/* seal.c: blocks sealed and opened with AES-256-GCM (NIST SP 800-38D).
 *
 * A key is expanded once; each call borrows a context that holds the expanded key and sets a nonce for each
 * block, so that nothing is allocated and no key schedule is computed per block.
 *
 * Invariants: what did not open is never handed out; no (key, nonce) seals twice, which is for the caller
 * to see to. libcrypto clears a context when it frees it.
 * Lock: none. The template is read only; a context belongs to who took its slot.
 */
#include "crypt.h"

#include <stdlib.h>

/* Calls with one key at once that find a context ready; more make one of their own. */
#define SLOTS 16u

#define GET_TAG 0x10 /* EVP_CTRL_AEAD_GET_TAG */
#define SET_TAG 0x11 /* EVP_CTRL_AEAD_SET_TAG */
#define MOST_BYTES ((uint64_t)1 << 30)

struct sq_slot {
    int taken;
    sq_cipher_context *context; /* NULL until it is first used */
};

struct sq_key {
    struct sq_crypto *crypto;
    sq_cipher_context *template; /* has the expanded key */
    struct sq_slot slots[SLOTS];
};

/* ---- keys and their contexts ------------------------------------------------------------------ */

int sq_key_create(sq_crypto *crypto, const uint8_t *secret, sq_key **key_out)
{
    struct sq_key *key = calloc(1, sizeof *key);
    if (key == NULL)
        return SQ_E_NO_MEMORY;
    key->crypto = sq_crypto_hold(crypto);
    key->template = crypto->context_new();
    if (key->template == NULL
        || crypto->cipher_init(key->template, crypto->cipher, NULL, secret, NULL, 1) != 1) {
        sq_key_destroy(key);
        return SQ_E_NO_MEMORY;
    }
    *key_out = key;
    return SQ_OK;
}

void sq_key_destroy(sq_key *key)
{
    if (key == NULL)
        return;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (key->slots[i].context != NULL)
            key->crypto->context_free(key->slots[i].context);
    if (key->template != NULL)
        key->crypto->context_free(key->template);
    sq_crypto_close(key->crypto);
    free(key);
}

static sq_cipher_context *copy_template(const struct sq_key *key)
{
    sq_cipher_context *context = key->crypto->context_new();
    if (context != NULL && key->crypto->context_copy(context, key->template) != 1) {
        key->crypto->context_free(context);
        context = NULL;
    }
    return context;
}

sq_cipher_context *sq_context_borrow(struct sq_key *key, struct sq_slot **slot_out)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct sq_slot *slot = &key->slots[i];
        if (__atomic_load_n(&slot->taken, __ATOMIC_RELAXED)
            || __atomic_exchange_n(&slot->taken, 1, __ATOMIC_ACQUIRE))
            continue;
        if (slot->context == NULL)
            slot->context = copy_template(key);
        if (slot->context == NULL)
            __atomic_store_n(&slot->taken, 0, __ATOMIC_RELEASE);
        *slot_out = slot;
        return slot->context;
    }
    *slot_out = NULL;
    return copy_template(key);
}

void sq_context_give_back(const struct sq_key *key, struct sq_slot *slot, sq_cipher_context *context)
{
    if (slot == NULL)
        key->crypto->context_free(context);
    else
        __atomic_store_n(&slot->taken, 0, __ATOMIC_RELEASE);
}

void sq_contexts_forget(struct sq_key *key)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct sq_slot *slot = &key->slots[i];
        if (__atomic_exchange_n(&slot->taken, 1, __ATOMIC_ACQUIRE))
            continue;
        if (slot->context != NULL)
            key->crypto->context_free(slot->context);
        slot->context = NULL;
        __atomic_store_n(&slot->taken, 0, __ATOMIC_RELEASE);
    }
}

/* ---- one block -------------------------------------------------------------------------------- */

/* libcrypto's EVP_Cipher reaches AES-GCM with fewer calls on the way than EVP_CipherUpdate. It returns the
 * bytes done; with no input it ends the message. */
static int step(const struct sq_crypto *crypto, sq_cipher_context *context, uint8_t *out, const uint8_t *in,
                uint64_t bytes)
{
    return bytes == 0 || crypto->cipher_step(context, out, in, (unsigned int)bytes) == (int)bytes;
}

int sq_context_seal(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *secret,
                const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes, const uint8_t *plain,
                uint64_t bytes, uint8_t *cipher_out, uint8_t *tag_out)
{
    return crypto->cipher_init(context, NULL, NULL, secret, nonce, 1) == 1
        && step(crypto, context, NULL, aad, aad_bytes) && step(crypto, context, cipher_out, plain, bytes)
        && crypto->cipher_step(context, NULL, NULL, 0) >= 0
        && crypto->context_control(context, GET_TAG, SQ_SEAL_BYTES, tag_out) == 1;
}

int sq_context_open(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *secret,
                  const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes, const uint8_t *cipher,
                  uint64_t bytes, const uint8_t *tag, uint8_t *plain_out)
{
    uint8_t expected[SQ_SEAL_BYTES]; /* the call takes no const */
    memcpy(expected, tag, sizeof expected);
    return crypto->cipher_init(context, NULL, NULL, secret, nonce, 0) == 1
        && crypto->context_control(context, SET_TAG, SQ_SEAL_BYTES, expected) == 1
        && step(crypto, context, NULL, aad, aad_bytes) && step(crypto, context, plain_out, cipher, bytes)
        && crypto->cipher_step(context, NULL, NULL, 0) >= 0;
}

/* ---- many --------------------------------------------------------------------------------------- */

static uint64_t counter_of(const uint8_t *nonce)
{
    uint64_t counter = 0;
    for (uint32_t i = 0; i < 8; i++)
        counter |= (uint64_t)nonce[4 + i] << 8 * i;
    return counter;
}

static void put_counter(uint8_t *nonce, uint64_t counter)
{
    for (uint32_t i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(counter >> 8 * i);
}

int sq_key_seal_run(sq_key *key, const uint8_t *first_nonce, const uint8_t *aads, uint64_t aad_bytes,
                    const uint8_t *plain, uint64_t bytes, uint64_t count, uint8_t *cipher_out,
                    uint8_t *tags_out)
{
    uint64_t first = counter_of(first_nonce);
    if (bytes > MOST_BYTES || aad_bytes > MOST_BYTES || (count > 0 && first + (count - 1) < first))
        return SQ_E_INVALID;
    struct sq_slot *slot;
    sq_cipher_context *context = sq_context_borrow(key, &slot);
    if (context == NULL)
        return SQ_E_NO_MEMORY;
    uint8_t nonce[SQ_NONCE_BYTES];
    memcpy(nonce, first_nonce, sizeof nonce);
    int done = 1;
    for (uint64_t i = 0; i < count && done; i++) {
        put_counter(nonce, first + i);
        done = sq_context_seal(key->crypto, context, NULL, nonce, aads + i * aad_bytes, aad_bytes,
                               plain + i * bytes, bytes, cipher_out + i * bytes,
                               tags_out + i * SQ_SEAL_BYTES);
    }
    sq_context_give_back(key, slot, context);
    return done ? SQ_OK : SQ_E_NO_CRYPTO;
}

int sq_key_open_blocks(sq_key *key, const uint8_t *nonces, const uint8_t *aads, uint64_t aad_bytes,
                       const uint8_t *cipher, uint64_t bytes, uint64_t count, const uint8_t *tags,
                       uint8_t *plain_out, uint64_t *opened_out)
{
    if (bytes > MOST_BYTES || aad_bytes > MOST_BYTES)
        return SQ_E_INVALID;
    struct sq_slot *slot;
    sq_cipher_context *context = sq_context_borrow(key, &slot);
    if (context == NULL)
        return SQ_E_NO_MEMORY;
    uint64_t i = 0;
    while (i < count
           && sq_context_open(key->crypto, context, NULL, nonces + i * SQ_NONCE_BYTES, aads + i * aad_bytes,
                              aad_bytes, cipher + i * bytes, bytes, tags + i * SQ_SEAL_BYTES,
                              plain_out + i * bytes))
        i++;
    sq_context_give_back(key, slot, context);
    if (i == count)
        return SQ_OK;
    sq_forget(plain_out, (i + 1) * bytes);
    if (opened_out != NULL)
        *opened_out = i;
    return SQ_E_CORRUPT;
}

/* ---- a key for each block ----------------------------------------------------------------------- */

/* A context for this call alone, without a key yet; NULL: out of memory. */
static sq_cipher_context *blank_context(const struct sq_crypto *crypto, int is_sealing)
{
    sq_cipher_context *context = crypto->context_new();
    if (context != NULL && crypto->cipher_init(context, crypto->cipher, NULL, NULL, NULL, is_sealing) != 1) {
        crypto->context_free(context);
        context = NULL;
    }
    return context;
}

int sq_seal_each(const sq_crypto *crypto, const uint8_t *secrets, const uint8_t *nonces, const uint8_t *aads,
                 uint64_t aad_bytes, const uint8_t *plain, uint64_t bytes, uint64_t count,
                 uint8_t *cipher_out, uint8_t *tags_out)
{
    if (bytes > MOST_BYTES || aad_bytes > MOST_BYTES)
        return SQ_E_INVALID;
    sq_cipher_context *context = blank_context(crypto, 1);
    if (context == NULL)
        return SQ_E_NO_MEMORY;
    int done = 1;
    for (uint64_t i = 0; i < count && done; i++)
        done = sq_context_seal(crypto, context, secrets + i * SQ_KEY_BYTES, nonces + i * SQ_NONCE_BYTES,
                    aads + i * aad_bytes, aad_bytes, plain + i * bytes, bytes, cipher_out + i * bytes,
                    tags_out + i * SQ_SEAL_BYTES);
    crypto->context_free(context);
    return done ? SQ_OK : SQ_E_NO_CRYPTO;
}

int sq_open_each(const sq_crypto *crypto, const uint8_t *secrets, const uint8_t *nonces, const uint8_t *aads,
                 uint64_t aad_bytes, const uint8_t *cipher, uint64_t bytes, uint64_t count,
                 const uint8_t *tags, uint8_t *plain_out, uint64_t *opened_out)
{
    if (bytes > MOST_BYTES || aad_bytes > MOST_BYTES)
        return SQ_E_INVALID;
    sq_cipher_context *context = blank_context(crypto, 0);
    if (context == NULL)
        return SQ_E_NO_MEMORY;
    uint64_t i = 0;
    while (i < count
           && sq_context_open(crypto, context, secrets + i * SQ_KEY_BYTES, nonces + i * SQ_NONCE_BYTES,
                     aads + i * aad_bytes, aad_bytes, cipher + i * bytes, bytes, tags + i * SQ_SEAL_BYTES,
                     plain_out + i * bytes))
        i++;
    crypto->context_free(context);
    if (i == count)
        return SQ_OK;
    sq_forget(plain_out, (i + 1) * bytes);
    if (opened_out != NULL)
        *opened_out = i;
    return SQ_E_CORRUPT;
}

/* ---- single ones -------------------------------------------------------------------------------- */

int sq_key_seal(sq_key *key, const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes,
                const uint8_t *plain, uint64_t bytes, uint8_t *cipher_out, uint8_t *tag_out)
{
    return sq_key_seal_run(key, nonce, aad, aad_bytes, plain, bytes, 1, cipher_out, tag_out);
}

int sq_key_open(sq_key *key, const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes,
                const uint8_t *cipher, uint64_t bytes, const uint8_t *tag, uint8_t *plain_out)
{
    return sq_key_open_blocks(key, nonce, aad, aad_bytes, cipher, bytes, 1, tag, plain_out, NULL);
}

void sq_block_nonce(uint64_t sequence, uint32_t index, uint8_t *nonce_out)
{
    memset(nonce_out, 0, 4);
    put_counter(nonce_out, sequence << 16 | (index & 0xFFFF));
}

void sq_block_identity(uint64_t tenant, uint64_t volume, uint64_t lba, uint8_t *aad_out)
{
    const uint64_t words[3] = {tenant, volume, lba};
    for (uint32_t i = 0; i < SQ_IDENTITY_BYTES; i++)
        aad_out[i] = (uint8_t)(words[i / 8] >> i % 8 * 8);
}
