/* Walks over the trie with a lexer state. */
#include <stdlib.h>

#include "grammar/mask_walk.h"

bool walk_fail(struct walk *w, enum quern_status st) {
    grammar_fail(w->g, st);
    return false;
}

bool walk_add_exit(struct walk *w, uint32_t node, uint32_t lexer, uint32_t twin) {
    struct lexer_mask *o = w->out;
    enum quern_status st = QUERN_OK;
    if (o->n_exits == o->exits_capacity)
        st = budget_grow(w->budget, &o->exits, &o->exits_capacity, o->n_exits + 1, sizeof *o->exits);
    if (st != QUERN_OK)
        return walk_fail(w, st);
    o->exits[o->n_exits++] = (struct mask_exit){node, lexer, twin};
    return true;
}

static bool add_span(struct walk *w, struct u32s *s, uint32_t from, uint32_t to) {
    if (s->n && s->v[s->n - 1] == from) {
        s->v[s->n - 1] = to;
        return true;
    }
    enum quern_status st = from < to ? u32s_push(w->budget, s, from) : QUERN_OK;
    if (st == QUERN_OK && from < to)
        st = u32s_push(w->budget, s, to);
    return st == QUERN_OK || walk_fail(w, st);
}

bool walk_take_ranks(struct walk *w, uint32_t from, uint32_t to) {
    if (w->ranks)
        return add_span(w, w->ranks, from, to);
    mask_set_ranks(w->image, from, to, w->out->bits);
    return true;
}

/* The base's tokens at nodes x to `end` go. */
static bool replace(struct walk *w, uint32_t x, uint32_t end) {
    const struct token_image *m = w->image;
    if (w->base == LEXER_DEAD)
        return true;
    for (uint32_t r = m->nodes[x].rank; r < m->nodes[end].rank; r++)
        w->out->bits[m->tokens[r] / 32] &= ~(1u << (m->tokens[r] % 32));
    return add_span(w, w->replaced, x, end);
}

enum groups_kind { GROUPS_FIRST, GROUPS_LOOP };
enum { FIRST_STEPS = 4096 };

static bool known_groups(const struct mask_cache *c, uint32_t lexer, enum groups_kind kind,
                         uint64_t *out) {
    uint32_t index;
    if (!pair_map_get(&c->by_groups, (uint64_t)lexer << 1 | kind, &index))
        return false;
    *out = c->groups[index];
    return true;
}

static bool keep_groups(struct grammar *g, uint32_t lexer, enum groups_kind kind, uint64_t groups) {
    struct mask_cache *c = g->masks;
    enum quern_status st = budget_grow(&c->budget, &c->groups, &c->groups_capacity,
                                       c->n_groups + 1, sizeof *c->groups);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_groups, (uint64_t)lexer << 1 | kind,
                          (uint32_t)c->n_groups);
    if (st != QUERN_OK)
        return grammar_fail(g, st), false;
    c->groups[c->n_groups++] = groups;
    return true;
}

bool lexer_first(struct grammar *g, const struct token_image *m, uint32_t lexer, uint64_t *out) {
    const struct span s = g->lexers[lexer].pairs;
    uint64_t all[4] = {0}, set[4];
    unsigned steps = FIRST_STEPS;
    if (known_groups(g->masks, lexer, GROUPS_FIRST, out))
        return true;
    for (uint32_t i = 0; i < s.n; i += 2) {
        if (g->b.symbols[g->pool.v[s.start + i]].kind == SYMBOL_TOKEN)
            continue;
        re_first(&g->b.re, g->pool.v[s.start + i + 1], set, &steps);
        for (int k = 0; k < 4; k++)
            all[k] |= set[k];
    }
    *out = 0;
    for (unsigned b = 0; b < 256; b++)
        *out |= (all[b / 64] >> (b % 64) & 1) << m->group[b];
    return keep_groups(g, lexer, GROUPS_FIRST, *out);
}

