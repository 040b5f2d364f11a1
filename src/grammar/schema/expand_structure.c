/* expand_structure.c - the keywords of arrays and objects. */
#include "grammar/schema/set_parts.h"

enum { DEPENDENCIES_MAX = 16, PATTERNS_MAX = 12 };

/* ---- arrays ---- */

static bool array_elements(struct schema *s, const struct sj_node *node, struct array_set *a) {
    const struct sj_node *items = sj_get(node, "items");
    const bool tuples = schema_draft(s, node) < DRAFT_2020 && sj_is(items, SJ_ARRAY);
    const struct sj_node *prefix = tuples ? items : sj_get(node, "prefixItems");
    const struct sj_node *rest = tuples ? sj_get(node, "additionalItems") : items;
    if (sj_is(rest, SJ_ARRAY)) { /* a tuple under a draft that no longer has them */
        prefix = rest;
        rest = sj_get(node, "additionalItems");
    }
    if (sj_is(prefix, SJ_ARRAY) && prefix->n) {
        formula_id *p = schema_alloc(s, prefix->n, sizeof *p);
        if (!p)
            return false;
        for (size_t i = 0; i < prefix->n; i++)
            p[i] = formula_schema(s, prefix->items[i]);
        a->prefix = p;
        a->n_prefix = prefix->n;
        a->n_evaluated = (uint32_t)prefix->n;
    }
    if (rest) {
        a->rest = formula_schema(s, rest);
        a->n_evaluated = GRAMMAR_INF;
    }
    return prefix || rest;
}

static bool array_contains(struct schema *s, const struct sj_node *node, struct array_set *a) {
    const struct sj_node *k = sj_get(node, "contains");
    if (!k || schema_draft(s, node) == DRAFT_4)
        return false;
    struct contains *c = schema_alloc(s, 1, sizeof *c);
    if (!c)
        return false;
    *c = (struct contains){formula_schema(s, k), 0, 1, GRAMMAR_INF};
    if (schema_draft(s, node) >= DRAFT_2019) {
        expand_count(s, node, "minContains", &c->min);
        expand_count(s, node, "maxContains", &c->max);
    }
    if (schema_draft(s, node) >= DRAFT_2020)
        a->evaluated = c->f;
    a->contains = c;
    a->n_contains = 1;
    return true;
}

const struct value_set *expand_array_keywords(struct schema *s, const struct sj_node *node) {
    struct array_set a = array_all();
    bool any = array_elements(s, node, &a);
    any = expand_count(s, node, "minItems", &a.min) || any;
    any = expand_count(s, node, "maxItems", &a.max) || any;
    any = array_contains(s, node, &a) || any;
    if (sj_is(sj_get(node, "uniqueItems"), SJ_TRUE)) {
        a.unique = true;
        any = true;
    }
    return any ? set_if_array(s, &a) : s->everything;
}

/* ---- objects ---- */

static bool is_object(const struct sj_node *k) {
    return sj_is(k, SJ_OBJECT);
}

/* Splits every class by a pattern: the keys it matches are held to `value` too. */
static bool split_classes(struct schema *s, struct set_list *list, expr_id keys, formula_id value) {
    struct set_list next = {0};
    for (size_t j = 0; j < list->n; j++) {
        const struct key_class c = ((const struct key_class *)list->v)[j];
        struct key_class split[] = {{expr_and(s->b, c.keys, keys), formula_and(s, c.value, value)},
                                    {expr_and(s->b, c.keys, expr_not(s->b, keys)), c.value}};
        for (int k = 0; k < 2; k++) {
            bool nothing = split[k].keys == SET_NO_TEXT;
            expr_is_nothing(s->b, split[k].keys, SET_SEARCH_FUEL, &nothing, NULL);
            if (!nothing && !list_push(s, &next, sizeof split[k], &split[k]))
                return false;
        }
    }
    *list = next;
    return true;
}

/* The classes of keys that patterns make; *covered: the keys of all patterns. False, and all keys
 * are free, when a pattern cannot be had. */
static bool pattern_classes(struct schema *s, const struct sj_node *node, struct object_set *o,
                            expr_id *covered) {
    const struct sj_node *patterns = sj_get(node, "patternProperties");
    struct set_list list = {0};
    const size_t n = is_object(patterns) ? patterns->n : 0;
    *covered = SET_NO_TEXT;
    if (n > PATTERNS_MAX) {
        schema_report(s, node, "patternProperties", "there are too many patterns");
        return false;
    }
    if (!list_push(s, &list, sizeof *o->classes, o->classes))
        return false;
    for (size_t i = 0; i < n; i++) {
        expr_id keys;
        if (!expand_pattern(s, node, "patternProperties", patterns->items[i]->key, &keys) ||
            !split_classes(s, &list, keys, formula_schema(s, patterns->items[i])))
            return false;
        *covered = expr_or(s->b, *covered, keys);
    }
    o->classes = list.v;
    o->n_classes = list.n;
    o->evaluated = *covered;
    return true;
}

