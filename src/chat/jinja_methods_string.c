/* str methods: case, classes, stripping, searching. */
#include <string.h>

#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

static struct str self_text(const struct jnative_call *call) {
    return call->self.as.text;
}

static bool need_text(struct jinja_run *run, const struct jnative_call *call, int i,
                      struct str *out) {
    if (!jnative_text(run, call, i, out) || !jinja_charge_bytes(run, call->self.as.text.len))
        return false;
    return out->ptr || jinja_fail(run, "%s() needs a string, not %s", call->native->name,
                                  jvalue_type_name(call->arg[i]));
}

static bool change_case(struct jinja_run *run, struct jnative_call *call) {
    struct buffer out;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    jstring_change_case(self_text(call), (enum jcase)call->native->data, &out);
    return jnative_return_buffer(run, call, &out);
}

static bool is_class(struct jinja_run *run, struct jnative_call *call) {
    call->result = jvalue_bool(jstring_is(self_text(call), (enum jclass)call->native->data));
    return jinja_charge_bytes(run, self_text(call).len);
}

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };

static bool strip(struct jinja_run *run, struct jnative_call *call) {
    struct str chars;
    int sides = call->native->data;
    if (!jnative_text(run, call, 0, &chars) || !jinja_charge_bytes(run, self_text(call).len))
        return false;
    return jnative_return_text(run, call,
                               jstring_strip(self_text(call), chars.ptr ? &chars : NULL,
                                             sides & STRIP_LEFT, sides & STRIP_RIGHT));
}

static bool remove_affix(struct jinja_run *run, struct jnative_call *call) {
    struct str s = self_text(call), affix;
    if (!need_text(run, call, 0, &affix))
        return false;
    bool prefix = call->native->data;
    bool found = prefix ? str_starts_with(s, affix) : str_ends_with(s, affix);
    size_t n = found ? affix.len : 0;
    return jnative_return_text(
        run, call, prefix ? jstring_slice(s, n, s.len) : jstring_slice(s, 0, s.len - n));
}

/* ---- searching
 * ------------------------------------------------------------------------------------- */

/* One index of s[start:end] in bytes, with Python's treatment of negative and large ones. */
static bool bound(struct jinja_run *run, const struct jnative_call *call, int i, bool is_start,
                  int64_t length, size_t *out, bool *beyond) {
    struct str s = self_text(call);
    struct jvalue v = call->arg[i];
    int64_t at = is_start ? 0 : length;
    *beyond = false;
    if (v.kind == JINJA_INT || v.kind == JINJA_BOOL)
        at = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
    else if (v.kind != JINJA_MISSING && v.kind != JINJA_NONE)
        return jinja_fail(run, "slice indices must be integers or None");
    if (at < 0)
        at = at + length < 0 ? 0 : at + length;
    if (at > length) {
        *beyond = is_start;
        at = length;
    }
    *out = jstring_offset(s, (size_t)at);
    return true;
}

/* s[start:end] from arguments 1 and 2; *offset in characters. *valid is false when start lies
 * beyond the end, where not even "" is found. */
static bool window(struct jinja_run *run, const struct jnative_call *call, struct str *out,
                   int64_t *offset, bool *valid) {
    struct str s = self_text(call);
    size_t from, to;
    bool beyond, unused;
    int64_t length = (int64_t)jstring_length(s);
    if (!jinja_charge_bytes(run, s.len) || !bound(run, call, 1, true, length, &from, &beyond) ||
        !bound(run, call, 2, false, length, &to, &unused))
        return false;
    *valid = !beyond && from <= to;
    *out = jstring_slice(s, from, to);
    *offset = (int64_t)jstring_length(jstring_slice(s, 0, from));
    return true;
}

enum { FIND_LAST = 1, FIND_OR_FAIL = 2 };

static bool find(struct jinja_run *run, struct jnative_call *call) {
    struct str sub, s;
    int64_t offset;
    bool valid;
    if (!need_text(run, call, 0, &sub) || !window(run, call, &s, &offset, &valid))
        return false;
    size_t at = JSTRING_NONE;
    if (valid)
        at = call->native->data & FIND_LAST ? jstring_rfind(s, sub) : jstring_find(s, sub, 0);
    if (at == JSTRING_NONE && (call->native->data & FIND_OR_FAIL))
        return jinja_fail(run, "substring not found");
    int64_t index =
        at == JSTRING_NONE ? -1 : offset + (int64_t)jstring_length(jstring_slice(s, 0, at));
    call->result = jvalue_int(index);
    return true;
}

