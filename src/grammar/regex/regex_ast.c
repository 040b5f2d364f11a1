#include "grammar/regex/regex_ast.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/unicode.h"

enum { POOL_BYTES = 64 << 20, FIRST_CAPACITY = 256 };

static uint64_t mix(uint64_t h, uint64_t v) {
    h ^= v + 0x9E3779B97F4A7C15u + (h << 6) + (h >> 2);
    return h * 0xD6E8FEB86659FD93u;
}

static uint64_t node_hash(const struct rx_node *x) {
    uint64_t h = mix((uint64_t)x->kind * 2 + x->negated, x->n);
    h = mix(h, ((uint64_t)x->min << 32) | x->max);
    for (size_t i = 0; i < x->n; i++)
        h = mix(h, x->ranges ? (uint64_t)x->ranges[i].lo << 32 | (uint32_t)x->ranges[i].hi
                             : x->children[i]->id);
    return h ^ h >> 29;
}

static bool node_equal(const struct rx_node *a, const struct rx_node *b) {
    if (a->kind != b->kind || a->negated != b->negated || a->n != b->n || a->min != b->min ||
        a->max != b->max)
        return false;
    if (!a->n)
        return true;
    if (a->kind == RX_SET)
        return memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0;
    return memcmp(a->children, b->children, a->n * sizeof(void *)) == 0;
}

static bool grow_table(struct rx_pool *p) {
    size_t capacity = p->capacity ? p->capacity * 2 : FIRST_CAPACITY;
    const struct rx_node **table = calloc(capacity, sizeof(void *));
    if (!table)
        return false;
    for (size_t i = 0; i < p->capacity; i++) {
        if (!p->table[i])
            continue;
        size_t at = node_hash(p->table[i]) & (capacity - 1);
        while (table[at])
            at = (at + 1) & (capacity - 1);
        table[at] = p->table[i];
    }
    free(p->table);
    p->table = table;
    p->capacity = capacity;
    return true;
}

static bool children_nullable(const struct rx_node *x) {
    switch (x->kind) {
    case RX_EMPTY:
        return true;
    case RX_CONCAT:
    case RX_AND:
        for (size_t i = 0; i < x->n; i++)
            if (!x->children[i]->nullable)
                return false;
        return true;
    case RX_ALT:
        for (size_t i = 0; i < x->n; i++)
            if (x->children[i]->nullable)
                return true;
        return false;
    case RX_NOT:
        return !x->children[0]->nullable;
    case RX_REPEAT:
        return x->min == 0 || x->children[0]->nullable;
    default:
        return false;
    }
}

static void derive_facts(struct rx_node *x) {
    x->plain = x->kind < RX_BEGIN;
    x->looks = x->kind == RX_LOOK || x->kind == RX_WORD_EDGE;
    x->depth = 1;
    for (size_t i = 0; x->kind != RX_SET && i < x->n; i++) {
        const struct rx_node *c = x->children[i];
        x->plain = x->plain && c->plain;
        x->looks = x->looks || c->looks;
        if (c->depth >= x->depth)
            x->depth = c->depth + 1;
    }
    x->nullable = children_nullable(x);
}

static const struct rx_node *fail(struct rx_pool *p, enum quern_status status) {
    if (!p->failed)
        p->failed = status;
    return p->never;
}

static struct rx_node *copy_node(struct rx_pool *p, const struct rx_node *x) {
    size_t bytes;
    if (!checked_mul(x->n, x->kind == RX_SET ? sizeof *x->ranges : sizeof(void *), &bytes) ||
        bytes > POOL_BYTES || p->arena.used_bytes + sizeof *x + bytes > POOL_BYTES - 64) {
        fail(p, QUERN_ERR_LIMIT);
        return NULL;
    }
    struct rx_node *node = arena_alloc(&p->arena, sizeof *node);
    void *array = arena_alloc(&p->arena, bytes);
    if (!node || !array) {
        fail(p, QUERN_ERR_NOMEM);
        return NULL;
    }
    *node = *x;
    node->ranges = NULL;
    node->children = NULL;
    if (x->kind == RX_SET)
        node->ranges = memcpy(array, x->ranges, bytes);
    else if (x->n)
        node->children = memcpy(array, x->children, bytes);
    return node;
}

