/* Filters on lists and other iterables that give a value or a list. */
#include <string.h>

#include "chat/jinja_interp.h"
#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

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

/* ---- one item
 * ------------------------------------------------------------------------------------ */

static bool first(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    if (call->self.kind == JINJA_ITERATOR) {
        struct jiterator *it = call->self.as.iterator;
        if (it->position < it->list->n) {
            call->result = it->list->items[it->position++];
            return true;
        }
        if (!jiterator_end(run, it))
            return false;
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
        call->result =
            jvalue_undefined(JUNDEF_HINT, STR_LIT("No aggregated item, sequence was empty."));
        return true;
    }
    for (size_t i = 0; i < list->n; i++) {
        int order = 0;
        if (!jinja_sort_key(run, list->items[i], call->arg[1], case_sensitive, &key) ||
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

/* ---- other lists
 * ------------------------------------------------------------------------------------ */

static bool to_list(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    return jvalue_to_list(run, call->self, &list) && jnative_return_list(call, list);
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

/* "a,b.c" as the list of its keys. A single key is a list too: lists are ordered by their
 * first items that are not equal, so that undefined items are as good as each other. */
static bool sort_keys(struct jinja_run *run, struct jvalue item, struct jvalue attribute,
                      bool case_sensitive, struct jvalue *key) {
    bool several = attribute.kind == JINJA_STRING;
    struct str s = several ? attribute.as.text : STR_LIT("");
    struct jlist *list = jlist_create(run, jstring_count(s, STR_LIT(",")) + 1);
    if (!list)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t comma = jstring_find(s, STR_LIT(","), at);
        struct str part = jstring_slice(s, at, comma == JSTRING_NONE ? s.len : comma);
        if (!jinja_sort_key(run, item, several ? jvalue_string(part) : attribute, case_sensitive,
                            &list->items[i]))
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
        if (!sort_keys(run, list->items[i], call->arg[2], jnative_flag(call, 1, false), &keys[i]))
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
        if (!jnative_flag(call, 0, false) && !jinja_ignore_case(run, &keys[i]))
            return false;
    }
    return jinja_sort(run, list->items, keys, list->n, jnative_flag(call, 2, false)) &&
           jnative_return_list(call, list);
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
    return case_sensitive || jinja_ignore_case(run, key);
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
    {"reverse", "", reverse, 0},
    {"sort", "?reverse,case_sensitive,attribute", sort, 0},
    {"dictsort", "?case_sensitive,by,reverse", dictsort, 0},
    {"groupby", "attribute,?default,case_sensitive", groupby, 0},
    {NULL, NULL, NULL, 0},
};
