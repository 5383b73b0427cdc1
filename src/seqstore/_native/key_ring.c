/* key_ring.c: the secrets that are at hand, and keys derived from them, ready for use.
 *
 * A secret, which is the key of an epoch, never seals by itself. For each opening of the store, which has a
 * random number, another key is derived from it: so record numbers that a crash lost, or that a copy of the
 * medium goes on from as well, seal under another key when they come again.
 *
 * Invariants: a key is in the table of the number and opening that it was derived from, and in the list of
 * all keys, the last used first; one that somebody holds is in both.
 * Lock: ring->lock guards everything but the grove; it is not held while somebody seals or opens.
 */
#include <pthread.h>
#include <stdlib.h>

#include "key_grove.h"

struct ready {
    sq_key *key;
    uint64_t number;
    uint64_t opening;
    uint64_t holders;
    struct ready *next_in_bucket;
    struct ready *newer;
    struct ready *older;
};

struct secret {
    uint64_t number;
    uint8_t bytes[SQ_KEY_BYTES];
};

struct sq_key_ring {
    pthread_mutex_t lock;
    pthread_cond_t released;
    struct sq_crypto *crypto;
    struct secret *secrets; /* in ascending order of numbers */
    uint64_t secret_count;
    uint64_t secret_capacity;
    struct ready **buckets;
    uint64_t bucket_mask;
    uint64_t capacity;
    uint64_t ready_count;
    struct ready *newest;
    struct ready *oldest;
    struct sq_grove grove;
};

int sq_key_ring_create(sq_crypto *crypto, uint64_t capacity, sq_key_ring **ring_out)
{
    if (capacity == 0 || capacity > (uint64_t)1 << 24)
        return SQ_E_INVALID;
    struct sq_key_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return SQ_E_NO_MEMORY;
    uint64_t buckets = 16;
    while (buckets < capacity)
        buckets *= 2;
    ring->capacity = capacity;
    ring->bucket_mask = buckets - 1;
    ring->buckets = calloc(buckets, sizeof(struct ready *));
    if (ring->buckets == NULL) {
        free(ring);
        return SQ_E_NO_MEMORY;
    }
    (void)pthread_mutex_init(&ring->lock, NULL);
    (void)pthread_cond_init(&ring->released, NULL);
    ring->crypto = sq_crypto_hold(crypto);
    sq_grove_init(&ring->grove, crypto);
    *ring_out = ring;
    return SQ_OK;
}

/* ---- secrets ---------------------------------------------------------------------------------- */

