/* key_grove.c: keys of single blocks, in trees: one tree for each secret and opening of the store.
 *
 * The root of a tree is derived from its secret, as long as that lives. When it has died, what was kept are
 * the nodes above the leaves that lived on: whoever reads finds the node above a leaf, and derives the key
 * from there. Keys on the way down are remembered at every third level, so that blocks near each other, and
 * those that are read again, take three steps or less.
 *
 * Invariants: trees ascend by number and opening; what is remembered lies below a node of a tree that is
 * there. A walk has keys of its own, and counts among the walkers: what was forgotten is in no walk either
 * when sq_grove_forget returns. It is called by one thread at a time.
 * Lock: grove->lock guards everything, walks excepted; it is taken before the ring's.
 * Docs: docs/explanation/keys.md.
 */
#include "key_grove.h"

#include <stdlib.h>

#define REMEMBERED_LOG2 12u

struct sq_kept_tree {
    uint64_t number;
    uint64_t opening;
    uint64_t count;
    struct sq_tree_node *nodes;
    int is_derived; /* of a secret that lives */
};

struct sq_remembered {
    uint64_t number; /* 0: nothing */
    uint64_t opening;
    uint64_t level;
    uint64_t place; /* leaf / 4^level */
    uint8_t key[SQ_KEY_BYTES];
};

/* ---- trees ---------------------------------------------------------------------------------------- */

