/* Two levels. Of a lexer state alone: the tokens that stay within a terminal, and the places
 * in the trie where one may end. Of a (row, lexer) pair: those tokens, and what the rows after
 * those places allow in the subtrees below. The union over a set's pairs is exact, because
 * the pairs' futures are independent. */
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/mask_walk.h"

enum { CACHE_BYTES = 64 << 20 };

struct mask_cache *mask_cache_create(const struct token_image *image) {
    struct mask_cache *c = calloc(1, sizeof *c);
    if (c) {
        c->image = image;
        c->budget.max = CACHE_BYTES;
    }
    return c;
}

static void mask_cache_clear(struct mask_cache *c) {
    for (size_t i = 0; i < c->n_lexer_masks; i++)
        lexer_mask_release(&c->lexer_masks[i]);
    for (size_t i = 0; i < c->n_pair_masks; i++) {
        free(c->pair_masks[i].own);
        free(c->pair_masks[i].added);
    }
    for (size_t i = 0; i < c->n_loops; i++)
        loop_mask_release(c->image, c->loops[i]);
    free(c->lexer_masks);
    free(c->pair_masks);
    free(c->loops);
    pair_map_release(&c->by_lexer);
    pair_map_release(&c->by_pair);
    pair_map_release(&c->by_loop);
    pair_map_release(&c->by_groups);
    pair_map_release(&c->by_run);
    free(c->groups);
    free(c->runs);
    *c = (struct mask_cache){.image = c->image, .off = c->off, .budget.max = CACHE_BYTES};
}

void mask_cache_destroy(struct mask_cache *c) {
    if (!c)
        return;
    mask_cache_clear(c);
    free(c);
}

void mask_cache_turn_off(struct grammar *g) {
    mask_cache_clear(g->masks);
    g->masks->off = true;
}

/* The subtree below `node`, in full sets of positions: (from, to) ranks that are allowed. */
static bool walk_sets(struct grammar *g, const struct token_image *m, uint32_t node, uint32_t set,
                      struct u32s *ranks) {
    uint32_t state[WALK_DEPTH], end[WALK_DEPTH];
    size_t depth = 0;
    state[0] = set;
    end[0] = node + trie_skip(m, node);
    for (uint32_t x = node + 1; x < end[0];) {
        while (x >= end[depth])
            depth--;
        uint32_t skip = trie_skip(m, x), s = set_step(g, state[depth], trie_byte(m, x));
        if (s == GRAMMAR_NONE || !regex_burn(&g->b.re, 1))
            return false;
        if (s == SET_DEAD) {
            x += skip;
            continue;
        }
        enum quern_status st = u32s_push(&g->masks->budget, ranks, m->nodes[x].rank);
        if (st == QUERN_OK)
            st = u32s_push(&g->masks->budget, ranks, m->nodes[x + 1].rank);
        if (st != QUERN_OK)
            return grammar_fail(g, st), false;
        if (skip > 1 && depth + 1 < WALK_DEPTH) {
            depth++;
            state[depth] = s;
            end[depth] = x + skip;
        }
        x++;
    }
    return true;
}

enum { ADDED_MAX = 512 };

/* Tokens of ranks `from` to `to`. */
static bool add_ranks(struct grammar *g, const struct token_image *m, uint32_t from, uint32_t to,
                      struct u32s *tokens, struct pair_mask *out) {
    struct mask_cache *c = g->masks;
    for (; from < to && !out->own; from++) {
        if (tokens->n < ADDED_MAX) {
            enum quern_status st = u32s_push(&c->budget, tokens, (uint32_t)m->tokens[from]);
            if (st != QUERN_OK)
                return grammar_fail(g, st), false;
            continue;
        }
        out->own = malloc((mask_words(m) + 1) * 4);
        if (!out->own)
            return grammar_fail(g, QUERN_ERR_NOMEM), false;
        c->budget.used += mask_words(m) * 4;
        memcpy(out->own, out->bits, mask_words(m) * 4);
        for (size_t i = 0; i < tokens->n; i++)
            out->own[tokens->v[i] / 32] |= 1u << (tokens->v[i] % 32);
        break;
    }
    if (out->own)
        mask_set_ranks(m, from, to, out->own);
    return true;
}

