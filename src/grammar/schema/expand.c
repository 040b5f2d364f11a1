/* expand.c - the keywords of a schema: types, references, combinations. */
#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"

static const struct value_set *apply(struct schema *s, const struct value_set *x,
                                     const struct value_set *y) {
    return set_and(s, x, y);
}

/* ---- constants ---- */

static const struct value_set *array_value(struct schema *s, const struct sj_node *node) {
    struct array_set a = array_all();
    formula_id *prefix = schema_alloc(s, node->n, sizeof *prefix);
    if (!prefix)
        return NULL;
    for (size_t i = 0; i < node->n; i++)
        prefix[i] = formula_value(s, node->items[i]);
    a.prefix = prefix;
    a.n_prefix = node->n;
    a.rest = FORMULA_FALSE;
    a.min = a.max = (uint32_t)node->n;
    return set_of_array(s, &a);
}

static const struct value_set *object_value(struct schema *s, const struct sj_node *node) {
    struct object_set o = object_all(s);
    struct property *properties = schema_alloc(s, node->n, sizeof *properties);
    struct key_class *none = schema_alloc(s, 1, sizeof *none);
    if (!properties || !none)
        return NULL;
    for (size_t i = 0; i < node->n; i++)
        properties[i] =
            (struct property){node->items[i]->key, formula_value(s, node->items[i]), true};
    *none = (struct key_class){s->any_string, FORMULA_FALSE};
    o.properties = properties;
    o.n_properties = node->n;
    o.classes = none;
    o.n_classes = 1;
    return set_of_object(s, &o);
}

const struct value_set *expand_value(struct schema *s, const struct sj_node *node) {
    struct decimal d;
    struct value_set *x;
    if (node->kind == SJ_ARRAY)
        return array_value(s, node);
    if (node->kind == SJ_OBJECT)
        return object_value(s, node);
    x = schema_alloc(s, 1, sizeof *x);
    if (!x)
        return NULL;
    *x = *s->nothing;
    if (node->kind == SJ_NULL)
        x->null = true;
    else if (node->kind == SJ_TRUE || node->kind == SJ_FALSE)
        x->truth[node->kind == SJ_TRUE] = true;
    else if (node->kind == SJ_STRING)
        x->string = expr_literal(s->b, node->text);
    else if (!decimal_parse(node->text, &d))
        return schema_fail(s, QUERN_ERR_LIMIT, "a constant number has more than %d digits",
                           DECIMAL_DIGITS_MAX);
    else
        x->number = expr_and(s->b, s->everything->number, number_equal(s->b, &d));
    return x;
}

/* Scalars of an enum are united in one step. */
static const struct value_set *enum_values(struct schema *s, const struct sj_node *list) {
    const struct value_set *out = s->nothing;
    for (size_t i = 0; i < list->n && out; i++)
        out = set_or(s, out, expand_value(s, list->items[i]));
    return out;
}

/* ---- types ---- */

static bool add_type(struct schema *s, struct value_set *x, struct str name) {
    const struct value_set *all = s->everything;
    if (str_is(name, "any"))
        *x = *all;
    else if (str_is(name, "null"))
        x->null = true;
    else if (str_is(name, "boolean"))
        x->truth[0] = x->truth[1] = true;
    else if (str_is(name, "number"))
        x->number = all->number;
    else if (str_is(name, "integer"))
        x->number = x->number == SET_NO_TEXT ? expr_and(s->b, all->number, number_integers(s->b))
                                             : x->number;
    else if (str_is(name, "string"))
        x->string = s->any_string;
    else if (str_is(name, "array")) {
        x->arrays = all->arrays;
        x->n_arrays = all->n_arrays;
    } else if (str_is(name, "object")) {
        x->objects = all->objects;
        x->n_objects = all->n_objects;
    } else
        return false;
    return true;
}

