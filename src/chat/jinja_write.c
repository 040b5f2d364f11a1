/* Values as text: str(), repr() and json.dumps(). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "chat/jinja_ast.h"
#include "chat/jinja_loop.h"
#include "chat/jinja_run.h"
#include "chat/jinja_string.h"
#include "chat/jinja_value.h"

static bool write_repr(struct jinja_run *run, struct jvalue v, int depth, struct buffer *out);

/* ---- repr ------------------------------------------------------------------------------ */

static void escape_char(int32_t c, struct buffer *out) {
    if (c < 0x100)
        buffer_printf(out, "\\x%02x", (unsigned)c);
    else if (c < 0x10000)
        buffer_printf(out, "\\u%04x", (unsigned)c);
    else
        buffer_printf(out, "\\U%08x", (unsigned)c);
}

static void write_string_repr(struct str s, struct buffer *out) {
    bool single = jstring_find(s, STR_LIT("'"), 0) != JSTRING_NONE;
    bool both = single && jstring_find(s, STR_LIT("\""), 0) != JSTRING_NONE;
    char quote = single && !both ? '"' : '\'';
    buffer_putc(out, quote);
    for (size_t at = 0; at < s.len && !out->failed;) {
        size_t start = at;
        int32_t c = jstring_decode(s, &at);
        if (c == '\n' || c == '\r' || c == '\t')
            buffer_puts(out, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c == '\\' || c == quote)
            buffer_printf(out, "\\%c", (char)c);
        else if (jstring_is_printable(c))
            buffer_append(out, s.ptr + start, at - start);
        else
            escape_char(c, out);
    }
    buffer_putc(out, quote);
}

static bool write_items_repr(struct jinja_run *run, const struct jlist *list, const char *open,
                             const char *close, int depth, struct buffer *out) {
    buffer_puts(out, open);
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            buffer_puts(out, ", ");
        if (!write_repr(run, list->items[i], depth + 1, out))
            return false;
    }
    buffer_puts(out, close);
    return true;
}

static bool write_dict_repr(struct jinja_run *run, const struct jdict *dict, int depth,
                            struct buffer *out) {
    buffer_putc(out, '{');
    for (size_t i = 0; i < dict->n; i++) {
        if (i)
            buffer_puts(out, ", ");
        if (!write_repr(run, dict->entries[i].key, depth + 1, out))
            return false;
        buffer_puts(out, ": ");
        if (!write_repr(run, dict->entries[i].value, depth + 1, out))
            return false;
    }
    buffer_putc(out, '}');
    return true;
}

static bool write_view_repr(struct jinja_run *run, struct jvalue v, int depth, struct buffer *out) {
    struct jlist *list;
    buffer_printf(out, "%s(", jvalue_type_name(v));
    if (!jvalue_to_list(run, v, &list) || !write_items_repr(run, list, "[", "]", depth, out))
        return false;
    buffer_putc(out, ')');
    return true;
}

static void write_range_repr(const struct jrange *range, struct buffer *out) {
    buffer_printf(out, "range(%" PRId64 ", %" PRId64, range->start, range->stop);
    if (range->step != 1)
        buffer_printf(out, ", %" PRId64, range->step);
    buffer_putc(out, ')');
}

static bool write_object_repr(struct jinja_run *run, struct jvalue v, int depth,
                              struct buffer *out) {
    int64_t length;
    switch ((enum jkind)v.kind) {
    case JINJA_NAMESPACE:
        buffer_puts(out, "<Namespace ");
        if (!write_dict_repr(run, v.as.dict, depth, out))
            return false;
        buffer_putc(out, '>');
        return true;
    case JINJA_MACRO:
        buffer_puts(out, "<Macro ");
        if (v.as.macro->node->kind == NODE_MACRO)
            write_string_repr(v.as.macro->node->as.macro.name, out);
        else
            buffer_puts(out, "anonymous");
        buffer_putc(out, '>');
        return true;
    case JINJA_LOOP:
        if (!jloop_length(run, v.as.loop, &length))
            return false;
        buffer_printf(out, "<LoopContext %" PRId64 "/%" PRId64 ">", v.as.loop->index0 + 1, length);
        return true;
    default:
        buffer_printf(out, "<%s object>", jvalue_type_name(v));
        return true;
    }
}