struct exits_walk {
    struct u32s ranks;       /* below the twin at hand */
    struct u32s tokens;      /* added so far */
    struct lexer_mask found; /* the exits below it */
    uint32_t lexer, row, walked;
    uint64_t first; /* groups of bytes */
};

static bool walk_below(struct grammar *g, const struct token_image *m, uint32_t row, uint32_t node,
                       unsigned depth, struct exits_walk *w);

/* Terminals that end within what is below a node where others ended. */
static bool walk_found(struct grammar *g, const struct token_image *m, uint32_t row, unsigned depth,
                       size_t from, struct exits_walk *w) {
    for (size_t i = from; i < w->found.n_exits; i++) {
        const struct mask_exit e = w->found.exits[i];
        const uint32_t next = row_exit(g, row, e.lexer);
        uint64_t first;
        if (next == GRAMMAR_NONE || !lexer_first(g, m, g->rows[next].lexer, &first))
            return false;
        if ((m->below[e.node] & first) && !walk_below(g, m, next, e.node, depth + 1, w))
            return false;
    }
    w->found.n_exits = from;
    return true;
}

enum {
    ROWS_DEPTH = 3, /* one after the other; then all ways of cutting at once, as they may be many */
    SMALL_SUBTREE = 16,
};

/* What the row allows below `node`: with the lexer alone as far as its terminals reach. */
static bool walk_below(struct grammar *g, const struct token_image *m, uint32_t row, uint32_t node,
                       unsigned depth, struct exits_walk *w) {
    const uint32_t lexer = g->rows[row].lexer, skip = trie_skip(m, node);
    if (g->masks->off || depth == ROWS_DEPTH) {
        const uint32_t set = set_of_row(g, row);
        return set != GRAMMAR_NONE && walk_sets(g, m, node, set, &w->ranks);
    }
    struct walk lw = {.g = g, .image = m, .out = &w->found, .ranks = &w->ranks};
    const size_t from = w->found.n_exits;
    uint32_t rest = lexer;
    lw.budget = &g->masks->budget;
    return (skip < SMALL_SUBTREE || walk_fixed(&lw, lexer, node, &rest)) &&
           (rest == LEXER_DEAD || walk_nodes(&lw, rest, node + 1, node + skip)) &&
           walk_found(g, m, row, depth, from, w);
}

static bool same_accepts(const struct grammar *g, uint32_t x, uint32_t y) {
    const struct span a = g->lexers[x].accepts, b = g->lexers[y].accepts;
    return a.n == b.n && memcmp(g->pool.v + a.start, g->pool.v + b.start, a.n * sizeof a.n) == 0;
}

/* The row after the terminals that end with `lexer`, and what it goes on with. */
static bool exit_row(struct grammar *g, const struct token_image *m, uint32_t row, uint32_t lexer,
                     struct exits_walk *w) {
    const bool same = w->lexer != GRAMMAR_NONE && same_accepts(g, w->lexer, lexer);
    w->lexer = lexer;
    if (same)
        return true;
    const uint32_t next = row_exit(g, row, lexer);
    if (next == GRAMMAR_NONE || !lexer_first(g, m, g->rows[next].lexer, &w->first))
        return false;
    if (next != w->row)
        w->walked = GRAMMAR_NONE;
    w->row = next;
    return true;
}

/* Twins lie together: one is walked, the others are given the same. */
static bool walk_exits(struct grammar *g, const struct token_image *m, const struct lexer_mask *lm,
                       uint32_t row, struct exits_walk *w, struct pair_mask *out) {
    for (size_t i = 0; i < lm->n_exits; i++) {
        const struct mask_exit *e = &lm->exits[i];
        if (e->lexer != w->lexer && !exit_row(g, m, row, e->lexer, w))
            return false;
        if (!(m->below[e->node] & w->first))
            continue;
        if (w->walked != e->twin) {
            w->ranks.n = 0;
            if (!walk_below(g, m, w->row, e->twin, 0, w))
                return false;
            w->walked = e->twin;
        }
        const uint32_t at = m->nodes[e->node].rank, rank = m->nodes[e->twin].rank;
        for (size_t k = 0; k < w->ranks.n; k += 2)
            if (!add_ranks(g, m, at + w->ranks.v[k] - rank, at + w->ranks.v[k + 1] - rank,
                           &w->tokens, out))
                return false;
    }
    return regex_burn(&g->b.re, lm->n_exits);
}

