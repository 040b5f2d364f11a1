/* Truth, equality, order, length, membership and iteration, as Python defines them. */
#include <math.h>
#include <string.h>

#include "chat/jinja_run.h"
#include "chat/jinja_string.h"
#include "chat/jinja_value.h"
#include "text/unicode.h"

const char *jvalue_type_name(struct jvalue v) {
    switch ((enum jkind)v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
        return "Undefined";
    case JINJA_NONE:
        return "NoneType";
    case JINJA_BOOL:
        return "bool";
    case JINJA_INT:
        return "int";
    case JINJA_FLOAT:
        return "float";
    case JINJA_STRING:
        return v.flag ? "Markup" : "str";
    case JINJA_LIST:
        return "list";
    case JINJA_TUPLE:
        return "tuple";
    case JINJA_DICT:
        return "dict";
    case JINJA_RANGE:
        return "range";
    case JINJA_VIEW:
        break;
    case JINJA_ITERATOR:
        return v.as.iterator ? v.as.iterator->type_name : "generator";
    case JINJA_NAMESPACE:
        return "Namespace";
    case JINJA_MACRO:
        return "Macro";
    case JINJA_FUNCTION:
        return "function";
    case JINJA_METHOD:
        return "builtin_function_or_method";
    case JINJA_LOOP:
        return "LoopContext";
    }
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    return v.as.view ? views[v.as.view->kind] : views[0];
}

bool jvalue_truth(struct jvalue v) {
    switch ((enum jkind)v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return v.as.boolean;
    case JINJA_INT:
        return v.as.integer != 0;
    case JINJA_FLOAT:
        return v.as.number != 0.0;
    case JINJA_STRING:
        return v.as.text.len != 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return v.as.list->n != 0;
    case JINJA_DICT:
        return v.as.dict->n != 0;
    case JINJA_RANGE:
        return v.as.range->length != 0;
    case JINJA_VIEW:
        return v.as.view->dict->n != 0;
    default:
        return true;
    }
}

bool jvalue_is_number(struct jvalue v) {
    return v.kind == JINJA_BOOL || v.kind == JINJA_INT || v.kind == JINJA_FLOAT;
}