static bool count(struct jinja_run *run, struct jnative_call *call) {
    struct str sub, s;
    int64_t offset;
    bool valid;
    if (!need_text(run, call, 0, &sub) || !window(run, call, &s, &offset, &valid))
        return false;
    call->result = jvalue_int(valid ? (int64_t)jstring_count(s, sub) : 0);
    return true;
}

/* startswith and endswith: a string or a tuple of them. */
static bool has_affix(struct jinja_run *run, struct jnative_call *call) {
    struct str s;
    int64_t offset;
    bool valid, found = false;
    struct jvalue wanted = call->arg[0];
    if (!window(run, call, &s, &offset, &valid))
        return false;
    struct jlist one = {&wanted, 1};
    const struct jlist *list = wanted.kind == JINJA_TUPLE ? wanted.as.list : &one;
    for (size_t i = 0; !found && i < list->n; i++) {
        struct jvalue affix = list->items[i];
        if (affix.kind != JINJA_STRING)
            return jinja_fail(run, "%s() needs a string or a tuple of strings, not %s",
                              call->native->name, jvalue_type_name(affix));
        found = valid && (call->native->data ? str_starts_with(s, affix.as.text)
                                             : str_ends_with(s, affix.as.text));
    }
    call->result = jvalue_bool(found);
    return true;
}

/* ---- replacing and widening
 * ---------------------------------------------------------------------- */

/* Between all characters and at both ends. */
static void replace_empty(struct str s, struct str with, int64_t limit, struct buffer *out) {
    for (size_t at = 0; !out->failed;) {
        if (limit-- != 0)
            buffer_append_str(out, with);
        else
            limit = 0;
        if (at >= s.len)
            break;
        size_t n = jstring_char_bytes(s.ptr[at]);
        buffer_append(out, s.ptr + at, n);
        at += n;
    }
}

static bool replace(struct jinja_run *run, struct jnative_call *call) {
    struct str s = self_text(call), old, with;
    int64_t limit;
    struct buffer out;
    if (!need_text(run, call, 0, &old) || !need_text(run, call, 1, &with) ||
        !jnative_int(run, call, 2, -1, &limit))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    struct buffer escaped;
    buffer_init(&escaped, JINJA_OUTPUT_BYTES_MAX);
    if (call->self.flag && !call->arg[1].flag) {
        jinja_escape_html(with, &escaped);
        with = buffer_str(&escaped);
    }
    size_t at = 0, found;
    if (old.len == 0) {
        replace_empty(s, with, limit, &out);
        at = s.len;
    }
    while (old.len && limit-- != 0 && !out.failed &&
           (found = jstring_find(s, old, at)) != JSTRING_NONE) {
        buffer_append(&out, s.ptr + at, found - at);
        buffer_append_str(&out, with);
        at = found + old.len;
    }
    buffer_append(&out, s.ptr + at, s.len - at);
    buffer_release(&escaped);
    return jnative_return_buffer(run, call, &out);
}

enum { JUSTIFY_LEFT, JUSTIFY_RIGHT, JUSTIFY_CENTER };

static bool justify(struct jinja_run *run, struct jnative_call *call) {
    struct str s = self_text(call), fill;
    int64_t width;
    struct buffer out;
    if (!jnative_int(run, call, 0, 0, &width) || !jnative_text(run, call, 1, &fill))
        return false;
    if (!fill.ptr)
        fill = STR_LIT(" ");
    if (jstring_length(fill) != 1)
        return jinja_fail(run, "the fill character must be exactly one character long");
    int64_t missing = width - (int64_t)jstring_length(s);
    missing = missing < 0 ? 0 : missing;
    int64_t left = call->native->data == JUSTIFY_RIGHT    ? missing
                   : call->native->data == JUSTIFY_CENTER ? missing / 2 + (missing & width & 1)
                                                          : 0;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    for (int64_t i = 0; i < left && !out.failed; i++)
        buffer_append_str(&out, fill);
    buffer_append_str(&out, s);
    for (int64_t i = left; i < missing && !out.failed; i++)
        buffer_append_str(&out, fill);
    return jnative_return_buffer(run, call, &out);
}