bool lexer_loop(struct grammar *g, const struct token_image *m, uint32_t lexer, uint64_t *out) {
    if (known_groups(g->masks, lexer, GROUPS_LOOP, out))
        return true;
    *out = ~UINT64_C(0);
    for (unsigned b = 0; b < 256; b++) {
        const uint32_t next = lexer_step(g, lexer, b);
        if (next == GRAMMAR_NONE)
            return false;
        *out &= next != lexer ? ~(UINT64_C(1) << m->group[b]) : ~UINT64_C(0);
    }
    return keep_groups(g, lexer, GROUPS_LOOP, *out);
}

/* Of the node above: where the lexer stands, and where the base does. */
struct above {
    uint32_t lexer, base, end;
};

struct progress {
    uint64_t loop; /* groups of bytes of loop_of */
    uint32_t loop_of;
    size_t next_avoided;
};

/* The first node from x on that is left out. */
static uint32_t avoided_from(const struct walk *w, struct progress *p, uint32_t x) {
    while (w->avoided && p->next_avoided < w->avoided->n && w->avoided->v[p->next_avoided] < x)
        p->next_avoided++;
    return w->avoided && p->next_avoided < w->avoided->n ? w->avoided->v[p->next_avoided] : UINT32_MAX;
}

/* One node, reached with `lexer`. *whole: all below it is settled. */
static bool visit(struct walk *w, uint32_t x, uint32_t lexer, const struct above *up, uint32_t base,
                  struct progress *p, bool *whole) {
    const struct token_image *m = w->image;
    const uint32_t skip = trie_skip(m, x), end = x + skip;
    *whole = true;
    if (lexer == LEXER_DEAD)
        return replace(w, x, end);
    if (lexer == base)
        return true;
    if (w->g->lexers[lexer].accepts.n > 0 && skip > 1) {
        if (!walk_add_exit(w, x, lexer, x))
            return false;
    } else if (lexer == up->lexer && skip > 1) { /* it loops: perhaps for all that is below */
        if (lexer != p->loop_of && !lexer_loop(w->g, m, lexer, &p->loop))
            return false;
        p->loop_of = lexer;
        if (!(m->below[x] & ~p->loop) && avoided_from(w, p, x) >= end)
            return replace(w, x, end) && walk_take_ranks(w, m->nodes[x].rank, m->nodes[end].rank);
    }
    *whole = skip == 1;
    return replace(w, x, x + 1) && walk_take_ranks(w, m->nodes[x].rank, m->nodes[x + 1].rank);
}

/* In step with a base, or past what is avoided. */
static bool walk_with_care(struct walk *w, uint32_t lexer, uint32_t from, uint32_t to) {
    const struct token_image *m = w->image;
    struct above up[WALK_DEPTH];
    struct progress p = {.loop_of = GRAMMAR_NONE};
    size_t depth = 0;
    up[0] = (struct above){lexer, w->base, to};
    for (uint32_t x = from; x < to;) {
        while (x >= up[depth].end)
            depth--;
        const uint32_t skip = trie_skip(m, x), byte = trie_byte(m, x);
        if (avoided_from(w, &p, x) == x) {
            x += skip;
            continue;
        }
        const uint32_t q = lexer_step(w->g, up[depth].lexer, byte);
        uint32_t base = up[depth].base;
        if (base != LEXER_DEAD)
            base = lexer_step(w->g, base, byte);
        bool whole;
        if (q == GRAMMAR_NONE || base == GRAMMAR_NONE || !regex_burn(&w->g->b.re, 1) ||
            !visit(w, x, q, &up[depth], base, &p, &whole))
            return false;
        if (whole) {
            x += skip;
            continue;
        }
        if (depth + 1 == WALK_DEPTH) {
            regex_fail(&w->g->b.re, QUERN_ERR_LIMIT, "a token is longer than 511 bytes");
            return false;
        }
        up[++depth] = (struct above){q, base, x + skip};
        x++;
    }
    return true;
}

/* ---- without a base --------------------------------------------------------------------------- */

/* A byte that most texts go on with. */
enum { RUN_BYTE = 'e' };

