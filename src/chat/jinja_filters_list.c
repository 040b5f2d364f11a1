/* Filters on lists and other iterables. Jinja's generators are made at once here, but stay
 * read-once and without a length. */
#include <string.h>

#include "chat/jinja_interp.h"
#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

static const char GENERATOR[] = "generator";

static struct jvalue tuple_of(struct jlist *list) {
    return (struct jvalue){.kind = JINJA_TUPLE, .as.list = list};
}

/* A copy that may be changed. */
static struct jlist *copy_list(struct jinja_run *run, const struct jlist *list) {
    struct jlist *copy = jlist_create(run, list->n);
    if (copy && list->n)
        memcpy(copy->items, list->items, list->n * sizeof *copy->items);
    return copy;
}

/* ignore_case of jinja2.filters: strings lowered, other values as they are. */
static bool ignore_case(struct jinja_run *run, struct jvalue *v) {
    struct buffer out;
    if (v->kind != JINJA_STRING)
        return true;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    jstring_change_case(v->as.text, JCASE_LOWER, &out);
    return jinja_take_buffer(run, &out, v);
}

static bool key_of(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                   bool case_sensitive, struct jvalue *key) {
    return jinja_lookup_path(run, item, attribute, key) &&
           (case_sensitive || ignore_case(run, key));
}

/* ---- one item ------------------------------------------------------------------------------------ */

static bool first(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (call->self.kind == JINJA_ITERATOR) {
        struct jiterator *it = call->self.as.iterator;
        if (it->position < it->list->n) {
            call->result = it->list->items[it->position++];
            return true;
        }
    }
    if (!jvalue_to_list(run, call->self, &list))
        return false;
    call->result =
        list->n ? list->items[0]
                : jvalue_undefined(JUNDEF_HINT, STR_LIT("No first item, sequence was empty."));
    return true;
}

static bool is_generator(struct jvalue v) {
    return v.kind == JINJA_ITERATOR || v.kind == JINJA_LOOP;
}

static bool last(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (is_generator(call->self))
        return jinja_fail(run, "'%s' object is not reversible", jvalue_type_name(call->self));
    if (!jvalue_to_list(run, call->self, &list))
        return false;
    call->result =
        list->n ? list->items[list->n - 1]
                : jvalue_undefined(JUNDEF_HINT, STR_LIT("No last item, sequence was empty."));
    return true;
}

static bool length(struct jinja_run *run, struct jnative_call *call) {
    bool known;
    size_t n;
    if (!jvalue_length(run, call->self, &known, &n))
        return false;
    if (!known)
        return jinja_fail(run, "object of type '%s' has no len()", jvalue_type_name(call->self));
    call->result = jvalue_int((int64_t)n);
    return true;
}

/* min and max: the first of the extreme items. */
static bool extreme(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    struct jvalue best_key, key;
    bool case_sensitive = jnative_flag(call, 0, false);
    if (!jvalue_to_list(run, call->self, &list))
        return false;
    if (list->n == 0) {
        call->result = jvalue_undefined(JUNDEF_HINT,
                                        STR_LIT("No aggregated item, sequence was empty."));
        return true;
    }
    for (size_t i = 0; i < list->n; i++) {
        int order = 0;
        if (!key_of(run, list->items[i], call->arg[1], case_sensitive, &key) ||
            (i && !jvalue_compare(run, key, best_key, &order)))
            return false;
        if (i && order != call->native->data)
            continue;
        best_key = key;
        call->result = list->items[i];
    }
    return true;
}

static bool sum(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    struct jvalue total = call->arg[1].kind == JINJA_MISSING ? jvalue_int(0) : call->arg[1];
    if (total.kind == JINJA_STRING)
        return jinja_fail(run, "sum() can't sum strings");
    if (!jvalue_to_list(run, call->self, &list))
        return false;
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue item, next;
        if (!jinja_lookup_path(run, list->items[i], call->arg[0], &item) ||
            !jinja_binary(run, BINARY_ADD, total, item, &next))
            return false;
        total = next;
    }
    call->result = total;
    return true;
}

