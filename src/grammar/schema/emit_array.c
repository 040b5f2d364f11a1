/* emit_array.c - arrays: a chain over the prefix, then a counted tail; with contains or
 * uniqueItems a rule for every (index, counts) that matters. */
#include "grammar/schema/set_parts.h"

enum { CONTAINS_MAX = 4, STATES_MAX = 20000, UNIQUE_VALUES_MAX = 8 };

static symbol_id value_at(struct schema *s, const struct array_set *a, size_t i) {
    return emit_part(s, i < a->n_prefix ? a->prefix[i] : a->rest, false);
}

static uint32_t minus(uint32_t a, size_t b) {
    if (a == GRAMMAR_INF)
        return a;
    return a > b ? a - (uint32_t)b : 0;
}

/* What follows n elements: "," element ... */
static symbol_id tail(struct schema *s, const struct array_set *a, size_t n) {
    const uint32_t max = minus(a->max, n);
    if (max == 0 || a->rest == FORMULA_FALSE)
        return grammar_empty(s->b);
    symbol_id element = grammar_sequence2(s->b, s->style.comma, emit_part(s, a->rest, false));
    return grammar_repeat(s->b, element, minus(a->min, n), max);
}

static symbol_id plain(struct schema *s, const struct array_set *a) {
    struct grammar_builder *b = s->b;
    if (a->n_prefix == 0) {
        if (a->max == 0 || (a->rest == FORMULA_FALSE && a->min == 0))
            return grammar_empty(b);
        return grammar_separated(b, emit_part(s, a->rest, false), s->style.comma, a->min, a->max);
    }
    size_t n = a->max < a->n_prefix ? a->max : a->n_prefix;
    symbol_id next = n < a->n_prefix ? grammar_empty(b) : tail(s, a, n);
    for (size_t i = n; i-- > 0 && !schema_failed(s);) {
        symbol_id rule = grammar_rule(b, "an element");
        symbol_id value = value_at(s, a, i);
        if (i > 0)
            grammar_produce3(b, rule, s->style.comma, value, next);
        else
            grammar_produce2(b, rule, value, next);
        if (i >= a->min)
            grammar_produce(b, rule, NULL, 0);
        next = rule;
    }
    return next;
}

/* ---- with counts ---- */

struct counting {
    struct schema *s;
    const struct array_set *a;
    uint32_t n_index;           /* indices from 0; the last stands for all further ones */
    uint32_t cap[CONTAINS_MAX]; /* counts stop here */
    size_t n_states;
    symbol_id *rules;
};

static size_t state_of(const struct counting *c, uint32_t index, const uint32_t *counts) {
    size_t state = index;
    for (size_t k = 0; k < c->a->n_contains; k++)
        state = state * (c->cap[k] + 1) + counts[k];
    return state;
}

/* The value of an element that is counted by the contains of `hits`, and not by those of bounded
 * number outside it. FORMULA_FALSE: this cannot be. */
static formula_id counted_value(const struct counting *c, uint32_t index, unsigned hits,
                                const uint32_t *counts, uint32_t *next) {
    struct schema *s = c->s;
    const struct array_set *a = c->a;
    formula_id value = index < a->n_prefix ? a->prefix[index] : a->rest;
    for (size_t k = 0; k < a->n_contains; k++) {
        const struct contains *t = &a->contains[k];
        const bool hit = hits >> k & 1;
        next[k] = counts[k];
        if (index < t->from) {
            if (hit)
                return FORMULA_FALSE;
        } else if (hit) {
            if (counts[k] == t->max)
                return FORMULA_FALSE;
            value = formula_and(s, value, t->f);
            next[k] = counts[k] < c->cap[k] ? counts[k] + 1 : counts[k];
        } else if (t->max != GRAMMAR_INF) {
            value = formula_and(s, value, formula_not(s, t->f));
        }
    }
    return value;
}

static void fill_state(struct counting *c, uint32_t index, const uint32_t *counts) {
    struct schema *s = c->s;
    const struct array_set *a = c->a;
    symbol_id rule = c->rules[state_of(c, index, counts)];
    uint32_t next[CONTAINS_MAX];
    bool may_end = index >= a->min;
    for (size_t k = 0; k < a->n_contains; k++)
        may_end = may_end && counts[k] >= a->contains[k].min;
    if (may_end)
        grammar_produce(s->b, rule, NULL, 0);
    const bool full = a->max != GRAMMAR_INF && index >= a->max;
    for (unsigned hits = 0; hits < 1u << a->n_contains && !full; hits++) {
        formula_id value = counted_value(c, index, hits, counts, next);
        if (value == FORMULA_FALSE)
            continue;
        uint32_t after = index + 1 < c->n_index ? index + 1 : index;
        symbol_id rest = c->rules[state_of(c, after, next)], v = emit_part(s, value, false);
        if (index > 0)
            grammar_produce3(s->b, rule, s->style.comma, v, rest);
        else
            grammar_produce2(s->b, rule, v, rest);
    }
    /* A rule needs a production; one that matches nothing is dropped again. */
    grammar_produce1(s->b, rule, grammar_terminal(s->b, expr_nothing(s->b), "nothing"));
}

