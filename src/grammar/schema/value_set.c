/* value_set.c - and, or, not of value sets: scalars by expressions, arrays and objects by lists of
 * alternatives (array_set.c, object_set.c). */
#include "grammar/schema/set_parts.h"

enum { ALTERNATIVES_MAX = 2000 };

static struct value_set *new_set(struct schema *s) {
    return schema_alloc(s, 1, sizeof(struct value_set));
}

bool list_push(struct schema *s, struct set_list *l, size_t element, const void *item) {
    if (l->n == ALTERNATIVES_MAX) {
        schema_fail(s, QUERN_ERR_LIMIT,
                    "the schema combines to more than %d alternatives for one value",
                    ALTERNATIVES_MAX);
        return false;
    }
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 4;
        char *grown = schema_alloc(s, capacity, element);
        if (!grown)
            return false;
        if (l->n)
            memcpy(grown, l->v, l->n * element);
        l->v = grown;
        l->capacity = capacity;
    }
    memcpy((char *)l->v + l->n++ * element, item, element);
    return true;
}

static expr_id string_complement(struct schema *s, expr_id x) {
    return expr_and(s->b, s->any_string, expr_not(s->b, x));
}

static expr_id number_complement(struct schema *s, expr_id x) {
    return expr_and(s->b, s->everything->number, expr_not(s->b, x));
}

bool set_is_nothing(const struct value_set *x) {
    return !x->null && !x->truth[0] && !x->truth[1] && x->number == SET_NO_TEXT &&
           x->string == SET_NO_TEXT && x->n_arrays == 0 && x->n_objects == 0;
}

/* x and y without the expressions that cost a search to tell apart from nothing. */
static expr_id both(struct schema *s, expr_id x, expr_id y, expr_id all) {
    if (x == all)
        return y;
    if (y == all || x == y)
        return x;
    if (x == SET_NO_TEXT || y == SET_NO_TEXT)
        return SET_NO_TEXT;
    expr_id out = expr_and(s->b, x, y);
    bool nothing = false;
    if (expr_is_nothing(s->b, out, SET_SEARCH_FUEL, &nothing, NULL) == QUERN_OK && nothing)
        return SET_NO_TEXT;
    return out;
}

const struct value_set *set_and(struct schema *s, const struct value_set *x,
                                const struct value_set *y) {
    if (!x || !y || schema_failed(s))
        return NULL;
    if (x == s->everything || x == y)
        return y;
    if (y == s->everything)
        return x;
    struct value_set *out = new_set(s);
    struct set_list arrays = {0}, objects = {0};
    if (!out)
        return NULL;
    out->null = x->null && y->null;
    for (int i = 0; i < 2; i++)
        out->truth[i] = x->truth[i] && y->truth[i];
    out->number = both(s, x->number, y->number, s->everything->number);
    out->string = both(s, x->string, y->string, s->any_string);
    for (size_t i = 0; i < x->n_arrays; i++)
        for (size_t j = 0; j < y->n_arrays; j++)
            array_and(s, &x->arrays[i], &y->arrays[j], &arrays);
    for (size_t i = 0; i < x->n_objects; i++)
        for (size_t j = 0; j < y->n_objects; j++)
            object_and(s, &x->objects[i], &y->objects[j], &objects);
    out->arrays = arrays.v;
    out->n_arrays = arrays.n;
    out->objects = objects.v;
    out->n_objects = objects.n;
    out->loose = x->loose | y->loose;
    return schema_failed(s) ? NULL : out;
}

const struct value_set *set_loose(struct schema *s, const struct value_set *x, unsigned types) {
    struct value_set *out = x && types ? new_set(s) : NULL;
    if (!out)
        return x;
    *out = *x;
    out->loose |= types;
    return out;
}

const struct value_set *set_or(struct schema *s, const struct value_set *x,
                               const struct value_set *y) {
    if (!x || !y || schema_failed(s))
        return NULL;
    if (x == y || set_is_nothing(y) || x == s->everything)
        return x;
    if (set_is_nothing(x) || y == s->everything)
        return y;
    struct value_set *out = new_set(s);
    struct set_list arrays = {0}, objects = {0};
    if (!out)
        return NULL;
    out->null = x->null || y->null;
    for (int i = 0; i < 2; i++)
        out->truth[i] = x->truth[i] || y->truth[i];
    out->number = expr_or(s->b, x->number, y->number);
    out->string = expr_or(s->b, x->string, y->string);
    const struct value_set *sides[] = {x, y};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < sides[k]->n_arrays; i++)
            array_add(s, &arrays, &sides[k]->arrays[i]);
        for (size_t i = 0; i < sides[k]->n_objects; i++)
            object_add(s, &objects, &sides[k]->objects[i]);
    }
    out->arrays = arrays.v;
    out->n_arrays = arrays.n;
    out->objects = objects.v;
    out->n_objects = objects.n;
    out->loose = x->loose | y->loose;
    return schema_failed(s) ? NULL : out;
}

/* Of all arrays those in none of the alternatives: the complements' conjunction. */
static void complement_arrays(struct schema *s, const struct value_set *x, struct set_list *out) {
    const struct array_set all = array_all();
    array_add(s, out, &all);
    for (size_t i = 0; i < x->n_arrays && !schema_failed(s); i++) {
        struct set_list one = {0}, next = {0};
        array_not(s, &x->arrays[i], &one);
        for (size_t j = 0; j < out->n; j++)
            for (size_t k = 0; k < one.n; k++)
                array_and(s, list_array(out, j), list_array(&one, k), &next);
        *out = next;
    }
}