static bool make_run(struct walk *w, uint32_t lexer, struct lexer_run *out) {
    struct grammar *g = w->g;
    struct mask_cache *c = g->masks;
    *out = (struct lexer_run){~UINT64_C(0), lexer_step(g, lexer, RUN_BYTE)};
    if (out->next == GRAMMAR_NONE)
        return false;
    if (out->next == LEXER_DEAD || g->lexers[out->next].accepts.n)
        out->groups = 0;
    for (unsigned b = 0; b < 256 && out->groups; b++) {
        const uint32_t next = lexer_step(g, lexer, b);
        if (next == GRAMMAR_NONE)
            return false;
        out->groups &= next != out->next ? ~(UINT64_C(1) << w->image->group[b]) : ~UINT64_C(0);
    }
    enum quern_status st =
        budget_grow(&c->budget, &c->runs, &c->runs_capacity, c->n_runs + 1, sizeof *c->runs);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_run, lexer, (uint32_t)c->n_runs);
    if (st != QUERN_OK)
        return walk_fail(w, st);
    c->runs[c->n_runs++] = *out;
    return true;
}

/* Counted loops change their state with each character: whatever is below x may still be all alike.
 * Finding out costs as much as some hundred nodes, so it is done at large subtrees. */
enum { RUN_SUBTREE = 64, RUN_SMALL = 6, RUN_HEIGHT = 10 };

static bool is_run(struct walk *w, uint32_t x, uint32_t lexer, bool *yes) {
    const struct token_image *m = w->image;
    const struct mask_cache *c = w->g->masks;
    *yes = false;
    for (unsigned i = m->height[x]; i > 0; i--) {
        struct lexer_run run;
        uint32_t index;
        if (pair_map_get(&c->by_run, lexer, &index))
            run = c->runs[index];
        else if (trie_skip(m, x) < RUN_SUBTREE || m->height[x] > RUN_HEIGHT)
            return true;
        else if (!make_run(w, lexer, &run))
            return false;
        if (m->below[x] & ~run.groups)
            return true;
        if (run.next == lexer)
            break;
        lexer = run.next;
    }
    *yes = m->height[x] < UINT8_MAX;
    return true;
}

struct plain {
    uint32_t next, end, lexer; /* of the node above: its table, its subtree */
};

static bool walk_plain(struct walk *w, uint32_t lexer, uint32_t from, uint32_t to) {
    struct grammar *g = w->g;
    const struct token_image *m = w->image;
    const uint8_t *class_of = g->b.re.class_of;
    struct plain up[WALK_DEPTH];
    size_t depth = 0;
    uint32_t begun = m->nodes[from].rank, upto = begun, visited = 0; /* ranks to be taken */
    up[0] = (struct plain){g->lexers[lexer].next, to, lexer};
    for (uint32_t x = from; x < to; visited++) {
        while (x >= up[depth].end)
            depth--;
        const uint32_t skip = trie_skip(m, x);
        uint32_t q = g->pool.v[up[depth].next + class_of[trie_byte(m, x)]], end = x + 1;
        if (q >= LEXER_UNKNOWN && (q = lexer_derive(g, up[depth].lexer, trie_byte(m, x))) == GRAMMAR_NONE)
            return false;
        if (q == LEXER_DEAD) {
            x += skip;
            continue;
        }
        if (skip > 1) {
            bool whole = false;
            if (g->lexers[q].accepts.n ? !walk_add_exit(w, x, q, x)
                                       : skip >= RUN_SMALL && !is_run(w, x, q, &whole))
                return false;
            end = whole ? x + skip : end;
            if (!whole && depth + 1 == WALK_DEPTH) {
                regex_fail(&g->b.re, QUERN_ERR_LIMIT, "a token is longer than 511 bytes");
                return false;
            }
            if (!whole)
                up[++depth] = (struct plain){g->lexers[q].next, x + skip, q};
        }
        if (m->nodes[x].rank != upto) {
            if (!walk_take_ranks(w, begun, upto))
                return false;
            begun = m->nodes[x].rank;
        }
        upto = m->nodes[end].rank;
        x = end;
    }
    return walk_take_ranks(w, begun, upto) && regex_burn(&g->b.re, visited);
}

bool walk_nodes(struct walk *w, uint32_t lexer, uint32_t from, uint32_t to) {
    const bool plain = w->base == LEXER_DEAD && !w->avoided && !w->g->masks->off;
    return plain ? walk_plain(w, lexer, from, to) : walk_with_care(w, lexer, from, to);
}
