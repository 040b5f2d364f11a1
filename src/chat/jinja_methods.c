/* str methods that split and join; dict, list, tuple and range methods. */
#include <string.h>

#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

/* ---- splitting
 * ----------------------------------------------------------------------------------- */

/* The pieces of a split, growing. */
struct pieces {
    struct jinja_run *run;
    struct jlist *list;
    size_t capacity;
    uint8_t markup;
};

static bool pieces_init(struct pieces *p, struct jinja_run *run, const struct jnative_call *call) {
    *p = (struct pieces){.run = run, .markup = call->self.flag};
    p->list = jlist_create(run, 0);
    return p->list && jinja_charge_bytes(run, call->self.as.text.len);
}

static bool pieces_add(struct pieces *p, struct str s) {
    struct jvalue v = jvalue_string(s);
    v.flag = p->markup;
    return jlist_push(p->run, p->list, &p->capacity, v);
}

static bool split_words(struct pieces *p, struct str s, int64_t limit) {
    size_t at = 0;
    for (;;) {
        struct str rest = jstring_strip(jstring_slice(s, at, s.len), NULL, true, false);
        if (rest.len == 0)
            return true;
        at = (size_t)(rest.ptr - s.ptr);
        if (limit-- == 0) /* the last piece keeps the space at its end */
            return pieces_add(p, rest);
        size_t start = at, end = at;
        while (at < s.len && !jstring_is_space(jstring_decode(s, &at)))
            end = at;
        if (!pieces_add(p, jstring_slice(s, start, end)))
            return false;
    }
}

static bool split_at(struct pieces *p, struct str s, struct str separator, int64_t limit) {
    size_t at = 0, found;
    while (limit-- != 0 && (found = jstring_find(s, separator, at)) != JSTRING_NONE) {
        if (!pieces_add(p, jstring_slice(s, at, found)))
            return false;
        at = found + separator.len;
    }
    return pieces_add(p, jstring_slice(s, at, s.len));
}

/* From the right; the pieces come out last first. */
static bool rsplit_words(struct pieces *p, struct str s, int64_t limit) {
    for (;;) {
        s = jstring_strip(s, NULL, false, true);
        if (s.len == 0)
            return true;
        if (limit-- == 0)
            return pieces_add(p, s);
        size_t start = s.len;
        while (start > 0) {
            size_t before = start;
            if (jstring_is_space(jstring_decode_before(s, &before)))
                break;
            start = before;
        }
        if (!pieces_add(p, jstring_slice(s, start, s.len)))
            return false;
        s = jstring_slice(s, 0, start);
    }
}

static bool rsplit_at(struct pieces *p, struct str s, struct str separator, int64_t limit) {
    size_t found;
    while (limit-- != 0 && (found = jstring_rfind(s, separator)) != JSTRING_NONE) {
        if (!pieces_add(p, jstring_slice(s, found + separator.len, s.len)))
            return false;
        s = jstring_slice(s, 0, found);
    }
    return pieces_add(p, s);
}

static bool split(struct jinja_run *run, struct jnative_call *call) {
    struct str separator, s = call->self.as.text;
    int64_t limit;
    struct pieces p;
    bool from_right = call->native->data, ok;
    if (!jnative_text(run, call, 0, &separator) || !jnative_int(run, call, 1, -1, &limit) ||
        !pieces_init(&p, run, call))
        return false;
    if (separator.ptr && separator.len == 0)
        return jinja_fail(run, "empty separator");
    if (separator.ptr)
        ok = from_right ? rsplit_at(&p, s, separator, limit) : split_at(&p, s, separator, limit);
    else
        ok = from_right ? rsplit_words(&p, s, limit) : split_words(&p, s, limit);
    if (!ok)
        return false;
    struct jvalue *items = p.list->items;
    for (size_t i = 0, n = p.list->n; from_right && i < n / 2; i++) {
        struct jvalue moved = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = moved;
    }
    return jnative_return_list(call, p.list);
}

static bool splitlines(struct jinja_run *run, struct jnative_call *call) {
    struct str s = call->self.as.text;
    bool keep_ends = jnative_flag(call, 0, false);
    struct pieces p;
    if (!pieces_init(&p, run, call))
        return false;
    for (size_t at = 0, end; at < s.len;) {
        size_t start = at;
        struct str line = jstring_next_line(s, &at, &end);
        if (!pieces_add(&p, keep_ends ? jstring_slice(s, start, at) : line))
            return false;
    }
    return jnative_return_list(call, p.list);
}

