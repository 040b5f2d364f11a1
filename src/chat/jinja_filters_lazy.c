/* Filters that are generators in Jinja. Their items are made at once here, but they stay
 * read-once, without a length, and failures wait until they are read. */
#include "chat/jinja_interp.h"
#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

static const char GENERATOR[] = "generator";

static bool items(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (call->self.kind != JINJA_DICT && call->self.kind != JINJA_UNDEFINED)
        return jinja_fail(run, "can only get item pairs from a mapping");
    struct jview *view = jinja_alloc(run, 1, sizeof *view);
    if (!view)
        return false;
    *view = (struct jview){call->self.as.dict, JVIEW_ITEMS};
    struct jvalue pairs = call->self;
    if (pairs.kind == JINJA_DICT)
        pairs = (struct jvalue){.kind = JINJA_VIEW, .as.view = view};
    return jvalue_to_list(run, pairs, &list) && jnative_return_iterator(run, call, list, GENERATOR);
}

static bool unique(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list, *kept = jlist_create(run, 0);
    struct jdict *seen = jdict_create(run, 0);
    size_t capacity = 0;
    if (!kept || !seen || !jvalue_to_list(run, call->self, &list))
        return false;
    call->yielded = kept;
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue key, *known;
        if (!jinja_sort_key(run, list->items[i], call->arg[1], jnative_flag(call, 0, false),
                            &key) ||
            !jdict_find(run, seen, key, &known))
            return false;
        if (!known && (!jdict_set(run, seen, key, jvalue_none()) ||
                       !jlist_push(run, kept, &capacity, list->items[i])))
            return false;
    }
    return jnative_return_iterator(run, call, kept, GENERATOR);
}

static bool batch(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list, *rows = jlist_create(run, 0);
    size_t capacity = 0;
    int64_t size;
    if (!rows || !jvalue_to_list(run, call->self, &list) || !jnative_int(run, call, 0, 1, &size))
        return false;
    bool fill = call->arg[1].kind != JINJA_MISSING && call->arg[1].kind != JINJA_NONE;
    /* a size below 1 never equals a length: one row (an empty one before it for 0) */
    size_t width = size > 0 ? (size_t)size : SIZE_MAX;
    if (size == 0 && list->n &&
        !jlist_push(run, rows, &capacity, jvalue_list(jlist_create(run, 0))))
        return false;
    for (size_t at = 0; at < list->n;) {
        size_t n = list->n - at < width ? list->n - at : width;
        size_t padded = fill && size > 0 ? width : n;
        if (padded > JINJA_OUTPUT_BYTES_MAX)
            return jinja_fail_with(run, QUERN_ERR_LIMIT, "batch: a row is too long");
        struct jlist *row = jlist_create(run, padded);
        if (!row)
            return false;
        for (size_t i = 0; i < padded; i++)
            row->items[i] = i < n ? list->items[at + i] : call->arg[1];
        if (!jlist_push(run, rows, &capacity, jvalue_list(row)))
            return false;
        at += n;
    }
    return jnative_return_iterator(run, call, rows, GENERATOR);
}

static bool slice(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    int64_t n;
    if (!jvalue_to_list(run, call->self, &list) || !jnative_int(run, call, 0, 1, &n))
        return false;
    if (n == 0)
        return jinja_fail(run, "slice: division by zero");
    if (n > JINJA_RANGE_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "slice: too many slices");
    bool fill = call->arg[1].kind != JINJA_MISSING && call->arg[1].kind != JINJA_NONE;
    size_t slices = n > 0 ? (size_t)n : 0, at = 0;
    struct jlist *rows = jlist_create(run, slices);
    for (size_t i = 0; rows && i < slices; i++) {
        bool extra = i < list->n % slices;
        size_t own = list->n / slices + extra;
        struct jlist *row = jlist_create(run, own + (fill && !extra));
        if (!row)
            return false;
        for (size_t k = 0; k < row->n; k++)
            row->items[k] = k < own ? list->items[at + k] : call->arg[1];
        at += own;
        rows->items[i] = jvalue_list(row);
    }
    return jnative_return_iterator(run, call, rows, GENERATOR);
}

/* ---- map, select, reject
 * ------------------------------------------------------------------------------ */

static const struct jkwarg *keyword(const struct jarguments *all, const char *name) {
    for (size_t i = 0; i < all->n_keywords; i++)
        if (str_is(all->keywords[i].name, name))
            return &all->keywords[i];
    return NULL;
}

/* The native named by argument `i`, and the arguments after it. */
static bool named_native(struct jinja_run *run, const struct jarguments *all, size_t i, bool filter,
                         const struct jnative **native, struct jarguments *rest) {
    struct jvalue name = all->positional[i];
    *native = NULL;
    if (name.kind == JINJA_STRING)
        *native = filter ? jinja_find_filter(name.as.text) : jinja_find_test(name.as.text);
    if (!*native)
        return jinja_fail(run, "unknown %s %.*s", filter ? "filter" : "test",
                          STR_FMT(jvalue_repr_text(run, name)));
    *rest = *all;
    rest->positional += i + 1;
    rest->n -= i + 1;
    return true;
}

