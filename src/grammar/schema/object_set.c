/* object_set.c - objects as conjunctions. */
#include "grammar/schema/set_parts.h"

static expr_id literal(struct schema *s, struct str key) {
    return expr_literal(s->b, key);
}

struct object_set object_all(struct schema *s) {
    struct key_class *c = schema_alloc(s, 1, sizeof *c);
    struct object_set o = {
        .max = GRAMMAR_INF, .classes = c, .n_classes = c ? 1 : 0, .evaluated = SET_NO_TEXT};
    if (c)
        *c = (struct key_class){s->any_string, FORMULA_TRUE};
    return o;
}

static const struct property *find_property(const struct object_set *o, struct str key) {
    for (size_t i = 0; i < o->n_properties; i++)
        if (str_eq(o->properties[i].key, key))
            return &o->properties[i];
    return NULL;
}

formula_id object_value_at(struct schema *s, const struct object_set *o, struct str key,
                           bool *required) {
    const struct property *p = find_property(o, key);
    *required = p && p->required;
    if (p)
        return p->value;
    for (size_t i = 0; i < o->n_classes; i++) {
        bool matches = false;
        if (o->n_classes > 1 &&
            expr_matches(s->b, o->classes[i].keys, key, &matches, NULL) != QUERN_OK)
            schema_fail(s, QUERN_ERR_LIMIT, "the key patterns of an object cost too much");
        if (matches || o->n_classes == 1)
            return o->classes[i].value;
    }
    return FORMULA_FALSE;
}

/* False: no object is left. */
static bool is_possible(struct object_set *o) {
    uint32_t required = 0, possible = 0;
    bool open = false;
    for (size_t i = 0; i < o->n_properties; i++) {
        required += o->properties[i].required;
        possible += o->properties[i].value != FORMULA_FALSE;
        if (o->properties[i].required && o->properties[i].value == FORMULA_FALSE)
            return false;
    }
    for (size_t i = 0; i < o->n_classes; i++)
        open = open || o->classes[i].value != FORMULA_FALSE;
    if (!open && o->max > possible)
        o->max = possible;
    if (o->min < required)
        o->min = required;
    for (size_t i = 0; i < o->n_some; i++)
        if (o->some[i].value == FORMULA_FALSE || o->some[i].keys == SET_NO_TEXT)
            return false;
    if (o->n_some && o->min == 0)
        o->min = 1;
    return o->min <= o->max;
}

void object_add(struct schema *s, struct set_list *out, const struct object_set *x) {
    struct object_set o = *x;
    if (is_possible(&o))
        list_push(s, out, sizeof o, &o);
}

static bool join_properties(struct schema *s, const struct object_set *x,
                            const struct object_set *y, struct object_set *out) {
    struct property *all = schema_alloc(s, x->n_properties + y->n_properties, sizeof *all);
    size_t n = 0;
    if (!all)
        return false;
    for (size_t i = 0; i < x->n_properties; i++) {
        struct property p = x->properties[i];
        bool required;
        p.value = formula_and(s, p.value, object_value_at(s, y, p.key, &required));
        p.required = p.required || required;
        all[n++] = p;
    }
    for (size_t i = 0; i < y->n_properties; i++) {
        struct property p = y->properties[i];
        bool required;
        if (find_property(x, p.key))
            continue;
        p.value = formula_and(s, p.value, object_value_at(s, x, p.key, &required));
        all[n++] = p;
    }
    out->properties = all;
    out->n_properties = n;
    return !schema_failed(s);
}

/* Pairwise intersections; classes of one value are united again. */
static bool join_classes(struct schema *s, const struct object_set *x, const struct object_set *y,
                         struct object_set *out) {
    struct set_list list = {0};
    for (size_t i = 0; i < x->n_classes; i++) {
        for (size_t j = 0; j < y->n_classes; j++) {
            struct key_class c;
            c.value = formula_and(s, x->classes[i].value, y->classes[j].value);
            c.keys = x->n_classes == 1   ? y->classes[j].keys
                     : y->n_classes == 1 ? x->classes[i].keys
                                         : expr_and(s->b, x->classes[i].keys, y->classes[j].keys);
            bool nothing = c.keys == SET_NO_TEXT;
            if (x->n_classes > 1 && y->n_classes > 1 && !nothing)
                expr_is_nothing(s->b, c.keys, SET_SEARCH_FUEL, &nothing, NULL);
            struct key_class *same = list.v;
            size_t at = 0;
            while (at < list.n && same[at].value != c.value)
                at++;
            if (nothing)
                continue;
            if (at < list.n)
                same[at].keys = expr_or(s->b, same[at].keys, c.keys);
            else if (!list_push(s, &list, sizeof c, &c))
                return false;
        }
    }
    out->classes = list.v;
    out->n_classes = list.n;
    if (list.n == 1) { /* all keys again, written so */
        struct key_class *c = list.v;
        c->keys = s->any_string;
    }
    return !schema_failed(s);
}

