/* emit_object.c - objects. A state says how far the members have come; a rule of the grammar
 * stands for each: what may follow from there.
 *
 *   declared order   the place in the list of declared members, then other members
 *   any order        which required members are there, of up to ANY_ORDER_REQUIRED; that more are
 *                    there is not enforced
 * and besides: whether there is a member yet, or their number where minProperties or
 * maxProperties matter; which of the "some member ..." conditions are met. */
#include <stdio.h>

#include "grammar/schema/set_parts.h"

enum { ANY_ORDER_REQUIRED = 8, ANY_ORDER_RULES = 4096, STATES_MAX = 40000, SOME_MAX = 3 };

struct member {
    symbol_id key;
    struct str name; /* of a declared one */
    formula_id value;
    expr_id keys; /* over characters */
    int required; /* its number among the required ones, or -1 */
};

struct object_plan {
    struct schema *s;
    const struct object_set *o;
    const struct object_spelling *spelling;
    struct member *members; /* declared ones, then classes */
    size_t n_declared, n_members;
    size_t n_required, n_must; /* required members that are tracked; all of them */
    size_t n_places;           /* declared + 1, or sets of required members */
    uint32_t cap;              /* counts stop here */
    bool bounded;              /* no more than cap members */
    size_t n_some;
    symbol_id *rules;
};

static bool keys_left(struct schema *s, expr_id keys) {
    bool nothing = keys == SET_NO_TEXT;
    expr_is_nothing(s->b, keys, SET_SEARCH_FUEL, &nothing, NULL);
    return !nothing;
}

/* How many required members can be told apart in any order: their sets are rules. */
static size_t most_tracked(const struct object_plan *p) {
    const size_t members = p->o->n_properties + p->o->n_classes;
    size_t n = ANY_ORDER_REQUIRED;
    while (n > 0 && members << n > ANY_ORDER_RULES)
        n--;
    return p->s->options->any_order ? n : p->o->n_properties;
}

static bool collect_members(struct object_plan *p) {
    struct schema *s = p->s;
    const struct object_set *o = p->o;
    const size_t tracked_max = most_tracked(p);
    expr_id declared = SET_NO_TEXT;
    char name[64];
    p->members = schema_alloc(s, o->n_properties + o->n_classes, sizeof *p->members);
    if (!p->members)
        return false;
    for (size_t i = 0; i < o->n_properties; i++) {
        const struct property *q = &o->properties[i];
        expr_id key = expr_literal(s->b, q->key);
        declared = expr_or(s->b, declared, key);
        if (q->value == FORMULA_FALSE)
            continue;
        const size_t shown = q->key.len < 40 ? q->key.len : 40;
        snprintf(name, sizeof name, "the key \"%.*s\"", (int)shown, q->key.len ? q->key.ptr : "");
        const bool tracked = q->required && p->n_required < tracked_max;
        p->n_must += q->required;
        p->members[p->n_members++] =
            (struct member){p->spelling->key(s, key, name), q->key, q->value, key,
                            tracked ? (int)p->n_required++ : -1};
    }
    if (p->n_must > p->n_required)
        schema_report(s, NULL, "required", "in any order only some members can be required");
    p->n_declared = p->n_members;
    for (size_t i = 0; i < o->n_classes; i++) {
        expr_id keys = o->classes[i].keys;
        if (o->classes[i].value == FORMULA_FALSE)
            continue;
        if (declared != SET_NO_TEXT)
            keys = expr_and(s->b, keys, expr_not(s->b, declared));
        if (keys_left(s, keys))
            p->members[p->n_members++] =
                (struct member){p->spelling->key(s, keys, "a key"), (struct str){NULL, 0},
                                o->classes[i].value, keys, -1};
    }
    return !schema_failed(s);
}

static bool plan_states(struct object_plan *p) {
    const struct object_set *o = p->o;
    const bool min_matters = o->min > p->n_must;
    p->bounded = o->max != GRAMMAR_INF && (o->max < p->n_declared || p->n_members > p->n_declared);
    p->cap = p->bounded ? o->max : min_matters ? o->min : 1;
    if (!p->bounded && p->cap < 1)
        p->cap = 1;
    p->n_places = p->s->options->any_order ? (size_t)1 << p->n_required : p->n_declared + 1;
    p->n_some = o->n_some;
    if (p->n_some > SOME_MAX || p->cap > STATES_MAX)
        return false;
    return p->n_places * (p->cap + 1) * ((size_t)1 << p->n_some) <= STATES_MAX;
}

static size_t state_of(const struct object_plan *p, size_t place, uint32_t count, unsigned met) {
    return (place * (p->cap + 1) + count) << p->n_some | met;
}