/* The node that equals *x: an old one, or a copy with its arrays in the arena. */
static const struct rx_node *intern(struct rx_pool *p, struct rx_node *x) {
    if (p->failed)
        return p->never;
    if (p->n_nodes * 2u >= p->capacity && !grow_table(p))
        return fail(p, QUERN_ERR_NOMEM);
    size_t at = node_hash(x) & (p->capacity - 1);
    for (; p->table[at]; at = (at + 1) & (p->capacity - 1))
        if (node_equal(p->table[at], x))
            return p->table[at];
    derive_facts(x);
    if (p->n_nodes == p->max_nodes || x->depth > RX_DEPTH_MAX)
        return fail(p, QUERN_ERR_LIMIT);
    struct rx_node *node = copy_node(p, x);
    if (!node)
        return p->never;
    node->id = p->n_nodes++;
    p->table[at] = node;
    return node;
}

static const struct rx_node *leaf(struct rx_pool *p, enum rx_kind kind, bool negated) {
    struct rx_node x = {.kind = kind, .negated = negated};
    return intern(p, &x);
}

enum quern_status rx_pool_init(struct rx_pool *p, uint32_t max_nodes, struct quern_error *err) {
    *p = (struct rx_pool){.max_nodes = max_nodes ? max_nodes : RX_NODES_DEFAULT};
    arena_init(&p->arena, POOL_BYTES);
    p->never = leaf(p, RX_NEVER, false);
    p->empty = leaf(p, RX_EMPTY, false);
    p->any = rx_range(p, 0, CODE_POINT_MAX);
    p->any_star = rx_repeat(p, p->any, 0, RX_UNBOUNDED);
    if (p->failed) {
        rx_pool_release(p);
        return error_nomem(err);
    }
    return QUERN_OK;
}

void rx_pool_release(struct rx_pool *p) {
    if (!p)
        return;
    free(p->table);
    arena_release(&p->arena);
    *p = (struct rx_pool){0};
}

enum quern_status rx_pool_status(const struct rx_pool *p, const char *what,
                                 struct quern_error *err) {
    if (!p->failed)
        return QUERN_OK;
    if (p->failed == QUERN_ERR_NOMEM)
        return error_nomem(err);
    return error_set(err, p->failed,
                     "%s: too large or too deep (at most %u parts, %d levels, %d MB)", what,
                     p->max_nodes, RX_DEPTH_MAX, POOL_BYTES >> 20);
}

const struct rx_node *rx_set(struct rx_pool *p, struct cp_set *s) {
    if (s->failed)
        return fail(p, QUERN_ERR_NOMEM);
    cp_set_normalize(s);
    if (s->failed)
        return fail(p, QUERN_ERR_NOMEM);
    if (!s->n)
        return p->never;
    struct rx_node x = {.kind = RX_SET, .n = s->n, .ranges = s->ranges};
    return intern(p, &x);
}

const struct rx_node *rx_range(struct rx_pool *p, int32_t lo, int32_t hi) {
    struct cp_set s = {0};
    cp_set_add(&s, lo, hi);
    const struct rx_node *node = rx_set(p, &s);
    cp_set_release(&s);
    return node;
}

const struct rx_node *rx_set_complement(struct rx_pool *p, const struct rx_node *set) {
    struct cp_set s = {0};
    for (size_t i = 0; set->kind == RX_SET && i < set->n; i++)
        cp_set_add(&s, set->ranges[i].lo, set->ranges[i].hi);
    cp_set_complement(&s);
    const struct rx_node *node = rx_set(p, &s);
    cp_set_release(&s);
    return node;
}

const struct rx_node *rx_literal(struct rx_pool *p, struct str text) {
    const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;
    size_t n = 0;
    if (!text.len)
        return p->empty;
    if (text.len > SIZE_MAX / sizeof(void *))
        return fail(p, QUERN_ERR_LIMIT);
    const struct rx_node **parts = malloc(text.len * sizeof *parts);
    if (!parts)
        return fail(p, QUERN_ERR_NOMEM);
    while (at < end) {
        int32_t c;
        at += utf8_decode(at, end, &c);
        parts[n++] = c < 0 ? p->never : rx_range(p, c, c);
    }
    const struct rx_node *node = rx_concat(p, parts, n);
    free(parts);
    return node;
}

const struct rx_node *rx_concat(struct rx_pool *p, const struct rx_node *const *parts, size_t n) {
    if (!n)
        return p->empty;
    if (n > SIZE_MAX / sizeof(void *))
        return fail(p, QUERN_ERR_LIMIT);
    const struct rx_node **kept = malloc(n * sizeof *kept);
    if (!kept)
        return fail(p, QUERN_ERR_NOMEM);
    size_t n_kept = 0;
    const struct rx_node *node = NULL;
    for (size_t i = 0; i < n && !node; i++) {
        if (parts[i] == p->never)
            node = p->never;
        else if (parts[i] != p->empty)
            kept[n_kept++] = parts[i];
    }
    if (!node && !n_kept)
        node = p->empty;
    if (!node && n_kept == 1)
        node = kept[0];
    if (!node) {
        struct rx_node x = {.kind = RX_CONCAT, .n = n_kept, .children = kept};
        node = intern(p, &x);
    }
    free(kept);
    return node;
}

