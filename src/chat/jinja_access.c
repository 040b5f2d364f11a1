/* object.name, object[index], object[a:b:c] as Jinja's sandboxed environment does them. */
#include <string.h>

#include "chat/jinja_interp.h"
#include "chat/jinja_loop.h"
#include "chat/jinja_string.h"

static bool undefined_attribute(struct jvalue object, struct str name, struct jvalue *out) {
    *out = jvalue_undefined(JUNDEF_ATTRIBUTE, name);
    out->of = object.kind;
    return true;
}

static bool unsafe_attribute(struct jinja_run *run, struct jvalue object, struct str name,
                             struct jvalue *out) {
    struct buffer text;
    struct jvalue message;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    buffer_printf(&text, "access to attribute '%.*s' of '%s' object is unsafe.", STR_FMT(name),
                  jvalue_type_name(object));
    if (!jinja_take_buffer(run, &text, &message))
        return false;
    *out = jvalue_undefined(JUNDEF_HINT, message.as.text);
    return true;
}

/* Attributes that are not methods. */
static bool plain_attribute(struct jinja_run *run, struct jvalue object, struct str name,
                            bool *found, struct jvalue *out) {
    *found = true;
    if (object.kind == JINJA_LOOP)
        return jloop_attribute(run, object.as.loop, name, found, out);
    if (object.kind == JINJA_NAMESPACE) {
        struct jvalue *value = jdict_find_text(object.as.dict, name);
        *found = value != NULL;
        if (value)
            *out = *value;
        return true;
    }
    if (object.kind == JINJA_RANGE && str_is(name, "start"))
        *out = jvalue_int(object.as.range->start);
    else if (object.kind == JINJA_RANGE && str_is(name, "stop"))
        *out = jvalue_int(object.as.range->stop);
    else if (object.kind == JINJA_RANGE && str_is(name, "step"))
        *out = jvalue_int(object.as.range->step);
    else if (object.kind == JINJA_TUPLE && object.flag && str_is(name, "grouper"))
        *out = object.as.list->items[0];
    else if (object.kind == JINJA_TUPLE && object.flag && str_is(name, "list"))
        *out = object.as.list->items[1];
    else if (object.kind == JINJA_MACRO && str_is(name, "name"))
        *out = jvalue_string(object.as.macro->node->as.macro.name);
    else
        *found = false;
    return true;
}

static bool make_method(struct jinja_run *run, struct jvalue object, const struct jnative *native,
                        struct jvalue *out) {
    struct jmethod *method = jinja_alloc(run, 1, sizeof *method);
    if (!method)
        return false;
    *method = (struct jmethod){object, native};
    *out = (struct jvalue){.kind = JINJA_METHOD, .as.method = method};
    return true;
}

/* Python's getattr; *found is false where it raises AttributeError. */
static bool python_attribute(struct jinja_run *run, struct jvalue object, struct str name,
                             bool *found, struct jvalue *out) {
    bool forbidden = false;
    const struct jnative *native = jinja_find_method(object, name, &forbidden);
    *found = native || forbidden;
    if (forbidden)
        return unsafe_attribute(run, object, name, out);
    if (native)
        return make_method(run, object, native, out);
    return plain_attribute(run, object, name, found, out);
}

bool jinja_get_attribute(struct jinja_run *run, struct jvalue object, struct str name,
                         struct jvalue *out) {
    if (object.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, object);
    bool found;
    if (!python_attribute(run, object, name, &found, out))
        return false;
    if (found)
        return true;
    struct jvalue *item = object.kind == JINJA_DICT ? jdict_find_text(object.as.dict, name) : NULL;
    if (!item)
        return undefined_attribute(object, name, out);
    *out = *item;
    return true;
}

/* ---- items --------------------------------------------------------------------------------------
 */

