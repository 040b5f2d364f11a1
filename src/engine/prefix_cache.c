#include "engine/prefix_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { FIRST_SLOTS = 256 };

struct node {
    struct node *parent;              /* NULL: a root */
    struct node *child, *next, *prev; /* first child; siblings */
    struct node *older, *newer;       /* by use; not of roots */
    struct node *chain;               /* same slot of the table */
    uint64_t hash;
    char *salt; /* of a root */
    int32_t block;
    uint32_t n_tokens; /* 0: a root; PREFIX_BLOCK_TOKENS: may have children */
    int32_t tokens[PREFIX_BLOCK_TOKENS];
};

struct prefix_cache {
    struct prefix_blocks blocks;
    struct node **slots; /* [n_slots] full nodes and roots, by what leads to them */
    size_t n_slots, n_hashed;
    struct node *oldest, *newest;
    size_t n_nodes; /* without roots */
    uint64_t seed;
};

/* ---- the table ------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t value) {
    h = (h ^ value) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t hash_tokens(const struct prefix_cache *pc, const struct node *parent,
                            const int32_t *tokens) {
    uint64_t h = mix(pc->seed, (uint64_t)(uintptr_t)parent);
    for (size_t i = 0; i < PREFIX_BLOCK_TOKENS; i++)
        h = mix(h, (uint32_t)tokens[i]);
    return h;
}

static uint64_t hash_salt(const struct prefix_cache *pc, const char *salt) {
    uint64_t h = mix(pc->seed, 1);
    for (; *salt; salt++)
        h = mix(h, (unsigned char)*salt);
    return h;
}

static struct node **slot_of(const struct prefix_cache *pc, uint64_t hash) {
    return &pc->slots[hash & (pc->n_slots - 1)];
}

/* Longer chains are slower, not wrong: when memory is short the table stays as it is. */
static void grow_table(struct prefix_cache *pc) {
    struct node **old = pc->slots;
    const size_t n_old = pc->n_slots;
    struct node **slots = calloc(n_old * 2, sizeof *slots);
    if (!slots)
        return;
    pc->slots = slots;
    pc->n_slots = n_old * 2;
    for (size_t i = 0; i < n_old; i++) {
        for (struct node *n = old[i], *next; n; n = next) {
            next = n->chain;
            struct node **slot = slot_of(pc, n->hash);
            n->chain = *slot;
            *slot = n;
        }
    }
    free(old);
}

static void table_add(struct prefix_cache *pc, struct node *n) {
    if (pc->n_hashed >= pc->n_slots)
        grow_table(pc);
    struct node **slot = slot_of(pc, n->hash);
    n->chain = *slot;
    *slot = n;
    pc->n_hashed++;
}

static void table_remove(struct prefix_cache *pc, const struct node *n) {
    struct node **at = slot_of(pc, n->hash);
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
    pc->n_hashed--;
}

static struct node *find_full(const struct prefix_cache *pc, const struct node *parent,
                              const int32_t *tokens) {
    const uint64_t hash = hash_tokens(pc, parent, tokens);
    for (struct node *n = *slot_of(pc, hash); n; n = n->chain)
        if (n->hash == hash && n->parent == parent &&
            memcmp(n->tokens, tokens, sizeof n->tokens) == 0)
            return n;
    return NULL;
}

static struct node *find_root(const struct prefix_cache *pc, const char *salt) {
    const uint64_t hash = hash_salt(pc, salt);
    for (struct node *n = *slot_of(pc, hash); n; n = n->chain)
        if (n->hash == hash && !n->parent && strcmp(n->salt, salt) == 0)
            return n;
    return NULL;
}

/* ---- nodes ----------------------------------------------------------------------- */

static void unlink_use(struct prefix_cache *pc, struct node *n) {
    *(n->older ? &n->older->newer : &pc->oldest) = n->newer;
    *(n->newer ? &n->newer->older : &pc->newest) = n->older;
}

static void link_newest(struct prefix_cache *pc, struct node *n) {
    n->older = pc->newest;
    n->newer = NULL;
    *(pc->newest ? &pc->newest->newer : &pc->oldest) = n;
    pc->newest = n;
}

/* From the leaf to the root, so that a parent is always newer than its children. */
static void touch_path(struct prefix_cache *pc, struct node *n) {
    for (; n && n->parent; n = n->parent) {
        unlink_use(pc, n);
        link_newest(pc, n);
    }
}

