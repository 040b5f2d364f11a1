/* array_set.c - arrays as conjunctions. */
#include "grammar/schema/set_parts.h"

struct array_set array_all(void) {
    return (struct array_set){.rest = FORMULA_TRUE, .max = GRAMMAR_INF, .evaluated = FORMULA_FALSE};
}

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Where no value is possible the array ends. False: no array is left. */
static bool tighten(struct array_set *a) {
    for (size_t i = 0; i < a->n_prefix; i++)
        if (a->prefix[i] == FORMULA_FALSE)
            a->max = smaller(a->max, (uint32_t)i);
    if (a->rest == FORMULA_FALSE)
        a->max = smaller(a->max, (uint32_t)a->n_prefix);
    for (size_t i = 0; i < a->n_contains; i++) {
        const struct contains *c = &a->contains[i];
        if (c->min > c->max || (c->f == FORMULA_FALSE && c->min > 0))
            return false;
        if (c->min > 0)
            a->min = larger(a->min, c->from + c->min);
    }
    return a->min <= a->max;
}

void array_add(struct schema *s, struct set_list *out, const struct array_set *x) {
    struct array_set a = *x;
    if (tighten(&a))
        list_push(s, out, sizeof a, &a);
}

static formula_id element_at(const struct array_set *a, size_t i) {
    return i < a->n_prefix ? a->prefix[i] : a->rest;
}

static bool join_contains(struct schema *s, const struct array_set *x, const struct array_set *y,
                          struct array_set *out) {
    if (x->n_contains + y->n_contains == 0)
        return true;
    struct contains *all = schema_alloc(s, x->n_contains + y->n_contains, sizeof *all);
    if (!all)
        return false;
    size_t n = 0;
    const struct array_set *sides[] = {x, y};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < sides[k]->n_contains; i++) {
            const struct contains *c = &sides[k]->contains[i];
            size_t at = 0;
            while (at < n && (all[at].f != c->f || all[at].from != c->from))
                at++;
            if (at < n) {
                all[at].min = larger(all[at].min, c->min);
                all[at].max = smaller(all[at].max, c->max);
            } else {
                all[n++] = *c;
            }
        }
    }
    out->contains = all;
    out->n_contains = n;
    return true;
}

void array_and(struct schema *s, const struct array_set *x, const struct array_set *y,
               struct set_list *out) {
    struct array_set a = {
        .n_prefix = larger((uint32_t)x->n_prefix, (uint32_t)y->n_prefix),
        .rest = formula_and(s, x->rest, y->rest),
        .min = larger(x->min, y->min),
        .max = smaller(x->max, y->max),
        .unique = x->unique || y->unique,
        .n_evaluated = larger(x->n_evaluated, y->n_evaluated),
        .evaluated = formula_or(s, x->evaluated, y->evaluated),
    };
    formula_id *prefix = schema_alloc(s, a.n_prefix, sizeof *prefix);
    if (!prefix || !join_contains(s, x, y, &a))
        return;
    for (size_t i = 0; i < a.n_prefix; i++)
        prefix[i] = formula_and(s, element_at(x, i), element_at(y, i));
    a.prefix = prefix;
    array_add(s, out, &a);
}

static void add_contains(struct schema *s, struct set_list *out, struct contains c) {
    struct array_set a = array_all();
    struct contains *copy = schema_alloc(s, 1, sizeof *copy);
    if (!copy)
        return;
    *copy = c;
    a.contains = copy;
    a.n_contains = 1;
    array_add(s, out, &a);
}

/* Arrays whose element i is there and not what x wants. */
static void violate_prefix(struct schema *s, const struct array_set *x, size_t i,
                           struct set_list *out) {
    struct array_set a = array_all();
    formula_id *prefix = schema_alloc(s, i + 1, sizeof *prefix);
    if (!prefix)
        return;
    for (size_t k = 0; k < i; k++)
        prefix[k] = FORMULA_TRUE;
    prefix[i] = formula_not(s, x->prefix[i]);
    a.prefix = prefix;
    a.n_prefix = i + 1;
    a.min = (uint32_t)i + 1;
    array_add(s, out, &a);
}

void array_not(struct schema *s, const struct array_set *x, struct set_list *out) {
    for (size_t i = 0; i < x->n_prefix; i++)
        if (x->prefix[i] != FORMULA_TRUE)
            violate_prefix(s, x, i, out);
    if (x->rest != FORMULA_TRUE)
        add_contains(
            s, out,
            (struct contains){formula_not(s, x->rest), (uint32_t)x->n_prefix, 1, GRAMMAR_INF});
    if (x->min > 0) {
        struct array_set a = array_all();
        a.max = x->min - 1;
        array_add(s, out, &a);
    }
    if (x->max != GRAMMAR_INF) {
        struct array_set a = array_all();
        a.min = x->max + 1;
        array_add(s, out, &a);
    }
    for (size_t i = 0; i < x->n_contains; i++) {
        const struct contains *c = &x->contains[i];
        if (c->min > 0)
            add_contains(s, out, (struct contains){c->f, c->from, 0, c->min - 1});
        if (c->max != GRAMMAR_INF)
            add_contains(s, out, (struct contains){c->f, c->from, c->max + 1, GRAMMAR_INF});
    }
    if (x->unique) { /* two equal elements: more than we can say, so more is accepted */
        struct array_set a = array_all();
        a.min = 2;
        array_add(s, out, &a);
        schema_report(s, NULL, "uniqueItems", "its negation is not enforced");
    }
}