/* Index of the first secret whose number is not below this one. */
static uint64_t place_of(const struct sq_key_ring *ring, uint64_t number)
{
    uint64_t low = 0, high = ring->secret_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (ring->secrets[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct secret *find_secret(const struct sq_key_ring *ring, uint64_t number)
{
    uint64_t place = place_of(ring, number);
    return place < ring->secret_count && ring->secrets[place].number == number ? &ring->secrets[place] : NULL;
}

/* realloc would leave a copy of the secrets behind. */
static int grow_secrets(struct sq_key_ring *ring)
{
    uint64_t capacity = ring->secret_capacity == 0 ? 16 : 2 * ring->secret_capacity;
    struct secret *secrets = calloc(capacity, sizeof *secrets);
    if (secrets == NULL)
        return SQ_E_NO_MEMORY;
    if (ring->secret_count > 0) {
        memcpy(secrets, ring->secrets, ring->secret_count * sizeof *secrets);
        sq_forget(ring->secrets, ring->secret_count * sizeof *secrets);
    }
    free(ring->secrets);
    ring->secrets = secrets;
    ring->secret_capacity = capacity;
    return SQ_OK;
}

static int add_secret(struct sq_key_ring *ring, uint64_t number, const uint8_t *bytes)
{
    if (find_secret(ring, number) != NULL)
        return SQ_E_INVALID;
    if (ring->secret_count == ring->secret_capacity && grow_secrets(ring) != SQ_OK)
        return SQ_E_NO_MEMORY;
    uint64_t place = place_of(ring, number);
    struct secret *secret = &ring->secrets[place];
    memmove(secret + 1, secret, (ring->secret_count - place) * sizeof *secret);
    ring->secret_count++;
    secret->number = number;
    memcpy(secret->bytes, bytes, SQ_KEY_BYTES);
    return SQ_OK;
}

static void remove_secret(struct sq_key_ring *ring, struct secret *secret)
{
    struct secret *end = ring->secrets + --ring->secret_count;
    memmove(secret, secret + 1, (size_t)(end - secret) * sizeof *secret);
    sq_forget(end, sizeof *end);
}

int sq_key_ring_add(sq_key_ring *ring, uint64_t number, const uint8_t *secret)
{
    (void)pthread_mutex_lock(&ring->lock);
    int status = add_secret(ring, number, secret);
    (void)pthread_mutex_unlock(&ring->lock);
    return status;
}

/* ---- keys that are ready ------------------------------------------------------------------------ */

static struct ready **bucket_of(const struct sq_key_ring *ring, uint64_t number, uint64_t opening)
{
    uint64_t mixed = (number ^ opening) * 0x9E3779B97F4A7C15u + number;
    return &ring->buckets[(mixed ^ mixed >> 32) & ring->bucket_mask];
}

static struct ready *find_ready(const struct sq_key_ring *ring, uint64_t number, uint64_t opening)
{
    struct ready *ready = *bucket_of(ring, number, opening);
    while (ready != NULL && (ready->number != number || ready->opening != opening))
        ready = ready->next_in_bucket;
    return ready;
}

static void link_newest(struct sq_key_ring *ring, struct ready *ready)
{
    ready->newer = NULL;
    ready->older = ring->newest;
    if (ring->newest != NULL)
        ring->newest->newer = ready;
    else
        ring->oldest = ready;
    ring->newest = ready;
}

static void unlink_ready(struct sq_key_ring *ring, struct ready *ready)
{
    if (ready->newer != NULL)
        ready->newer->older = ready->older;
    else
        ring->newest = ready->older;
    if (ready->older != NULL)
        ready->older->newer = ready->newer;
    else
        ring->oldest = ready->newer;
}

static void drop_ready(struct sq_key_ring *ring, struct ready *ready)
{
    struct ready **link = bucket_of(ring, ready->number, ready->opening);
    while (*link != ready)
        link = &(*link)->next_in_bucket;
    *link = ready->next_in_bucket;
    unlink_ready(ring, ready);
    ring->ready_count--;
    sq_key_destroy(ready->key);
    free(ready);
}

/* Makes room for one more: the one used longest ago goes, of those that nobody holds. */
static void evict(struct sq_key_ring *ring)
{
    struct ready *ready = ring->oldest;
    while (ready != NULL && ready->holders > 0)
        ready = ready->newer;
    if (ready != NULL)
        drop_ready(ring, ready);
}

/* What the key of an opening is for; the zeros at their ends belong to them. */
static const char for_blocks[] = "seqstore blocks 1";
static const char for_leaves[] = "seqstore leaves 1";

static int derive(const struct sq_key_ring *ring, const struct secret *secret, const char *label,
                  uint64_t opening, uint8_t *key_out)
{
    uint8_t info[sizeof for_blocks + 8];
    memcpy(info, label, sizeof for_blocks);
    for (uint32_t i = 0; i < 8; i++)
        info[sizeof for_blocks + i] = (uint8_t)(opening >> 8 * i);
    return sq_crypto_derive(ring->crypto, secret->bytes, SQ_KEY_BYTES, NULL, 0, info, sizeof info, key_out,
                            SQ_KEY_BYTES);
}

static int make_key(const struct sq_key_ring *ring, const struct secret *secret, uint64_t opening,
                    sq_key **key_out)
{
    uint8_t derived[SQ_KEY_BYTES];
    int status = derive(ring, secret, for_blocks, opening, derived);
    if (status == SQ_OK)
        status = sq_key_create(ring->crypto, derived, key_out);
    sq_forget(derived, sizeof derived);
    return status;
}

int sq_key_ring_root(sq_key_ring *ring, uint64_t number, uint64_t opening, uint8_t *root_out)
{
    (void)pthread_mutex_lock(&ring->lock);
    const struct secret *secret = find_secret(ring, number);
    int status = secret == NULL ? SQ_E_NOT_FOUND : derive(ring, secret, for_leaves, opening, root_out);
    (void)pthread_mutex_unlock(&ring->lock);
    return status;
}

struct sq_grove *sq_key_ring_grove(sq_key_ring *ring)
{
    return &ring->grove;
}

static int make_ready(struct sq_key_ring *ring, uint64_t number, uint64_t opening, struct ready **ready_out)
{
    const struct secret *secret = find_secret(ring, number);
    if (secret == NULL)
        return SQ_E_NOT_FOUND;
    struct ready *ready = calloc(1, sizeof *ready);
    if (ready == NULL)
        return SQ_E_NO_MEMORY;
    int status = make_key(ring, secret, opening, &ready->key);
    if (status != SQ_OK) {
        free(ready);
        return status;
    }
    if (ring->ready_count >= ring->capacity)
        evict(ring);
    struct ready **bucket = bucket_of(ring, number, opening);
    ready->number = number;
    ready->opening = opening;
    ready->next_in_bucket = *bucket;
    *bucket = ready;
    link_newest(ring, ready);
    ring->ready_count++;
    *ready_out = ready;
    return SQ_OK;
}

static int hold(struct sq_key_ring *ring, uint64_t number, uint64_t opening, sq_key **key_out)
{
    struct ready *ready = find_ready(ring, number, opening);
    /* One that waits for its last holder to let go is dead already. */
    if (ready != NULL && find_secret(ring, number) == NULL)
        return SQ_E_NOT_FOUND;
    if (ready == NULL) {
        int status = make_ready(ring, number, opening, &ready);
        if (status != SQ_OK)
            return status;
    } else if (ready != ring->newest) {
        unlink_ready(ring, ready);
        link_newest(ring, ready);
    }
    ready->holders++;
    *key_out = ready->key;
    return SQ_OK;
}

int sq_key_ring_hold(sq_key_ring *ring, uint64_t number, uint64_t opening, sq_key **key_out)
{
    (void)pthread_mutex_lock(&ring->lock);
    int status = hold(ring, number, opening, key_out);
    (void)pthread_mutex_unlock(&ring->lock);
    return status;
}

void sq_key_ring_release(sq_key_ring *ring, sq_key *key)
{
    (void)pthread_mutex_lock(&ring->lock);
    struct ready *ready = ring->newest;
    while (ready != NULL && ready->key != key)
        ready = ready->older;
    if (ready != NULL && --ready->holders == 0) {
        if (ring->ready_count > ring->capacity)
            evict(ring);
        (void)pthread_cond_broadcast(&ring->released);
    }
    (void)pthread_mutex_unlock(&ring->lock);
}

/* ---- the end ------------------------------------------------------------------------------------ */

/* A key of that number, one that nobody holds if there is any; NULL if there is none. */
static struct ready *find_of_number(const struct sq_key_ring *ring, uint64_t number)
{
    struct ready *held = NULL;
    for (struct ready *ready = ring->newest; ready != NULL; ready = ready->older) {
        if (ready->number != number)
            continue;
        if (ready->holders == 0)
            return ready;
        held = ready;
    }
    return held;
}

static int remove_number(struct sq_key_ring *ring, uint64_t number)
{
    struct secret *secret = find_secret(ring, number);
    if (secret == NULL)
        return SQ_E_NOT_FOUND;
    remove_secret(ring, secret);
    for (struct ready *ready; (ready = find_of_number(ring, number)) != NULL;) {
        if (ready->holders > 0)
            (void)pthread_cond_wait(&ring->released, &ring->lock);
        else
            drop_ready(ring, ready);
    }
    return SQ_OK;
}

static int end(sq_key_ring *ring, uint64_t number, int keeps_trees)
{
    (void)pthread_mutex_lock(&ring->lock);
    int status = remove_number(ring, number);
    (void)pthread_mutex_unlock(&ring->lock);
    /* Of a secret that has died before there are still trees. */
    if (status == SQ_OK || !keeps_trees)
        sq_grove_forget(&ring->grove, number, keeps_trees);
    return status;
}

int sq_key_ring_remove(sq_key_ring *ring, uint64_t number)
{
    return end(ring, number, 0);
}

int sq_key_ring_retire(sq_key_ring *ring, uint64_t number)
{
    return end(ring, number, 1);
}

void sq_key_ring_destroy(sq_key_ring *ring)
{
    if (ring == NULL)
        return;
    while (ring->newest != NULL)
        drop_ready(ring, ring->newest);
    sq_grove_free(&ring->grove);
    if (ring->secret_count > 0)
        sq_forget(ring->secrets, ring->secret_capacity * sizeof *ring->secrets);
    free(ring->secrets);
    free(ring->buckets);
    (void)pthread_mutex_destroy(&ring->lock);
    (void)pthread_cond_destroy(&ring->released);
    sq_crypto_close(ring->crypto);
    free(ring);
}