static bool zfill(struct jinja_run *run, struct jnative_call *call) {
    struct str s = self_text(call);
    int64_t width;
    struct buffer out;
    if (!jnative_int(run, call, 0, 0, &width))
        return false;
    bool sign = s.len && (s.ptr[0] == '+' || s.ptr[0] == '-');
    int64_t missing = width - (int64_t)jstring_length(s);
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    buffer_append(&out, s.ptr, sign);
    for (int64_t i = 0; i < missing && !out.failed; i++)
        buffer_putc(&out, '0');
    buffer_append(&out, s.ptr + sign, s.len - sign);
    return jnative_return_buffer(run, call, &out);
}

static bool expandtabs(struct jinja_run *run, struct jnative_call *call) {
    struct str s = self_text(call);
    int64_t size, column = 0;
    struct buffer out;
    if (!jnative_int(run, call, 0, 8, &size))
        return false;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    for (size_t at = 0; at < s.len && !out.failed;) {
        size_t start = at;
        int32_t c = jstring_decode(s, &at);
        if (c == '\t') {
            for (int64_t n = size > 0 ? size - column % size : 0; n > 0 && !out.failed;
                 n--, column++)
                buffer_putc(&out, ' ');
            continue;
        }
        buffer_append(&out, s.ptr + start, at - start);
        column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
    return jnative_return_buffer(run, call, &out);
}

const struct jnative jinja_string_methods[] = {
    {"upper", "/", change_case, JCASE_UPPER},
    {"lower", "/", change_case, JCASE_LOWER},
    {"title", "/", change_case, JCASE_TITLE},
    {"capitalize", "/", change_case, JCASE_CAPITALIZE},
    {"swapcase", "/", change_case, JCASE_SWAP},
    {"casefold", "/", change_case, JCASE_FOLD},
    {"isalpha", "/", is_class, JCLASS_ALPHA},
    {"isdecimal", "/", is_class, JCLASS_DECIMAL},
    {"isdigit", "/", is_class, JCLASS_DIGIT},
    {"isnumeric", "/", is_class, JCLASS_NUMERIC},
    {"isalnum", "/", is_class, JCLASS_ALNUM},
    {"isspace", "/", is_class, JCLASS_SPACE},
    {"isprintable", "/", is_class, JCLASS_PRINTABLE},
    {"isascii", "/", is_class, JCLASS_ASCII},
    {"isupper", "/", is_class, JCLASS_UPPER},
    {"islower", "/", is_class, JCLASS_LOWER},
    {"istitle", "/", is_class, JCLASS_TITLE},
    {"isidentifier", "/", is_class, JCLASS_IDENTIFIER},
    {"strip", "/?chars", strip, STRIP_LEFT | STRIP_RIGHT},
    {"lstrip", "/?chars", strip, STRIP_LEFT},
    {"rstrip", "/?chars", strip, STRIP_RIGHT},
    {"removeprefix", "/prefix", remove_affix, 1},
    {"removesuffix", "/suffix", remove_affix, 0},
    {"find", "/sub,?start,end", find, 0},
    {"rfind", "/sub,?start,end", find, FIND_LAST},
    {"index", "/sub,?start,end", find, FIND_OR_FAIL},
    {"rindex", "/sub,?start,end", find, FIND_LAST | FIND_OR_FAIL},
    {"count", "/sub,?start,end", count, 0},
    {"startswith", "/prefix,?start,end", has_affix, 1},
    {"endswith", "/suffix,?start,end", has_affix, 0},
    {"replace", "/old,new,?count", replace, 0},
    {"ljust", "/width,?fill", justify, JUSTIFY_LEFT},
    {"rjust", "/width,?fill", justify, JUSTIFY_RIGHT},
    {"center", "/width,?fill", justify, JUSTIFY_CENTER},
    {"zfill", "/width", zfill, 0},
    {"expandtabs", "?tabsize", expandtabs, 0},
    {NULL, NULL, NULL, 0},
};
