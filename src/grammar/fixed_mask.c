/* Fixed texts, such as declared keys and enumerations, and strings that are any but some: read
 * straight along the trie. By derivatives each of their bytes would be a new state of the lexer,
 * and a state costs a hundred times a step. What is read so is a union, and its parts may be read
 * one by one. */
#include <stdlib.h>
#include <string.h>

#include "grammar/mask_walk.h"

enum { FIXED_DEPTH = 12 };

struct fixed {
    struct walk *w;
    symbol_id terminal;
    uint32_t start;
    struct u32s rest; /* what `terminal` reads from `start` on besides */
    bool any;         /* a fixed text was read */
};

static bool keep(struct fixed *f, struct u32s *list, uint32_t x) {
    const enum quern_status st = u32s_push(f->w->budget, list, x);
    return st == QUERN_OK || walk_fail(f->w, st);
}

static void drop(struct fixed *f, struct u32s *list) {
    f->w->budget->used -= list->capacity * sizeof *list->v;
    u32s_release(list);
}

static uint32_t lexer_of(struct fixed *f, expr_id x) {
    return lexer_intern(f->w->g, &(struct u32s){(uint32_t[]){f->terminal, x}, 2, 2});
}

static struct re_node node_of(const struct fixed *f, expr_id x) {
    return f->w->g->b.re.nodes[x];
}

static const uint8_t *content_of(const struct fixed *f, const struct re_node *n) {
    return (const uint8_t *)(f->w->g->b.re.content + n->a);
}

static expr_id operand(const struct fixed *f, const struct re_node *n, size_t i) {
    uint32_t x;
    memcpy(&x, content_of(f, n) + i * sizeof x, sizeof x);
    return x;
}

static size_t n_operands(const struct re_node *n) {
    return n->b / sizeof(uint32_t);
}

/* ---- the trie ------------------------------------------------------------------------------- */

/* 0: none. */
static uint32_t child_of(const struct token_image *m, uint32_t node, unsigned byte) {
    if (node == 0)
        return m->roots[byte];
    const uint32_t end = node + trie_skip(m, node);
    for (uint32_t x = node + 1; x < end && trie_byte(m, x) <= byte; x += trie_skip(m, x))
        if (trie_byte(m, x) == byte)
            return x;
    return 0;
}

/* *node: where the text ends; 0: the trie ends before. `take`: with the tokens on the way. */
static bool follow(struct fixed *f, const uint8_t *text, size_t n, bool take, uint32_t *node) {
    const struct token_image *m = f->w->image;
    for (size_t i = 0; i < n; i++) {
        *node = child_of(m, *node, text[i]);
        if (*node == 0)
            break;
        if (take && !walk_take_ranks(f->w, m->nodes[*node].rank, m->nodes[*node + 1].rank))
            return false;
    }
    return regex_burn(&f->w->g->b.re, n);
}

/* ---- strings that are any but some ----------------------------------------------------------- */

struct all_but {
    expr_id all, but;
    struct loop_state loop;
};

/* JSON has one spelling of them. */
static bool is_plain(const struct fixed *f, const struct re_node *literal) {
    const uint8_t *p = content_of(f, literal);
    for (size_t i = 0; i < literal->b; i++)
        if (p[i] < 0x20 || p[i] > 0x7e || p[i] == '"' || p[i] == '\\')
            return false;
    return true;
}

static bool is_fixed(const struct fixed *f, expr_id x) {
    for (;; x = node_of(f, x).b) {
        struct re_node n = node_of(f, x);
        if (n.kind == RE_CONCAT)
            n = node_of(f, n.a);
        if (n.kind == RE_EMPTY)
            return true;
        if (n.kind != RE_LITERAL || !is_plain(f, &n))
            return false;
        if (node_of(f, x).kind == RE_LITERAL)
            return true;
    }
}

static bool are_fixed(const struct fixed *f, expr_id x) {
    const struct re_node n = node_of(f, x);
    if (n.kind != RE_OR)
        return is_fixed(f, x);
    for (size_t i = 0; i < n_operands(&n); i++)
        if (!is_fixed(f, operand(f, &n, i)))
            return false;
    return true;
}

static bool is_usual(const struct re_node *n) {
    return n->kind == RE_JSON && (n->b & RE_JSON_USUAL) &&
           re_json_reads(n) == RE_JSON_READS_TEXT;
}

/* x is json(x* and not (text or ...)) tail, where the tail tells the end. Whatever has been read of
 * such a string, more may follow; only where one of the texts ends may the tail not. *yes: so it is. */