static void complement_objects(struct schema *s, const struct value_set *x, struct set_list *out) {
    const struct object_set all = object_all(s);
    object_add(s, out, &all);
    for (size_t i = 0; i < x->n_objects && !schema_failed(s); i++) {
        struct set_list one = {0}, next = {0};
        object_not(s, &x->objects[i], &one);
        for (size_t j = 0; j < out->n; j++)
            for (size_t k = 0; k < one.n; k++)
                object_and(s, list_object(out, j), list_object(&one, k), &next);
        *out = next;
    }
}

const struct value_set *set_not(struct schema *s, const struct value_set *x) {
    if (!x || schema_failed(s))
        return NULL;
    struct value_set *out = new_set(s);
    struct set_list arrays = {0}, objects = {0};
    if (!out)
        return NULL;
    out->null = !x->null;
    for (int i = 0; i < 2; i++)
        out->truth[i] = !x->truth[i];
    const unsigned loose = x->loose; /* of these types anything may be outside of x */
    out->loose = loose;
    out->number = loose & LOOSE_NUMBER || x->number == SET_NO_TEXT ? s->everything->number
                  : x->number == s->everything->number             ? SET_NO_TEXT
                                                       : number_complement(s, x->number);
    out->string = loose & LOOSE_STRING || x->string == SET_NO_TEXT ? s->any_string
                  : x->string == s->any_string                     ? SET_NO_TEXT
                                               : string_complement(s, x->string);
    const struct value_set *none = s->nothing;
    complement_arrays(s, loose & LOOSE_ARRAY ? none : x, &arrays);
    complement_objects(s, loose & LOOSE_OBJECT ? none : x, &objects);
    out->arrays = arrays.v;
    out->n_arrays = arrays.n;
    out->objects = objects.v;
    out->n_objects = objects.n;
    return schema_failed(s) ? NULL : out;
}

static const struct value_set *with_lists(struct schema *s, const struct value_set *base,
                                          const struct array_set *a, const struct object_set *o) {
    struct value_set *out = new_set(s);
    struct set_list arrays = {0}, objects = {0};
    if (!out)
        return NULL;
    *out = *base;
    if (a) {
        array_add(s, &arrays, a);
        out->arrays = arrays.v;
        out->n_arrays = arrays.n;
    }
    if (o) {
        object_add(s, &objects, o);
        out->objects = objects.v;
        out->n_objects = objects.n;
    }
    return schema_failed(s) ? NULL : out;
}

const struct value_set *set_of_array(struct schema *s, const struct array_set *a) {
    return with_lists(s, s->nothing, a, NULL);
}

const struct value_set *set_of_object(struct schema *s, const struct object_set *o) {
    return with_lists(s, s->nothing, NULL, o);
}

const struct value_set *set_if_array(struct schema *s, const struct array_set *a) {
    return with_lists(s, s->everything, a, NULL);
}

const struct value_set *set_if_object(struct schema *s, const struct object_set *o) {
    return with_lists(s, s->everything, NULL, o);
}

/* Scalars only, cheaply: do the formulas surely share no value? */
static bool values_disjoint(struct schema *s, formula_id x, formula_id y) {
    const enum formula_kind k = s->formulas[x].kind, l = s->formulas[y].kind;
    if (x == FORMULA_FALSE || y == FORMULA_FALSE || formula_and(s, x, y) == FORMULA_FALSE)
        return true;
    if (x == FORMULA_TRUE || y == FORMULA_TRUE || k == FORMULA_TRUTH || l == FORMULA_TRUTH)
        return false;
    if (s->formulas[x].expanding || s->formulas[y].expanding || s->depth > SET_DISJOINT_DEPTH)
        return false;
    const struct value_set *a = formula_expand(s, x), *b = formula_expand(s, y);
    return a && b && set_disjoint(s, a, b);
}

static bool objects_disjoint(struct schema *s, const struct object_set *x,
                             const struct object_set *y) {
    const struct object_set *sides[] = {x, y};
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < sides[k]->n_properties; i++) {
            const struct property *p = &sides[k]->properties[i];
            bool required;
            if (!p->required)
                continue;
            formula_id other = object_value_at(s, sides[1 - k], p->key, &required);
            if (values_disjoint(s, p->value, other))
                return true;
        }
    }
    return false;
}

static bool arrays_disjoint(struct schema *s, const struct array_set *x,
                            const struct array_set *y) {
    struct set_list both_lists = {0};
    array_and(s, x, y, &both_lists);
    return both_lists.n == 0;
}

bool set_disjoint(struct schema *s, const struct value_set *x, const struct value_set *y) {
    if ((x->null && y->null) || (x->truth[0] && y->truth[0]) || (x->truth[1] && y->truth[1]))
        return false;
    if (both(s, x->number, y->number, s->everything->number) != SET_NO_TEXT ||
        both(s, x->string, y->string, s->any_string) != SET_NO_TEXT)
        return false;
    for (size_t i = 0; i < x->n_arrays; i++)
        for (size_t j = 0; j < y->n_arrays; j++)
            if (!arrays_disjoint(s, &x->arrays[i], &y->arrays[j]))
                return false;
    s->depth++;
    bool disjoint = true;
    for (size_t i = 0; i < x->n_objects && disjoint; i++)
        for (size_t j = 0; j < y->n_objects && disjoint; j++)
            disjoint = objects_disjoint(s, &x->objects[i], &y->objects[j]);
    s->depth--;
    return disjoint;
}
