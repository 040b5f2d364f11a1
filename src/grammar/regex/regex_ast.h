/* regex_ast.h - regular expressions over Unicode code points, interned: equal expressions are
 * the same pointer. This is the domain in which patterns, lengths and formats are combined;
 * regex_emit.h turns the result into bytes (UTF-8, JSON string escapes, XML text, ...). */
#ifndef QUERN_GRAMMAR_REGEX_AST_H
#define QUERN_GRAMMAR_REGEX_AST_H

#include "base/arena.h"
#include "base/error.h"
#include "grammar/regex/code_points.h"

enum rx_kind {
    RX_NEVER, /* no string at all */
    RX_EMPTY, /* the empty string */
    RX_SET,   /* one code point */
    RX_CONCAT,
    RX_ALT,
    RX_AND,
    RX_NOT, /* every string of code points that the child does not match */
    RX_REPEAT,
    /* What follows depends on what stands around it. rx_resolve removes it. */
    RX_BEGIN,
    RX_END,
    RX_WORD_EDGE, /* negated: \B */
    RX_LOOK,      /* lookahead; negated: (?!) */
};

#define RX_UNBOUNDED UINT32_MAX

struct rx_node {
    enum rx_kind kind;
    bool nullable; /* matches the empty string; meaningful when plain */
    bool plain;    /* no assertion inside */
    bool looks;    /* a lookahead or word edge inside */
    bool negated;
    uint32_t id;                           /* dense, children have smaller ones */
    uint32_t depth;                        /* 1 + the deepest child's */
    uint32_t min, max;                     /* RX_REPEAT; max may be RX_UNBOUNDED */
    size_t n;                              /* children or ranges */
    const struct cp_range *ranges;         /* RX_SET: sorted, merged, not empty */
    const struct rx_node *const *children; /* the others */
};

/* Makes and owns nodes. After a failure every constructor answers the never node: look at
 * `failed` once, at the end. */
struct rx_pool {
    struct arena arena;
    const struct rx_node **table;
    size_t capacity;
    uint32_t n_nodes, max_nodes;
    const struct rx_node *never, *empty, *any, *any_star; /* any: one code point */
    enum quern_status failed;
};

enum { RX_DEPTH_MAX = 400, RX_NODES_DEFAULT = 200000 };

enum quern_status rx_pool_init(struct rx_pool *p, uint32_t max_nodes, struct quern_error *err);
void rx_pool_release(struct rx_pool *p); /* NULL and zeroed are fine */
/* The message of p->failed. */
enum quern_status rx_pool_status(const struct rx_pool *p, const char *what,
                                 struct quern_error *err);

/* Normalizes `s`. */
const struct rx_node *rx_set(struct rx_pool *p, struct cp_set *s);
const struct rx_node *rx_range(struct rx_pool *p, int32_t lo, int32_t hi);
/* Every code point that `set` (of kind RX_SET) has not. */
const struct rx_node *rx_set_complement(struct rx_pool *p, const struct rx_node *set);
/* The code points of valid UTF-8 text one after the other. */
const struct rx_node *rx_literal(struct rx_pool *p, struct str text);
const struct rx_node *rx_concat(struct rx_pool *p, const struct rx_node *const *parts, size_t n);
const struct rx_node *rx_concat2(struct rx_pool *p, const struct rx_node *a,
                                 const struct rx_node *b);
const struct rx_node *rx_alt(struct rx_pool *p, const struct rx_node *const *parts, size_t n);
const struct rx_node *rx_alt2(struct rx_pool *p, const struct rx_node *a, const struct rx_node *b);
const struct rx_node *rx_and(struct rx_pool *p, const struct rx_node *a, const struct rx_node *b);
const struct rx_node *rx_not(struct rx_pool *p, const struct rx_node *a);
const struct rx_node *rx_repeat(struct rx_pool *p, const struct rx_node *a, uint32_t min,
                                uint32_t max);
/* RX_BEGIN, RX_END, RX_WORD_EDGE without child; RX_LOOK with. */
const struct rx_node *rx_assertion(struct rx_pool *p, enum rx_kind kind, bool negated,
                                   const struct rx_node *child);

/* Turns assertions into and/not. `search`: the expression may begin and end anywhere in the
 * text; otherwise it matches the whole text. QUERN_ERR_UNSUPPORTED when a lookahead or word
 * edge is repeated without a small bound. */
enum quern_status rx_resolve(struct rx_pool *p, const struct rx_node *node, bool search,
                             const struct rx_node **out, struct quern_error *err);

#endif
