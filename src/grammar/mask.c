/* Two levels. Of a lexer state alone: the tokens that stay within a terminal, and the places
 * in the trie where one may end. Of a (row, lexer) pair: those tokens, and what the rows after
 * those places allow in the subtrees below. The union over a set's pairs is exact, because
 * the pairs' futures are independent. */
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

struct lexer_mask {
    uint32_t *bits;
    struct u32s exits; /* (node, lexer state there) */
};

struct mask_cache {
    const struct token_image *image;
    struct pair_map by_lexer, by_pair; /* -> index */
    struct lexer_mask *lexer_masks;
    size_t n_lexer_masks, lexer_capacity;
    uint32_t **pair_masks;
    size_t n_pair_masks, pair_capacity;
    struct budget budget;
};

struct mask_cache *mask_cache_create(const struct token_image *image) {
    struct mask_cache *c = calloc(1, sizeof *c);
    if (c) {
        c->image = image;
        c->budget.max = (size_t)64 << 20;
    }
    return c;
}

static void mask_cache_clear(struct mask_cache *c) {
    for (size_t i = 0; i < c->n_lexer_masks; i++) {
        free(c->lexer_masks[i].bits);
        u32s_release(&c->lexer_masks[i].exits);
    }
    for (size_t i = 0; i < c->n_pair_masks; i++)
        free(c->pair_masks[i]);
    free(c->lexer_masks);
    free(c->pair_masks);
    pair_map_release(&c->by_lexer);
    pair_map_release(&c->by_pair);
    const struct token_image *image = c->image;
    memset(c, 0, sizeof *c);
    c->image = image;
    c->budget.max = (size_t)64 << 20;
}

void mask_cache_destroy(struct mask_cache *c) {
    if (!c)
        return;
    mask_cache_clear(c);
    free(c);
}

static size_t n_words(const struct token_image *m) {
    return ((size_t)m->n_tokens + 31) / 32;
}

static void set_ranks(const struct token_image *m, uint32_t from, uint32_t to, uint32_t *bits) {
    for (; from < to; from++) {
        uint32_t id = (uint32_t)m->tokens[from];
        bits[id / 32] |= 1u << (id % 32);
    }
}

/* The groups of bytes that all lead from `lexer` back to itself. */
static bool loop_groups(struct grammar *g, const struct token_image *m, uint32_t lexer,
                        uint64_t *out) {
    uint64_t groups = ~UINT64_C(0);
    for (unsigned c = 0; c < 256; c++) {
        uint32_t next = lexer_step(g, lexer, c);
        if (next == GRAMMAR_NONE)
            return false;
        if (next != lexer)
            groups &= ~(UINT64_C(1) << m->group[c]);
    }
    *out = groups;
    return true;
}

struct walk {
    struct grammar *g;
    const struct token_image *image;
    uint32_t *bits;
    struct u32s *exits;
    struct budget *budget;
};

enum { WALK_DEPTH = 512 };

/* The trie from the root, through the lexer alone. */
static bool walk_lexer(struct walk *w, uint32_t lexer) {
    const struct token_image *m = w->image;
    struct grammar *g = w->g;
    uint32_t state[WALK_DEPTH], end[WALK_DEPTH], loop_of = GRAMMAR_NONE;
    uint64_t loop = 0;
    size_t depth = 0;
    state[0] = lexer;
    end[0] = (uint32_t)m->n_nodes;
    for (uint32_t x = 1; x < m->n_nodes;) {
        while (x >= end[depth])
            depth--;
        uint32_t skip = trie_skip(m, x), q = lexer_step(g, state[depth], trie_byte(m, x));
        if (q == GRAMMAR_NONE || !regex_burn(&g->b.re, 1))
            return false;
        if (q == LEXER_DEAD) {
            x += skip;
            continue;
        }
        bool accepts = g->lexers[q].accepts.n > 0;
        if (accepts && skip > 1) {
            if (u32s_push(w->budget, w->exits, x) || u32s_push(w->budget, w->exits, q))
                return grammar_fail(g, QUERN_ERR_NOMEM), false;
        } else if (q == state[depth] && skip > 1) { /* it loops: perhaps for all that is below */
            if (q != loop_of && !loop_groups(g, m, q, &loop))
                return false;
            loop_of = q;
            if (!(m->below[x] & ~loop)) {
                set_ranks(m, m->nodes[x].rank, m->nodes[x + skip].rank, w->bits);
                x += skip;
                continue;
            }
        }
        set_ranks(m, m->nodes[x].rank, m->nodes[x + 1].rank, w->bits);
        if (skip > 1 && depth + 1 < WALK_DEPTH) {
            depth++;
            state[depth] = q;
            end[depth] = x + skip;
        } else if (skip > 1) {
            regex_fail(&g->b.re, QUERN_ERR_LIMIT, "a token is longer than 511 bytes");
            return false;
        }
        x++;
    }
    return true;
}

/* The subtree below `node`, in full sets of positions. */
static bool walk_sets(struct walk *w, uint32_t node, uint32_t set) {
    const struct token_image *m = w->image;
    struct grammar *g = w->g;
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
        set_ranks(m, m->nodes[x].rank, m->nodes[x + 1].rank, w->bits);
        if (skip > 1 && depth + 1 < WALK_DEPTH) {
            depth++;
            state[depth] = s;
            end[depth] = x + skip;
        }
        x++;
    }
    return true;
}