/* additionalProperties holds of the classes outside all patterns. */
static bool close_classes(struct schema *s, const struct sj_node *node, struct object_set *o,
                          expr_id covered) {
    const struct sj_node *additional = sj_get(node, "additionalProperties");
    struct key_class *classes = schema_alloc(s, o->n_classes, sizeof *classes);
    if (!additional || !classes)
        return false;
    for (size_t i = 0; i < o->n_classes; i++) {
        bool outside = covered == SET_NO_TEXT;
        classes[i] = o->classes[i];
        if (!outside)
            expr_is_nothing(s->b, expr_and(s->b, classes[i].keys, covered), SET_SEARCH_FUEL,
                            &outside, NULL);
        if (outside)
            classes[i].value = formula_schema(s, additional);
    }
    o->classes = classes;
    o->evaluated = s->any_string;
    return true;
}

/* A declared property is held to its own schema and to the patterns it matches, not to
 * additionalProperties: the classes do not know of that yet. */
static bool declare(struct schema *s, const struct sj_node *node, struct object_set *o) {
    const struct sj_node *properties = sj_get(node, "properties");
    if (!is_object(properties) || properties->n == 0)
        return false;
    struct property *p = schema_alloc(s, properties->n, sizeof *p);
    if (!p)
        return false;
    for (size_t i = 0; i < properties->n && !schema_failed(s); i++) {
        const struct sj_node *k = properties->items[i];
        bool required;
        formula_id by_class = object_value_at(s, o, k->key, &required);
        p[i] = (struct property){k->key, formula_and(s, formula_schema(s, k), by_class), false};
        o->evaluated = expr_or(s->b, o->evaluated, expr_literal(s->b, k->key));
    }
    o->properties = p;
    o->n_properties = properties->n;
    return true;
}

/* Adds to an object set that these keys are there. */
static bool require(struct schema *s, const struct sj_node *list, struct object_set *o) {
    struct property *p = schema_alloc(s, o->n_properties + list->n, sizeof *p);
    size_t n = o->n_properties;
    if (!p)
        return false;
    if (n)
        memcpy(p, o->properties, n * sizeof *p);
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i]->kind != SJ_STRING) {
            schema_fail(s, QUERN_ERR_FORMAT, "\"required\" holds something other than names");
            return false;
        }
        struct str key = list->items[i]->text;
        size_t at = 0;
        bool required;
        while (at < n && !str_eq(p[at].key, key))
            at++;
        if (at == n)
            p[n++] = (struct property){key, object_value_at(s, o, key, &required), true};
        p[at].required = true;
    }
    o->properties = p;
    o->n_properties = n;
    return true;
}

static const struct value_set *has_key(struct schema *s, struct str key, bool there) {
    struct object_set o = object_all(s);
    struct property *p = schema_alloc(s, 1, sizeof *p);
    if (!p)
        return NULL;
    *p = (struct property){key, there ? FORMULA_TRUE : FORMULA_FALSE, there};
    o.properties = p;
    o.n_properties = 1;
    return there ? set_of_object(s, &o) : set_if_object(s, &o);
}

/* Without the key, or with it and with what it demands: names or a schema. */
static const struct value_set *dependency(struct schema *s, const struct sj_node *demand) {
    const struct value_set *with = has_key(s, demand->key, true);
    if (demand->kind == SJ_ARRAY) {
        struct object_set o = object_all(s);
        if (!require(s, demand, &o))
            return NULL;
        with = set_and(s, with, set_if_object(s, &o));
    } else if (demand->kind == SJ_STRING) {
        with = set_and(s, with, has_key(s, demand->text, true));
    } else {
        with = set_and(s, with, formula_expand(s, formula_schema(s, demand)));
    }
    return set_or(s, has_key(s, demand->key, false), with);
}

