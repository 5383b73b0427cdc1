/* key_tree.c: keys of single blocks, so that one can die alone. Each is derived from the key above it, with
 * fan-out 4; leaves are blocks in the order in which they were sealed. What is kept of a tree is a row of
 * nodes; a node of level n covers 4^n leaves, from a multiple of that on.
 *
 * The keys of a node's children are the first 128 bytes of AES-256 in counter mode under its key, which are
 * what AES-GCM makes of zeros with the nonce 0: a pseudorandom function, as in Goldreich, Goldwasser, Micali,
 * JACM 33(4), 1986. A leaf that no node covers cannot be derived any more.
 *
 * Invariants: nodes ascend and do not overlap; keys on the way are cleared.
 * Lock: none. Docs: docs/explanation/keys.md.
 */
#include "crypt.h"

#define FAN_OUT_LOG2 2u
#define FAN_OUT 4u

struct walk {
    const struct sq_crypto *crypto;
    sq_cipher_context *context;
};

/* The keys of all children, one behind the other. */
static int derive_children(const struct walk *walk, const uint8_t *key, uint8_t *children_out)
{
    static const uint8_t zeros[FAN_OUT * SQ_KEY_BYTES] = {0};
    const struct sq_crypto *crypto = walk->crypto;
    return crypto->cipher_init(walk->context, NULL, NULL, key, zeros, 1) == 1
               && crypto->cipher_step(walk->context, children_out, zeros, sizeof zeros) == (int)sizeof zeros
               ? SQ_OK
               : SQ_E_NO_CRYPTO;
}

static int begin(const struct sq_crypto *crypto, struct walk *walk)
{
    walk->crypto = crypto;
    walk->context = crypto->context_new();
    if (walk->context == NULL)
        return SQ_E_NO_MEMORY;
    if (crypto->cipher_init(walk->context, crypto->cipher, NULL, NULL, NULL, 1) == 1)
        return SQ_OK;
    crypto->context_free(walk->context);
    return SQ_E_NO_CRYPTO;
}

static uint64_t leaves_of(uint64_t level)
{
    return (uint64_t)1 << FAN_OUT_LOG2 * level;
}

static int are_right(const struct sq_tree_node *nodes, uint64_t count)
{
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (nodes[i].level > SQ_TREE_LEVELS || nodes[i].first % leaves_of(nodes[i].level) != 0
            || nodes[i].first < end || nodes[i].first >= leaves_of(SQ_TREE_LEVELS))
            return 0;
        end = nodes[i].first + leaves_of(nodes[i].level);
    }
    return 1;
}

/* ---- keys of leaves ----------------------------------------------------------------------------- */

/* The node that covers a leaf, or NULL. */
static const struct sq_tree_node *find(const struct sq_tree_node *nodes, uint64_t count, uint64_t leaf)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (nodes[middle].first <= leaf)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || leaf - nodes[low - 1].first >= leaves_of(nodes[low - 1].level))
        return NULL;
    return &nodes[low - 1];
}

/* The way from a node down to a leaf. children[n]: the keys of the four nodes of level n next to it. */
struct path {
    const struct sq_tree_node *node;
    uint64_t leaf;
    uint8_t children[SQ_TREE_LEVELS][FAN_OUT * SQ_KEY_BYTES];
};

static const uint8_t *key_at(const struct path *path, uint64_t level, uint64_t leaf)
{
    if (level == path->node->level)
        return path->node->key;
    return path->children[level] + (leaf >> FAN_OUT_LOG2 * level) % FAN_OUT * SQ_KEY_BYTES;
}

static int go_to(const struct walk *walk, struct path *path, const struct sq_tree_node *node, uint64_t leaf)
{
    int is_same = path->node == node;
    uint64_t before = path->leaf;
    path->node = node;
    path->leaf = leaf;
    for (uint64_t level = node->level; level > 0; level--) {
        /* Where both ways lead through the same node of this level, its children are known. */
        if (is_same && before >> FAN_OUT_LOG2 * level == leaf >> FAN_OUT_LOG2 * level)
            continue;
        int status = derive_children(walk, key_at(path, level, leaf), path->children[level - 1]);
        if (status != SQ_OK)
            return status;
    }
    return SQ_OK;
}