/* Index of the first tree that is not before this one. */
static uint64_t place_of(const struct sq_grove *grove, uint64_t number, uint64_t opening)
{
    uint64_t low = 0, high = grove->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct sq_kept_tree *tree = &grove->trees[middle];
        if (tree->number < number || (tree->number == number && tree->opening < opening))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct sq_kept_tree *find_tree(const struct sq_grove *grove, uint64_t number, uint64_t opening)
{
    uint64_t place = place_of(grove, number, opening);
    struct sq_kept_tree *tree = place < grove->count ? &grove->trees[place] : NULL;
    return tree != NULL && tree->number == number && tree->opening == opening ? tree : NULL;
}

static void wipe_nodes(struct sq_kept_tree *tree)
{
    if (tree->nodes != NULL)
        sq_forget(tree->nodes, tree->count * sizeof *tree->nodes);
    free(tree->nodes);
    tree->nodes = NULL;
}

static void drop_tree(struct sq_grove *grove, struct sq_kept_tree *tree)
{
    wipe_nodes(tree);
    struct sq_kept_tree *end = grove->trees + --grove->count;
    memmove(tree, tree + 1, (size_t)(end - tree) * sizeof *tree);
}

static int add_tree(struct sq_grove *grove, const struct sq_kept_tree *tree)
{
    if (grove->count == grove->capacity) {
        uint64_t capacity = grove->capacity == 0 ? 16 : 2 * grove->capacity;
        /* The table itself holds no secrets. */
        struct sq_kept_tree *trees = realloc(grove->trees, capacity * sizeof *trees);
        if (trees == NULL)
            return SQ_E_NO_MEMORY;
        grove->trees = trees;
        grove->capacity = capacity;
    }
    struct sq_kept_tree *place = &grove->trees[place_of(grove, tree->number, tree->opening)];
    memmove(place + 1, place, (size_t)(grove->trees + grove->count - place) * sizeof *place);
    *place = *tree;
    grove->count++;
    return SQ_OK;
}

static int copy_nodes(struct sq_kept_tree *tree, const struct sq_tree_node *nodes, uint64_t count)
{
    tree->count = count;
    tree->nodes = calloc(count, sizeof *nodes);
    if (tree->nodes == NULL)
        return SQ_E_NO_MEMORY;
    memcpy(tree->nodes, nodes, count * sizeof *nodes);
    return SQ_OK;
}

/* The tree of a secret that lives is there as soon as somebody asks for it. */
static int need_tree(sq_key_ring *ring, struct sq_grove *grove, uint64_t number, uint64_t opening,
                     struct sq_kept_tree **tree_out)
{
    *tree_out = find_tree(grove, number, opening);
    if (*tree_out != NULL)
        return SQ_OK;
    struct sq_tree_node root = {.level = SQ_GROVE_LEVELS};
    struct sq_kept_tree tree = {.number = number, .opening = opening, .is_derived = 1};
    SQ_TRY(sq_key_ring_root(ring, number, opening, root.key));
    int status = copy_nodes(&tree, &root, 1);
    sq_forget(&root, sizeof root);
    if (status == SQ_OK)
        status = add_tree(grove, &tree);
    if (status != SQ_OK)
        wipe_nodes(&tree);
    *tree_out = find_tree(grove, number, opening);
    return status;
}

/* ---- what is remembered --------------------------------------------------------------------------- */

static struct sq_remembered *slot_of(const struct sq_grove *grove, uint64_t number, uint64_t opening,
                                     uint64_t level, uint64_t place)
{
    uint64_t mixed = (number ^ opening ^ level << 58 ^ place) * 0x9E3779B97F4A7C15u;
    return &grove->remembered[mixed >> (64 - REMEMBERED_LOG2)];
}

static const uint8_t *recall(const struct sq_grove *grove, uint64_t number, uint64_t opening, uint64_t level,
                             uint64_t leaf)
{
    uint64_t place = leaf >> SQ_FAN_OUT_LOG2 * level;
    const struct sq_remembered *slot = slot_of(grove, number, opening, level, place);
    int is_it = slot->number == number && slot->opening == opening && slot->level == level &&
                slot->place == place;
    return is_it ? slot->key : NULL;
}

static void remember(const struct sq_grove *grove, uint64_t number, uint64_t opening, uint64_t level,
                     uint64_t leaf, const uint8_t *key)
{
    uint64_t place = leaf >> SQ_FAN_OUT_LOG2 * level;
    struct sq_remembered *slot = slot_of(grove, number, opening, level, place);
    slot->number = number;
    slot->opening = opening;
    slot->level = level;
    slot->place = place;
    memcpy(slot->key, key, SQ_KEY_BYTES);
}

static void forget_number(const struct sq_grove *grove, uint64_t number)
{
    for (uint64_t i = 0; grove->remembered != NULL && i < (uint64_t)1 << REMEMBERED_LOG2; i++)
        if (grove->remembered[i].number == number)
            sq_forget(&grove->remembered[i], sizeof grove->remembered[i]);
}

/* ---- from a tree to the walk ------------------------------------------------------------------------ */

/* From the key of a node of that level, in key, down to level SQ_WALK_LEVELS on the way to a leaf. */
static int descend(const struct sq_grove *grove, const struct sq_leaf_walk *walk, uint64_t level,
                   uint64_t leaf, uint8_t *key)
{
    uint8_t children[SQ_CHILDREN_BYTES];
    int status = SQ_OK;
    while (level > SQ_WALK_LEVELS && status == SQ_OK) {
        status = sq_tree_children(grove->crypto, walk->context, key, children);
        level--;
        if (status == SQ_OK)
            memcpy(key, children + (leaf >> SQ_FAN_OUT_LOG2 * level) % SQ_FAN_OUT * SQ_KEY_BYTES,
                   SQ_KEY_BYTES);
        if (status == SQ_OK && level % SQ_WALK_LEVELS == 0)
            remember(grove, walk->number, walk->opening, level, leaf, key);
    }
    sq_forget(children, sizeof children);
    return status;
}

/* The lowest node above a leaf that is worth keeping at hand. */
static int find_top(struct sq_leaf_walk *walk, uint64_t leaf)
{
    struct sq_grove *grove = sq_key_ring_grove(walk->ring);
    struct sq_kept_tree *tree;
    SQ_TRY(need_tree(walk->ring, grove, walk->number, walk->opening, &tree));
    const struct sq_tree_node *node = sq_tree_find(tree->nodes, tree->count, leaf);
    if (node == NULL)
        return SQ_E_NOT_FOUND;
    walk->top = *node;
    if (node->level <= SQ_WALK_LEVELS)
        return SQ_OK;
    uint64_t level = SQ_WALK_LEVELS;
    const uint8_t *known = NULL;
    while (level < node->level &&
           (known = recall(grove, walk->number, walk->opening, level, leaf)) == NULL)
        level += SQ_WALK_LEVELS;
    if (known != NULL)
        memcpy(walk->top.key, known, SQ_KEY_BYTES);
    SQ_TRY(descend(grove, walk, known != NULL ? level : node->level, leaf, walk->top.key));
    walk->top.level = SQ_WALK_LEVELS;
    walk->top.first = leaf - leaf % sq_tree_leaves(SQ_WALK_LEVELS);
    return SQ_OK;
}

static int is_below(const struct sq_leaf_walk *walk, uint64_t number, uint64_t opening, uint64_t leaf)
{
    return walk->is_inside && walk->number == number && walk->opening == opening &&
           leaf >= walk->top.first && leaf - walk->top.first < sq_tree_leaves(walk->top.level);
}

static const uint8_t *key_at(const struct sq_leaf_walk *walk, uint64_t level, uint64_t leaf)
{
    if (level == walk->top.level)
        return walk->top.key;
    return walk->children[level] + (leaf >> SQ_FAN_OUT_LOG2 * level) % SQ_FAN_OUT * SQ_KEY_BYTES;
}

int sq_walk_to(struct sq_leaf_walk *walk, uint64_t number, uint64_t opening, uint64_t leaf,
               const uint8_t **key_out)
{
    struct sq_grove *grove = sq_key_ring_grove(walk->ring);
    int is_near = is_below(walk, number, opening, leaf), status = SQ_OK;
    uint64_t before = walk->leaf;
    if (!is_near) {
        walk->is_inside = 0;
        walk->number = number;
        walk->opening = opening;
        (void)pthread_mutex_lock(&grove->lock);
        status = find_top(walk, leaf);
        (void)pthread_mutex_unlock(&grove->lock);
    }
    for (uint64_t level = walk->top.level; level > 0 && status == SQ_OK; level--)
        /* Where both ways lead through the same node of this level, its children are known. */
        if (!is_near || before >> SQ_FAN_OUT_LOG2 * level != leaf >> SQ_FAN_OUT_LOG2 * level)
            status = sq_tree_children(grove->crypto, walk->context, key_at(walk, level, leaf),
                                      walk->children[level - 1]);
    walk->is_inside = status == SQ_OK;
    walk->leaf = leaf;
    if (status == SQ_OK)
        *key_out = key_at(walk, 0, leaf);
    return status;
}

/* ---- walks ------------------------------------------------------------------------------------------ */

static int equip(struct sq_grove *grove)
{
    if (grove->remembered == NULL)
        grove->remembered = calloc((size_t)1 << REMEMBERED_LOG2, sizeof *grove->remembered);
    if (grove->remembered == NULL)
        return SQ_E_NO_MEMORY;
    return grove->contexts != NULL ? SQ_OK : sq_key_create(grove->crypto, NULL, &grove->contexts);
}

int sq_walk_begin(sq_key_ring *ring, struct sq_leaf_walk *walk)
{
    struct sq_grove *grove = sq_key_ring_grove(ring);
    (void)pthread_mutex_lock(&grove->lock);
    int status = equip(grove);
    if (status == SQ_OK) {
        walk->turn = grove->turn;
        grove->walkers[walk->turn]++;
    }
    (void)pthread_mutex_unlock(&grove->lock);
    if (status != SQ_OK)
        return status;
    walk->ring = ring;
    walk->is_inside = 0;
    walk->context = sq_context_borrow(grove->contexts, &walk->slot);
    if (walk->context != NULL)
        return SQ_OK;
    sq_walk_end(walk);
    return SQ_E_NO_MEMORY;
}

void sq_walk_end(struct sq_leaf_walk *walk)
{
    if (walk->ring == NULL)
        return;
    struct sq_grove *grove = sq_key_ring_grove(walk->ring);
    if (walk->context != NULL)
        sq_context_give_back(grove->contexts, walk->slot, walk->context);
    uint32_t turn = walk->turn;
    sq_forget(walk, sizeof *walk);
    (void)pthread_mutex_lock(&grove->lock);
    if (--grove->walkers[turn] == 0)
        (void)pthread_cond_broadcast(&grove->ended);
    (void)pthread_mutex_unlock(&grove->lock);
}

/* ---- life and death ----------------------------------------------------------------------------------- */

void sq_grove_init(struct sq_grove *grove, struct sq_crypto *crypto)
{
    grove->crypto = crypto;
    (void)pthread_mutex_init(&grove->lock, NULL);
    (void)pthread_cond_init(&grove->ended, NULL);
}

void sq_grove_free(struct sq_grove *grove)
{
    while (grove->count > 0)
        drop_tree(grove, &grove->trees[grove->count - 1]);
    free(grove->trees);
    if (grove->remembered != NULL)
        sq_forget(grove->remembered, sizeof *grove->remembered << REMEMBERED_LOG2);
    free(grove->remembered);
    sq_key_destroy(grove->contexts);
    (void)pthread_cond_destroy(&grove->ended);
    (void)pthread_mutex_destroy(&grove->lock);
}

void sq_grove_forget(struct sq_grove *grove, uint64_t number, int only_derived)
{
    (void)pthread_mutex_lock(&grove->lock);
    uint64_t place = place_of(grove, number, 0);
    while (place < grove->count && grove->trees[place].number == number) {
        if (!only_derived || grove->trees[place].is_derived)
            drop_tree(grove, &grove->trees[place]);
        else
            place++;
    }
    forget_number(grove, number);
    /* Those that come from here on know nothing of it, and count elsewhere: the others come to an end. */
    uint32_t turn = grove->turn;
    grove->turn ^= 1;
    while (grove->walkers[turn] > 0)
        (void)pthread_cond_wait(&grove->ended, &grove->lock);
    if (grove->contexts != NULL)
        sq_contexts_forget(grove->contexts);
    (void)pthread_mutex_unlock(&grove->lock);
}

static int keep(struct sq_grove *grove, const struct sq_kept_tree *tree)
{
    struct sq_kept_tree *old = find_tree(grove, tree->number, tree->opening);
    forget_number(grove, tree->number);
    if (old == NULL)
        return tree->count == 0 ? SQ_OK : add_tree(grove, tree);
    wipe_nodes(old);
    if (tree->count == 0)
        drop_tree(grove, old);
    else
        *old = *tree;
    return SQ_OK;
}

int sq_key_ring_keep(sq_key_ring *ring, uint64_t number, uint64_t opening, const struct sq_tree_node *nodes,
                     uint64_t count)
{
    if (!sq_tree_is_right(nodes, count))
        return SQ_E_INVALID;
    struct sq_grove *grove = sq_key_ring_grove(ring);
    struct sq_kept_tree tree = {.number = number, .opening = opening};
    if (count > 0 && copy_nodes(&tree, nodes, count) != SQ_OK)
        return SQ_E_NO_MEMORY;
    (void)pthread_mutex_lock(&grove->lock);
    int status = keep(grove, &tree);
    (void)pthread_mutex_unlock(&grove->lock);
    if (status != SQ_OK)
        wipe_nodes(&tree);
    return status;
}

int sq_key_ring_prune(sq_key_ring *ring, uint64_t number, uint64_t opening, const uint64_t *live,
                      uint64_t live_count, uint64_t capacity, struct sq_tree_node *nodes_out,
                      uint64_t *count_out)
{
    struct sq_grove *grove = sq_key_ring_grove(ring);
    struct sq_kept_tree *tree;
    (void)pthread_mutex_lock(&grove->lock);
    int status = need_tree(ring, grove, number, opening, &tree);
    if (status == SQ_OK)
        status = sq_tree_prune(grove->crypto, tree->nodes, tree->count, live, live_count, capacity, nodes_out,
                               count_out);
    (void)pthread_mutex_unlock(&grove->lock);
    return status;
}