static struct node *add_root(struct prefix_cache *pc, const char *salt) {
    struct node *n = calloc(1, sizeof *n);
    char *copy = n ? malloc(strlen(salt) + 1) : NULL;
    if (!copy) {
        free(n);
        return NULL;
    }
    memcpy(copy, salt, strlen(salt) + 1);
    n->salt = copy;
    n->hash = hash_salt(pc, salt);
    table_add(pc, n);
    return n;
}

static struct node *add_node(struct prefix_cache *pc, struct node *parent, const int32_t *tokens,
                             size_t n_tokens, int32_t block) {
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->parent = parent;
    n->next = parent->child;
    if (n->next)
        n->next->prev = n;
    parent->child = n;
    n->block = block;
    n->n_tokens = (uint32_t)n_tokens;
    memcpy(n->tokens, tokens, n_tokens * sizeof *tokens);
    if (n_tokens == PREFIX_BLOCK_TOKENS) {
        n->hash = hash_tokens(pc, parent, tokens);
        table_add(pc, n);
    }
    link_newest(pc, n);
    pc->blocks.retain(pc->blocks.user, block);
    pc->n_nodes++;
    return n;
}

static void drop_root_if_bare(struct prefix_cache *pc, struct node *root) {
    if (root->parent || root->child)
        return;
    table_remove(pc, root);
    free(root->salt);
    free(root);
}

/* A leaf. Its root goes with its last child. */
static void remove_leaf(struct prefix_cache *pc, struct node *n) {
    struct node *parent = n->parent;
    *(n->prev ? &n->prev->next : &parent->child) = n->next;
    if (n->next)
        n->next->prev = n->prev;
    if (n->n_tokens == PREFIX_BLOCK_TOKENS)
        table_remove(pc, n);
    unlink_use(pc, n);
    pc->blocks.release(pc->blocks.user, n->block);
    pc->n_nodes--;
    free(n);
    drop_root_if_bare(pc, parent);
}

/* ---- life ------------------------------------------------------------------------ */

enum quern_status prefix_cache_create(const struct prefix_blocks *blocks, struct prefix_cache **out,
                                      struct quern_error *err) {
    struct prefix_cache *pc = calloc(1, sizeof *pc);
    if (!pc)
        return error_nomem(err);
    pc->blocks = *blocks;
    pc->seed = os_random();
    pc->n_slots = FIRST_SLOTS;
    pc->slots = calloc(pc->n_slots, sizeof(struct node *));
    if (!pc->slots) {
        free(pc);
        return error_nomem(err);
    }
    *out = pc;
    return QUERN_OK;
}

void prefix_cache_destroy(struct prefix_cache *pc) {
    if (!pc)
        return;
    /* Children are older than their parents. */
    while (pc->oldest)
        remove_leaf(pc, pc->oldest);
    free(pc->slots);
    free(pc);
}

/* ---- finding --------------------------------------------------------------------- */

static size_t common_tokens(const struct node *n, const int32_t *tokens, size_t most) {
    size_t same = 0;
    if (most > n->n_tokens)
        most = n->n_tokens;
    while (same < most && n->tokens[same] == tokens[same])
        same++;
    return same;
}

/* The child that shares most with tokens[n], and how much. */
static struct node *best_child(const struct node *parent, const int32_t *tokens, size_t n,
                               size_t *n_same) {
    struct node *best = NULL;
    *n_same = 0;
    for (struct node *c = parent->child; c; c = c->next) {
        const size_t same = common_tokens(c, tokens, n);
        if (same > *n_same) {
            *n_same = same;
            best = c;
        }
    }
    return best;
}

/* The deepest whole block; `blocks` may be NULL. */
static struct node *descend(const struct prefix_cache *pc, struct node *root, const int32_t *tokens,
                            size_t n, int32_t *blocks, size_t *n_blocks) {
    struct node *at = root;
    *n_blocks = 0;
    for (size_t i = 0; i + PREFIX_BLOCK_TOKENS <= n; i += PREFIX_BLOCK_TOKENS) {
        struct node *next = find_full(pc, at, tokens + i);
        if (!next)
            break;
        if (blocks)
            blocks[*n_blocks] = next->block;
        ++*n_blocks;
        at = next;
    }
    return at;
}