static const struct value_set *types(struct schema *s, const struct sj_node *type) {
    struct value_set *x = schema_alloc(s, 1, sizeof *x);
    if (!x)
        return NULL;
    *x = *s->nothing;
    const struct sj_node *one[] = {type};
    const bool is_list = sj_is(type, SJ_ARRAY);
    const struct value_set *out = x;
    for (size_t i = 0; i < (is_list ? type->n : 1); i++) {
        const struct sj_node *name = is_list ? type->items[i] : one[0];
        if (name->kind == SJ_OBJECT && schema_draft(s, type) == DRAFT_4)
            out = set_or(s, out, expand_schema(s, name));
        else if (name->kind != SJ_STRING || !add_type(s, x, name->text))
            return schema_fail(s, QUERN_ERR_FORMAT, "an unknown type \"%.*s\"",
                               STR_FMT(name->text));
    }
    return out == x ? x : set_or(s, out, x);
}

/* ---- combinations ---- */

static const struct sj_node *list_of(struct schema *s, const struct sj_node *node,
                                     const char *keyword) {
    const struct sj_node *list = sj_get(node, keyword);
    if (list && (list->kind != SJ_ARRAY || list->n == 0))
        return schema_fail(s, QUERN_ERR_FORMAT, "\"%s\" is no list of schemas", keyword);
    return list;
}

static const struct value_set *sub(struct schema *s, const struct sj_node *node) {
    return formula_expand(s, formula_schema(s, node));
}

/* With unevaluated* about, which branches hold must be told apart, since each evaluates. */
static const struct value_set *any_of_apart(struct schema *s, const struct sj_node *list) {
    const struct value_set *some = s->nothing, *none = s->everything;
    for (size_t i = 0; i < list->n && some; i++) {
        const struct value_set *x = sub(s, list->items[i]), *no = set_not(s, x);
        some = set_or(s, set_or(s, set_and(s, some, x), set_and(s, some, no)), set_and(s, none, x));
        none = set_and(s, none, no);
    }
    return some;
}

static const struct value_set *any_of(struct schema *s, const struct sj_node *list) {
    const struct value_set *out = s->nothing;
    if (s->has_unevaluated)
        return any_of_apart(s, list);
    for (size_t i = 0; i < list->n && out; i++)
        out = set_or(s, out, sub(s, list->items[i]));
    return out;
}

/* Exactly one: each branch without those others it is not disjoint from anyway. */
static const struct value_set *one_of(struct schema *s, const struct sj_node *list,
                                      const struct value_set *outer) {
    const struct value_set *out = s->nothing;
    for (size_t i = 0; i < list->n && out; i++) {
        const struct value_set *x = set_and(s, outer, sub(s, list->items[i]));
        for (size_t j = 0; j < list->n && x; j++) {
            const struct value_set *y = j == i ? NULL : sub(s, list->items[j]);
            if (j != i && y && !set_disjoint(s, x, y))
                x = set_and(s, x, set_not(s, y));
        }
        out = set_or(s, out, x);
    }
    return out;
}

static const struct value_set *conditional(struct schema *s, const struct sj_node *node) {
    const struct sj_node *condition = sj_get(node, "if");
    const struct sj_node *then = sj_get(node, "then"), *otherwise = sj_get(node, "else");
    if (!condition || (!then && !otherwise && !s->has_unevaluated))
        return s->everything;
    const struct value_set *x = sub(s, condition);
    const struct value_set *yes = then ? set_and(s, x, sub(s, then)) : x;
    const struct value_set *no = set_not(s, x);
    if (otherwise)
        no = set_and(s, no, sub(s, otherwise));
    return set_or(s, yes, no);
}

/* The value of a schema's only keyword, if it is that one. */
static const struct sj_node *only(const struct sj_node *node, const char *keyword) {
    return sj_is(node, SJ_OBJECT) && node->n == 1 ? sj_get(node, keyword) : NULL;
}

/* x and a schema of its own: its branches are told apart among x only, of which there are fewer. */
static const struct value_set *both_of(struct schema *s, const struct value_set *x,
                                       const struct sj_node *node) {
    const struct sj_node *twice = only(only(node, "not"), "not");
    if (twice && !s->has_unevaluated)
        return both_of(s, x, twice);
    if (only(node, "oneOf")) {
        const struct sj_node *list = list_of(s, node, "oneOf");
        return list ? apply(s, x, one_of(s, list, x)) : NULL;
    }
    return apply(s, x, sub(s, node));
}

