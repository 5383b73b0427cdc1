/* crypt.h: the functions of libcrypto that the core uses, found when it runs.
 *
 * Built and linked without OpenSSL's headers, so that a wheel works beside any of its versions and without
 * it. The declarations repeat OpenSSL's, of which 1.1.1 and 3 have the same ones.
 *
 * Invariant: a library that is open has every function of the struct, and stays until the last of those who
 * hold it has gone.
 * Lock: none; nothing changes once it is open but the number of holders, at once for all threads.
 */
#ifndef SEQSTORE_CRYPT_H
#define SEQSTORE_CRYPT_H

#include <string.h>

#include "seqstore.h"

typedef struct sq_cipher_context sq_cipher_context; /* EVP_CIPHER_CTX */

struct sq_crypto {
    uint32_t holders; /* whoever opened it, and what was made with it */
    void *library;
    const void *cipher; /* AES-256-GCM */
    const void *digest; /* SHA-256 */

    const char *(*version)(int what);
    int (*random)(unsigned char *out, int bytes);
    unsigned char *(*hmac)(const void *digest, const void *key, int key_bytes, const unsigned char *data,
                           size_t data_bytes, unsigned char *out, unsigned int *bytes_out);
    int (*scrypt)(const char *password, size_t password_bytes, const unsigned char *salt, size_t salt_bytes,
                  uint64_t n, uint64_t r, uint64_t p, uint64_t most_bytes, unsigned char *out, size_t bytes);

    sq_cipher_context *(*context_new)(void);
    void (*context_free)(sq_cipher_context *context);
    int (*context_copy)(sq_cipher_context *to, const sq_cipher_context *from);
    int (*context_control)(sq_cipher_context *context, int what, int bytes, void *data);
    int (*cipher_init)(sq_cipher_context *context, const void *cipher, void *engine,
                       const unsigned char *key, const unsigned char *nonce, int is_sealing);
    int (*cipher_step)(sq_cipher_context *context, unsigned char *out, const unsigned char *in,
                       unsigned int bytes);
    const void *(*digest_sha256)(void);
    const void *(*cipher_gcm)(void);
    const void *(*cipher_ctr)(void);
};

/* What is made with a library holds it: garbage is collected in any order. The end is sq_crypto_close. */
sq_crypto *sq_crypto_hold(sq_crypto *crypto);

/* A context of a key's that is at hand, for this call alone; NULL: out of memory. slot_out: where it belongs,
 * or NULL. A key made without a secret has contexts whose key is set by who uses them. */
struct sq_slot;
sq_cipher_context *sq_context_borrow(struct sq_key *key, struct sq_slot **slot_out);
void sq_context_give_back(const struct sq_key *key, struct sq_slot *slot, sq_cipher_context *context);

/* Contexts that nobody has forget the key they were last used with. */
void sq_contexts_forget(struct sq_key *key);

/* One message; 1: it is done. secret: a key to be expanded first, or NULL where the context has one. */
int sq_context_seal(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *secret,
                    const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes, const uint8_t *plain,
                    uint64_t bytes, uint8_t *cipher_out, uint8_t *tag_out);
int sq_context_open(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *secret,
                    const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes, const uint8_t *cipher,
                    uint64_t bytes, const uint8_t *tag, uint8_t *plain_out);

/* memset that the compiler keeps, for what held secrets. */
static inline void sq_forget(void *data, size_t bytes)
{
    memset(data, 0, bytes);
    __asm__ volatile("" : : "r"(data) : "memory");
}

#endif
