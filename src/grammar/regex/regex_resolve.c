/* Assertions become intersections. Each expression is rewritten with what follows it to the end
 * of the text (its continuation), once for every kind of character that may stand before:
 * none (the start of the text), a word character, another one. With the continuation at hand
 *     ^        is the continuation at the start, and nothing elsewhere,
 *     $        is the empty string if the continuation allows it,
 *     (?=A)    is the continuation and A.*,
 *     \b       is the continuation and the right first character. */
#include <stdlib.h>

#include "grammar/regex/regex_ast.h"

enum context { AT_START, AFTER_WORD, AFTER_OTHER, N_CONTEXTS };

/* Repetitions are unrolled, so nested ones multiply. */
enum { REPEAT_MAX_WITH_ASSERTIONS = 64, RESOLVE_FUEL = 200000 };

struct resolver {
    struct rx_pool *pool;
    const struct rx_node *word, *other, *nonempty; /* \w, \W, .+ */
    uint32_t fuel;
    bool repeated; /* an assertion stood where it cannot be expressed */
};

struct tails {
    const struct rx_node *after[N_CONTEXTS];
};

static struct tails resolve(struct resolver *r, const struct rx_node *x, struct tails k);

static const struct rx_node *ends_with(struct resolver *r, const struct rx_node *set) {
    return rx_concat2(r->pool, r->pool->any_star, set);
}

static const struct rx_node *starts_with(struct resolver *r, const struct rx_node *set) {
    return rx_concat2(r->pool, set, r->pool->any_star);
}

static const struct rx_node *without_empty(struct resolver *r, const struct rx_node *x) {
    if (!x->nullable)
        return x;
    if (x->kind == RX_REPEAT && !x->children[0]->nullable)
        return rx_repeat(r->pool, x->children[0], 1, x->max);
    return rx_and(r->pool, x, r->nonempty);
}

static struct tails resolve_plain(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct rx_pool *p = r->pool;
    const struct rx_node *word = k.after[AFTER_WORD], *other = k.after[AFTER_OTHER];
    struct tails out;
    const struct rx_node *consumed;
    if (word == other) {
        consumed = rx_concat2(p, without_empty(r, x), word);
    } else {
        const struct rx_node *some = without_empty(r, x);
        consumed = rx_alt2(p, rx_concat2(p, rx_and(p, some, ends_with(r, r->word)), word),
                           rx_concat2(p, rx_and(p, some, ends_with(r, r->other)), other));
    }
    for (int c = 0; c < N_CONTEXTS; c++) {
        if (!x->nullable)
            out.after[c] = consumed;
        else if (word == other && k.after[c] == word)
            out.after[c] = rx_concat2(p, x, word);
        else
            out.after[c] = rx_alt2(p, consumed, k.after[c]);
    }
    return out;
}

static struct tails resolve_look(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct rx_pool *p = r->pool;
    struct tails any = {{p->any_star, p->any_star, p->any_star}};
    struct tails ahead = resolve(r, x->children[0], any);
    for (int c = 0; c < N_CONTEXTS; c++) {
        const struct rx_node *a = ahead.after[c];
        k.after[c] = rx_and(p, k.after[c], x->negated ? rx_not(p, a) : a);
    }
    return k;
}

static struct tails resolve_edge(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct rx_pool *p = r->pool;
    const struct rx_node *word_next = starts_with(r, r->word);
    const struct rx_node *no_word_next = rx_alt2(p, p->empty, starts_with(r, r->other));
    for (int c = 0; c < N_CONTEXTS; c++) {
        bool wants_word = (c == AFTER_WORD) == x->negated;
        k.after[c] = rx_and(p, k.after[c], wants_word ? word_next : no_word_next);
    }
    return k;
}

static struct tails resolve_alt(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct tails out = {{r->pool->never, r->pool->never, r->pool->never}};
    const struct rx_node **parts = malloc(x->n * N_CONTEXTS * sizeof *parts);
    if (!parts) {
        r->pool->failed = QUERN_ERR_NOMEM;
        return out;
    }
    for (size_t i = 0; i < x->n; i++) {
        struct tails t = resolve(r, x->children[i], k);
        for (size_t c = 0; c < N_CONTEXTS; c++)
            parts[c * x->n + i] = t.after[c];
    }
    for (size_t c = 0; c < N_CONTEXTS; c++)
        out.after[c] = rx_alt(r->pool, parts + c * x->n, x->n);
    free(parts);
    return out;
}

static struct tails resolve_concat(struct resolver *r, const struct rx_node *x, struct tails k) {
    size_t end = x->n;
    while (end > 0) {
        size_t begin = end;
        while (begin > 0 && x->children[begin - 1]->plain)
            begin--;
        if (begin < end) {
            k = resolve_plain(r, rx_concat(r->pool, x->children + begin, end - begin), k);
            end = begin;
        } else {
            k = resolve(r, x->children[--end], k);
        }
    }
    return k;
}

/* The expression without its paths over ^ and $: what the inner rounds of a repetition can
 * be. Only called when there is no lookahead and no word edge in it. */