static const struct value_set *combinations(struct schema *s, const struct sj_node *node,
                                            const struct value_set *x) {
    const struct sj_node *list = list_of(s, node, "allOf"), *no = sj_get(node, "not");
    for (int last = 0; last < 2; last++) /* single keywords come last, in what the others leave */
        for (size_t i = 0; list && i < list->n && x; i++)
            if ((only(list->items[i], "oneOf") || only(list->items[i], "not")) == last)
                x = both_of(s, x, list->items[i]);
    if ((list = list_of(s, node, "anyOf")))
        x = apply(s, x, any_of(s, list));
    if (no && only(no, "not") && !s->has_unevaluated)
        x = both_of(s, x, only(no, "not"));
    else if (no)
        x = apply(s, x, set_not(s, sub(s, no)));
    if (schema_draft(s, node) >= DRAFT_7)
        x = apply(s, x, conditional(s, node));
    if ((list = list_of(s, node, "oneOf")))
        x = apply(s, x, one_of(s, list, x));
    return x;
}

static const struct value_set *reference(struct schema *s, const struct sj_node *node,
                                         const struct value_set *x) {
    const struct sj_node *ref = sj_get(node, "$ref");
    if (sj_is(ref, SJ_STRING)) {
        const struct sj_node *target = schema_resolve(s, node, ref->text);
        x = target ? apply(s, x, sub(s, target)) : NULL;
    }
    ref = sj_get(node, "$recursiveRef");
    if (sj_is(ref, SJ_STRING) && schema_draft(s, node) == DRAFT_2019) {
        schema_report(s, node, "$recursiveRef", "it is not supported");
        x = set_loose(s, x, LOOSE_ALL);
    }
    ref = sj_get(node, "$dynamicRef");
    if (x && sj_is(ref, SJ_STRING) && schema_draft(s, node) >= DRAFT_2020) {
        const struct sj_node *target = schema_resolve_dynamic(s, node, ref->text);
        if (target)
            x = apply(s, x, sub(s, target));
        else if (!schema_failed(s)) {
            schema_report(s, node, "$dynamicRef", "its target depends on the way of evaluation");
            x = set_loose(s, x, LOOSE_ALL);
        }
    }
    return x;
}

const struct value_set *expand_schema(struct schema *s, const struct sj_node *node) {
    if (node->kind == SJ_TRUE || node->kind == SJ_FALSE)
        return node->kind == SJ_TRUE ? s->everything : s->nothing;
    if (node->kind != SJ_OBJECT)
        return schema_fail(s, QUERN_ERR_FORMAT, "a schema is neither an object nor true or false");
    const struct value_set *x = reference(s, node, s->everything);
    if (sj_get(node, "$ref") && schema_draft(s, node) <= DRAFT_7)
        return x; /* its neighbours are ignored */
    const struct sj_node *k = sj_get(node, "type");
    if (k)
        x = apply(s, x, types(s, k));
    if (k && sj_is(sj_get(node, "nullable"), SJ_TRUE)) { /* OpenAPI 3.0 */
        struct value_set *null = schema_alloc(s, 1, sizeof *null);
        if (null && x) {
            *null = *x;
            null->null = true;
            x = null;
        }
    }
    if (sj_is(k = sj_get(node, "enum"), SJ_ARRAY))
        x = apply(s, x, enum_values(s, k));
    if ((k = sj_get(node, "const")) && schema_draft(s, node) > DRAFT_4)
        x = apply(s, x, expand_value(s, k));
    x = apply(s, x, expand_string_keywords(s, node));
    x = apply(s, x, expand_number_keywords(s, node));
    x = apply(s, x, expand_array_keywords(s, node));
    x = apply(s, x, expand_object_keywords(s, node));
    x = x ? combinations(s, node, x) : NULL;
    if (s->has_unevaluated && x)
        x = expand_unevaluated(s, node, x);
    return schema_failed(s) ? NULL : x;
}