static bool partition(struct jinja_run *run, struct jnative_call *call) {
    struct str separator, s = call->self.as.text;
    struct pieces p;
    bool from_right = call->native->data;
    if (!jnative_text(run, call, 0, &separator) || !pieces_init(&p, run, call))
        return false;
    if (separator.len == 0)
        return jinja_fail(run, "%s() needs a separator", call->native->name);
    size_t at = from_right ? jstring_rfind(s, separator) : jstring_find(s, separator, 0);
    size_t left = at == JSTRING_NONE ? (from_right ? 0 : s.len) : at;
    size_t right = at == JSTRING_NONE ? left : at + separator.len;
    if (!pieces_add(&p, jstring_slice(s, 0, left)) ||
        !pieces_add(&p, jstring_slice(s, left, right)) ||
        !pieces_add(&p, jstring_slice(s, right, s.len)))
        return false;
    call->result = (struct jvalue){.kind = JINJA_TUPLE, .as.list = p.list};
    return true;
}

static bool join(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    struct buffer out;
    if (!jvalue_to_list(run, call->arg[0], &list))
        return false;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].kind != JINJA_STRING && !call->self.flag)
            return jinja_fail(run, "sequence item %zu: expected str instance, %s found", i,
                              jvalue_type_name(list->items[i]));
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < list->n; i++) {
        struct str item;
        if (!jvalue_to_text(run, list->items[i], &item)) {
            buffer_release(&out);
            return false;
        }
        if (i)
            buffer_append_str(&out, call->self.as.text);
        bool plain = list->items[i].kind != JINJA_STRING || !list->items[i].flag;
        if (call->self.flag && plain)
            jinja_escape_html(item, &out);
        else
            buffer_append_str(&out, item);
    }
    return jnative_return_buffer(run, call, &out);
}

static bool format(struct jinja_run *run, struct jnative_call *call) {
    return jinja_format_braces(run, call->self.as.text, call->all, &call->result) &&
           jnative_return_text(run, call, call->result.as.text);
}

const struct jnative jinja_string_methods_more[] = {
    {"split", "?sep,maxsplit", split, 0},
    {"rsplit", "?sep,maxsplit", split, 1},
    {"splitlines", "?keepends", splitlines, 0},
    {"partition", "/sep", partition, 0},
    {"rpartition", "/sep", partition, 1},
    {"join", "/iterable", join, 0},
    {"format", NULL, format, 0},
    {NULL, NULL, NULL, 0},
};

/* ---- dict
 * ------------------------------------------------------------------------------------------ */

static bool dict_get(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue *found;
    if (!jdict_find(run, call->self.as.dict, call->arg[0], &found))
        return false;
    call->result = found                                ? *found
                   : call->arg[1].kind == JINJA_MISSING ? jvalue_none()
                                                        : call->arg[1];
    return true;
}

static bool dict_view(struct jinja_run *run, struct jnative_call *call) {
    struct jview *view = jinja_alloc(run, 1, sizeof *view);
    if (!view)
        return false;
    *view = (struct jview){call->self.as.dict, (enum jview_kind)call->native->data};
    call->result = (struct jvalue){.kind = JINJA_VIEW, .as.view = view};
    return true;
}

static bool dict_copy(struct jinja_run *run, struct jnative_call *call) {
    const struct jdict *dict = call->self.as.dict;
    struct jdict *copy = jdict_create(run, dict->n);
    for (size_t i = 0; copy && i < dict->n; i++)
        if (!jdict_set(run, copy, dict->entries[i].key, dict->entries[i].value))
            return false;
    call->result = jvalue_dict(copy);
    return copy != NULL;
}

const struct jnative jinja_dict_methods[] = {
    {"get", "/key,?default", dict_get, 0},
    {"keys", "/", dict_view, JVIEW_KEYS},
    {"values", "/", dict_view, JVIEW_VALUES},
    {"items", "/", dict_view, JVIEW_ITEMS},
    {"copy", "/", dict_copy, 0},
    {NULL, NULL, NULL, 0},
};

/* ---- list, tuple, range
 * ------------------------------------------------------------------------------ */

/* index and count */
static bool list_search(struct jinja_run *run, struct jnative_call *call) {
    struct jlist *list;
    int64_t from, to, n = 0;
    if (!jvalue_to_list(run, call->self, &list) || !jnative_int(run, call, 1, 0, &from) ||
        !jnative_int(run, call, 2, INT64_MAX, &to))
        return false;
    int64_t length = (int64_t)list->n;
    from = from < 0 ? (from + length < 0 ? 0 : from + length) : from;
    to = to < 0 ? to + length : to;
    bool counting = call->native->data;
    for (int64_t i = from; i < to && i < length; i++) {
        bool equal;
        if (!jinja_charge(run, 1) || !jvalue_equal(run, list->items[i], call->arg[0], &equal))
            return false;
        n += equal;
        if (equal && !counting) {
            call->result = jvalue_int(i);
            return true;
        }
    }
    call->result = jvalue_int(n);
    return counting ||
           jinja_fail(run, "%.*s is not in the list", STR_FMT(jvalue_repr_text(run, call->arg[0])));
}

static bool list_copy(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    call->result = call->self; /* lists never change */
    return true;
}

const struct jnative jinja_list_methods[] = {
    {"index", "/value,?start,stop", list_search, 0},
    {"count", "/value", list_search, 1},
    {"copy", "/", list_copy, 0},
    {NULL, NULL, NULL, 0},
};