static const struct rx_node *without_anchors(struct rx_pool *p, const struct rx_node *x) {
    if (x->kind >= RX_BEGIN)
        return p->never;
    if (x->plain)
        return x;
    if (x->kind == RX_REPEAT)
        return rx_repeat(p, without_anchors(p, x->children[0]), x->min, x->max);
    const struct rx_node **parts = malloc(x->n * sizeof *parts);
    if (!parts) {
        p->failed = QUERN_ERR_NOMEM;
        return p->never;
    }
    for (size_t i = 0; i < x->n; i++)
        parts[i] = without_anchors(p, x->children[i]);
    const struct rx_node *node =
        x->kind == RX_CONCAT ? rx_concat(p, parts, x->n) : rx_alt(p, parts, x->n);
    free(parts);
    return node;
}

/* x* as (x|)y*(x|), y being x without anchors: only the first round that consumes something
 * can pass ^, only the last one $. */
static struct tails resolve_star(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct rx_pool *p = r->pool;
    if (x->looks) {
        r->repeated = true;
        return k;
    }
    const struct rx_node *maybe = rx_alt2(p, x, p->empty);
    k = resolve(r, maybe, k);
    k = resolve(r, rx_repeat(p, without_anchors(p, x), 0, RX_UNBOUNDED), k);
    return resolve(r, maybe, k);
}

static struct tails resolve_repeat(struct resolver *r, const struct rx_node *x, struct tails k) {
    const struct rx_node *round = x->children[0];
    uint32_t optional = x->max == RX_UNBOUNDED ? 0 : x->max - x->min;
    if (x->min > REPEAT_MAX_WITH_ASSERTIONS || optional > REPEAT_MAX_WITH_ASSERTIONS) {
        r->repeated = true;
        return k;
    }
    struct tails end = k;
    if (x->max == RX_UNBOUNDED)
        k = resolve_star(r, round, k);
    for (uint32_t i = 0; i < optional; i++) {
        k = resolve(r, round, k);
        for (int c = 0; c < N_CONTEXTS; c++)
            k.after[c] = rx_alt2(r->pool, k.after[c], end.after[c]);
    }
    for (uint32_t i = 0; i < x->min; i++)
        k = resolve(r, round, k);
    return k;
}

static struct tails resolve(struct resolver *r, const struct rx_node *x, struct tails k) {
    struct rx_pool *p = r->pool;
    if (p->failed || r->repeated)
        return k;
    if (r->fuel == 0) {
        p->failed = QUERN_ERR_LIMIT;
        return k;
    }
    r->fuel--;
    if (x->plain)
        return resolve_plain(r, x, k);
    switch (x->kind) {
    case RX_CONCAT:
        return resolve_concat(r, x, k);
    case RX_ALT:
        return resolve_alt(r, x, k);
    case RX_REPEAT:
        return resolve_repeat(r, x, k);
    case RX_BEGIN:
        k.after[AFTER_WORD] = k.after[AFTER_OTHER] = p->never;
        return k;
    case RX_END:
        for (int c = 0; c < N_CONTEXTS; c++)
            k.after[c] = k.after[c]->nullable ? p->empty : p->never;
        return k;
    case RX_WORD_EDGE:
        return resolve_edge(r, x, k);
    case RX_LOOK:
        return resolve_look(r, x, k);
    default: /* and, not: the parsers make none around assertions */
        r->repeated = true;
        return k;
    }
}

static const struct rx_node *anywhere(struct resolver *r, struct tails t) {
    struct rx_pool *p = r->pool;
    if (t.after[AFTER_WORD] == t.after[AFTER_OTHER]) {
        if (t.after[AT_START] == t.after[AFTER_WORD])
            return rx_concat2(p, p->any_star, t.after[AT_START]);
        return rx_alt2(p, t.after[AT_START], rx_concat2(p, r->nonempty, t.after[AFTER_WORD]));
    }
    const struct rx_node *parts[] = {
        t.after[AT_START],
        rx_concat2(p, ends_with(r, r->word), t.after[AFTER_WORD]),
        rx_concat2(p, ends_with(r, r->other), t.after[AFTER_OTHER]),
    };
    return rx_alt(p, parts, 3);
}

enum quern_status rx_resolve(struct rx_pool *p, const struct rx_node *node, bool search,
                             const struct rx_node **out, struct quern_error *err) {
    static const struct cp_range word_ranges[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    struct resolver r = {.pool = p, .fuel = RESOLVE_FUEL};
    struct cp_set word = {0};
    for (size_t i = 0; i < sizeof word_ranges / sizeof *word_ranges; i++)
        cp_set_add(&word, word_ranges[i].lo, word_ranges[i].hi);
    r.word = rx_set(p, &word);
    r.other = rx_set_complement(p, r.word);
    cp_set_release(&word);
    r.nonempty = rx_repeat(p, p->any, 1, RX_UNBOUNDED);
    const struct rx_node *k = search ? p->any_star : p->empty;
    struct tails t = resolve(&r, node, (struct tails){{k, k, k}});
    const struct rx_node *result = search ? anywhere(&r, t) : t.after[AT_START];
    if (r.repeated)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "regex: an assertion (^, $, \\b or a lookahead) is repeated without a "
                         "bound of at most %d",
                         REPEAT_MAX_WITH_ASSERTIONS);
    enum quern_status status = rx_pool_status(p, "regex", err);
    if (!status)
        *out = result;
    return status;
}
