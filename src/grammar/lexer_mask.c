/* Masks of lexer states. Most states of a text are a loop over characters, or become one as
 * soon as a key is no longer one of those declared: the loop's mask is known, and only the
 * subtrees of the trie that lead elsewhere are walked. */
#include <stdlib.h>
#include <string.h>

#include "grammar/mask_walk.h"

static bool fail(struct grammar *g, enum quern_status st) {
    grammar_fail(g, st);
    return false;
}

void lexer_mask_release(struct lexer_mask *lm) {
    free(lm->bits);
    free(lm->exits);
}

/* ---- loops ------------------------------------------------------------------------------ */

static bool find_loop(struct grammar *g, const struct token_image *m, struct loop_state *out) {
    struct mask_cache *c = g->masks;
    const uint64_t key = (uint64_t)out->place.body << 32 | out->place.json;
    uint32_t index;
    if (pair_map_get(&c->by_loop, key, &index)) {
        out->mask = c->loops[index];
        return true;
    }
    if (!loop_mask_get(g, m, out->terminal, &out->place, &out->mask))
        return false;
    enum quern_status st =
        budget_grow(&c->budget, &c->loops, &c->loops_capacity, c->n_loops + 1, sizeof *c->loops);
    if (st == QUERN_OK)
        st = pair_map_put(&c->budget, &c->by_loop, key, (uint32_t)c->n_loops);
    if (st == QUERN_OK) {
        c->loops[c->n_loops++] = out->mask;
        return true;
    }
    loop_mask_release(m, out->mask);
    return fail(g, st);
}

bool loop_of_pair(struct grammar *g, const struct token_image *m, symbol_id terminal,
                         expr_id x, struct loop_state *out) {
    out->mask = NULL;
    out->terminal = terminal;
    if (g->masks->off || g->b.symbols[terminal].kind == SYMBOL_TOKEN ||
        !loop_parse(&g->b.re, x, &out->place) || re_nullable(&g->b.re, out->place.tail))
        return true;
    if (!find_loop(g, m, out))
        return false;
    struct u32s pairs = {(uint32_t[]){terminal, out->place.tail}, 2, 2};
    const uint32_t tail = out->mask ? lexer_intern(g, &pairs) : LEXER_DEAD;
    memset(out->tail_first, 0, sizeof out->tail_first);
    for (unsigned c = 0; c < 256 && tail != LEXER_DEAD; c++) {
        const uint32_t q = tail == GRAMMAR_NONE ? tail : lexer_step(g, tail, c);
        if (q == GRAMMAR_NONE)
            return false;
        if (q != LEXER_DEAD)
            out->tail_first[c / 64] |= UINT64_C(1) << (c % 64);
    }
    for (int k = 0; k < 4 && out->mask; k++)
        if (out->tail_first[k] & out->mask->first[k])
            out->mask = NULL;
    return true;
}

static bool loop_of_lexer(struct grammar *g, const struct token_image *m, uint32_t lexer,
                          struct loop_state *out) {
    const struct span s = g->lexers[lexer].pairs;
    out->mask = NULL;
    return s.n != 2 ||
           loop_of_pair(g, m, g->pool.v[s.start], g->pool.v[s.start + 1], out);
}

static uint32_t lexer_of_loop(struct grammar *g, const struct loop_state *l) {
    const expr_id x = loop_expr(&g->b.re, &l->place);
    struct u32s pairs = {(uint32_t[]){l->terminal, x}, 2, 2};
    return x == GRAMMAR_NONE ? x : lexer_intern(g, &pairs);
}

uint32_t lexer_mask_alias(struct grammar *g, const struct token_image *m, uint32_t lexer) {
    struct loop_state l;
    if (lexer == GRAMMAR_NONE || !loop_of_lexer(g, m, lexer, &l))
        return GRAMMAR_NONE;
    if (!l.mask)
        return lexer;
    const bool much = l.place.max != GRAMMAR_INF && l.place.max >= l.mask->most;
    const bool far = l.place.min > l.mask->most + 1;
    if (!much && !far)
        return lexer;
    if (far)
        l.place.min = l.mask->most + 1;
    if (much)
        l.place.max = GRAMMAR_INF;
    return lexer_of_loop(g, &l);
}

/* ---- the mask of a loop ------------------------------------------------------------------- */