static bool plan(struct counting *c) {
    const struct array_set *a = c->a;
    size_t n = a->n_prefix + 2;
    if (a->n_contains > CONTAINS_MAX)
        return false;
    if (a->min + 2u > n)
        n = a->min + 2u;
    if (a->max != GRAMMAR_INF && a->max + 2u > n)
        n = a->max + 2u;
    for (size_t k = 0; k < a->n_contains; k++) {
        const struct contains *t = &a->contains[k];
        if (t->from + 2u > n)
            n = t->from + 2u;
        c->cap[k] = t->max == GRAMMAR_INF ? t->min : t->max;
    }
    if (n > STATES_MAX)
        return false;
    c->n_index = (uint32_t)n;
    c->n_states = n;
    for (size_t k = 0; k < a->n_contains; k++) {
        if (c->cap[k] >= STATES_MAX / c->n_states)
            return false;
        c->n_states *= c->cap[k] + 1;
    }
    return c->n_states <= STATES_MAX;
}

static symbol_id counted(struct schema *s, const struct array_set *a) {
    struct counting c = {.s = s, .a = a};
    if (!plan(&c)) {
        schema_report(s, NULL, "contains", "the counts are too large");
        return plain(s, a);
    }
    c.rules = schema_alloc(s, c.n_states, sizeof *c.rules);
    if (!c.rules)
        return GRAMMAR_NONE;
    for (size_t i = 0; i < c.n_states; i++)
        c.rules[i] = grammar_rule(s->b, "an element");
    for (size_t state = 0; state < c.n_states && !schema_failed(s); state++) {
        uint32_t counts[CONTAINS_MAX];
        size_t rest = state;
        for (size_t k = a->n_contains; k-- > 0;) {
            counts[k] = (uint32_t)(rest % (c.cap[k] + 1));
            rest /= c.cap[k] + 1;
        }
        fill_state(&c, (uint32_t)rest, counts);
    }
    const uint32_t none[CONTAINS_MAX] = {0};
    return c.rules[state_of(&c, 0, none)];
}

/* ---- uniqueItems over a short enumeration ---- */

/* The scalars an element can be, when its schema lists them. */
static const struct sj_node *short_enum(const struct schema *s, formula_id f) {
    const struct formula *x = &s->formulas[f];
    const struct sj_node *list = x->kind == FORMULA_SCHEMA ? sj_get(x->node, "enum") : NULL;
    if (!sj_is(list, SJ_ARRAY) || list->n > UNIQUE_VALUES_MAX)
        return NULL;
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i]->kind == SJ_ARRAY || list->items[i]->kind == SJ_OBJECT)
            return NULL;
        for (size_t j = 0; j < i; j++)
            if (sj_equal(list->items[i], list->items[j]))
                return NULL;
    }
    return list;
}

static symbol_id unique(struct schema *s, const struct array_set *a, const struct sj_node *list) {
    const size_t n_sets = (size_t)1 << list->n;
    symbol_id rules[1 << UNIQUE_VALUES_MAX], values[UNIQUE_VALUES_MAX];
    for (size_t i = 0; i < list->n; i++)
        values[i] = emit_part(s, formula_and(s, a->rest, formula_value(s, list->items[i])), false);
    for (size_t used = 0; used < n_sets; used++)
        rules[used] = grammar_rule(s->b, "an element not there yet");
    for (size_t used = 0; used < n_sets && !schema_failed(s); used++) {
        uint32_t count = 0;
        for (size_t i = 0; i < list->n; i++)
            count += (uint32_t)(used >> i & 1);
        if (count >= a->min)
            grammar_produce(s->b, rules[used], NULL, 0);
        for (size_t i = 0; i < list->n && count < a->max; i++) {
            symbol_id next = rules[used | (size_t)1 << i];
            if (used >> i & 1)
                continue;
            if (used)
                grammar_produce3(s->b, rules[used], s->style.comma, values[i], next);
            else
                grammar_produce2(s->b, rules[used], values[i], next);
        }
        grammar_produce1(s->b, rules[used], grammar_terminal(s->b, expr_nothing(s->b), "nothing"));
    }
    return rules[0];
}

symbol_id emit_array(struct schema *s, const struct array_set *a) {
    symbol_id inside;
    const struct sj_node *list = NULL;
    if (a->unique && a->max > 1) {
        if (a->n_prefix == 0 && a->n_contains == 0)
            list = short_enum(s, a->rest);
        if (!list)
            schema_report(s, NULL, "uniqueItems", "only short enumerations can be kept unique");
    }
    if (list)
        inside = unique(s, a, list);
    else
        inside = a->n_contains ? counted(s, a) : plain(s, a);
    return grammar_sequence3(s->b, s->style.open_array, inside, s->style.close_array);
}