void prefix_cache_match(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                        int32_t *blocks, struct prefix_match *out) {
    *out = (struct prefix_match){0};
    struct node *root = find_root(pc, salt);
    if (!root)
        return;
    struct node *at = descend(pc, root, tokens, n, blocks, &out->n_blocks);
    for (size_t i = 0; i < out->n_blocks; i++)
        pc->blocks.retain(pc->blocks.user, blocks[i]);
    const size_t done = out->n_blocks * PREFIX_BLOCK_TOKENS;
    size_t same;
    struct node *tail = best_child(at, tokens + done, n - done, &same);
    if (tail && same >= PREFIX_TAIL_MIN) {
        out->partial = tail->block;
        out->n_partial = same;
        pc->blocks.retain(pc->blocks.user, tail->block);
        at = tail;
    }
    touch_path(pc, at);
}

size_t prefix_cache_peek(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                         size_t *n_in_use) {
    struct node *root = find_root(pc, salt);
    if (n_in_use)
        *n_in_use = 0;
    if (!root)
        return 0;
    size_t n_blocks, same;
    const struct node *at = descend(pc, root, tokens, n, NULL, &n_blocks);
    const size_t done = n_blocks * PREFIX_BLOCK_TOKENS;
    best_child(at, tokens + done, n - done, &same);
    for (; n_in_use && at->parent; at = at->parent)
        *n_in_use += pc->blocks.refs(pc->blocks.user, at->block) > 1;
    return done + (same >= PREFIX_TAIL_MIN ? same : 0);
}

/* ---- remembering ----------------------------------------------------------------- */

/* Tails that tokens[n] says again and more. */
static void drop_covered_tails(struct prefix_cache *pc, struct node *parent, const int32_t *tokens,
                               size_t n) {
    for (struct node *c = parent->child, *next; c; c = next) {
        next = c->next;
        if (c->n_tokens < PREFIX_BLOCK_TOKENS && c->n_tokens < n &&
            common_tokens(c, tokens, n) == c->n_tokens)
            remove_leaf(pc, c);
    }
}

static struct node *insert_block(struct prefix_cache *pc, struct node *parent,
                                 const int32_t *tokens, int32_t *block) {
    struct node *n = find_full(pc, parent, tokens);
    if (!n) {
        n = add_node(pc, parent, tokens, PREFIX_BLOCK_TOKENS, *block);
        if (n)
            drop_covered_tails(pc, parent, tokens, PREFIX_BLOCK_TOKENS);
    } else if (n->block != *block) {
        pc->blocks.retain(pc->blocks.user, n->block);
        pc->blocks.release(pc->blocks.user, *block);
        *block = n->block;
    }
    return n;
}

static struct node *insert_tail(struct prefix_cache *pc, struct node *parent, const int32_t *tokens,
                                size_t n, int32_t block) {
    size_t same;
    struct node *best = best_child(parent, tokens, n, &same);
    if (best && same == n)
        return best;
    struct node *tail = add_node(pc, parent, tokens, n, block);
    if (tail)
        drop_covered_tails(pc, parent, tokens, n);
    return tail;
}

void prefix_cache_insert(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                         int32_t *blocks) {
    if (n < PREFIX_TAIL_MIN)
        return;
    struct node *root = find_root(pc, salt);
    if (!root)
        root = add_root(pc, salt);
    struct node *at = root;
    size_t done = 0;
    for (; at && done + PREFIX_BLOCK_TOKENS <= n; done += PREFIX_BLOCK_TOKENS) {
        struct node *next =
            insert_block(pc, at, tokens + done, &blocks[done / PREFIX_BLOCK_TOKENS]);
        if (!next)
            break;
        at = next;
    }
    if (at && n - done >= PREFIX_TAIL_MIN && n - done < PREFIX_BLOCK_TOKENS) {
        struct node *tail =
            insert_tail(pc, at, tokens + done, n - done, blocks[done / PREFIX_BLOCK_TOKENS]);
        at = tail ? tail : at;
    }
    touch_path(pc, at);
    if (root)
        drop_root_if_bare(pc, root);
}

/* ---- forgetting ------------------------------------------------------------------ */

bool prefix_cache_evict(struct prefix_cache *pc) {
    for (struct node *n = pc->oldest; n; n = n->newer) {
        if (!n->child && pc->blocks.refs(pc->blocks.user, n->block) == 1) {
            remove_leaf(pc, n);
            return true;
        }
    }
    return false;
}

size_t prefix_cache_n_blocks(const struct prefix_cache *pc) {
    return pc->n_nodes;
}

size_t prefix_cache_n_evictable(const struct prefix_cache *pc) {
    size_t n_free = 0;
    for (const struct node *n = pc->oldest; n; n = n->newer)
        n_free += pc->blocks.refs(pc->blocks.user, n->block) == 1;
    return n_free;
}
