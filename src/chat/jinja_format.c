/* Python's "%" formatting and str.format(). */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "chat/jinja_interp.h"
#include "chat/jinja_string.h"
#include "text/unicode.h"

enum { FORMAT_WIDTH_MAX = 1 << 20, FORMAT_PRECISION_MAX = 300, NUMBER_BYTES = 720 };

/* One field, in either language. */
struct spec {
    bool minus, plus, space, alternate, zero; /* flags of "%" */
    char align;                               /* of format(): <, >, =, ^ or 0 */
    struct str fill;
    char grouping;            /* ',' or '_' or 0 */
    int64_t width, precision; /* precision -1: none */
    char type;
};

static void pad(struct buffer *out, struct str fill, int64_t n) {
    for (int64_t i = 0; i < n && !out->failed; i++)
        buffer_append_str(out, fill);
}

/* `prefix` is the sign and the base: zeros and "=" go between it and the digits. */
static void put_field(struct buffer *out, const struct spec *s, struct str prefix,
                      struct str body) {
    int64_t missing = s->width - (int64_t)(jstring_length(prefix) + jstring_length(body));
    int64_t left = s->align == '>' ? missing : s->align == '^' ? missing / 2 : 0;
    int64_t inner = s->align == '=' ? missing : 0;
    missing = missing < 0 ? 0 : missing;
    pad(out, s->fill, left);
    buffer_append_str(out, prefix);
    pad(out, s->fill, inner);
    buffer_append_str(out, body);
    if (s->align == '<' || s->align == '^')
        pad(out, s->fill, missing - (left > 0 ? left : 0));
}

static struct str sign_of(const struct spec *s, bool negative) {
    return negative ? STR_LIT("-") : s->plus ? STR_LIT("+") : s->space ? STR_LIT(" ") : STR_LIT("");
}

/* ---- numbers
 * -------------------------------------------------------------------------------------- */

/* Digits of u in a base, into the end of text; returns where they start. */
static size_t digits_of(uint64_t u, unsigned base, bool upper, char *text, size_t size) {
    const char *letters = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t at = size;
    do
        text[--at] = letters[u % base];
    while (u /= base);
    return at;
}

/* Separators every three (hex: four) digits of the whole part. */
static void group_digits(struct str digits, char separator, size_t every, struct buffer *out) {
    size_t whole = 0;
    while (whole < digits.len && digits.ptr[whole] != '.' && digits.ptr[whole] != 'e')
        whole++;
    for (size_t i = 0; i < digits.len; i++) {
        if (separator && i && i < whole && (whole - i) % every == 0)
            buffer_putc(out, separator);
        buffer_putc(out, digits.ptr[i]);
    }
}

static void put_integer(struct buffer *out, const struct spec *s, int64_t value) {
    char text[64], prefix[8];
    char type = s->type;
    unsigned base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t at = digits_of(magnitude, base, type == 'X', text, sizeof text);
    struct str sign = sign_of(s, value < 0), digits = {text + at, sizeof text - at};
    snprintf(prefix, sizeof prefix, "%.*s%s%.1s", STR_FMT(sign),
             s->alternate && base != 10 ? "0" : "", s->alternate && base != 10 ? &type : "");
    struct buffer grouped;
    buffer_init(&grouped, FORMAT_WIDTH_MAX);
    pad(&grouped, STR_LIT("0"), s->precision - (int64_t)digits.len);
    group_digits(digits, s->grouping, base == 10 ? 3 : 4, &grouped);
    put_field(out, s, str_from(prefix), buffer_str(&grouped));
    if (grouped.failed)
        out->failed = grouped.failed;
    buffer_release(&grouped);
}

/* The magnitude of d as printf writes it, but "nan" and "inf" in the case of the
 * type. */
static struct str float_digits(const struct spec *s, double d, char text[NUMBER_BYTES]) {
    char form[8];
    char type = s->type == 'n' ? 'g' : s->type;
    snprintf(form, sizeof form, "%%%s.*%c", s->alternate ? "#" : "", type);
    int precision = s->precision < 0 ? 6 : (int)s->precision;
    bool capital = type >= 'A' && type <= 'Z';
    int n = isfinite(d)
                ? number_print(text, NUMBER_BYTES, form, precision, d)
                : snprintf(text, NUMBER_BYTES, "%s",
                           isnan(d) ? (capital ? "NAN" : "nan") : (capital ? "INF" : "inf"));
    return (struct str){text, (size_t)n};
}