static bool parse_all_but(struct fixed *f, expr_id x, struct all_but *out, bool *yes) {
    struct grammar *g = f->w->g;
    const struct re_node n = node_of(f, x);
    *yes = false;
    if (n.kind != RE_CONCAT)
        return true;
    const struct re_node json = node_of(f, n.a);
    if (!is_usual(&json))
        return true;
    const struct re_node both = node_of(f, json.a);
    if (both.kind != RE_AND || n_operands(&both) != 2)
        return true;
    expr_id loop = operand(f, &both, 0), but = operand(f, &both, 1);
    if (node_of(f, loop).kind == RE_NOT) {
        const expr_id swapped = loop;
        loop = but;
        but = swapped;
    }
    const struct re_node repeat = node_of(f, loop), no = node_of(f, but);
    if (repeat.kind != RE_REPEAT || repeat.c != GRAMMAR_INF || no.kind != RE_NOT ||
        !are_fixed(f, no.a))
        return true;
    out->but = no.a;
    out->all = re_concat(&g->b.re, re_json(&g->b.re, loop, json.b, json.c), n.b);
    if (out->all == GRAMMAR_NONE ||
        !loop_of_pair(g, f->w->image, f->terminal, out->all, &out->loop))
        return false;
    *yes = out->loop.mask != NULL;
    return true;
}

/* Of a text: the children of the node where it ends with which the tail begins. */
static bool avoid_text(struct fixed *f, const struct all_but *a, expr_id x, uint32_t node,
                       struct u32s *avoided) {
    const struct token_image *m = f->w->image;
    bool more = true;
    while (more && (node || f->start == 0)) {
        struct re_node n = node_of(f, x);
        more = n.kind == RE_CONCAT;
        x = n.b;
        if (more)
            n = node_of(f, n.a);
        if (n.kind == RE_EMPTY)
            break;
        if (!follow(f, content_of(f, &n), n.b, false, &node))
            return false;
        if (node == 0)
            return true;
    }
    const uint32_t end = node + trie_skip(m, node);
    for (uint32_t y = node + 1; y < end; y += trie_skip(m, y)) {
        const unsigned c = trie_byte(m, y);
        if ((a->loop.tail_first[c / 64] >> (c % 64) & 1) && !keep(f, avoided, y))
            return false;
    }
    return true;
}

static bool avoid_texts(struct fixed *f, const struct all_but *a, uint32_t node,
                        struct u32s *avoided) {
    const struct re_node n = node_of(f, a->but);
    if (n.kind != RE_OR)
        return avoid_text(f, a, a->but, node, avoided);
    for (size_t i = 0; i < n_operands(&n); i++)
        if (!avoid_text(f, a, operand(f, &n, i), node, avoided))
            return false;
    sort_ids(avoided->v, avoided->n);
    return true;
}

static bool is_avoided(const struct token_image *m, const struct u32s *avoided, uint32_t node) {
    size_t lo = 0, hi = avoided->n; /* the first behind the node */
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (avoided->v[mid] <= node)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo > 0 && node < avoided->v[lo - 1] + trie_skip(m, avoided->v[lo - 1]);
}

/* From the root, before anything else is there: the mask of all, then the texts go. */
static bool all_but_mask(struct fixed *f, const struct all_but *a) {
    struct walk *w = f->w;
    const struct token_image *m = w->image;
    const uint32_t alias = lexer_mask_alias(w->g, m, lexer_of(f, a->all));
    const struct lexer_mask *known = alias == GRAMMAR_NONE ? NULL : lexer_mask_get(w->g, m, alias);
    if (!known)
        return false;
    const struct mask_exit *exits = known->exits; /* the caches may grow, what they hold stays */
    const size_t n_exits = known->n_exits;
    memcpy(w->out->bits, known->bits, mask_words(m) * 4);
    struct u32s avoided = {0};
    bool ok = avoid_texts(f, a, 0, &avoided);
    for (size_t i = 0; i < avoided.n && ok; i++) {
        const uint32_t x = avoided.v[i], end = x + trie_skip(m, x);
        for (uint32_t r = m->nodes[x].rank; r < m->nodes[end].rank; r++)
            w->out->bits[m->tokens[r] / 32] &= ~(1u << (m->tokens[r] % 32));
    }
    for (size_t i = 0; i < n_exits && ok; i++)
        if (!is_avoided(m, &avoided, exits[i].node))
            ok = walk_add_exit(w, exits[i].node, exits[i].lexer, exits[i].twin);
    drop(f, &avoided);
    return ok;
}