/* rule -> ["," ] key value next, in every way the member can meet conditions. */
static void take(struct object_plan *p, symbol_id rule, const struct member *m, size_t place,
                 uint32_t count, unsigned met) {
    struct schema *s = p->s;
    const uint32_t more = count < p->cap ? count + 1 : count;
    if (p->bounded && count == p->cap)
        return;
    for (unsigned hits = 0; hits < 1u << p->n_some; hits++) {
        formula_id value = m->value;
        symbol_id key = m->key;
        expr_id keys = m->keys;
        if (hits & met)
            continue; /* met already: nothing to gain */
        for (size_t k = 0; k < p->n_some; k++) {
            if (!(hits >> k & 1))
                continue;
            value = formula_and(s, value, p->o->some[k].value);
            if (p->o->some[k].keys != s->any_string)
                keys = expr_and(s->b, keys, p->o->some[k].keys);
        }
        if (value == FORMULA_FALSE || (keys != m->keys && !keys_left(s, keys)))
            continue;
        if (keys != m->keys)
            key = p->spelling->key(s, keys, "a key");
        const symbol_id parts[] = {p->spelling->separator, key,
                                   p->spelling->value(s, p->spelling, value, m->name),
                                   p->rules[state_of(p, place, more, met | hits)]};
        const size_t from = count > 0 && p->spelling->separator != GRAMMAR_NONE ? 0 : 1;
        grammar_produce(s->b, rule, parts + from, 4 - from);
    }
}

static void fill_any_order(struct object_plan *p, symbol_id rule, size_t place, uint32_t count,
                           unsigned met) {
    for (size_t i = 0; i < p->n_members; i++) {
        const struct member *m = &p->members[i];
        size_t next = place;
        if (m->required >= 0) {
            if (place >> m->required & 1)
                continue;
            next = place | (size_t)1 << m->required;
        }
        take(p, rule, m, next, count, met);
    }
}

static void fill_in_order(struct object_plan *p, symbol_id rule, size_t place, uint32_t count,
                          unsigned met) {
    if (place < p->n_declared) {
        const struct member *m = &p->members[place];
        take(p, rule, m, place + 1, count, met);
        if (m->required < 0)
            grammar_produce1(p->s->b, rule, p->rules[state_of(p, place + 1, count, met)]);
        return;
    }
    for (size_t i = p->n_declared; i < p->n_members; i++)
        take(p, rule, &p->members[i], place, count, met);
}

static void fill_state(struct object_plan *p, size_t place, uint32_t count, unsigned met) {
    struct grammar_builder *b = p->s->b;
    symbol_id rule = p->rules[state_of(p, place, count, met)];
    const uint32_t min = p->o->min < p->cap ? p->o->min : p->cap;
    if (place + 1 == p->n_places && met + 1 == 1u << p->n_some &&
        (p->o->min <= p->n_must || count >= min))
        grammar_produce(b, rule, NULL, 0);
    if (p->s->options->any_order)
        fill_any_order(p, rule, place, count, met);
    else
        fill_in_order(p, rule, place, count, met);
    /* A rule needs a production; one that matches nothing is dropped again. */
    grammar_produce1(b, rule, grammar_terminal(b, expr_nothing(b), "nothing"));
}

static bool make_rules(struct object_plan *p) {
    const size_t n = state_of(p, p->n_places, 0, 0);
    p->rules = schema_alloc(p->s, n, sizeof *p->rules);
    for (size_t i = 0; p->rules && i < n; i++)
        p->rules[i] = grammar_rule(p->s->b, "a member");
    return p->rules != NULL;
}

symbol_id emit_members(struct schema *s, const struct object_set *o,
                       const struct object_spelling *spelling) {
    struct object_set eased = *o;
    struct object_plan p = {.s = s, .o = &eased, .spelling = spelling};
    if (!collect_members(&p))
        return GRAMMAR_NONE;
    if (o->min > p.n_must + 1 && p.n_members > p.n_declared)
        schema_report(s, NULL, "minProperties", "a free key that is repeated counts each time");
    if (!plan_states(&p)) {
        schema_report(s, NULL, "minProperties", "the number of members is too large to be counted");
        eased.min = 0;
        eased.max = GRAMMAR_INF;
        eased.n_some = 0;
        if (!plan_states(&p)) {
            schema_fail(s, QUERN_ERR_LIMIT, "an object has too many properties");
            return GRAMMAR_NONE;
        }
    }
    if (!make_rules(&p))
        return GRAMMAR_NONE;
    for (size_t place = 0; place < p.n_places; place++)
        for (uint32_t count = 0; count <= p.cap && !schema_failed(s); count++)
            for (unsigned met = 0; met < 1u << p.n_some; met++)
                fill_state(&p, place, count, met);
    return p.rules[state_of(&p, 0, 0, 0)];
}

static symbol_id json_value(struct schema *s, const struct object_spelling *spelling, formula_id f,
                            struct str key) {
    (void)spelling;
    (void)key;
    return emit_part(s, f, true);
}

symbol_id emit_object(struct schema *s, const struct object_set *o) {
    const struct object_spelling json = {.separator = s->style.comma, .key = emit_key, .value = json_value};
    return grammar_sequence3(s->b, s->style.open_object, emit_members(s, o, &json), s->style.close_object);
}