/* The tokens that leave the loop at rims i to n, which are twins: one is walked for all. */
static bool leave_twins(struct walk *w, const struct loop_state *l, uint32_t tail, size_t i,
                        size_t n, struct u32s *ranks) {
    const struct token_image *m = w->image;
    const struct loop_rim *rims = l->mask->rims;
    const uint32_t twin = rims[i].twin, rank = m->nodes[twin].rank;
    const size_t first = w->out->n_exits;
    ranks->n = 0;
    w->ranks = ranks;
    bool ok = walk_nodes(w, tail, twin, twin + trie_skip(m, twin));
    w->ranks = NULL;
    const size_t n_found = w->out->n_exits - first;
    /* Exits of the walk are the pattern; those of the rims replace them. Twin by twin, so that
     * equal ones lie together. */
    struct mask_exit *found = malloc((n_found + 1) * sizeof *found);
    if (!found)
        return fail(w->g, QUERN_ERR_NOMEM);
    if (n_found)
        memcpy(found, w->out->exits + first, n_found * sizeof *found);
    w->out->n_exits = first;
    for (size_t k = i; k < n && ok; k++) {
        if (rims[k].rounds < l->place.min || rims[k].rounds > l->place.max)
            continue;
        const uint32_t at = m->nodes[rims[k].node].rank;
        for (size_t r = 0; r < ranks->n; r += 2)
            mask_set_ranks(m, at + ranks->v[r] - rank, at + ranks->v[r + 1] - rank, w->out->bits);
    }
    for (size_t e = 0; e < n_found && ok; e++)
        for (size_t k = i; k < n && ok; k++)
            if (rims[k].rounds >= l->place.min && rims[k].rounds <= l->place.max)
                ok = walk_add_exit(w, rims[k].node + found[e].node - twin, found[e].lexer,
                              found[e].node);
    free(found);
    return ok;
}

static bool leave(struct walk *w, const struct loop_state *l) {
    const struct loop_mask *lm = l->mask;
    struct u32s pairs = {(uint32_t[]){l->terminal, l->place.tail}, 2, 2}, ranks = {0};
    const uint32_t tail = lexer_intern(w->g, &pairs);
    bool ok = tail != GRAMMAR_NONE;
    for (unsigned c = 0; c < 256 && ok; c++) {
        if (!(l->tail_first[c / 64] >> (c % 64) & 1))
            continue;
        for (size_t i = lm->rims_of[c], n; i < lm->rims_of[c + 1] && ok; i = n) {
            bool any = false;
            for (n = i; n < lm->rims_of[c + 1] && lm->rims[n].twin == lm->rims[i].twin; n++)
                any = any ||
                      (lm->rims[n].rounds >= l->place.min && lm->rims[n].rounds <= l->place.max);
            if (any)
                ok = leave_twins(w, l, tail, i, n, &ranks);
        }
    }
    w->budget->used -= ranks.capacity * sizeof *ranks.v;
    u32s_release(&ranks);
    return ok;
}

static bool mask_of_loop(struct walk *w, const struct loop_state *l) {
    const uint32_t max = l->place.max < l->mask->most ? l->place.max : l->mask->most;
    memcpy(w->out->bits, l->mask->within[max], mask_words(w->image) * 4);
    return leave(w, l);
}

/* ---- masks that begin with another ---------------------------------------------------------- */

/* Where most bytes lead: the loop that, one round before, would stand there, or a state that
 * stays where it is. */
static bool find_base(struct walk *w, uint32_t lexer) {
    struct loop_state loop;
    static const char common[] = "e_z";
    struct grammar *g = w->g;
    w->base = LEXER_DEAD;
    for (const char *p = common; *p; p++) {
        const uint32_t q = lexer_step(g, lexer, (unsigned char)*p);
        if (q == GRAMMAR_NONE || !loop_of_lexer(g, w->image, q, &loop))
            return false;
        if (loop.mask) {
            loop.place.min += loop.place.min > 0;
            loop.place.max += loop.place.max != GRAMMAR_INF;
            w->base = lexer_of_loop(g, &loop);
            return w->base != GRAMMAR_NONE;
        }
        const uint32_t next = lexer_step(g, q, (unsigned char)*p);
        if (next == GRAMMAR_NONE)
            return false;
        /* Two states may lead to each other: bases of bases are no more than that. */
        if (next == q && q != lexer && q != LEXER_DEAD && g->masks->nested < 1)
            w->base = q;
    }
    return true;
}

static bool is_replaced(const struct u32s *replaced, uint32_t node) {
    size_t lo = 0, hi = replaced->n / 2; /* the first span that ends behind the node */
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (replaced->v[2 * mid + 1] <= node)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < replaced->n / 2 && replaced->v[2 * lo] <= node;
}