static bool all_but_below(struct fixed *f, const struct all_but *a, uint32_t node) {
    struct walk *w = f->w;
    struct u32s avoided = {0};
    const uint32_t lexer = lexer_of(f, a->all);
    bool ok = lexer != GRAMMAR_NONE && avoid_texts(f, a, node, &avoided);
    w->avoided = &avoided;
    ok = ok && walk_nodes(w, lexer, node + 1, node + trie_skip(w->image, node));
    w->avoided = NULL;
    drop(f, &avoided);
    return ok;
}

/* ---- fixed texts ------------------------------------------------------------------------------ */

static bool read_from(struct fixed *f, uint32_t node, expr_id x, unsigned depth);

/* What is no fixed text. */
static bool read_other(struct fixed *f, uint32_t node, expr_id x) {
    struct walk *w = f->w;
    struct all_but a;
    bool yes;
    if (node == f->start)
        return keep(f, &f->rest, x);
    if (trie_skip(w->image, node) == 1)
        return true;
    if (x != RE_ID_EMPTY && !parse_all_but(f, x, &a, &yes))
        return false;
    if (x != RE_ID_EMPTY && yes)
        return all_but_below(f, &a, node);
    const uint32_t lexer = lexer_of(f, x);
    if (lexer == GRAMMAR_NONE)
        return false;
    if (w->g->lexers[lexer].accepts.n && !walk_add_exit(w, node, lexer, node))
        return false;
    return x == RE_ID_EMPTY || walk_nodes(w, lexer, node + 1, node + trie_skip(w->image, node));
}

static bool read_literal(struct fixed *f, uint32_t node, expr_id literal, expr_id tail,
                         unsigned depth) {
    const struct re_node n = node_of(f, literal);
    f->any = true;
    if (!follow(f, content_of(f, &n), n.b, true, &node))
        return false;
    return node == 0 || read_from(f, node, tail, depth + 1);
}

/* JSON spellings of x, then the tail; parts that are no fixed texts go to `other`. */
static bool read_json(struct fixed *f, uint32_t node, const struct re_node *json, expr_id x,
                      expr_id tail, struct u32s *other, unsigned depth) {
    struct regex_store *re = &f->w->g->b.re;
    const struct re_node n = node_of(f, x);
    if (x == RE_ID_EMPTY)
        return read_from(f, node, tail, depth + 1);
    if (n.kind == RE_LITERAL && is_plain(f, &n))
        return read_literal(f, node, x, tail, depth);
    if (n.kind == RE_CONCAT) {
        const struct re_node first = node_of(f, n.a);
        if (first.kind == RE_LITERAL && is_plain(f, &first)) {
            tail = re_concat(re, re_json(re, n.b, json->b, json->c), tail);
            bool nothing = false;
            if (tail == GRAMMAR_NONE || !re_is_nothing(re, tail, &nothing))
                return false;
            return nothing || read_literal(f, node, n.a, tail, depth);
        }
    }
    return keep(f, other, x);
}

static bool read_jsons(struct fixed *f, uint32_t node, const struct re_node *json, expr_id x,
                       expr_id tail, unsigned depth) {
    struct regex_store *re = &f->w->g->b.re;
    const struct re_node n = node_of(f, json->a);
    struct u32s other = {0};
    bool ok = true;
    if (n.kind != RE_OR)
        ok = read_json(f, node, json, json->a, tail, &other, depth);
    for (size_t i = 0; n.kind == RE_OR && i < n_operands(&n) && ok; i++)
        ok = read_json(f, node, json, operand(f, &n, i), tail, &other, depth);
    if (ok && other.n && (n.kind != RE_OR || other.n == n_operands(&n))) {
        ok = read_other(f, node, x);
    } else if (ok && other.n) {
        const expr_id left = re_nary(re, RE_OR, other.v, other.n);
        const expr_id y = re_concat(re, re_json(re, left, json->b, json->c), tail);
        ok = y != GRAMMAR_NONE && read_other(f, node, y);
    }
    drop(f, &other);
    return ok;
}

/* A byte so and so often. */
static bool is_run(const struct fixed *f, expr_id x) {
    const struct re_node n = node_of(f, x);
    const struct re_node of = node_of(f, n.kind == RE_REPEAT ? n.a : RE_ID_NOTHING);
    return of.kind == RE_LITERAL && of.b == 1;
}

static bool read_run(struct fixed *f, uint32_t node, expr_id run, expr_id tail, unsigned depth) {
    const struct re_node n = node_of(f, run), of = node_of(f, n.a);
    const uint8_t byte = *content_of(f, &of);
    f->any = true;
    for (uint32_t i = 0;; i++) {
        if (i >= n.b && !read_from(f, node, tail, depth + 1))
            return false;
        if (i == n.c || !follow(f, &byte, 1, true, &node))
            return i == n.c;
        if (node == 0)
            return true;
    }
}

