/* From a builder to a grammar: dead alternatives are dropped, items numbered. */
#include <stdlib.h>
#include <string.h>

#include "grammar/grammar_engine.h"

static bool production_all(const struct grammar_builder *b, const struct production *p,
                           const bool *marks) {
    for (uint32_t i = 0; i < p->n; i++)
        if (!marks[b->rhs.v[p->rhs + i]])
            return false;
    return true;
}

/* The least fixed point: a rule is marked when all symbols of one of its productions are. */
static bool mark_rules(struct grammar *g, bool *marks, const bool *among) {
    struct grammar_builder *b = &g->b;
    for (bool changed = true; changed;) {
        changed = false;
        if (!regex_burn(&b->re, b->n_productions + b->rhs.n))
            return false;
        for (size_t i = 0; i < b->n_productions; i++) {
            const struct production *p = &b->productions[i];
            if (marks[p->rule] || (among && !production_all(b, p, among)))
                continue;
            if (production_all(b, p, marks))
                marks[p->rule] = changed = true;
        }
    }
    return true;
}

/* Terminals: nothing-ness decided, and the empty text taken out of what they match. */
static bool prepare_terminals(struct grammar *g, bool *productive) {
    struct grammar_builder *b = &g->b;
    for (size_t i = 0; i < b->n_symbols; i++) {
        struct symbol *s = &b->symbols[i];
        productive[i] = s->kind == SYMBOL_TOKEN;
        if (s->kind != SYMBOL_TERMINAL)
            continue;
        bool nothing = false;
        if (!re_is_nothing(&b->re, s->value, &nothing))
            return false;
        productive[i] = !nothing;
        if (!re_nullable(&b->re, s->value))
            continue;
        g->nullable[i] = true;
        s->value = re_pair(&b->re, RE_AND, s->value, re_not(&b->re, RE_ID_EMPTY));
        if (s->value == GRAMMAR_NONE || !re_is_nothing(&b->re, s->value, &nothing))
            return false;
        if (nothing)
            s->value = RE_ID_NOTHING;
    }
    return true;
}

/* A terminal that matches only the empty text is never read, just skipped. */
static bool number_items(struct grammar *g, const bool *productive) {
    struct grammar_builder *b = &g->b;
    size_t n = 2 + b->rhs.n + b->n_productions;
    g->dots = malloc(n * sizeof *g->dots);
    g->item_rules = malloc(n * sizeof *g->item_rules);
    g->stamps = calloc(n, sizeof *g->stamps);
    g->rule_items = malloc((b->n_productions + 1) * sizeof *g->rule_items);
    g->productions = calloc(b->n_symbols, sizeof *g->productions);
    if (!g->dots || !g->item_rules || !g->stamps || !g->rule_items || !g->productions)
        return false;
    g->dots[0] = b->start;
    g->dots[1] = DOT_END;
    g->item_rules[0] = g->item_rules[1] = GRAMMAR_NONE;
    uint32_t item = 2, k = 0;
    for (size_t x = 0; x < b->n_symbols; x++) {
        if (b->symbols[x].kind != SYMBOL_RULE)
            continue;
        g->productions[x].start = k;
        for (uint32_t p = b->symbols[x].value; p; p = b->productions[p - 1].next) {
            const struct production *q = &b->productions[p - 1];
            if (!production_all(b, q, productive))
                continue;
            g->rule_items[k++] = item;
            for (uint32_t i = 0; i <= q->n; i++, item++) {
                g->dots[item] = i < q->n ? b->rhs.v[q->rhs + i] : DOT_END;
                g->item_rules[item] = (uint32_t)x;
            }
        }
        g->productions[x].n = k - g->productions[x].start;
    }
    g->n_items = item;
    return true;
}

static enum quern_status check_rules(const struct grammar_builder *b, struct quern_error *err) {
    if (b->start >= b->n_symbols)
        return error_set(err, QUERN_ERR_ARG, "grammar: no start symbol was set");
    for (size_t i = 0; i < b->n_symbols; i++)
        if (b->symbols[i].kind == SYMBOL_RULE && !b->symbols[i].value)
            return error_set(err, QUERN_ERR_FORMAT, "grammar: the rule \"%.*s\" has no production",
                             STR_FMT(symbol_name(b, (symbol_id)i)));
    return QUERN_OK;
}

static enum quern_status build(struct grammar *g, bool *productive, struct quern_error *err) {
    struct grammar_builder *b = &g->b;
    if (!prepare_terminals(g, productive) || !mark_rules(g, productive, NULL) ||
        !mark_rules(g, g->nullable, productive))
        return grammar_builder_status(b, err);
    if (!productive[b->start])
        return error_set(err, QUERN_ERR_FORMAT, "grammar: nothing matches \"%.*s\", the start",
                         STR_FMT(symbol_name(b, b->start)));
    if (!number_items(g, productive))
        return error_nomem(err);
    struct u32s none = {0};
    uint32_t dead_row = 0;
    if (lexer_intern(g, &none) == GRAMMAR_NONE) /* LEXER_DEAD */
        return grammar_builder_status(b, err);
    enum quern_status st =
        budget_grow(&b->re.budget, &g->sets, &g->sets_capacity, 1, sizeof *g->sets);
    if (st == QUERN_OK)
        st = u32s_push(&b->re.budget, &g->pool, dead_row);
    if (st != QUERN_OK)
        grammar_fail(g, st);
    else
        g->sets[g->n_sets++] = (struct span){(uint32_t)g->pool.n - 1, 1}; /* SET_DEAD */
    if (!b->re.failed)
        g->start_set = set_of_row(g, row_start(g));
    return grammar_builder_status(b, err);
}

enum quern_status grammar_compile(struct grammar_builder *b, struct grammar **out,
                                  struct quern_error *err) {
    enum quern_status st = grammar_builder_status(b, err);
    if (st == QUERN_OK)
        st = check_rules(b, err);
    if (st != QUERN_OK)
        return st;
    struct grammar *g = calloc(1, sizeof *g);
    bool *productive = calloc(b->n_symbols, sizeof *productive);
    bool *nullable = calloc(b->n_symbols, sizeof *nullable);
    if (!g || !productive || !nullable) {
        free(g);
        free(productive);
        free(nullable);
        return error_nomem(err);
    }
    g->b = *b;
    g->nullable = nullable;
    memset(b, 0, sizeof *b);
    b->re.failed = true;
    error_set(&b->re.error, QUERN_ERR_STATE, "grammar: the builder was compiled already");
    st = build(g, productive, err);
    free(productive);
    g->b.re.deadline_ns = 0;
    if (st == QUERN_OK)
        *out = g;
    else
        grammar_destroy(g);
    return st;
}

void grammar_destroy(struct grammar *g) {
    if (!g)
        return;
    mask_cache_destroy(g->masks);
    distances_destroy(g->distances);
    free(g->productions);
    free(g->rule_items);
    free(g->dots);
    free(g->item_rules);
    free(g->nullable);
    free(g->stamps);
    free(g->rows);
    free(g->lexers);
    free(g->sets);
    free(g->advances);
    u32s_release(&g->pool);
    u32s_release(&g->work);
    u32s_release(&g->list);
    id_table_release(&g->row_table);
    id_table_release(&g->lexer_table);
    id_table_release(&g->set_table);
    pair_map_release(&g->advance_map);
    pair_map_release(&g->step_map);
    pair_map_release(&g->exit_map);
    pair_map_release(&g->forced_map);
    builder_release(&g->b);
    free(g);
}

size_t grammar_bytes(struct grammar *g) {
    return sizeof *g + g->b.re.budget.used;
}