static bool mask_from_base(struct walk *w, uint32_t lexer) {
    const uint32_t alias = lexer_mask_alias(w->g, w->image, w->base);
    w->g->masks->nested++;
    const struct lexer_mask *known =
        alias == GRAMMAR_NONE ? NULL : lexer_mask_get(w->g, w->image, alias);
    w->g->masks->nested--;
    if (!known)
        return false;
    memcpy(w->out->bits, known->bits, mask_words(w->image) * 4);
    struct u32s replaced = {0};
    const struct mask_exit *exits = known->exits; /* the caches may grow, what they hold stays */
    const size_t n_exits = known->n_exits;
    w->replaced = &replaced;
    bool ok = walk_nodes(w, lexer, 1, (uint32_t)w->image->n_nodes);
    for (size_t i = 0; i < n_exits && ok; i++)
        if (!is_replaced(&replaced, exits[i].node))
            ok = walk_add_exit(w, exits[i].node, exits[i].lexer, exits[i].twin);
    w->budget->used -= replaced.capacity * sizeof *replaced.v;
    u32s_release(&replaced);
    return ok;
}

/* ---- a lexer state ---------------------------------------------------------------------------- */

static bool add_lexer(struct walk *w, uint32_t q) {
    const struct lexer_mask *part = q == GRAMMAR_NONE ? NULL : lexer_mask_get(w->g, w->image, q);
    if (!part)
        return false;
    mask_or(w->out->bits, part->bits, mask_words(w->image));
    for (size_t i = 0; i < part->n_exits; i++)
        if (!walk_add_exit(w, part->exits[i].node, part->exits[i].lexer, part->exits[i].twin))
            return false;
    return true;
}

/* Several terminals, loops among them: the union of each loop and of the others. *done false:
 * there are no loops. */
static bool mask_of_parts(struct walk *w, uint32_t lexer, bool *done) {
    struct grammar *g = w->g;
    struct u32s rest = {0};
    enum quern_status st = QUERN_OK;
    bool ok = true;
    *done = false;
    const struct span s = g->lexers[lexer].pairs;
    for (uint32_t i = 0; i < s.n && ok && st == QUERN_OK; i += 2) {
        uint32_t pair[2] = {g->pool.v[s.start + i], g->pool.v[s.start + i + 1]};
        struct loop_state l;
        ok = loop_of_pair(g, w->image, pair[0], pair[1], &l);
        if (ok && l.mask) {
            *done = true;
            ok = add_lexer(w, lexer_intern(g, &(struct u32s){pair, 2, 2}));
            continue;
        }
        st = u32s_push(w->budget, &rest, pair[0]);
        if (st == QUERN_OK)
            st = u32s_push(w->budget, &rest, pair[1]);
    }
    if (st != QUERN_OK)
        ok = fail(g, st);
    if (ok && *done && rest.n)
        ok = add_lexer(w, lexer_intern(g, &rest));
    w->budget->used -= rest.capacity * sizeof *rest.v;
    u32s_release(&rest);
    return ok;
}

static bool fill(struct walk *w, uint32_t lexer) {
    struct grammar *g = w->g;
    struct loop_state l = {0};
    uint32_t rest = lexer;
    bool done = false;
    if (!g->masks->off && !walk_fixed(w, lexer, 0, &rest))
        return false;
    if (rest != lexer)
        return rest == LEXER_DEAD || add_lexer(w, rest);
    if (g->lexers[lexer].pairs.n > 2 && !g->masks->off && !mask_of_parts(w, lexer, &done))
        return false;
    if (done)
        return true;
    if (!loop_of_lexer(g, w->image, lexer, &l))
        return false;
    if (l.mask)
        return mask_of_loop(w, &l);
    if (!g->masks->off && !find_base(w, lexer))
        return false;
    return w->base != LEXER_DEAD ? mask_from_base(w, lexer)
                                 : walk_nodes(w, lexer, 1, (uint32_t)w->image->n_nodes);
}

const struct lexer_mask *lexer_mask_get(struct grammar *g, const struct token_image *m,
                                        uint32_t lexer) {
    struct mask_cache *c = g->masks;
    uint32_t index;
    if (pair_map_get(&c->by_lexer, lexer, &index))
        return &c->lexer_masks[index];
    struct lexer_mask lm = {.bits = calloc(mask_words(m) + 1, 4)};
    struct walk w = {.g = g, .image = m, .out = &lm, .budget = &c->budget};
    enum quern_status st = lm.bits ? QUERN_OK : QUERN_ERR_NOMEM;
    const bool filled = st == QUERN_OK && fill(&w, lexer);
    if (st == QUERN_OK && !filled)
        goto fail;
    const struct span s = g->lexers[lexer].pairs;
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
        c->budget.used += mask_words(m) * 4;
        c->lexer_masks[c->n_lexer_masks] = lm;
        return &c->lexer_masks[c->n_lexer_masks++];
    }
    grammar_fail(g, st);
fail:
    lexer_mask_release(&lm);
    return NULL;
}