static int64_t integer_of(struct jvalue v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

double jvalue_to_double(struct jvalue v) {
    return v.kind == JINJA_FLOAT ? v.as.number : (double)integer_of(v);
}

/* Exact, though not every 64-bit integer is a double. */
static int order_int_double(int64_t i, double d) {
    if (isnan(d))
        return 2;
    if (d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t whole = (int64_t)floor(d);
    if (i != whole)
        return i < whole ? -1 : 1;
    return (double)whole < d ? -1 : 0;
}

static int order_numbers(struct jvalue a, struct jvalue b) {
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT) {
        int64_t x = integer_of(a), y = integer_of(b);
        return x < y ? -1 : x > y;
    }
    if (a.kind != JINJA_FLOAT)
        return order_int_double(integer_of(a), b.as.number);
    if (b.kind != JINJA_FLOAT) {
        int order = order_int_double(integer_of(b), a.as.number);
        return order == 2 ? 2 : -order;
    }
    double x = a.as.number, y = b.as.number;
    return isnan(x) || isnan(y) ? 2 : x < y ? -1 : x > y;
}

static int order_texts(struct str a, struct str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (order)
        return order < 0 ? -1 : 1;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool jvalue_same(struct jvalue a, struct jvalue b) {
    if (a.kind != b.kind)
        return false;
    switch ((enum jkind)a.kind) {
    case JINJA_NONE:
        return true;
    case JINJA_BOOL:
        return a.as.boolean == b.as.boolean;
    case JINJA_INT:
        return a.as.integer == b.as.integer;
    case JINJA_FLOAT:
        return memcmp(&a.as.number, &b.as.number, sizeof(double)) == 0;
    case JINJA_UNDEFINED:
    case JINJA_STRING:
        return a.as.text.ptr == b.as.text.ptr && a.as.text.len == b.as.text.len;
    default:
        return a.as.pointer == b.as.pointer;
    }
}

static bool equal_values(struct jinja_run *run, struct jvalue a, struct jvalue b, int depth,
                         bool *equal);

static bool equal_lists(struct jinja_run *run, const struct jlist *a, const struct jlist *b,
                        int depth, bool *equal) {
    *equal = a->n == b->n;
    for (size_t i = 0; *equal && i < a->n; i++)
        if (!equal_values(run, a->items[i], b->items[i], depth + 1, equal))
            return false;
    return true;
}

static bool equal_dicts(struct jinja_run *run, const struct jdict *a, const struct jdict *b,
                        int depth, bool *equal) {
    *equal = a->n == b->n;
    for (size_t i = 0; *equal && i < a->n; i++) {
        struct jvalue *other;
        if (!jdict_find(run, b, a->entries[i].key, &other))
            return false;
        *equal = other != NULL;
        if (other && !equal_values(run, a->entries[i].value, *other, depth + 1, equal))
            return false;
    }
    return true;
}

static bool equal_ranges(const struct jrange *a, const struct jrange *b) {
    return a->length == b->length && (a->length == 0 || a->start == b->start) &&
           (a->length <= 1 || a->step == b->step);
}

static bool equal_values(struct jinja_run *run, struct jvalue a, struct jvalue b, int depth,
                         bool *equal) {
    if (depth > JINJA_VALUE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    if (depth && !jinja_charge(run, 1))
        return false;
    *equal = false;
    if (jvalue_is_number(a) && jvalue_is_number(b)) {
        *equal = order_numbers(a, b) == 0;
        return true;
    }
    if (a.kind != b.kind)
        return true;
    switch ((enum jkind)a.kind) {
    case JINJA_UNDEFINED:
        *equal = true;
        return true;
    case JINJA_STRING:
        *equal = str_eq(a.as.text, b.as.text);
        return a.as.text.len != b.as.text.len || jinja_charge_bytes(run, a.as.text.len);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return equal_lists(run, a.as.list, b.as.list, depth, equal);
    case JINJA_DICT:
        return equal_dicts(run, a.as.dict, b.as.dict, depth, equal);
    case JINJA_RANGE:
        *equal = equal_ranges(a.as.range, b.as.range);
        return true;
    default:
        *equal = jvalue_same(a, b);
        return true;
    }
}

bool jvalue_equal(struct jinja_run *run, struct jvalue a, struct jvalue b, bool *equal) {
    return equal_values(run, a, b, 0, equal);
}

static bool order_values(struct jinja_run *run, struct jvalue a, struct jvalue b, int depth,
                         int *order);

static bool order_lists(struct jinja_run *run, const struct jlist *a, const struct jlist *b,
                        int depth, int *order) {
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        bool equal;
        if (!equal_values(run, a->items[i], b->items[i], depth + 1, &equal))
            return false;
        if (!equal)
            return order_values(run, a->items[i], b->items[i], depth + 1, order);
    }
    *order = a->n < b->n ? -1 : a->n > b->n;
    return true;
}

static bool order_values(struct jinja_run *run, struct jvalue a, struct jvalue b, int depth,
                         int *order) {
    if (depth > JINJA_VALUE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    if (a.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, a);
    if (b.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, b);
    if (jvalue_is_number(a) && jvalue_is_number(b))
        *order = order_numbers(a, b);
    else if (a.kind == JINJA_STRING && b.kind == JINJA_STRING) {
        *order = order_texts(a.as.text, b.as.text);
        return jinja_charge_bytes(run,
                                  a.as.text.len < b.as.text.len ? a.as.text.len : b.as.text.len);
    } else if (a.kind == b.kind && (a.kind == JINJA_LIST || a.kind == JINJA_TUPLE))
        return order_lists(run, a.as.list, b.as.list, depth, order);
    else
        return jinja_fail(run, "cannot order '%s' and '%s'", jvalue_type_name(a),
                          jvalue_type_name(b));
    return true;
}

bool jvalue_compare(struct jinja_run *run, struct jvalue a, struct jvalue b, int *order) {
    return order_values(run, a, b, 0, order);
}

bool jvalue_length(struct jinja_run *run, struct jvalue v, bool *known, size_t *length) {
    *known = true;
    *length = 0;
    switch ((enum jkind)v.kind) {
    case JINJA_UNDEFINED:
        return true;
    case JINJA_STRING:
        *length = jstring_length(v.as.text);
        return jinja_charge_bytes(run, v.as.text.len);
    case JINJA_LIST:
    case JINJA_TUPLE:
        *length = v.as.list->n;
        return true;
    case JINJA_DICT:
        *length = v.as.dict->n;
        return true;
    case JINJA_RANGE:
        *length = (size_t)v.as.range->length;
        return true;
    case JINJA_VIEW:
        *length = v.as.view->dict->n;
        return true;
    default:
        *known = false;
        return true;
    }
}

bool jvalue_is_iterable(struct jvalue v) {
    switch ((enum jkind)v.kind) {
    case JINJA_UNDEFINED:
    case JINJA_STRING:
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_DICT:
    case JINJA_RANGE:
    case JINJA_VIEW:
    case JINJA_LOOP:
    case JINJA_ITERATOR:
        return true;
    default:
        return false;
    }
}

static bool view_item(struct jinja_run *run, const struct jentry *e, enum jview_kind kind,
                      struct jvalue *out) {
    if (kind != JVIEW_ITEMS) {
        *out = kind == JVIEW_KEYS ? e->key : e->value;
        return true;
    }
    struct jlist *pair = jlist_create(run, 2);
    if (!pair)
        return false;
    pair->items[0] = e->key;
    pair->items[1] = e->value;
    *out = (struct jvalue){.kind = JINJA_TUPLE, .as.list = pair};
    return true;
}

static bool list_view(struct jinja_run *run, const struct jdict *dict, enum jview_kind kind,
                      struct jlist **out) {
    struct jlist *list = jlist_create(run, dict->n);
    for (size_t i = 0; list && i < dict->n; i++)
        if (!view_item(run, &dict->entries[i], kind, &list->items[i]))
            return false;
    *out = list;
    return list != NULL;
}

static bool list_characters(struct jinja_run *run, struct jvalue v, struct jlist **out) {
    struct str s = v.as.text;
    struct jlist *list = jlist_create(run, jstring_length(s));
    if (!list)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t n = jstring_char_bytes(s.ptr[at]);
        list->items[i] = jvalue_string((struct str){s.ptr + at, n});
        at += n;
    }
    *out = list;
    return true;
}

static bool list_range(struct jinja_run *run, const struct jrange *range, struct jlist **out) {
    struct jlist *list = jlist_create(run, (size_t)range->length);
    for (size_t i = 0; list && i < list->n; i++)
        list->items[i] = jvalue_int(jrange_at(range, (int64_t)i));
    *out = list;
    return list != NULL;
}

bool jiterator_end(struct jinja_run *run, const struct jiterator *it) {
    return !it->error || jinja_fail(run, "%s", it->error);
}

static bool list_iterator(struct jinja_run *run, struct jiterator *it, struct jlist **out) {
    struct jlist *list = jinja_alloc(run, 1, sizeof *list);
    if (!list || !jiterator_end(run, it))
        return false;
    list->items = it->list->items + it->position;
    list->n = it->list->n - it->position;
    it->position = it->list->n;
    *out = list;
    return true;
}

bool jvalue_to_list(struct jinja_run *run, struct jvalue v, struct jlist **out) {
    switch ((enum jkind)v.kind) {
    case JINJA_LIST:
    case JINJA_TUPLE:
        *out = v.as.list;
        return true;
    case JINJA_UNDEFINED:
        *out = jlist_create(run, 0);
        return *out != NULL;
    case JINJA_STRING:
        return list_characters(run, v, out);
    case JINJA_DICT:
        return list_view(run, v.as.dict, JVIEW_KEYS, out);
    case JINJA_VIEW:
        return list_view(run, v.as.view->dict, v.as.view->kind, out);
    case JINJA_RANGE:
        return list_range(run, v.as.range, out);
    case JINJA_ITERATOR:
        return list_iterator(run, v.as.iterator, out);
    default:
        return jinja_fail(run, "'%s' object is not iterable", jvalue_type_name(v));
    }
}

static bool range_contains(const struct jrange *range, int64_t i) {
    if (range->length == 0)
        return false;
    bool up = range->step > 0;
    int64_t last = jrange_at(range, range->length - 1);
    int64_t low = up ? range->start : last, high = up ? last : range->start;
    uint64_t stride = up ? (uint64_t)range->step : 0 - (uint64_t)range->step;
    return i >= low && i <= high && ((uint64_t)i - (uint64_t)low) % stride == 0;
}

bool jvalue_contains(struct jinja_run *run, struct jvalue haystack, struct jvalue needle,
                     bool *contains) {
    *contains = false;
    if (haystack.kind == JINJA_STRING) {
        if (needle.kind != JINJA_STRING)
            return jinja_fail(run, "'in <string>' requires string as left operand, not %s",
                              jvalue_type_name(needle));
        *contains = jstring_find(haystack.as.text, needle.as.text, 0) != JSTRING_NONE;
        return jinja_charge_bytes(run, haystack.as.text.len);
    }
    struct jvalue *found = NULL;
    if (haystack.kind == JINJA_DICT ||
        (haystack.kind == JINJA_VIEW && haystack.as.view->kind == JVIEW_KEYS)) {
        const struct jdict *dict =
            haystack.kind == JINJA_DICT ? haystack.as.dict : haystack.as.view->dict;
        if (!jdict_find(run, dict, needle, &found))
            return false;
        *contains = found != NULL;
        return true;
    }
    if (haystack.kind == JINJA_RANGE && (needle.kind == JINJA_INT || needle.kind == JINJA_BOOL)) {
        *contains = range_contains(haystack.as.range, integer_of(needle));
        return true;
    }
    if (!jvalue_is_iterable(haystack))
        return jinja_fail(run, "argument of type '%s' is not iterable", jvalue_type_name(haystack));
    struct jlist *list;
    if (!jvalue_to_list(run, haystack, &list) || !jinja_charge(run, list->n / 8))
        return false;
    for (size_t i = 0; !*contains && i < list->n; i++)
        if (!jvalue_equal(run, list->items[i], needle, contains))
            return false;
    return true;
}