/* Its parts are best read one by one. */
static bool is_simple(const struct fixed *f, expr_id x, unsigned depth) {
    const struct re_node n = node_of(f, x);
    if (n.kind == RE_CONCAT)
        return depth > 0 && is_simple(f, n.a, depth - 1);
    if (n.kind != RE_OR)
        return n.kind == RE_EMPTY || n.kind == RE_LITERAL || is_run(f, x);
    for (size_t i = 0; i < n_operands(&n); i++)
        if (depth == 0 || !is_simple(f, operand(f, &n, i), depth - 1))
            return false;
    return true;
}

static bool read_concat(struct fixed *f, uint32_t node, expr_id x, unsigned depth) {
    struct regex_store *re = &f->w->g->b.re;
    const struct re_node n = node_of(f, x), first = node_of(f, n.a);
    bool nothing = false; /* then no token on the way may be taken */
    if (!re_is_nothing(re, x, &nothing) || nothing)
        return nothing;
    if (first.kind == RE_LITERAL)
        return read_literal(f, node, n.a, n.b, depth);
    if (is_usual(&first))
        return read_jsons(f, node, &first, x, n.b, depth);
    if (is_run(f, n.a))
        return read_run(f, node, n.a, n.b, depth);
    if (first.kind != RE_OR || !is_simple(f, n.a, 3))
        return read_other(f, node, x);
    for (size_t i = 0; i < n_operands(&first); i++) {
        const expr_id one = re_concat(re, operand(f, &first, i), n.b);
        if (one == GRAMMAR_NONE || !read_from(f, node, one, depth + 1))
            return false;
    }
    return true;
}

/* Texts of x from the node on. */
static bool read_from(struct fixed *f, uint32_t node, expr_id x, unsigned depth) {
    const struct re_node n = node_of(f, x);
    if (depth > FIXED_DEPTH)
        return read_other(f, node, x);
    if (n.kind == RE_CONCAT)
        return read_concat(f, node, x, depth);
    if (n.kind == RE_LITERAL)
        return read_literal(f, node, x, RE_ID_EMPTY, depth);
    if (is_run(f, x))
        return read_run(f, node, x, RE_ID_EMPTY, depth);
    if (n.kind != RE_OR || (node != f->start && !is_simple(f, x, 3)))
        return read_other(f, node, x);
    for (size_t i = 0; i < n_operands(&n); i++)
        if (!read_from(f, node, operand(f, &n, i), depth + 1))
            return false;
    return true;
}

/* ---- a lexer state ----------------------------------------------------------------------------- */

/* Begins with the first such string. *i: where it stands; n: there is none. */
static bool read_all_but(struct fixed *f, struct span pairs, uint32_t *i) {
    struct grammar *g = f->w->g;
    struct all_but a;
    bool yes = false;
    for (*i = 0; *i < pairs.n; *i += 2) {
        f->terminal = g->pool.v[pairs.start + *i];
        if (!parse_all_but(f, g->pool.v[pairs.start + *i + 1], &a, &yes))
            return false;
        if (yes) {
            f->any = true;
            return all_but_mask(f, &a);
        }
    }
    return true;
}

static bool read_pair(struct fixed *f, expr_id x, struct u32s *left) {
    f->rest.n = 0;
    if (!read_from(f, f->start, x, 0) || !f->rest.n)
        return !f->w->g->b.re.failed;
    const expr_id rest = f->rest.n == 1
                             ? f->rest.v[0]
                             : re_nary(&f->w->g->b.re, RE_OR, f->rest.v, f->rest.n);
    return rest != GRAMMAR_NONE && keep(f, left, f->terminal) && keep(f, left, rest);
}

bool walk_fixed(struct walk *w, uint32_t lexer, uint32_t start, uint32_t *rest) {
    struct grammar *g = w->g;
    struct fixed f = {.w = w, .start = start};
    struct u32s left = {0};
    const struct span s = g->lexers[lexer].pairs;
    uint32_t done = s.n;
    bool ok = start != 0 || read_all_but(&f, s, &done);
    for (uint32_t i = 0; i < s.n && ok; i += 2) {
        f.terminal = g->pool.v[s.start + i];
        if (i != done && g->b.symbols[f.terminal].kind != SYMBOL_TOKEN)
            ok = read_pair(&f, g->pool.v[s.start + i + 1], &left);
    }
    *rest = !ok ? GRAMMAR_NONE : f.any ? lexer_intern(g, &left) : lexer;
    drop(&f, &f.rest);
    drop(&f, &left);
    return *rest != GRAMMAR_NONE;
}