static bool join(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    struct str separator = STR_LIT("");
    if (!jvalue_to_list(run, call->self, &list) ||
        (call->arg[0].kind != JINJA_MISSING && !jvalue_to_text(run, call->arg[0], &separator)))
        return false;
    struct buffer out;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue item;
        if (i)
            buffer_append_str(&out, separator);
        if (!jinja_lookup_path(run, list->items[i], call->arg[1], &item) ||
            !jvalue_write(run, item, &out)) {
            buffer_release(&out);
            return false;
        }
    }
    return jinja_take_buffer(run, &out, &call->result);
}

/* ---- other lists ------------------------------------------------------------------------------------ */

static bool to_list(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    return jvalue_to_list(run, call->self, &list) && jnative_return_list(call, list);
}

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
    return jvalue_to_list(run, pairs, &list) &&
           jnative_return_iterator(run, call, list, GENERATOR);
}

static bool reverse(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (call->self.kind == JINJA_STRING)
        return jinja_get_slice(run, call->self, jvalue_none(), jvalue_none(), jvalue_int(-1),
                               &call->result);
    if (!jvalue_is_iterable(call->self))
        return jinja_fail(run, "reverse needs an iterable, not %s", jvalue_type_name(call->self));
    if (!jvalue_to_list(run, call->self, &list))
        return false;
    struct jlist *reversed = jlist_create(run, list->n);
    if (!reversed)
        return false;
    for (size_t i = 0; i < list->n; i++)
        reversed->items[i] = list->items[list->n - 1 - i];
    if (is_generator(call->self))
        return jnative_return_list(call, reversed);
    return jnative_return_iterator(run, call, reversed, "list_reverseiterator");
}

/* "a,b.c" as the list of its keys. */
static bool keys_of(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                    bool case_sensitive, struct jvalue *key) {
    if (attribute.kind != JINJA_STRING ||
        jstring_find(attribute.as.text, STR_LIT(","), 0) == JSTRING_NONE)
        return key_of(run, item, attribute, case_sensitive, key);
    struct str s = attribute.as.text;
    struct jlist *list = jlist_create(run, jstring_count(s, STR_LIT(",")) + 1);
    if (!list)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t comma = jstring_find(s, STR_LIT(","), at);
        struct str part = jstring_slice(s, at, comma == JSTRING_NONE ? s.len : comma);
        if (!key_of(run, item, jvalue_string(part), case_sensitive, &list->items[i]))
            return false;
        at = comma + 1;
    }
    *key = jvalue_list(list);
    return true;
}