int sq_tree_keys(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                 const uint64_t *leaves, uint64_t leaf_count, uint8_t *keys_out)
{
    if (!are_right(nodes, count))
        return SQ_E_INVALID;
    struct walk walk;
    int status = begin(crypto, &walk);
    if (status != SQ_OK)
        return status;
    struct path path = {.node = NULL};
    for (uint64_t i = 0; i < leaf_count && status == SQ_OK; i++) {
        const struct sq_tree_node *node = find(nodes, count, leaves[i]);
        status = node == NULL ? SQ_E_NOT_FOUND : go_to(&walk, &path, node, leaves[i]);
        if (status == SQ_OK)
            memcpy(keys_out + i * SQ_KEY_BYTES, key_at(&path, 0, leaves[i]), SQ_KEY_BYTES);
    }
    if (status != SQ_OK)
        sq_forget(keys_out, leaf_count * SQ_KEY_BYTES);
    sq_forget(&path, sizeof path);
    crypto->context_free(walk.context);
    return status;
}

/* ---- what is left when leaves die ----------------------------------------------------------------- */

struct harvest {
    struct walk walk;
    const uint64_t *dead; /* ascending */
    uint64_t end;
    uint64_t capacity;
    struct sq_tree_node *nodes_out;
    uint64_t count;
};

static void keep(struct harvest *harvest, uint64_t first, uint64_t level, const uint8_t *key)
{
    if (harvest->count < harvest->capacity) {
        struct sq_tree_node *node = &harvest->nodes_out[harvest->count];
        node->first = first;
        node->level = level;
        memcpy(node->key, key, SQ_KEY_BYTES);
    }
    harvest->count++;
}

/* Index of the first dead leaf in [low, high) that is not below this one. */
static uint64_t dead_from(const struct harvest *harvest, uint64_t low, uint64_t high, uint64_t leaf)
{
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (harvest->dead[middle] < leaf)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keeps what is alive of a node; [low, high) are the dead among its leaves. */
static int gather(struct harvest *harvest, uint64_t first, uint64_t level, const uint8_t *key, uint64_t low,
                  uint64_t high)
{
    if (first >= harvest->end)
        return SQ_OK;
    uint64_t leaves = leaves_of(level);
    uint64_t used = harvest->end - first < leaves ? harvest->end - first : leaves;
    if (low == high)
        keep(harvest, first, level, key);
    if (low == high || high - low == used)
        return SQ_OK;
    uint8_t children[FAN_OUT * SQ_KEY_BYTES];
    int status = derive_children(&harvest->walk, key, children);
    for (uint32_t i = 0; i < FAN_OUT && status == SQ_OK; i++) {
        uint64_t at = first + i * (leaves / FAN_OUT);
        uint64_t next = dead_from(harvest, low, high, at + leaves / FAN_OUT);
        status = gather(harvest, at, level - 1, children + i * SQ_KEY_BYTES, low, next);
        low = next;
    }
    sq_forget(children, sizeof children);
    return status;
}

int sq_tree_puncture(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                     const uint64_t *dead, uint64_t dead_count, uint64_t end, uint64_t capacity,
                     struct sq_tree_node *nodes_out, uint64_t *count_out)
{
    if (!are_right(nodes, count))
        return SQ_E_INVALID;
    for (uint64_t i = 0; i < dead_count; i++)
        if (dead[i] >= end || (i > 0 && dead[i] <= dead[i - 1]))
            return SQ_E_INVALID;
    struct harvest harvest = {.dead = dead, .end = end, .capacity = capacity, .nodes_out = nodes_out};
    int status = begin(crypto, &harvest.walk);
    if (status != SQ_OK)
        return status;
    uint64_t low = 0;
    for (uint64_t i = 0; i < count && status == SQ_OK; i++) {
        uint64_t first = nodes[i].first;
        low = dead_from(&harvest, low, dead_count, first);
        uint64_t high = dead_from(&harvest, low, dead_count, first + leaves_of(nodes[i].level));
        status = gather(&harvest, first, nodes[i].level, nodes[i].key, low, high);
        low = high;
    }
    crypto->context_free(harvest.walk.context);
    if (status == SQ_OK)
        *count_out = harvest.count;
    else
        sq_forget(nodes_out, (harvest.count < capacity ? harvest.count : capacity) * sizeof *nodes_out);
    return status;
}