const struct rx_node *rx_concat2(struct rx_pool *p, const struct rx_node *a,
                                 const struct rx_node *b) {
    const struct rx_node *parts[] = {a, b};
    return rx_concat(p, parts, 2);
}

static int compare_ids(const void *a, const void *b) {
    uint32_t x = (*(const struct rx_node *const *)a)->id;
    uint32_t y = (*(const struct rx_node *const *)b)->id;
    return x < y ? -1 : x > y;
}

/* Sorts by id and drops repetitions; single characters become one set. */
static size_t merge_alternatives(struct rx_pool *p, const struct rx_node **parts, size_t n) {
    struct cp_set set = {0};
    size_t kept = 0, n_sets = 0;
    for (size_t i = 0; i < n; i++) {
        if (parts[i]->kind == RX_SET) {
            n_sets++;
            for (size_t k = 0; k < parts[i]->n; k++)
                cp_set_add(&set, parts[i]->ranges[k].lo, parts[i]->ranges[k].hi);
        } else if (parts[i] != p->never) {
            parts[kept++] = parts[i];
        }
    }
    if (n_sets)
        parts[kept++] = rx_set(p, &set);
    cp_set_release(&set);
    if (!kept)
        return 0;
    qsort(parts, kept, sizeof *parts, compare_ids);
    size_t unique = 1;
    for (size_t i = 1; i < kept; i++)
        if (parts[i] != parts[unique - 1])
            parts[unique++] = parts[i];
    return unique;
}

const struct rx_node *rx_alt(struct rx_pool *p, const struct rx_node *const *parts, size_t n) {
    if (!n)
        return p->never;
    if (n > SIZE_MAX / sizeof(void *))
        return fail(p, QUERN_ERR_LIMIT);
    const struct rx_node **kept = malloc(n * sizeof *kept);
    if (!kept)
        return fail(p, QUERN_ERR_NOMEM);
    memcpy(kept, parts, n * sizeof *kept);
    size_t n_kept = merge_alternatives(p, kept, n);
    const struct rx_node *node = n_kept == 0 ? p->never : kept[0];
    if (n_kept > 1) {
        struct rx_node x = {.kind = RX_ALT, .n = n_kept, .children = kept};
        node = intern(p, &x);
    }
    free(kept);
    return node;
}

const struct rx_node *rx_alt2(struct rx_pool *p, const struct rx_node *a, const struct rx_node *b) {
    const struct rx_node *parts[] = {a, b};
    return rx_alt(p, parts, 2);
}

const struct rx_node *rx_and(struct rx_pool *p, const struct rx_node *a, const struct rx_node *b) {
    if (a == b || b == p->any_star || a == p->never)
        return a;
    if (a == p->any_star || b == p->never)
        return b;
    if (a == p->empty && b->plain)
        return b->nullable ? p->empty : p->never;
    if (b == p->empty && a->plain)
        return a->nullable ? p->empty : p->never;
    const struct rx_node *children[] = {a->id < b->id ? a : b, a->id < b->id ? b : a};
    struct rx_node x = {.kind = RX_AND, .n = 2, .children = children};
    return intern(p, &x);
}

const struct rx_node *rx_not(struct rx_pool *p, const struct rx_node *a) {
    if (a->kind == RX_NOT)
        return a->children[0];
    if (a == p->never)
        return p->any_star;
    if (a == p->any_star)
        return p->never;
    struct rx_node x = {.kind = RX_NOT, .n = 1, .children = &a};
    return intern(p, &x);
}

const struct rx_node *rx_repeat(struct rx_pool *p, const struct rx_node *a, uint32_t min,
                                uint32_t max) {
    if (max < min)
        return p->never;
    if (max == 0 || a == p->empty)
        return p->empty;
    if (a == p->never)
        return min ? p->never : p->empty;
    if (min == 1 && max == 1)
        return a;
    if (a->kind == RX_REPEAT && a->min <= 1 && a->max == RX_UNBOUNDED && min <= 1)
        return rx_repeat(p, a->children[0], a->min && min, RX_UNBOUNDED);
    struct rx_node x = {.kind = RX_REPEAT, .min = min, .max = max, .n = 1, .children = &a};
    return intern(p, &x);
}

const struct rx_node *rx_assertion(struct rx_pool *p, enum rx_kind kind, bool negated,
                                   const struct rx_node *child) {
    struct rx_node x = {.kind = kind, .negated = negated, .n = child ? 1 : 0, .children = &child};
    return intern(p, &x);
}