static bool write_repr(struct jinja_run *run, struct jvalue v, int depth, struct buffer *out) {
    char number[40];
    if (depth > JINJA_VALUE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    if (!jinja_charge(run, 1) || !jinja_check_buffer(run, out))
        return false;
    switch ((enum jkind)v.kind) {
    case JINJA_MISSING:
    case JINJA_UNDEFINED:
        buffer_puts(out, "Undefined");
        return true;
    case JINJA_NONE:
        buffer_puts(out, "None");
        return true;
    case JINJA_BOOL:
        buffer_puts(out, v.as.boolean ? "True" : "False");
        return true;
    case JINJA_INT:
        buffer_printf(out, "%" PRId64, v.as.integer);
        return true;
    case JINJA_FLOAT:
        json_format_float(v.as.number, number);
        buffer_puts(out, number);
        return true;
    case JINJA_STRING:
        if (v.flag)
            buffer_puts(out, "Markup(");
        write_string_repr(v.as.text, out);
        if (v.flag)
            buffer_putc(out, ')');
        return true;
    case JINJA_LIST:
        return write_items_repr(run, v.as.list, "[", "]", depth, out);
    case JINJA_TUPLE:
        return write_items_repr(run, v.as.list, "(", v.as.list->n == 1 ? ",)" : ")", depth, out);
    case JINJA_DICT:
        return write_dict_repr(run, v.as.dict, depth, out);
    case JINJA_RANGE:
        write_range_repr(v.as.range, out);
        return true;
    case JINJA_VIEW:
        return write_view_repr(run, v, depth, out);
    default:
        return write_object_repr(run, v, depth, out);
    }
}

bool jvalue_write_repr(struct jinja_run *run, struct jvalue v, struct buffer *out) {
    return write_repr(run, v, 0, out) && jinja_check_buffer(run, out);
}

bool jvalue_write(struct jinja_run *run, struct jvalue v, struct buffer *out) {
    if (v.kind == JINJA_UNDEFINED)
        return true;
    if (v.kind != JINJA_STRING)
        return jvalue_write_repr(run, v, out);
    buffer_append_str(out, v.as.text);
    return jinja_charge_bytes(run, v.as.text.len) && jinja_check_buffer(run, out);
}

bool jvalue_to_text(struct jinja_run *run, struct jvalue v, struct str *out) {
    if (v.kind == JINJA_STRING) {
        *out = v.as.text;
        return true;
    }
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    struct jvalue copy;
    if (!jvalue_write(run, v, &text)) {
        buffer_release(&text);
        return false;
    }
    if (!jinja_take_buffer(run, &text, &copy))
        return false;
    *out = copy.as.text;
    return true;
}

struct str jvalue_repr_text(struct jinja_run *run, struct jvalue v) {
    enum { SHOWN_BYTES = 200 };
    struct jvalue text = jvalue_string(STR_LIT("..."));
    struct buffer repr;
    buffer_init(&repr, SHOWN_BYTES);
    enum quern_status before = run->status;
    bool ok = write_repr(run, v, 0, &repr) && !repr.failed;
    if (ok)
        ok = jinja_take_buffer(run, &repr, &text);
    else
        buffer_release(&repr);
    if (!ok && !before && run->status == QUERN_ERR_LIMIT)
        run->status = QUERN_OK; /* too long to show is no failure of the template */
    return text.as.text;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void write_json_ascii(struct str s, struct buffer *out) {
    size_t plain = 0; /* where the ASCII run before the current character starts */
    for (size_t at = 0; at < s.len && !out->failed;) {
        size_t start = at;
        int32_t c = jstring_decode(s, &at);
        if (c < 0x80)
            continue;
        json_write_escaped(jstring_slice(s, plain, start), out);
        plain = at;
        if (c < 0x10000) {
            buffer_printf(out, "\\u%04x", (unsigned)c);
        } else {
            unsigned rest = (unsigned)c - 0x10000;
            buffer_printf(out, "\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
        }
    }
    json_write_escaped(jstring_slice(s, plain, s.len), out);
}

static void write_json_string(struct str s, bool ascii, struct buffer *out) {
    buffer_putc(out, '"');
    if (ascii)
        write_json_ascii(s, out);
    else
        json_write_escaped(s, out);
    buffer_putc(out, '"');
}

static void json_new_line(const struct jjson_style *style, int depth, struct buffer *out) {
    if (!style->indented)
        return;
    buffer_putc(out, '\n');
    for (int i = 0; i < depth; i++)
        buffer_append_str(out, style->indent);
}

static bool write_json_list(struct jinja_run *run, const struct jlist *list,
                            const struct jjson_style *style, int depth, struct buffer *out) {
    buffer_putc(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        if (i)
            buffer_append_str(out, style->item_separator);
        json_new_line(style, depth + 1, out);
        if (!jvalue_write_json(run, list->items[i], style, depth + 1, out))
            return false;
    }
    if (list->n)
        json_new_line(style, depth, out);
    buffer_putc(out, ']');
    return true;
}

static bool write_json_key(struct jinja_run *run, struct jvalue key,
                           const struct jjson_style *style, struct buffer *out) {
    struct str text;
    switch ((enum jkind)key.kind) {
    case JINJA_STRING:
        text = key.as.text;
        break;
    case JINJA_NONE:
        text = STR_LIT("null");
        break;
    case JINJA_BOOL:
        text = str_from(key.as.boolean ? "true" : "false");
        break;
    case JINJA_INT:
    case JINJA_FLOAT:
        if (!jvalue_to_text(run, key, &text))
            return false;
        break;
    default:
        return jinja_fail(run, "keys must be str, int, float, bool or None, not %s",
                          jvalue_type_name(key));
    }
    if (key.kind == JINJA_FLOAT && !isfinite(key.as.number))
        text = str_from(isnan(key.as.number) ? "NaN"
                        : key.as.number < 0  ? "-Infinity"
                                             : "Infinity");
    write_json_string(text, style->ascii, out);
    return true;
}

/* Insertion sort: keys are few, and Python's order of equal keys cannot arise. */
static bool sort_entries(struct jinja_run *run, struct jentry *entries, size_t n) {
    for (size_t i = 1; i < n; i++) {
        struct jentry moved = entries[i];
        size_t at = i;
        while (at > 0) {
            int order;
            if (!jinja_charge(run, 1) ||
                !jvalue_compare(run, entries[at - 1].key, moved.key, &order))
                return false;
            if (order <= 0)
                break;
            entries[at] = entries[at - 1];
            at--;
        }
        entries[at] = moved;
    }
    return true;
}

static bool write_json_dict(struct jinja_run *run, const struct jdict *dict,
                            const struct jjson_style *style, int depth, struct buffer *out) {
    const struct jentry *entries = dict->entries;
    if (style->sort_keys && dict->n > 1) {
        struct jentry *sorted = jinja_alloc(run, dict->n, sizeof *sorted);
        if (!sorted)
            return false;
        for (size_t i = 0; i < dict->n; i++)
            sorted[i] = dict->entries[i];
        if (!sort_entries(run, sorted, dict->n))
            return false;
        entries = sorted;
    }
    buffer_putc(out, '{');
    for (size_t i = 0; i < dict->n; i++) {
        if (i)
            buffer_append_str(out, style->item_separator);
        json_new_line(style, depth + 1, out);
        if (!write_json_key(run, entries[i].key, style, out))
            return false;
        buffer_append_str(out, style->key_separator);
        if (!jvalue_write_json(run, entries[i].value, style, depth + 1, out))
            return false;
    }
    if (dict->n)
        json_new_line(style, depth, out);
    buffer_putc(out, '}');
    return true;
}

bool jvalue_write_json(struct jinja_run *run, struct jvalue v, const struct jjson_style *style,
                       int depth, struct buffer *out) {
    if (depth > JINJA_VALUE_DEPTH_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a value is nested too deeply");
    if (!jinja_charge(run, 1) || !jinja_check_buffer(run, out))
        return false;
    switch ((enum jkind)v.kind) {
    case JINJA_NONE:
        buffer_puts(out, "null");
        return true;
    case JINJA_BOOL:
        buffer_puts(out, v.as.boolean ? "true" : "false");
        return true;
    case JINJA_FLOAT:
        if (!isfinite(v.as.number)) {
            buffer_puts(out, isnan(v.as.number) ? "NaN"
                             : v.as.number < 0  ? "-Infinity"
                                                : "Infinity");
            return true;
        }
        return jvalue_write_repr(run, v, out);
    case JINJA_INT:
        return jvalue_write_repr(run, v, out);
    case JINJA_STRING:
        write_json_string(v.as.text, style->ascii, out);
        return true;
    case JINJA_LIST:
    case JINJA_TUPLE:
        return write_json_list(run, v.as.list, style, depth, out);
    case JINJA_DICT:
        return write_json_dict(run, v.as.dict, style, depth, out);
    default:
        return jinja_fail(run, "Object of type %s is not JSON serializable", jvalue_type_name(v));
    }
}
