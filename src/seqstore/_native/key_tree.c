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
#include "key_tree.h"

struct walk {
    const struct sq_crypto *crypto;
    sq_cipher_context *context;
};

int sq_tree_children(const struct sq_crypto *crypto, sq_cipher_context *context, const uint8_t *key,
                     uint8_t *children_out)
{
    static const uint8_t zeros[SQ_CHILDREN_BYTES] = {0};
    return crypto->cipher_init(context, NULL, NULL, key, zeros, 1) == 1
               && crypto->cipher_step(context, children_out, zeros, sizeof zeros) == (int)sizeof zeros
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

int sq_tree_is_right(const struct sq_tree_node *nodes, uint64_t count)
{
    uint64_t end = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (nodes[i].level > SQ_TREE_LEVELS || nodes[i].first % sq_tree_leaves(nodes[i].level) != 0
            || nodes[i].first < end || nodes[i].first >= sq_tree_leaves(SQ_TREE_LEVELS))
            return 0;
        end = nodes[i].first + sq_tree_leaves(nodes[i].level);
    }
    return 1;
}

/* ---- keys of leaves ----------------------------------------------------------------------------- */

const struct sq_tree_node *sq_tree_find(const struct sq_tree_node *nodes, uint64_t count, uint64_t leaf)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (nodes[middle].first <= leaf)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || leaf - nodes[low - 1].first >= sq_tree_leaves(nodes[low - 1].level))
        return NULL;
    return &nodes[low - 1];
}

/* The way from a node down to a leaf. children[n]: the keys of the four nodes of level n next to it. */
struct path {
    const struct sq_tree_node *node;
    uint64_t leaf;
    uint8_t children[SQ_TREE_LEVELS][SQ_CHILDREN_BYTES];
};

static const uint8_t *key_at(const struct path *path, uint64_t level, uint64_t leaf)
{
    if (level == path->node->level)
        return path->node->key;
    return path->children[level] + (leaf >> SQ_FAN_OUT_LOG2 * level) % SQ_FAN_OUT * SQ_KEY_BYTES;
}

static int go_to(const struct walk *walk, struct path *path, const struct sq_tree_node *node, uint64_t leaf)
{
    int is_same = path->node == node;
    uint64_t before = path->leaf;
    path->node = node;
    path->leaf = leaf;
    for (uint64_t level = node->level; level > 0; level--) {
        /* Where both ways lead through the same node of this level, its children are known. */
        if (is_same && before >> SQ_FAN_OUT_LOG2 * level == leaf >> SQ_FAN_OUT_LOG2 * level)
            continue;
        int status = sq_tree_children(walk->crypto, walk->context, key_at(path, level, leaf),
                                      path->children[level - 1]);
        if (status != SQ_OK)
            return status;
    }
    return SQ_OK;
}

int sq_tree_keys(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                 const uint64_t *leaves, uint64_t leaf_count, uint8_t *keys_out)
{
    if (!sq_tree_is_right(nodes, count))
        return SQ_E_INVALID;
    struct walk walk;
    int status = begin(crypto, &walk);
    if (status != SQ_OK)
        return status;
    struct path path = {.node = NULL};
    for (uint64_t i = 0; i < leaf_count && status == SQ_OK; i++) {
        const struct sq_tree_node *node = sq_tree_find(nodes, count, leaves[i]);
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
    const uint64_t *live; /* ascending */
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

/* Index of the first live leaf in [low, high) that is not below this one. */
static uint64_t live_from(const struct harvest *harvest, uint64_t low, uint64_t high, uint64_t leaf)
{
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (harvest->live[middle] < leaf)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keeps what is alive of a node; [low, high) are the live ones among its leaves. */
static int gather(struct harvest *harvest, uint64_t first, uint64_t level, const uint8_t *key, uint64_t low,
                  uint64_t high)
{
    uint64_t leaves = sq_tree_leaves(level);
    if (high - low == leaves)
        keep(harvest, first, level, key);
    if (low == high || high - low == leaves)
        return SQ_OK;
    uint8_t children[SQ_CHILDREN_BYTES];
    int status = sq_tree_children(harvest->walk.crypto, harvest->walk.context, key, children);
    for (uint32_t i = 0; i < SQ_FAN_OUT && status == SQ_OK; i++) {
        uint64_t at = first + i * (leaves / SQ_FAN_OUT);
        uint64_t next = live_from(harvest, low, high, at + leaves / SQ_FAN_OUT);
        status = gather(harvest, at, level - 1, children + i * SQ_KEY_BYTES, low, next);
        low = next;
    }
    sq_forget(children, sizeof children);
    return status;
}

static int gather_all(struct harvest *harvest, const struct sq_tree_node *nodes, uint64_t count,
                      uint64_t live_count)
{
    uint64_t low = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = nodes[i].first, end = first + sq_tree_leaves(nodes[i].level);
        uint64_t high = live_from(harvest, low, live_count, end);
        if (low < high && harvest->live[low] < first)
            return SQ_E_NOT_FOUND;
        SQ_TRY(gather(harvest, first, nodes[i].level, nodes[i].key, low, high));
        low = high;
    }
    return low == live_count ? SQ_OK : SQ_E_NOT_FOUND;
}

int sq_tree_prune(const sq_crypto *crypto, const struct sq_tree_node *nodes, uint64_t count,
                  const uint64_t *live, uint64_t live_count, uint64_t capacity,
                  struct sq_tree_node *nodes_out, uint64_t *count_out)
{
    if (!sq_tree_is_right(nodes, count))
        return SQ_E_INVALID;
    for (uint64_t i = 1; i < live_count; i++)
        if (live[i] <= live[i - 1])
            return SQ_E_INVALID;
    struct harvest harvest = {.live = live, .capacity = capacity, .nodes_out = nodes_out};
    int status = begin(crypto, &harvest.walk);
    if (status != SQ_OK)
        return status;
    status = gather_all(&harvest, nodes, count, live_count);
    crypto->context_free(harvest.walk.context);
    if (status == SQ_OK)
        *count_out = harvest.count;
    else if (capacity > 0)
        sq_forget(nodes_out, (harvest.count < capacity ? harvest.count : capacity) * sizeof *nodes_out);
    return status;
}