static bool is_integer(struct jvalue v) {
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

static int64_t integer_of(struct jvalue v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

static bool string_item(struct jinja_run *run, struct jvalue object, int64_t index, bool *found,
                        struct jvalue *out) {
    struct str s = object.as.text;
    if (!jinja_charge_bytes(run, s.len))
        return false;
    int64_t length = (int64_t)jstring_length(s);
    index += index < 0 ? length : 0;
    *found = index >= 0 && index < length;
    if (!*found)
        return true;
    size_t at = jstring_offset(s, (size_t)index);
    *out = jvalue_string((struct str){s.ptr + at, jstring_char_bytes(s.ptr[at])});
    out->flag = object.flag;
    return true;
}

/* Python's object[index]; *found is false where it raises TypeError or LookupError. */
static bool python_item(struct jinja_run *run, struct jvalue object, struct jvalue index,
                        bool *found, struct jvalue *out) {
    *found = false;
    if (object.kind == JINJA_DICT) {
        struct jvalue *value = NULL;
        bool hashable = index.kind == JINJA_STRING || jvalue_is_hashable(run, index);
        if (run->status || (hashable && !jdict_find(run, object.as.dict, index, &value)))
            return false;
        *found = value != NULL;
        if (value)
            *out = *value;
        return true;
    }
    if (!is_integer(index))
        return true;
    int64_t i = integer_of(index);
    if (object.kind == JINJA_STRING)
        return string_item(run, object, i, found, out);
    bool is_range = object.kind == JINJA_RANGE;
    if (!is_range && object.kind != JINJA_LIST && object.kind != JINJA_TUPLE)
        return true;
    int64_t length = is_range ? object.as.range->length : (int64_t)object.as.list->n;
    i += i < 0 ? length : 0;
    *found = i >= 0 && i < length;
    if (*found)
        *out = is_range ? jvalue_int(jrange_at(object.as.range, i)) : object.as.list->items[i];
    return true;
}

bool jinja_get_item(struct jinja_run *run, struct jvalue object, struct jvalue index,
                    struct jvalue *out) {
    if (object.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, object);
    bool found;
    if (!python_item(run, object, index, &found, out))
        return false;
    if (!found && index.kind == JINJA_STRING) {
        if (!python_attribute(run, object, index.as.text, &found, out))
            return false;
        return found || undefined_attribute(object, index.as.text, out);
    }
    if (!found) {
        *out = jvalue_undefined(JUNDEF_ELEMENT, jvalue_repr_text(run, index));
        out->of = object.kind;
    }
    return !run->status;
}

/* ---- slices
 * ---------------------------------------------------------------------------------------- */

struct bounds {
    int64_t start, stop, step, n; /* stop: as clamped, not the last item */
};

static bool slice_index(struct jinja_run *run, struct jvalue v, int64_t default_value,
                        int64_t *out) {
    *out = default_value;
    if (v.kind == JINJA_NONE || v.kind == JINJA_MISSING)
        return true;
    if (!is_integer(v))
        return jinja_fail(run, "slice indices must be integers or None, not %s",
                          jvalue_type_name(v));
    *out = integer_of(v);
    return true;
}

static int64_t clamp_index(int64_t i, int64_t length, bool backwards) {
    if (i < 0) {
        i += length; /* cannot overflow: i < 0 <= length */
        return i < 0 ? (backwards ? -1 : 0) : i;
    }
    return i >= length ? (backwards ? length - 1 : length) : i;
}

static bool slice_bounds(struct jinja_run *run, int64_t length, struct jvalue start,
                         struct jvalue stop, struct jvalue step, struct bounds *out) {
    int64_t from, to, by;
    if (!slice_index(run, step, 1, &by))
        return false;
    if (by == 0)
        return jinja_fail(run, "slice step cannot be zero");
    bool backwards = by < 0;
    if (!slice_index(run, start, backwards ? INT64_MAX : 0, &from) ||
        !slice_index(run, stop, backwards ? INT64_MIN : INT64_MAX, &to))
        return false;
    from = clamp_index(from, length, backwards);
    to = clamp_index(to, length, backwards);
    if (by == INT64_MIN)
        by++; /* can be negated, and reaches no further */
    int64_t n = backwards ? (from > to ? (from - to - 1) / -by + 1 : 0)
                          : (to > from ? (to - from - 1) / by + 1 : 0);
    *out = (struct bounds){from, to, by, n};
    return true;
}

static bool slice_string(struct jinja_run *run, struct jvalue object, struct bounds b,
                         struct jvalue *out) {
    struct str s = object.as.text;
    if (b.n == 0) {
        *out = jvalue_string(STR_LIT(""));
    } else if (b.step == 1) {
        size_t from = jstring_offset(s, (size_t)b.start);
        struct str rest = jstring_slice(s, from, s.len);
        *out = jvalue_string(jstring_slice(rest, 0, jstring_offset(rest, (size_t)b.n)));
    } else {
        struct jlist *characters;
        if (!jvalue_to_list(run, object, &characters))
            return false;
        struct buffer text;
        buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
        for (int64_t i = 0; i < b.n; i++)
            buffer_append_str(&text, characters->items[b.start + i * b.step].as.text);
        if (!jinja_take_buffer(run, &text, out))
            return false;
    }
    out->flag = object.flag;
    return true;
}

static bool slice_list(struct jinja_run *run, struct jvalue object, struct bounds b,
                       struct jvalue *out) {
    struct jlist *list;
    if (b.step == 1) { /* lists never change, so the items may be shared */
        list = jinja_alloc(run, 1, sizeof *list);
        if (!list)
            return false;
        *list = (struct jlist){object.as.list->items + b.start, (size_t)b.n};
    } else {
        list = jlist_create(run, (size_t)b.n);
        for (int64_t i = 0; list && i < b.n; i++)
            list->items[i] = object.as.list->items[b.start + i * b.step];
    }
    *out = (struct jvalue){.kind = object.kind, .as.list = list};
    return list != NULL;
}

static bool slice_range(struct jinja_run *run, const struct jrange *range, struct bounds b,
                        struct jvalue *out) {
    struct jrange *sliced = jinja_alloc(run, 1, sizeof *sliced);
    if (!sliced)
        return false;
    sliced->start = jrange_at(range, b.start);
    sliced->step = (int64_t)((uint64_t)range->step * (uint64_t)b.step);
    sliced->length = b.n;
    sliced->stop = jrange_at(range, b.stop);
    *out = (struct jvalue){.kind = JINJA_RANGE, .as.range = sliced};
    return true;
}

bool jinja_get_slice(struct jinja_run *run, struct jvalue object, struct jvalue start,
                     struct jvalue stop, struct jvalue step, struct jvalue *out) {
    bool known;
    size_t length;
    struct bounds bounds = {0};
    if (object.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, object);
    if (object.kind != JINJA_STRING && object.kind != JINJA_LIST && object.kind != JINJA_TUPLE &&
        object.kind != JINJA_RANGE)
        return jinja_fail(run, "'%s' object cannot be sliced", jvalue_type_name(object));
    if (!jvalue_length(run, object, &known, &length) ||
        !slice_bounds(run, (int64_t)length, start, stop, step, &bounds))
        return false;
    if (object.kind == JINJA_STRING)
        return slice_string(run, object, bounds, out);
    if (object.kind == JINJA_RANGE)
        return slice_range(run, object.as.range, bounds, out);
    return slice_list(run, object, bounds, out);
}