static void put_float(struct buffer *out, const struct spec *s, double d) {
    char text[NUMBER_BYTES];
    bool percent = s->type == '%';
    struct spec plain = *s;
    if (percent) {
        plain.type = 'f';
        d *= 100.0;
    }
    struct str digits;
    if (s->type == 'r') { /* repr: no type given */
        json_format_float(fabs(d), text);
        digits = str_from(text);
    } else {
        digits = float_digits(&plain, fabs(d), text);
    }
    struct buffer body;
    buffer_init(&body, FORMAT_WIDTH_MAX);
    group_digits(digits, isfinite(d) ? s->grouping : '\0', 3, &body);
    if (percent)
        buffer_putc(&body, '%');
    put_field(out, s, sign_of(s, signbit(d) && !isnan(d)), buffer_str(&body));
    if (body.failed)
        out->failed = body.failed;
    buffer_release(&body);
}

static void put_text(struct buffer *out, const struct spec *s, struct str text) {
    if (s->precision >= 0)
        text = jstring_slice(text, 0, jstring_offset(text, (size_t)s->precision));
    put_field(out, s, STR_LIT(""), text);
}

static bool is_integer(struct jvalue v) {
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

static int64_t integer_of(struct jvalue v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

static bool repr_of(struct jinja_run *run, struct jvalue v, struct str *out) {
    struct buffer repr;
    struct jvalue text;
    buffer_init(&repr, JINJA_OUTPUT_BYTES_MAX);
    if (!jvalue_write_repr(run, v, &repr)) {
        buffer_release(&repr);
        return false;
    }
    if (!jinja_take_buffer(run, &repr, &text))
        return false;
    *out = text.as.text;
    return true;
}

/* ---- "%"
 * ---------------------------------------------------------------------------------------------- */

struct percent {
    struct jinja_run *run;
    struct str format;
    size_t at;
    struct jvalue args;
    const struct jlist *tuple; /* NULL: a single value */
    size_t used;
    struct buffer *out;
};

static bool is_mapping(struct jvalue v) {
    return v.kind == JINJA_DICT || v.kind == JINJA_LIST || v.kind == JINJA_RANGE ||
           v.kind == JINJA_UNDEFINED;
}

static bool next_argument(struct percent *p, struct jvalue *out) {
    size_t n = p->tuple ? p->tuple->n : 1;
    if (p->used >= n)
        return jinja_fail(p->run, "not enough arguments for format string");
    *out = p->tuple ? p->tuple->items[p->used] : p->args;
    p->used++;
    return true;
}

static char peek(const struct percent *p) {
    return p->at < p->format.len ? p->format.ptr[p->at] : '\0';
}

/* Digits or "*". */
static bool read_count(struct percent *p, int64_t max, int64_t *out) {
    if (peek(p) == '*') {
        struct jvalue v;
        p->at++;
        if (!next_argument(p, &v))
            return false;
        if (!is_integer(v))
            return jinja_fail(p->run, "* wants int");
        *out = integer_of(v);
    } else {
        *out = 0;
        for (; peek(p) >= '0' && peek(p) <= '9'; p->at++)
            *out = *out <= max ? *out * 10 + (peek(p) - '0') : *out;
    }
    if (*out > max || *out < -max)
        return jinja_fail_with(p->run, QUERN_ERR_LIMIT, "a format's width is too large");
    return true;
}

static bool read_key(struct percent *p, struct jvalue *value) {
    size_t start = ++p->at;
    int depth = 1;
    while (p->at < p->format.len && depth > 0) {
        depth += (peek(p) == '(') - (peek(p) == ')');
        p->at++;
    }
    if (depth)
        return jinja_fail(p->run, "incomplete format key");
    if (p->args.kind != JINJA_DICT)
        return jinja_fail(p->run, "format requires a mapping");
    struct str key = jstring_slice(p->format, start, p->at - 1);
    struct jvalue *found = jdict_find_text(p->args.as.dict, key);
    if (!found)
        return jinja_fail(p->run, "the format's mapping has no key '%.*s'", STR_FMT(key));
    *value = *found;
    return true;
}

static bool read_spec(struct percent *p, struct spec *s, struct jvalue *value, bool *has_value) {
    *s = (struct spec){.precision = -1, .align = '>', .fill = {" ", 1}};
    *has_value = false;
    if (peek(p) == '(') {
        if (!read_key(p, value))
            return false;
        *has_value = true;
    }
    for (;; p->at++) {
        char c = peek(p);
        s->minus |= c == '-';
        s->plus |= c == '+';
        s->space |= c == ' ';
        s->alternate |= c == '#';
        s->zero |= c == '0';
        if (!c || !strchr("-+ #0", c))
            break;
    }
    if (!read_count(p, FORMAT_WIDTH_MAX, &s->width))
        return false;
    if (s->width < 0) {
        s->minus = true;
        s->width = -s->width;
    }
    if (peek(p) == '.') {
        p->at++;
        if (!read_count(p, FORMAT_PRECISION_MAX, &s->precision))
            return false;
        s->precision = s->precision < 0 ? 0 : s->precision;
    }
    if (peek(p) && strchr("hlL", peek(p)))
        p->at++;
    if (p->at >= p->format.len)
        return jinja_fail(p->run, "incomplete format");
    s->type = p->format.ptr[p->at++];
    if (s->minus)
        s->align = '<';
    return true;
}

static bool percent_number(struct percent *p, struct spec *s, struct jvalue v) {
    int64_t i;
    if (s->zero && !s->minus) {
        s->align = '=';
        s->fill = STR_LIT("0");
    }
    if (strchr("eEfFgG", s->type)) {
        if (!jvalue_is_number(v))
            return jinja_fail(p->run, "must be real number, not %s", jvalue_type_name(v));
        put_float(p->out, s, jvalue_to_double(v));
        return true;
    }
    bool from_float = v.kind == JINJA_FLOAT && strchr("diu", s->type);
    if (!is_integer(v) && !from_float)
        return jinja_fail(p->run, "%%%c format: a number is required, not %s", s->type,
                          jvalue_type_name(v));
    if (from_float && !(fabs(v.as.number) < 0x1p63))
        return jinja_fail(p->run, "cannot convert to an integer of 64 bits");
    i = from_float ? (int64_t)v.as.number : integer_of(v);
    s->type = strchr("iu", s->type) ? 'd' : s->type;
    put_integer(p->out, s, i);
    return true;
}

static bool percent_char(struct percent *p, const struct spec *s, struct jvalue v) {
    char bytes[4];
    struct str text = v.as.text;
    if (is_integer(v)) {
        int64_t c = integer_of(v);
        if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
            return jinja_fail(p->run, "%%c arg not in range(0x110000)");
        text = (struct str){bytes, (size_t)utf8_encode((int32_t)c, bytes)};
    } else if (v.kind != JINJA_STRING || jstring_length(text) != 1) {
        return jinja_fail(p->run, "%%c requires int or char");
    }
    struct spec whole = *s;
    whole.precision = -1;
    put_text(p->out, &whole, text);
    return true;
}

static bool percent_field(struct percent *p) {
    struct spec s;
    struct jvalue v;
    bool has_value;
    if (!read_spec(p, &s, &v, &has_value))
        return false;
    if (s.type == '%') {
        buffer_putc(p->out, '%');
        return true;
    }
    if (!strchr("sradiuoxXeEfFgGc", s.type) || !s.type)
        return jinja_fail(p->run, "unsupported format character '%c'", s.type);
    if (!has_value && !next_argument(p, &v))
        return false;
    if (s.type == 'c')
        return percent_char(p, &s, v);
    if (!strchr("sra", s.type))
        return percent_number(p, &s, v);
    struct str text;
    if (s.type == 's' ? !jvalue_to_text(p->run, v, &text) : !repr_of(p->run, v, &text))
        return false;
    put_text(p->out, &s, text);
    return jinja_check_buffer(p->run, p->out);
}

bool jinja_format_percent(struct jinja_run *run, struct str format, struct jvalue args,
                          struct jvalue *out) {
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    struct percent p = {.run = run, .format = format, .args = args, .out = &text};
    p.tuple = args.kind == JINJA_TUPLE ? args.as.list : NULL;
    bool ok = jinja_charge_bytes(run, format.len);
    while (ok && p.at < format.len) {
        size_t next = jstring_find(format, STR_LIT("%"), p.at);
        next = next == JSTRING_NONE ? format.len : next;
        buffer_append(&text, format.ptr + p.at, next - p.at);
        p.at = next + 1;
        if (next < format.len)
            ok = percent_field(&p);
    }
    size_t given = p.tuple ? p.tuple->n : 1;
    if (ok && p.used < given && !is_mapping(args))
        ok = jinja_fail(run, "not all arguments converted during string formatting");
    if (!ok) {
        buffer_release(&text);
        return false;
    }
    return jinja_take_buffer(run, &text, out);
}

/* ---- str.format()
 * --------------------------------------------------------------------------------------- */

struct braces {
    struct jinja_run *run;
    struct str format;
    size_t at;
    const struct jarguments *args;
    int64_t automatic; /* next index of "{}"; -1: indices were written */
    struct buffer *out;
};

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static bool parse_spec(struct jinja_run *run, struct str text, struct spec *s) {
    size_t at = 0, first = text.len ? jstring_char_bytes(text.ptr[0]) : 0;
    *s = (struct spec){.precision = -1, .fill = {" ", 1}};
    if (first < text.len && strchr("<>=^", text.ptr[first])) {
        s->fill = jstring_slice(text, 0, first);
        s->align = text.ptr[first];
        at = first + 1;
    } else if (text.len && text.ptr[0] && strchr("<>=^", text.ptr[0])) {
        s->align = text.ptr[at++];
    }
#define AT(c) (at < text.len && text.ptr[at] == (c))
    if (AT('+') || AT('-') || AT(' ')) {
        s->plus = AT('+');
        s->space = AT(' ');
        at++;
    }
    s->alternate = AT('#');
    at += s->alternate;
    if (AT('0')) {
        s->zero = true;
        at++;
    }
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
        s->width = s->width <= FORMAT_WIDTH_MAX ? s->width * 10 + (text.ptr[at] - '0') : s->width;
    if (AT(',') || AT('_'))
        s->grouping = text.ptr[at++];
    if (AT('.')) {
        at++;
        s->precision = 0;
        for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
            s->precision = s->precision <= FORMAT_PRECISION_MAX
                               ? s->precision * 10 + (text.ptr[at] - '0')
                               : s->precision;
    }
#undef AT
    s->type = at < text.len ? text.ptr[at++] : '\0';
    if (at != text.len)
        return jinja_fail(run, "invalid format specifier '%.*s'", STR_FMT(text));
    if (s->width > FORMAT_WIDTH_MAX || s->precision > FORMAT_PRECISION_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a format's width is too large");
    return true;
}

static bool bad_type(struct jinja_run *run, const struct spec *s, struct jvalue v) {
    return jinja_fail(run, "unknown format code '%c' for object of type '%s'", s->type,
                      jvalue_type_name(v));
}

static bool format_number(struct braces *b, struct spec *s, struct jvalue v) {
    if (!s->align) {
        s->align = s->zero ? '=' : '>';
        if (s->zero)
            s->fill = STR_LIT("0");
    }
    bool integral = is_integer(v) && (!s->type || strchr("dboxXn", s->type));
    if (integral && s->precision >= 0)
        return jinja_fail(b->run, "precision not allowed in integer format specifier");
    if (integral) {
        s->type = s->type && s->type != 'n' ? s->type : 'd';
        put_integer(b->out, s, integer_of(v));
        return true;
    }
    if (s->type && !strchr("eEfFgGn%", s->type))
        return bad_type(b->run, s, v);
    if (!s->type && s->precision >= 0)
        return jinja_fail_with(b->run, QUERN_ERR_UNSUPPORTED,
                               "a precision without a type is not supported");
    s->type = s->type ? s->type : 'r';
    put_float(b->out, s, jvalue_to_double(v));
    return true;
}

static bool format_value(struct braces *b, struct jvalue v, char conversion, struct str spec_text) {
    struct spec s;
    struct str text;
    if (!parse_spec(b->run, spec_text, &s))
        return false;
    if (conversion == 'r' || conversion == 'a') {
        if (!repr_of(b->run, v, &text))
            return false;
        v = jvalue_string(text);
    } else if (conversion == 's' || (spec_text.len == 0 && v.kind != JINJA_STRING)) {
        if (!jvalue_to_text(b->run, v, &text))
            return false;
        v = jvalue_string(text);
    }
    if (jvalue_is_number(v))
        return format_number(b, &s, v);
    if (v.kind != JINJA_STRING)
        return jinja_fail(b->run, "unsupported format string passed to %s.__format__",
                          jvalue_type_name(v));
    if ((s.type && s.type != 's') || s.align == '=' || s.plus || s.space || s.grouping)
        return bad_type(b->run, &s, v);
    if (s.zero && !s.align)
        s.fill = STR_LIT("0");
    s.align = s.align ? s.align : '<';
    put_text(b->out, &s, v.as.text);
    return jinja_check_buffer(b->run, b->out);
}

static bool first_value(struct braces *b, struct str name, struct jvalue *out) {
    int64_t index = 0;
    bool digits = name.len > 0 && name.len < 10;
    for (size_t i = 0; i < name.len && digits; i++) {
        digits = name.ptr[i] >= '0' && name.ptr[i] <= '9';
        index = index * 10 + (name.ptr[i] - '0');
    }
    if (name.len == 0) {
        if (b->automatic < 0)
            return jinja_fail(b->run, "cannot switch to automatic field numbering");
        index = b->automatic++;
    } else if (digits) {
        if (b->automatic > 0)
            return jinja_fail(b->run, "cannot switch from automatic field numbering");
        b->automatic = -1;
    } else {
        for (size_t i = 0; i < b->args->n_keywords; i++)
            if (str_eq(b->args->keywords[i].name, name)) {
                *out = b->args->keywords[i].value;
                return true;
            }
        return jinja_fail(b->run, "format() has no argument '%.*s'", STR_FMT(name));
    }
    if ((uint64_t)index >= b->args->n)
        return jinja_fail(b->run, "format() has no argument %" PRId64, index);
    *out = b->args->positional[index];
    return true;
}

/* "name.attribute[index]" */
static bool field_value(struct braces *b, struct str field, struct jvalue *out) {
    size_t at = 0;
    while (at < field.len && field.ptr[at] != '.' && field.ptr[at] != '[')
        at++;
    if (!first_value(b, jstring_slice(field, 0, at), out))
        return false;
    while (at < field.len) {
        bool bracket = field.ptr[at++] == '[';
        size_t start = at;
        while (at < field.len &&
               (bracket ? field.ptr[at] != ']' : field.ptr[at] != '.' && field.ptr[at] != '['))
            at++;
        struct str part = jstring_slice(field, start, at);
        struct jvalue next, index = jvalue_string(part);
        if (bracket && (at == field.len || !part.len))
            return jinja_fail(b->run, "malformed field '%.*s'", STR_FMT(field));
        at += bracket;
        bool numeric = part.len < 10;
        int64_t n = 0;
        for (size_t i = 0; numeric && i < part.len; i++) {
            numeric = part.ptr[i] >= '0' && part.ptr[i] <= '9';
            n = n * 10 + (part.ptr[i] - '0');
        }
        index = numeric ? jvalue_int(n) : index;
        if (bracket ? !jinja_get_item(b->run, *out, index, &next)
                    : !jinja_get_attribute(b->run, *out, part, &next))
            return false;
        *out = next;
    }
    return true;
}

/* From after "{" to after "}". */
static bool braces_field(struct braces *b) {
    size_t start = b->at, end = start;
    while (end < b->format.len && b->format.ptr[end] != '}' && b->format.ptr[end] != '{')
        end++;
    if (end == b->format.len)
        return jinja_fail(b->run, "expected '}' before end of string");
    if (b->format.ptr[end] == '{')
        return jinja_fail_with(b->run, QUERN_ERR_UNSUPPORTED,
                               "nested fields in a format are not supported");
    struct str field = jstring_slice(b->format, start, end), spec = STR_LIT("");
    b->at = end + 1;
    char conversion = '\0';
    size_t colon = jstring_find(field, STR_LIT(":"), 0);
    if (colon != JSTRING_NONE) {
        spec = jstring_slice(field, colon + 1, field.len);
        field = jstring_slice(field, 0, colon);
    }
    size_t mark = jstring_find(field, STR_LIT("!"), 0);
    if (mark != JSTRING_NONE) {
        if (mark + 2 != field.len || !strchr("sra", field.ptr[mark + 1]))
            return jinja_fail(b->run, "unknown conversion in '%.*s'", STR_FMT(field));
        conversion = field.ptr[mark + 1];
        field = jstring_slice(field, 0, mark);
    }
    struct jvalue v;
    return field_value(b, field, &v) && format_value(b, v, conversion, spec);
}

bool jinja_format_braces(struct jinja_run *run, struct str format, const struct jarguments *args,
                         struct jvalue *out) {
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    struct braces b = {.run = run, .format = format, .args = args, .out = &text};
    bool ok = jinja_charge_bytes(run, format.len);
    while (ok && b.at < format.len) {
        char c = format.ptr[b.at++];
        bool twice = b.at < format.len && format.ptr[b.at] == c;
        if ((c == '{' || c == '}') && twice) {
            buffer_putc(&text, c);
            b.at++;
        } else if (c == '{') {
            ok = braces_field(&b);
        } else if (c == '}') {
            ok = jinja_fail(run, "single '}' encountered in format string");
        } else {
            buffer_putc(&text, c);
        }
    }
    if (!ok) {
        buffer_release(&text);
        return false;
    }
    return jinja_take_buffer(run, &text, out);
}
