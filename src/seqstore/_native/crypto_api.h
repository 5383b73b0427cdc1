/* crypto_api.h: what the C core offers of cryptography; read like seqstore_api.h, and behind it.
 *
 * AES-256-GCM, HKDF-SHA-256 and scrypt by OpenSSL's libcrypto (3 or 1.1), which is loaded when it is asked
 * for. docs/explanation/keys.md says which key seals what. Secrets that are passed in stay the caller's to
 * clear.
 */
#define SQ_KEY_BYTES 32
#define SQ_NONCE_BYTES 12
#define SQ_SEAL_BYTES 16     /* the tag that goes with each sealed block */
#define SQ_IDENTITY_BYTES 24
#define SQ_INFO_BYTES 256    /* of sq_crypto_derive, at most */

typedef struct sq_crypto sq_crypto;
typedef struct sq_key sq_key;
typedef struct sq_key_ring sq_key_ring;

/* path: of a libcrypto; NULL for the system's. Once closed, it goes with the last key, ring or fill that was
 * made with it. */
int sq_crypto_open(const char *path, sq_crypto **crypto_out);
void sq_crypto_close(sq_crypto *crypto);
const char *sq_crypto_version(const sq_crypto *crypto);
int sq_crypto_random(const sq_crypto *crypto, uint8_t *out, uint64_t bytes);

/* HKDF, RFC 5869. salt and info may be empty; out_bytes is 8160 at most. */
int sq_crypto_derive(const sq_crypto *crypto, const uint8_t *secret, uint64_t secret_bytes,
                     const uint8_t *salt, uint64_t salt_bytes, const uint8_t *info, uint64_t info_bytes,
                     uint8_t *out, uint64_t out_bytes);

/* scrypt, RFC 7914, with N = 2^cost_log2, r = block and p = lanes. SQ_E_INVALID above 24, 64, 64 and 4 GiB of
 * memory. */
int sq_crypto_stretch(const sq_crypto *crypto, const char *password, uint64_t password_bytes,
                      const uint8_t *salt, uint64_t salt_bytes, uint32_t cost_log2, uint32_t block,
                      uint32_t lanes, uint8_t *out, uint64_t out_bytes);

/* A key ready for use. Any number of threads may seal and open with it; none while it is destroyed, which
 * leaves nothing of it in memory. */
int sq_key_create(sq_crypto *crypto, const uint8_t *secret, sq_key **key_out);
void sq_key_destroy(sq_key *key);

/* One message. cipher_out may be plain. The same nonce must never seal twice with one key. */
int sq_key_seal(sq_key *key, const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes,
                const uint8_t *plain, uint64_t bytes, uint8_t *cipher_out, uint8_t *tag_out);

/* SQ_E_CORRUPT if nonce, aad, cipher and tag do not belong together; plain_out is zeros then. */
int sq_key_open(sq_key *key, const uint8_t *nonce, const uint8_t *aad, uint64_t aad_bytes,
                const uint8_t *cipher, uint64_t bytes, const uint8_t *tag, uint8_t *plain_out);

/* count blocks, one behind the other as their aads and tags are. Block i has the first nonce plus i in its
 * last 8 bytes, a little-endian number; SQ_E_INVALID if that overflows. */
int sq_key_seal_run(sq_key *key, const uint8_t *first_nonce, const uint8_t *aads, uint64_t aad_bytes,
                    const uint8_t *plain, uint64_t bytes, uint64_t count, uint8_t *cipher_out,
                    uint8_t *tags_out);

/* count blocks with a nonce each. SQ_E_CORRUPT at the first that does not open; opened_out (may be NULL) is
 * how many came before it, and plain_out is zeros up to its end. */
int sq_key_open_blocks(sq_key *key, const uint8_t *nonces, const uint8_t *aads, uint64_t aad_bytes,
                       const uint8_t *cipher, uint64_t bytes, uint64_t count, const uint8_t *tags,
                       uint8_t *plain_out, uint64_t *opened_out);