static const struct lexer_mask *mask_of_lexer(struct grammar *g, const struct token_image *m,
                                              uint32_t lexer) {
    struct mask_cache *c = g->masks;
    uint32_t index;
    if (pair_map_get(&c->by_lexer, lexer, &index))
        return &c->lexer_masks[index];
    struct lexer_mask lm = {.bits = calloc(n_words(m) + 1, 4)};
    struct walk w = {g, m, lm.bits, &lm.exits, &c->budget};
    enum quern_status st = lm.bits ? QUERN_OK : QUERN_ERR_NOMEM;
    if (st == QUERN_OK && !walk_lexer(&w, lexer))
        goto fail;
    struct span s = g->lexers[lexer].pairs;
    for (uint32_t i = 0; i < s.n && st == QUERN_OK; i += 2) {
        struct symbol x = g->b.symbols[g->pool.v[s.start + i]];
        if (x.kind == SYMBOL_TOKEN && x.value < (uint32_t)m->n_tokens)
            lm.bits[x.value / 32] |= 1u << (x.value % 32);
    }
    if (st == QUERN_OK)
        st = budget_grow(&c->budget, &c->lexer_masks, &c->lexer_capacity, c->n_lexer_masks + 1,
                         sizeof *c->lexer_masks);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_lexer, lexer, (uint32_t)c->n_lexer_masks);
    if (st == QUERN_OK) {
        c->budget.used += n_words(m) * 4;
        c->lexer_masks[c->n_lexer_masks] = lm;
        return &c->lexer_masks[c->n_lexer_masks++];
    }
    grammar_fail(g, st);
fail:
    free(lm.bits);
    u32s_release(&lm.exits);
    return NULL;
}

/* The groups of bytes that may come first. */
static bool first_groups(struct grammar *g, const struct token_image *m, uint32_t lexer,
                         uint64_t *out) {
    *out = 0;
    for (unsigned c = 0; c < 256; c++) {
        uint32_t next = lexer_step(g, lexer, c);
        if (next == GRAMMAR_NONE)
            return false;
        if (next != LEXER_DEAD)
            *out |= UINT64_C(1) << m->group[c];
    }
    return true;
}

static bool walk_exits(struct walk *w, const struct lexer_mask *lm, uint32_t row) {
    struct grammar *g = w->g;
    uint32_t last = GRAMMAR_NONE, set = SET_DEAD;
    uint64_t first = 0;
    for (size_t i = 0; i < lm->exits.n; i += 2) {
        uint32_t node = lm->exits.v[i], q = lm->exits.v[i + 1];
        if (q != last) {
            uint32_t next = row_exit(g, row, q);
            if (next == GRAMMAR_NONE || (set = set_of_row(g, next)) == GRAMMAR_NONE ||
                !first_groups(g, w->image, g->rows[next].lexer, &first))
                return false;
            last = q;
        }
        if ((w->image->below[node] & first) && !walk_sets(w, node, set))
            return false;
    }
    return regex_burn(&g->b.re, lm->exits.n);
}

static const uint32_t *mask_of_pair(struct grammar *g, const struct token_image *m, uint32_t row,
                                    uint32_t lexer) {
    struct mask_cache *c = g->masks;
    uint64_t key = (uint64_t)row << 32 | lexer;
    uint32_t index;
    if (pair_map_get(&c->by_pair, key, &index))
        return c->pair_masks[index];
    const struct lexer_mask *lm = mask_of_lexer(g, m, lexer);
    if (!lm)
        return NULL;
    uint32_t *bits = malloc((n_words(m) + 1) * 4);
    enum quern_status st = bits ? QUERN_OK : QUERN_ERR_NOMEM;
    if (st == QUERN_OK) {
        memcpy(bits, lm->bits, n_words(m) * 4);
        struct walk w = {g, m, bits, NULL, &c->budget};
        if (!walk_exits(&w, lm, row))
            goto fail;
    }
    if (st == QUERN_OK)
        st = budget_grow(&c->budget, &c->pair_masks, &c->pair_capacity, c->n_pair_masks + 1,
                         sizeof *c->pair_masks);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_pair, key, (uint32_t)c->n_pair_masks);
    if (st == QUERN_OK) {
        c->budget.used += n_words(m) * 4;
        return c->pair_masks[c->n_pair_masks++] = bits;
    }
    grammar_fail(g, st);
fail:
    free(bits);
    return NULL;
}

bool mask_of_set(struct grammar *g, const struct token_image *m, uint32_t set, uint32_t *bits) {
    struct mask_cache *c = g->masks;
    /* Only between masks: nothing holds a pointer into the cache here. One mask is far
     * smaller than the half that is left. */
    if (c->image != m || c->budget.used > c->budget.max / 2) {
        mask_cache_clear(c);
        c->image = m;
    }
    for (uint32_t i = 1; i < g->sets[set].n; i += 2) {
        const uint32_t *p = g->pool.v + g->sets[set].start + i;
        const uint32_t *mask = mask_of_pair(g, m, p[0], p[1]);
        if (!mask)
            return false;
        for (size_t k = 0; k < n_words(m); k++)
            bits[k] |= mask[k];
    }
    return true;
}