static const struct value_set *dependencies(struct schema *s, const struct sj_node *node) {
    static const char *const keywords[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    const struct value_set *x = s->everything;
    size_t n = 0;
    for (int k = 0; k < 3; k++) {
        const struct sj_node *map = sj_get(node, keywords[k]);
        if (!is_object(map) || (k < 2 && schema_draft(s, node) < DRAFT_2019))
            continue;
        for (size_t i = 0; i < map->n && x; i++) {
            if (++n > DEPENDENCIES_MAX) {
                schema_report(s, node, keywords[k], "there are too many dependencies");
                return set_loose(s, x, LOOSE_OBJECT);
            }
            x = set_and(s, x, dependency(s, map->items[i]));
        }
    }
    return x;
}

/* Keys outside propertyNames may not be there at all. */
static const struct value_set *property_names(struct schema *s, const struct sj_node *node) {
    const struct sj_node *k = sj_get(node, "propertyNames");
    const struct value_set *names = k ? formula_expand(s, formula_schema(s, k)) : NULL;
    if (!k || schema_draft(s, node) == DRAFT_4 || (names && names->string == s->any_string))
        return s->everything;
    struct object_set o = object_all(s);
    struct key_class *c = schema_alloc(s, 2, sizeof *c);
    if (!names || !c)
        return NULL;
    c[0] = (struct key_class){names->string, FORMULA_TRUE};
    c[1] = (struct key_class){expr_and(s->b, s->any_string, expr_not(s->b, names->string)),
                              FORMULA_FALSE};
    if (names->string == SET_NO_TEXT)
        c[0] = (struct key_class){s->any_string, FORMULA_FALSE};
    o.classes = c;
    o.n_classes = names->string == SET_NO_TEXT ? 1 : 2;
    return set_loose(s, set_if_object(s, &o), names->loose & LOOSE_STRING ? LOOSE_OBJECT : 0);
}

const struct value_set *expand_object_keywords(struct schema *s, const struct sj_node *node) {
    struct object_set o = object_all(s);
    expr_id covered;
    bool any = false;
    unsigned loose = 0;
    if (pattern_classes(s, node, &o, &covered)) {
        any = o.n_classes > 1 || covered != SET_NO_TEXT;
        any = declare(s, node, &o) || any;
        any = close_classes(s, node, &o, covered) || any;
    } else {
        any = declare(s, node, &o);
        loose = LOOSE_OBJECT;
    }
    any = expand_count(s, node, "minProperties", &o.min) || any;
    any = expand_count(s, node, "maxProperties", &o.max) || any;
    const struct sj_node *k = sj_get(node, "required");
    if (sj_is(k, SJ_ARRAY))
        any = require(s, k, &o) || any;
    const struct value_set *x = set_loose(s, any ? set_if_object(s, &o) : s->everything, loose);
    x = set_and(s, x, property_names(s, node));
    return set_and(s, x, dependencies(s, node));
}

/* ---- what no keyword looked at ---- */

static void unevaluated_array(struct schema *s, const struct array_set *x, formula_id f,
                              struct set_list *out) {
    struct array_set a = *x;
    if (a.n_evaluated == GRAMMAR_INF) {
        array_add(s, out, &a);
        return;
    }
    const formula_id rest = formula_or(s, a.evaluated, f);
    const size_t n = a.n_prefix > a.n_evaluated ? a.n_prefix : a.n_evaluated;
    formula_id *prefix = schema_alloc(s, n, sizeof *prefix);
    if (!prefix)
        return;
    for (size_t i = 0; i < n; i++) {
        prefix[i] = i < a.n_prefix ? a.prefix[i] : a.rest;
        if (i >= a.n_evaluated)
            prefix[i] = formula_and(s, prefix[i], rest);
    }
    a.prefix = prefix;
    a.n_prefix = n;
    a.rest = formula_and(s, a.rest, rest);
    a.n_evaluated = GRAMMAR_INF;
    array_add(s, out, &a);
}

static void unevaluated_object(struct schema *s, const struct object_set *x, formula_id f,
                               struct set_list *out) {
    struct object_set o = *x;
    struct property *p = schema_alloc(s, o.n_properties, sizeof *p);
    struct set_list classes = {0};
    if (!p)
        return;
    for (size_t i = 0; i < o.n_properties; i++) {
        bool evaluated = false;
        p[i] = o.properties[i];
        expr_matches(s->b, o.evaluated, p[i].key, &evaluated, NULL);
        if (!evaluated)
            p[i].value = formula_and(s, p[i].value, f);
    }
    for (size_t i = 0; i < o.n_classes; i++) {
        const struct key_class c = o.classes[i];
        struct key_class split[] = {
            {expr_and(s->b, c.keys, o.evaluated), c.value},
            {expr_and(s->b, c.keys, expr_not(s->b, o.evaluated)), formula_and(s, c.value, f)}};
        for (int k = 0; k < 2; k++) {
            bool nothing = split[k].keys == SET_NO_TEXT;
            expr_is_nothing(s->b, split[k].keys, SET_SEARCH_FUEL, &nothing, NULL);
            if (!nothing)
                list_push(s, &classes, sizeof split[k], &split[k]);
        }
    }
    o.properties = p;
    o.classes = classes.v;
    o.n_classes = classes.n;
    o.evaluated = s->any_string;
    object_add(s, out, &o);
}

const struct value_set *expand_unevaluated(struct schema *s, const struct sj_node *node,
                                           const struct value_set *x) {
    const struct sj_node *items = sj_get(node, "unevaluatedItems");
    const struct sj_node *properties = sj_get(node, "unevaluatedProperties");
    if ((!items && !properties) || schema_draft(s, node) < DRAFT_2019)
        return x;
    struct value_set *out = schema_alloc(s, 1, sizeof *out);
    struct set_list arrays = {0}, objects = {0};
    if (!out)
        return NULL;
    *out = *x;
    for (size_t i = 0; items && i < x->n_arrays; i++)
        unevaluated_array(s, &x->arrays[i], formula_schema(s, items), &arrays);
    for (size_t i = 0; properties && i < x->n_objects; i++)
        unevaluated_object(s, &x->objects[i], formula_schema(s, properties), &objects);
    if (items) {
        out->arrays = arrays.v;
        out->n_arrays = arrays.n;
    }
    if (properties) {
        out->objects = objects.v;
        out->n_objects = objects.n;
    }
    return schema_failed(s) ? NULL : out;
}