/* What is kept of the tokens has the size it needs. */
static enum quern_status keep_added(struct mask_cache *c, const struct u32s *tokens,
                                    struct pair_mask *out) {
    if (out->own || !tokens->n)
        return QUERN_OK;
    out->added = malloc(tokens->n * sizeof *out->added);
    if (!out->added)
        return QUERN_ERR_NOMEM;
    memcpy(out->added, tokens->v, tokens->n * sizeof *out->added);
    out->n_added = tokens->n;
    c->budget.used += tokens->n * sizeof *out->added;
    return QUERN_OK;
}

static bool make_pair(struct grammar *g, const struct token_image *m, uint32_t row,
                      const struct lexer_mask *lm, uint64_t key) {
    struct mask_cache *c = g->masks;
    struct exits_walk w = {
        .lexer = GRAMMAR_NONE, .row = GRAMMAR_NONE, .walked = GRAMMAR_NONE};
    struct pair_mask out = {.bits = lm->bits};
    const bool ok = walk_exits(g, m, lm, row, &w, &out);
    enum quern_status st = ok ? keep_added(c, &w.tokens, &out) : QUERN_ERR_LIMIT;
    if (st == QUERN_OK)
        st = budget_grow(&c->budget, &c->pair_masks, &c->pair_capacity, c->n_pair_masks + 1,
                         sizeof *c->pair_masks);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_pair, key, (uint32_t)c->n_pair_masks);
    if (st == QUERN_OK) {
        c->pair_masks[c->n_pair_masks++] = out;
    } else {
        c->budget.used -= out.n_added * sizeof *out.added + (out.own ? mask_words(m) * 4 : 0);
        free(out.own);
        free(out.added);
    }
    c->budget.used -= (w.ranks.capacity + w.tokens.capacity) * sizeof *w.ranks.v +
                      w.found.exits_capacity * sizeof *w.found.exits;
    u32s_release(&w.ranks);
    u32s_release(&w.tokens);
    lexer_mask_release(&w.found);
    if (ok && st != QUERN_OK)
        grammar_fail(g, st);
    return st == QUERN_OK;
}

/* Valid until the cache grows. */
static const struct pair_mask *mask_of_pair(struct grammar *g, const struct token_image *m,
                                            uint32_t row, uint32_t lexer) {
    struct mask_cache *c = g->masks;
    uint32_t index;
    if (pair_map_get(&c->by_pair, (uint64_t)row << 32 | lexer, &index))
        return &c->pair_masks[index];
    const uint32_t alias = lexer_mask_alias(g, m, lexer);
    const uint64_t key = (uint64_t)row << 32 | alias;
    if (alias != GRAMMAR_NONE && pair_map_get(&c->by_pair, key, &index))
        return &c->pair_masks[index];
    const struct lexer_mask *lm = alias == GRAMMAR_NONE ? NULL : lexer_mask_get(g, m, alias);
    if (!lm || !make_pair(g, m, row, lm, key))
        return NULL;
    return &c->pair_masks[c->n_pair_masks - 1];
}

bool mask_of_set(struct grammar *g, const struct token_image *m, uint32_t set, uint32_t *bits) {
    struct mask_cache *c = g->masks;
    /* Only between masks: nothing holds a pointer into the cache here. One mask is far
     * smaller than the half that is left. */
    if (c->image != m || c->off || c->budget.used > c->budget.max / 2) {
        mask_cache_clear(c);
        c->image = m;
    }
    for (uint32_t i = 1; i < g->sets[set].n; i += 2) {
        const uint32_t *p = g->pool.v + g->sets[set].start + i;
        const struct pair_mask *mask = mask_of_pair(g, m, p[0], p[1]);
        if (!mask)
            return false;
        mask_or(bits, mask->own ? mask->own : mask->bits, mask_words(m));
        for (size_t k = 0; k < mask->n_added; k++)
            bits[mask->added[k] / 32] |= 1u << (mask->added[k] % 32);
    }
    return true;
}