/* map(attribute=..., default=...): the default replaces undefined at every step of the path. */
static bool mapped_attribute(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                             const struct jkwarg *fallback, struct jvalue *out) {
    if (!fallback || fallback->value.kind == JINJA_NONE)
        return jinja_lookup_path(run, item, attribute, out);
    if (attribute.kind != JINJA_STRING) {
        if (!jinja_lookup_path(run, item, attribute, out))
            return false;
        if (out->kind == JINJA_UNDEFINED)
            *out = fallback->value;
        return true;
    }
    struct str path = attribute.as.text;
    *out = item;
    for (size_t at = 0; at <= path.len;) {
        size_t dot = jstring_find(path, STR_LIT("."), at);
        size_t end = dot == JSTRING_NONE ? path.len : dot;
        struct jvalue next;
        if (!jinja_lookup_path(run, *out, jvalue_string(jstring_slice(path, at, end)), &next))
            return false;
        *out = next.kind == JINJA_UNDEFINED ? fallback->value : next;
        at = end + 1;
    }
    return true;
}

static bool map(struct jinja_run *run, struct jnative_call *call) {
    const struct jarguments *all = call->all;
    const struct jkwarg *attribute = all->n ? NULL : keyword(all, "attribute");
    const struct jkwarg *fallback = keyword(all, "default");
    const struct jnative *filter = NULL;
    struct jarguments rest;
    struct jlist *list, *mapped;
    if (!jvalue_truth(call->self))
        return jnative_return_iterator(run, call, jlist_create(run, 0), GENERATOR);
    if (attribute && all->n_keywords != 1 + (size_t)(fallback != NULL))
        return jinja_fail(run, "map: unexpected keyword argument");
    if (!attribute && !all->n)
        return jinja_fail(run, "map requires a filter argument");
    if ((!attribute && !named_native(run, all, 0, true, &filter, &rest)) ||
        !jvalue_to_list(run, call->self, &list) || !(mapped = jlist_create(run, list->n)))
        return false;
    call->yielded = mapped;
    for (size_t i = 0; i < list->n; i++) {
        bool ok = attribute ? mapped_attribute(run, list->items[i], attribute->value, fallback,
                                               &mapped->items[i])
                            : jnative_call(run, filter, list->items[i], &rest, &mapped->items[i]);
        if (!ok) {
            mapped->n = i;
            return false;
        }
    }
    return jnative_return_iterator(run, call, mapped, GENERATOR);
}

enum { SELECT_ATTRIBUTE = 1, SELECT_REJECT = 2 };

static bool select_items(struct jinja_run *run, struct jnative_call *call) {
    const struct jarguments *all = call->all;
    bool by_attribute = call->native->data & SELECT_ATTRIBUTE;
    bool wanted = !(call->native->data & SELECT_REJECT);
    const struct jnative *test = NULL;
    struct jarguments rest;
    struct jlist *list, *kept = jlist_create(run, 0);
    size_t capacity = 0;
    if (!kept)
        return false;
    call->yielded = kept;
    if (!jvalue_truth(call->self))
        return jnative_return_iterator(run, call, kept, GENERATOR);
    if (by_attribute && !all->n)
        return jinja_fail(run, "%s: missing parameter for attribute name", call->native->name);
    if ((all->n > by_attribute && !named_native(run, all, by_attribute, false, &test, &rest)) ||
        !jvalue_to_list(run, call->self, &list))
        return false;
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue value = list->items[i];
        if (by_attribute && !jinja_lookup_path(run, list->items[i], all->positional[0], &value))
            return false;
        bool answer = jvalue_truth(value);
        if (test && !jnative_test(run, test, value, &rest, &answer))
            return false;
        if (answer == wanted && !jlist_push(run, kept, &capacity, list->items[i]))
            return false;
    }
    return jnative_return_iterator(run, call, kept, GENERATOR);
}

const struct jnative jinja_lazy_filters[] = {
    {"items", "", items, 0},
    {"unique", "?case_sensitive,attribute", unique, 0},
    {"batch", "linecount,?fill_with", batch, 0},
    {"slice", "slices,?fill_with", slice, 0},
    {"map", NULL, map, 0},
    {"select", NULL, select_items, 0},
    {"reject", NULL, select_items, SELECT_REJECT},
    {"selectattr", NULL, select_items, SELECT_ATTRIBUTE},
    {"rejectattr", NULL, select_items, SELECT_ATTRIBUTE | SELECT_REJECT},
    {NULL, NULL, NULL, 0},
};