static bool join_some(struct schema *s, const struct object_set *x, const struct object_set *y,
                      struct object_set *out) {
    struct some_member *all = schema_alloc(s, x->n_some + y->n_some, sizeof *all);
    if (!all)
        return false;
    size_t n = 0;
    const struct object_set *sides[] = {x, y};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < sides[k]->n_some; i++) {
            const struct some_member *m = &sides[k]->some[i];
            size_t at = 0;
            while (at < n && (all[at].keys != m->keys || all[at].value != m->value))
                at++;
            if (at == n)
                all[n++] = *m;
        }
    }
    out->some = all;
    out->n_some = n;
    return true;
}

void object_and(struct schema *s, const struct object_set *x, const struct object_set *y,
                struct set_list *out) {
    struct object_set o = {
        .min = x->min > y->min ? x->min : y->min,
        .max = x->max < y->max ? x->max : y->max,
        .evaluated =
            x->evaluated == y->evaluated ? x->evaluated : expr_or(s->b, x->evaluated, y->evaluated),
    };
    if (join_properties(s, x, y, &o) && join_classes(s, x, y, &o) && join_some(s, x, y, &o))
        object_add(s, out, &o);
}

static void add_property(struct schema *s, struct set_list *out, struct property p) {
    struct object_set o = object_all(s);
    struct property *copy = schema_alloc(s, 1, sizeof *copy);
    if (!copy)
        return;
    *copy = p;
    o.properties = copy;
    o.n_properties = 1;
    object_add(s, out, &o);
}

static void add_some(struct schema *s, struct set_list *out, expr_id keys, formula_id value) {
    struct object_set o = object_all(s);
    struct some_member *m = schema_alloc(s, 1, sizeof *m);
    if (!m)
        return;
    *m = (struct some_member){keys, value};
    o.some = m;
    o.n_some = 1;
    object_add(s, out, &o);
}

/* No member with a key in m->keys has a value in m->value. */
static void add_none(struct schema *s, struct set_list *out, const struct some_member *m) {
    struct object_set o = object_all(s);
    struct key_class *c = schema_alloc(s, 2, sizeof *c);
    if (!c)
        return;
    c[0] = (struct key_class){m->keys, formula_not(s, m->value)};
    c[1] = (struct key_class){expr_and(s->b, s->any_string, expr_not(s->b, m->keys)), FORMULA_TRUE};
    o.classes = c;
    o.n_classes = m->keys == s->any_string ? 1 : 2;
    object_add(s, out, &o);
}

void object_not(struct schema *s, const struct object_set *x, struct set_list *out) {
    expr_id declared = SET_NO_TEXT;
    for (size_t i = 0; i < x->n_properties; i++) {
        struct property p = x->properties[i];
        declared = expr_or(s->b, declared, literal(s, p.key));
        if (p.required)
            add_property(s, out, (struct property){p.key, FORMULA_FALSE, false});
        if (p.value != FORMULA_TRUE)
            add_property(s, out, (struct property){p.key, formula_not(s, p.value), true});
    }
    for (size_t i = 0; i < x->n_classes; i++) {
        const struct key_class *c = &x->classes[i];
        if (c->value == FORMULA_TRUE)
            continue;
        expr_id keys =
            declared == SET_NO_TEXT ? c->keys : expr_and(s->b, c->keys, expr_not(s->b, declared));
        add_some(s, out, keys, formula_not(s, c->value));
    }
    if (x->min > 0) {
        struct object_set o = object_all(s);
        o.max = x->min - 1;
        object_add(s, out, &o);
    }
    if (x->max != GRAMMAR_INF) {
        struct object_set o = object_all(s);
        o.min = x->max + 1;
        object_add(s, out, &o);
    }
    for (size_t i = 0; i < x->n_some; i++)
        add_none(s, out, &x->some[i]);
}