static bool sort(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (!jvalue_to_list(run, call->self, &list) || !(list = copy_list(run, list)))
        return false;
    struct jvalue *keys = jinja_alloc(run, list->n, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (!keys_of(run, list->items[i], call->arg[2], jnative_flag(call, 1, false), &keys[i]))
            return false;
    return jinja_sort(run, list->items, keys, list->n, jnative_flag(call, 0, false)) &&
           jnative_return_list(call, list);
}

static bool dictsort(struct jinja_run *run, struct jnative_call *call) {
    struct str by;
    if (call->self.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, call->self);
    if (call->self.kind != JINJA_DICT)
        return jinja_fail(run, "dictsort needs a mapping, not %s", jvalue_type_name(call->self));
    if (!jnative_text(run, call, 1, &by))
        return false;
    bool by_value = str_is(by, "value");
    if (by.ptr && !by_value && !str_is(by, "key"))
        return jinja_fail(run, "dictsort sorts by either \"key\" or \"value\"");
    struct jview view = {call->self.as.dict, JVIEW_ITEMS};
    struct jlist *list;
    if (!jvalue_to_list(run, (struct jvalue){.kind = JINJA_VIEW, .as.view = &view}, &list))
        return false;
    struct jvalue *keys = jinja_alloc(run, list->n, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < list->n; i++) {
        keys[i] = list->items[i].as.list->items[by_value];
        if (!jnative_flag(call, 0, false) && !ignore_case(run, &keys[i]))
            return false;
    }
    return jinja_sort(run, list->items, keys, list->n, jnative_flag(call, 2, false)) &&
           jnative_return_list(call, list);
}

static bool unique(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list, *kept = jlist_create(run, 0);
    struct jdict *seen = jdict_create(run, 0);
    size_t capacity = 0;
    if (!kept || !seen || !jvalue_to_list(run, call->self, &list))
        return false;
    for (size_t i = 0; i < list->n; i++) {
        struct jvalue key, *known;
        if (!key_of(run, list->items[i], call->arg[1], jnative_flag(call, 0, false), &key) ||
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
    if (size == 0 && list->n && !jlist_push(run, rows, &capacity, jvalue_list(jlist_create(run, 0))))
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

static bool add_group(struct jinja_run *run, struct jlist *groups, size_t *capacity,
                      struct jvalue key, struct jlist *members) {
    struct jlist *pair = jlist_create(run, 2);
    if (!pair)
        return false;
    pair->items[0] = key;
    pair->items[1] = jvalue_list(members);
    struct jvalue group = tuple_of(pair);
    group.flag = 1; /* has .grouper and .list */
    return jlist_push(run, groups, capacity, group);
}

/* attribute, with the default instead of undefined */
static bool group_key(struct jinja_run *run, struct jnative_call *call, struct jvalue item,
                      bool case_sensitive, struct jvalue *key) {
    if (!jinja_lookup_path(run, item, call->arg[0], key))
        return false;
    bool has_default = call->arg[1].kind != JINJA_MISSING && call->arg[1].kind != JINJA_NONE;
    if (key->kind == JINJA_UNDEFINED && has_default)
        *key = call->arg[1];
    return case_sensitive || ignore_case(run, key);
}

static bool groupby(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list, *groups = jlist_create(run, 0);
    size_t capacity = 0;
    bool case_sensitive = jnative_flag(call, 2, false);
    if (!groups || !jvalue_to_list(run, call->self, &list) || !(list = copy_list(run, list)))
        return false;
    struct jvalue *keys = jinja_alloc(run, list->n, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (!group_key(run, call, list->items[i], case_sensitive, &keys[i]))
            return false;
    if (!jinja_sort(run, list->items, keys, list->n, false))
        return false;
    for (size_t from = 0, to; from < list->n; from = to) {
        bool equal = true;
        for (to = from + 1; to < list->n; to++) {
            if (!jvalue_equal(run, keys[from], keys[to], &equal))
                return false;
            if (!equal)
                break;
        }
        struct jlist part = {list->items + from, to - from};
        struct jlist *members = copy_list(run, &part);
        struct jvalue key;
        if (!members || !group_key(run, call, list->items[from], true, &key) ||
            !add_group(run, groups, &capacity, key, members))
            return false;
    }
    return jnative_return_list(call, groups);
}

/* ---- map, select, reject ------------------------------------------------------------------------------ */

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
    for (size_t i = 0; i < list->n; i++) {
        bool ok = attribute ? mapped_attribute(run, list->items[i], attribute->value, fallback,
                                               &mapped->items[i])
                            : jnative_call(run, filter, list->items[i], &rest, &mapped->items[i]);
        if (!ok)
            return false;
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

const struct jnative jinja_list_filters[] = {
    {"first", "", first, 0},
    {"last", "", last, 0},
    {"length", "", length, 0},
    {"count", "", length, 0},
    {"min", "?case_sensitive,attribute", extreme, -1},
    {"max", "?case_sensitive,attribute", extreme, 1},
    {"sum", "?attribute,start", sum, 0},
    {"join", "?d,attribute", join, 0},
    {"list", "", to_list, 0},
    {"items", "", items, 0},
    {"reverse", "", reverse, 0},
    {"sort", "?reverse,case_sensitive,attribute", sort, 0},
    {"dictsort", "?case_sensitive,by,reverse", dictsort, 0},
    {"unique", "?case_sensitive,attribute", unique, 0},
    {"batch", "linecount,?fill_with", batch, 0},
    {"slice", "slices,?fill_with", slice, 0},
    {"groupby", "attribute,?default,case_sensitive", groupby, 0},
    {"map", NULL, map, 0},
    {"select", NULL, select_items, 0},
    {"reject", NULL, select_items, SELECT_REJECT},
    {"selectattr", NULL, select_items, SELECT_ATTRIBUTE},
    {"rejectattr", NULL, select_items, SELECT_ATTRIBUTE | SELECT_REJECT},
    {NULL, NULL, NULL, 0},
};
