/* Two levels. Of a lexer state alone: the tokens that stay within a terminal, and the places
 * in the trie where one may end. Of a (row, lexer) pair: those tokens, and what the rows after
 * those places allow in the subtrees below. The union over a set's pairs is exact, because
 * the pairs' futures are independent. */
#include "grammar/mask.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/mask_cache.h"

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
    for (size_t i = 0; i < c->n_pair_masks; i++)
        free(c->pair_masks[i]);
    for (size_t i = 0; i < c->n_loops; i++)
        loop_mask_release(c->image, c->loops[i]);
    free(c->lexer_masks);
    free(c->pair_masks);
    free(c->loops);
    pair_map_release(&c->by_lexer);
    pair_map_release(&c->by_pair);
    pair_map_release(&c->by_loop);
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

/* Twins lie together: one is walked, the others are given the same. */
static bool walk_exits(struct grammar *g, const struct token_image *m, const struct lexer_mask *lm,
                       uint32_t row, struct u32s *ranks, uint32_t *bits) {
    uint32_t last = GRAMMAR_NONE, walked = GRAMMAR_NONE, set = SET_DEAD;
    uint64_t first = 0;
    for (size_t i = 0; i < lm->n_exits; i++) {
        const struct mask_exit *e = &lm->exits[i];
        if (e->lexer != last) {
            uint32_t next = row_exit(g, row, e->lexer);
            if (next == GRAMMAR_NONE || (set = set_of_row(g, next)) == GRAMMAR_NONE ||
                !first_groups(g, m, g->rows[next].lexer, &first))
                return false;
            last = e->lexer;
            walked = GRAMMAR_NONE;
        }
        if (!(m->below[e->node] & first))
            continue;
        if (walked != e->twin) {
            ranks->n = 0;
            if (!walk_sets(g, m, e->twin, set, ranks))
                return false;
            walked = e->twin;
        }
        const uint32_t at = m->nodes[e->node].rank, rank = m->nodes[e->twin].rank;
        for (size_t k = 0; k < ranks->n; k += 2)
            mask_set_ranks(m, at + ranks->v[k] - rank, at + ranks->v[k + 1] - rank, bits);
    }
    return regex_burn(&g->b.re, lm->n_exits);
}

static const uint32_t *mask_of_pair(struct grammar *g, const struct token_image *m, uint32_t row,
                                    uint32_t lexer) {
    struct mask_cache *c = g->masks;
    uint32_t index;
    if (pair_map_get(&c->by_pair, (uint64_t)row << 32 | lexer, &index))
        return c->pair_masks[index];
    const uint32_t alias = lexer_mask_alias(g, m, lexer);
    const uint64_t key = (uint64_t)row << 32 | alias;
    if (alias != GRAMMAR_NONE && pair_map_get(&c->by_pair, key, &index))
        return c->pair_masks[index];
    const struct lexer_mask *lm = alias == GRAMMAR_NONE ? NULL : lexer_mask_get(g, m, alias);
    if (!lm)
        return NULL;
    uint32_t *bits = malloc((mask_words(m) + 1) * 4);
    struct u32s ranks = {0};
    enum quern_status st = bits ? QUERN_OK : QUERN_ERR_NOMEM;
    if (st == QUERN_OK) {
        memcpy(bits, lm->bits, mask_words(m) * 4);
        if (!walk_exits(g, m, lm, row, &ranks, bits))
            goto fail;
    }
    if (st == QUERN_OK)
        st = budget_grow(&c->budget, &c->pair_masks, &c->pair_capacity, c->n_pair_masks + 1,
                         sizeof *c->pair_masks);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_pair, key, (uint32_t)c->n_pair_masks);
    if (st == QUERN_OK) {
        c->budget.used += mask_words(m) * 4 - ranks.capacity * sizeof *ranks.v;
        u32s_release(&ranks);
        return c->pair_masks[c->n_pair_masks++] = bits;
    }
    grammar_fail(g, st);
fail:
    c->budget.used -= ranks.capacity * sizeof *ranks.v;
    u32s_release(&ranks);
    free(bits);
    return NULL;
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
        const uint32_t *mask = mask_of_pair(g, m, p[0], p[1]);
        if (!mask)
            return false;
        for (size_t k = 0; k < mask_words(m); k++)
            bits[k] |= mask[k];
    }
    return true;
}