/* The same with a key and a nonce for each block. */
int sq_seal_each(const sq_crypto *crypto, const uint8_t *secrets, const uint8_t *nonces, const uint8_t *aads,
                 uint64_t aad_bytes, const uint8_t *plain, uint64_t bytes, uint64_t count,
                 uint8_t *cipher_out, uint8_t *tags_out);
int sq_open_each(const sq_crypto *crypto, const uint8_t *secrets, const uint8_t *nonces, const uint8_t *aads,
                 uint64_t aad_bytes, const uint8_t *cipher, uint64_t bytes, uint64_t count,
                 const uint8_t *tags, uint8_t *plain_out, uint64_t *opened_out);

/* What is kept of a tree of keys, ascending; a node covers the 4^level leaves from first on. One whose blocks
 * all live is a single node, of which key is the secret. See key_tree.c. */
#define SQ_TREE_LEVELS 20
struct sq_tree_node {
    uint64_t first;
    uint64_t level;
    uint8_t key[32];
};

/* The keys of leaves, fastest in ascending order. SQ_E_NOT_FOUND if one is dead; keys_out is zeros then. */
int sq_tree_keys(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                 const uint64_t *leaves, uint64_t leaf_count, uint8_t *keys_out);

/* The nodes that are left when these leaves alone live on, which ascend: the first capacity of them, which
 * must not lie where nodes are. count_out: how many there are. SQ_E_NOT_FOUND if one of them is dead. */
int sq_tree_prune(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                  const uint64_t *live, uint64_t live_count, uint64_t capacity,
                  struct sq_tree_node *nodes_out, uint64_t *count_out);

/* Of a data block: its nonce, and what is authenticated with it. sequence is below 2^48, index below 2^16. */
void sq_block_nonce(uint64_t sequence, uint32_t index, uint8_t *nonce_out);
void sq_block_identity(uint64_t tenant, uint64_t volume, uint64_t lba, uint8_t *aad_out);

/* Keys at hand: secrets by number, and keys derived from them for each opening of the store, capacity of
 * which are kept ready. Nobody may hold one when the ring is destroyed. */
int sq_key_ring_create(sq_crypto *crypto, uint64_t capacity, sq_key_ring **ring_out);
void sq_key_ring_destroy(sq_key_ring *ring);

/* SQ_E_INVALID if the number is there already. One that was removed is not used again. */
int sq_key_ring_add(sq_key_ring *ring, uint64_t number, const uint8_t *secret);

/* Forgets a secret and all that was derived from it; waits until nobody holds any. SQ_E_NOT_FOUND if there is
 * no secret; trees that were kept of it are forgotten all the same. */
int sq_key_ring_remove(sq_key_ring *ring, uint64_t number);

/* A secret may be the root of trees instead, one for each opening, with a key for each block: key_grove.c.
 * What is kept of such a tree: the nodes count, in place of what was known of it; none, and it is forgotten.
 * SQ_E_INVALID if they are no nodes. */
#define SQ_GROVE_LEVELS 16
#define SQ_GROVE_LEAVES 4294967295 /* of a tree; the numbers from 0 on */
int sq_key_ring_keep(sq_key_ring *ring, uint64_t number, uint64_t opening, const struct sq_tree_node *nodes,
                     uint64_t count);

/* As sq_tree_prune, of what there is of a tree. SQ_E_NOT_FOUND if there is nothing. */
int sq_key_ring_prune(sq_key_ring *ring, uint64_t number, uint64_t opening, const uint64_t *live,
                      uint64_t live_count, uint64_t capacity, struct sq_tree_node *nodes_out,
                      uint64_t *count_out);

/* Forgets a secret, and keeps of its trees what was given to sq_key_ring_keep. What that does not cover is
 * nowhere in memory when this returns: it waits for who holds it. SQ_E_NOT_FOUND if there is no secret. */
int sq_key_ring_retire(sq_key_ring *ring, uint64_t number);

/* The key of a number in an opening, to be let go soon. SQ_E_NOT_FOUND if the number is not there. */
int sq_key_ring_hold(sq_key_ring *ring, uint64_t number, uint64_t opening, sq_key **key_out);
void sq_key_ring_release(sq_key_ring *ring, sq_key *key);
