/* crypt.c: libcrypto, loaded when it is asked for: random bytes, keys out of keys, keys out of passphrases.
 *
 * Invariants: what held a secret is cleared before it is left, on failure too; outs are filled or untouched.
 * Lock: none. Sealing with a key is in seal.c, keys that are at hand in key_ring.c.
 * Docs: docs/explanation/keys.md.
 */
#include "crypt.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>

#define DIGEST_BYTES 32u

/* ---- the library ---------------------------------------------------------------------------- */

static const char *const names[] = {
#if defined(__APPLE__)
    "libcrypto.3.dylib", "libcrypto.1.1.dylib",
#else
    "libcrypto.so.3", "libcrypto.so.1.1",
#endif
};

static void *load(const char *path)
{
    if (path != NULL)
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *library = NULL;
    for (size_t i = 0; library == NULL && i < sizeof names / sizeof *names; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* A function's address goes through memory, since C knows no cast from what dlsym returns. */
static int find(void *library, const char *name, void *function_out)
{
    void *symbol = dlsym(library, name);
    if (symbol == NULL)
        return 0;
    memcpy(function_out, &symbol, sizeof symbol);
    return 1;
}

static int find_all(struct sq_crypto *crypto)
{
    void *library = crypto->library;
    return find(library, "OpenSSL_version", &crypto->version)
        && find(library, "RAND_bytes", &crypto->random)
        && find(library, "HMAC", &crypto->hmac)
        && find(library, "EVP_PBE_scrypt", &crypto->scrypt)
        && find(library, "EVP_CIPHER_CTX_new", &crypto->context_new)
        && find(library, "EVP_CIPHER_CTX_free", &crypto->context_free)
        && find(library, "EVP_CIPHER_CTX_copy", &crypto->context_copy)
        && find(library, "EVP_CIPHER_CTX_ctrl", &crypto->context_control)
        && find(library, "EVP_CipherInit_ex", &crypto->cipher_init)
        && find(library, "EVP_Cipher", &crypto->cipher_step)
        && find(library, "EVP_sha256", &crypto->digest_sha256)
        && find(library, "EVP_aes_256_gcm", &crypto->cipher_gcm)
        && find(library, "EVP_aes_256_ctr", &crypto->cipher_ctr);
}

int sq_crypto_open(const char *path, sq_crypto **crypto_out)
{
    struct sq_crypto *crypto = calloc(1, sizeof *crypto);
    if (crypto == NULL)
        return SQ_E_NO_MEMORY;
    crypto->holders = 1;
    crypto->library = load(path);
    if (crypto->library == NULL || !find_all(crypto)) {
        sq_crypto_close(crypto);
        return SQ_E_NO_CRYPTO;
    }
    crypto->cipher = crypto->cipher_gcm();
    crypto->digest = crypto->digest_sha256();
    *crypto_out = crypto;
    return SQ_OK;
}

sq_crypto *sq_crypto_hold(sq_crypto *crypto)
{
    (void)__atomic_add_fetch(&crypto->holders, 1, __ATOMIC_RELAXED);
    return crypto;
}

void sq_crypto_close(sq_crypto *crypto)
{
    if (crypto == NULL || __atomic_sub_fetch(&crypto->holders, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (crypto->library != NULL)
        (void)dlclose(crypto->library);
    free(crypto);
}

const char *sq_crypto_version(const sq_crypto *crypto)
{
    return crypto->version(0);
}

int sq_crypto_random(const sq_crypto *crypto, uint8_t *out, uint64_t bytes)
{
    if (bytes > INT_MAX)
        return SQ_E_INVALID;
    if (crypto->random(out, (int)bytes) != 1) {
        sq_forget(out, bytes);
        return SQ_E_NO_CRYPTO;
    }
    return SQ_OK;
}

/* ---- keys out of keys: HKDF with SHA-256, RFC 5869 ------------------------------------------- */

static int hmac(const struct sq_crypto *crypto, const uint8_t *key, size_t key_bytes, const uint8_t *data,
                size_t data_bytes, uint8_t *out)
{
    unsigned int bytes = 0;
    return crypto->hmac(crypto->digest, key, (int)key_bytes, data, data_bytes, out, &bytes) != NULL
               && bytes == DIGEST_BYTES
               ? SQ_OK
               : SQ_E_NO_CRYPTO;
}

/* T(n) = HMAC(PRK, T(n-1) | info | n), one behind the other. */
static int expand(const struct sq_crypto *crypto, const uint8_t *prk, const uint8_t *info, size_t info_bytes,
                  uint8_t *out, size_t out_bytes)
{
    uint8_t text[DIGEST_BYTES + SQ_INFO_BYTES + 1];
    uint8_t block[DIGEST_BYTES];
    int status = SQ_OK;
    size_t head = 0;
    for (uint8_t n = 1; out_bytes > 0 && status == SQ_OK; n++) {
        memcpy(text, block, head);
        if (info_bytes > 0)
            memcpy(text + head, info, info_bytes);
        text[head + info_bytes] = n;
        status = hmac(crypto, prk, DIGEST_BYTES, text, head + info_bytes + 1, block);
        head = DIGEST_BYTES;
        size_t step = out_bytes < DIGEST_BYTES ? out_bytes : DIGEST_BYTES;
        if (status == SQ_OK)
            memcpy(out, block, step);
        out += step;
        out_bytes -= step;
    }
    sq_forget(text, sizeof text);
    sq_forget(block, sizeof block);
    return status;
}

int sq_crypto_derive(const sq_crypto *crypto, const uint8_t *secret, uint64_t secret_bytes,
                     const uint8_t *salt, uint64_t salt_bytes, const uint8_t *info, uint64_t info_bytes,
                     uint8_t *out, uint64_t out_bytes)
{
    if (secret_bytes > INT_MAX || salt_bytes > INT_MAX || info_bytes > SQ_INFO_BYTES || out_bytes == 0
        || out_bytes > 255 * DIGEST_BYTES)
        return SQ_E_INVALID;
    uint8_t prk[DIGEST_BYTES];
    static const uint8_t no_salt[DIGEST_BYTES] = {0};
    int status = salt_bytes > 0 ? hmac(crypto, salt, salt_bytes, secret, secret_bytes, prk)
                                : hmac(crypto, no_salt, sizeof no_salt, secret, secret_bytes, prk);
    if (status == SQ_OK)
        status = expand(crypto, prk, info, info_bytes, out, out_bytes);
    if (status != SQ_OK)
        sq_forget(out, out_bytes);
    sq_forget(prk, sizeof prk);
    return status;
}

/* ---- keys out of passphrases: scrypt, RFC 7914 ------------------------------------------------ */

int sq_crypto_stretch(const sq_crypto *crypto, const char *password, uint64_t password_bytes,
                      const uint8_t *salt, uint64_t salt_bytes, uint32_t cost_log2, uint32_t block,
                      uint32_t lanes, uint8_t *out, uint64_t out_bytes)
{
    /* The costs come from a file: no more than 4 GiB of memory, nor what would take hours. */
    if (cost_log2 < 1 || cost_log2 > 24 || block < 1 || block > 64 || lanes < 1 || lanes > 64)
        return SQ_E_INVALID;
    uint64_t n = (uint64_t)1 << cost_log2;
    uint64_t needed_bytes = 128 * (uint64_t)block * (n + lanes + 2);
    if (needed_bytes > (uint64_t)1 << 32)
        return SQ_E_INVALID;
    if (crypto->scrypt(password, password_bytes, salt, salt_bytes, n, block, lanes, needed_bytes + 4096, out,
                       out_bytes)
        != 1) {
        sq_forget(out, out_bytes);
        return SQ_E_NO_MEMORY;
    }
    return SQ_OK;
}
