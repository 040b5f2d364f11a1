/* A lazily built automaton over sets of terminals. */
#include <string.h>

#include "grammar/grammar_engine.h"

static enum quern_status fill_unknown(struct grammar *g, const struct u32s *pairs) {
    struct regex_store *re = &g->b.re;
    const struct re_partition *local = re_local_classes(re, pairs->v + 1, pairs->n / 2, 2);
    if (!local)
        return re->error.code;
    enum quern_status st = budget_grow(&re->budget, &g->pool.v, &g->pool.capacity,
                                       g->pool.n + re->n_classes, sizeof *g->pool.v);
    for (unsigned k = 0; k < re->n_classes && st == QUERN_OK; k++)
        g->pool.v[g->pool.n++] =
            pairs->n ? LEXER_UNKNOWN + local->class_of[re->representative[k]] : LEXER_DEAD;
    return st;
}

static enum quern_status fill(struct grammar *g, struct lexer_state *q, const struct u32s *pairs) {
    struct budget *m = &g->b.re.budget;
    enum quern_status st = QUERN_OK;
    q->pairs = (struct span){(uint32_t)g->pool.n, (uint32_t)pairs->n};
    for (size_t i = 0; i < pairs->n && st == QUERN_OK; i++)
        st = u32s_push(m, &g->pool, pairs->v[i]);
    q->accepts.start = (uint32_t)g->pool.n;
    for (size_t i = 0; i < pairs->n && st == QUERN_OK; i += 2) {
        if (g->b.symbols[pairs->v[i]].kind == SYMBOL_TOKEN ||
            !re_nullable(&g->b.re, pairs->v[i + 1]))
            continue;
        st = u32s_push(m, &g->pool, pairs->v[i]);
        q->accepts.n++;
    }
    q->next = (uint32_t)g->pool.n;
    if (st == QUERN_OK)
        st = fill_unknown(g, pairs);
    if (st == QUERN_OK && g->pool.n >= UINT32_MAX)
        st = QUERN_ERR_LIMIT;
    return st;
}

/* `pairs` ascending by symbol. */
uint32_t lexer_intern(struct grammar *g, struct u32s *pairs) {
    uint32_t h = intern_hash(pairs->v, pairs->n * 4, 1);
    size_t cursor = SIZE_MAX;
    for (uint32_t id; (id = id_table_next(&g->lexer_table, h, &cursor)) != GRAMMAR_NONE;) {
        struct span s = g->lexers[id].pairs;
        if (s.n == pairs->n && (!s.n || memcmp(g->pool.v + s.start, pairs->v, s.n * 4) == 0))
            return id;
    }
    struct lexer_state q = {0};
    enum quern_status st = budget_grow(&g->b.re.budget, &g->lexers, &g->lexers_capacity,
                                       g->n_lexers + 1, sizeof *g->lexers);
    if (st == QUERN_OK)
        st = fill(g, &q, pairs);
    if (st == QUERN_OK)
        st = id_table_add(&g->b.re.budget, &g->lexer_table, h, (uint32_t)g->n_lexers);
    if (st != QUERN_OK)
        return grammar_fail(g, st);
    g->lexers[g->n_lexers] = q;
    return (uint32_t)g->n_lexers++;
}

uint32_t lexer_derive(struct grammar *g, uint32_t lexer, unsigned byte) {
    struct regex_store *re = &g->b.re;
    const size_t at = g->lexers[lexer].next + (size_t)re->class_of[byte];
    const uint32_t marker = g->pool.v[at];
    struct span s = g->lexers[lexer].pairs;
    struct u32s next = {0};
    uint32_t out = GRAMMAR_NONE;
    enum quern_status st = QUERN_OK;
    for (uint32_t i = 0; i < s.n && st == QUERN_OK; i += 2) {
        uint32_t symbol = g->pool.v[s.start + i];
        if (g->b.symbols[symbol].kind == SYMBOL_TOKEN)
            continue;
        expr_id d = re_derive(re, g->pool.v[s.start + i + 1], byte);
        bool nothing = d == RE_ID_NOTHING;
        if (d == GRAMMAR_NONE || !re_is_nothing(re, d, &nothing))
            goto done;
        if (nothing)
            continue;
        st = u32s_push(&re->budget, &next, symbol);
        if (st == QUERN_OK)
            st = u32s_push(&re->budget, &next, d);
    }
    out = st == QUERN_OK ? lexer_intern(g, &next) : grammar_fail(g, st);
    for (unsigned k = 0; k < re->n_classes && out != GRAMMAR_NONE; k++)
        if (g->pool.v[g->lexers[lexer].next + k] == marker)
            g->pool.v[g->lexers[lexer].next + k] = out;
done:
    re->budget.used -= next.capacity * sizeof *next.v;
    u32s_release(&next);
    return out;
}
