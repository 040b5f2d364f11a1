/* Filters that convert: numbers, JSON, defaults. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "chat/jinja_interp.h"
#include "chat/jinja_lexer.h"
#include "chat/jinja_native.h"
#include "chat/jinja_string.h"

static bool absolute(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue v = call->self;
    if (v.kind == JINJA_FLOAT) {
        call->result = jvalue_float(fabs(v.as.number));
        return true;
    }
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        return jinja_fail(run, "bad operand type for abs(): '%s'", jvalue_type_name(v));
    int64_t i = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
    call->result = jvalue_int(i);
    return i >= 0 || jinja_negate(run, jvalue_int(i), true, &call->result);
}

static bool attr(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue name = call->arg[0];
    bool forbidden = false;
    if (name.kind != JINJA_STRING)
        return jinja_fail(run, "attribute name must be string, not '%s'", jvalue_type_name(name));
    if (call->self.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, call->self);
    if (call->self.kind != JINJA_DICT || jinja_find_method(call->self, name.as.text, &forbidden) ||
        forbidden)
        return jinja_get_attribute(run, call->self, name.as.text, &call->result);
    call->result = jvalue_undefined(JUNDEF_ATTRIBUTE, name.as.text);
    call->result.of = call->self.kind;
    return true;
}

static bool default_value(struct jinja_run *run, struct jnative_call *call) {
    (void)run;
    bool use = call->self.kind == JINJA_UNDEFINED ||
               (jnative_flag(call, 1, false) && !jvalue_truth(call->self));
    struct jvalue fallback =
        call->arg[0].kind == JINJA_MISSING ? jvalue_string(STR_LIT("")) : call->arg[0];
    call->result = use ? fallback : call->self;
    return true;
}

/* ---- numbers from text
 * ----------------------------------------------------------------------------- */

/* Digits without their underscores; false when underscores are misplaced. */
static bool copy_digits(struct str s, char *out, size_t size) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '_') {
            if (n + 1 >= size || s.ptr[i] == '\0')
                return false;
            out[n++] = s.ptr[i];
            continue;
        }
        bool between = i > 0 && i + 1 < s.len && s.ptr[i - 1] != '_' &&
                       strchr("0123456789abcdefABCDEFxXoO", s.ptr[i - 1]) &&
                       strchr("0123456789abcdefABCDEF", s.ptr[i + 1]);
        if (!between)
            return false;
    }
    out[n] = '\0';
    return n > 0;
}

enum parsed { PARSED, NOT_A_NUMBER, TOO_LARGE };

/* Python's int(text, base) */
static enum parsed parse_integer(struct str text, int base, int64_t *out) {
    char digits[128];
    struct str s = jstring_strip(text, NULL, true, true);
    if (!copy_digits(s, digits, sizeof digits))
        return NOT_A_NUMBER;
    const char *p = digits + (digits[0] == '-' || digits[0] == '+');
    char letter = p[0] == '0' ? (char)(p[1] | 0x20) : '\0';
    int prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefixed && (base == prefixed || base == 0))
        p += 2;
    if (base == 0) {
        if (!prefixed && p[0] == '0' && strspn(p, "0") != strlen(p))
            return NOT_A_NUMBER;
        base = prefixed ? prefixed : 10;
    }
    if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *p) || !*p)
        return NOT_A_NUMBER;
    char signed_digits[130];
    snprintf(signed_digits, sizeof signed_digits, "%s%s", digits[0] == '-' ? "-" : "", p);
    char *end;
    errno = 0;
    *out = strtoll(signed_digits, &end, base);
    /* strtoll skips a second prefix ("0x0x1" with base 16), int() does not */
    if (*end || (base == 16 && p[0] == '0' && (p[1] | 0x20) == 'x'))
        return NOT_A_NUMBER;
    return errno == ERANGE ? TOO_LARGE : PARSED;
}

static bool is_word(const char *text, const char *lower) {
    for (; *text && *lower; text++, lower++)
        if ((*text | 0x20) != *lower)
            return false;
    return *text == *lower;
}

/* Python's float(text) */
static enum parsed parse_float(struct str text, double *out) {
    char digits[512];
    struct str s = jstring_strip(text, NULL, true, true);
    if (!copy_digits(s, digits, sizeof digits))
        return NOT_A_NUMBER;
    const char *p = digits + (digits[0] == '-' || digits[0] == '+');
    double sign = digits[0] == '-' ? -1.0 : 1.0;
    if (is_word(p, "inf") || is_word(p, "infinity")) {
        *out = sign * HUGE_VAL;
        return PARSED;
    }
    if (is_word(p, "nan")) {
        *out = NAN;
        return PARSED;
    }
    size_t whole = strspn(p, "0123456789"), at = whole, fraction = 0;
    if (p[at] == '.') {
        fraction = strspn(p + at + 1, "0123456789");
        at += 1 + fraction;
    }
    if (whole + fraction == 0)
        return NOT_A_NUMBER;
    if ((p[at] | 0x20) == 'e') {
        size_t exponent = at + 1 + (p[at + 1] == '+' || p[at + 1] == '-');
        size_t n = strspn(p + exponent, "0123456789");
        if (n == 0)
            return NOT_A_NUMBER;
        at = exponent + n;
    }
    if (p[at])
        return NOT_A_NUMBER;
    *out = sign * number_parse(p, NULL);
    return PARSED;
}

/* int(number): towards zero. */
static enum parsed truncate_float(double d, int64_t *out) {
    if (isnan(d))
        return NOT_A_NUMBER;
    d = trunc(d);
    if (!(d >= -0x1p63 && d < 0x1p63))
        return TOO_LARGE;
    *out = (int64_t)d;
    return PARSED;
}

static bool too_large(struct jinja_run *run) {
    return jinja_fail(run, "cannot convert to an integer of 64 bits");
}

static bool to_int(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue v = call->self;
    int64_t i = 0, base;
    double d;
    enum parsed parsed = NOT_A_NUMBER;
    if (!jnative_int(run, call, 1, 10, &base))
        return false;
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, v);
    if (v.kind == JINJA_STRING) {
        if (base != 0 && (base < 2 || base > 36))
            parsed = NOT_A_NUMBER;
        else
            parsed = parse_integer(v.as.text, (int)base, &i);
        if (parsed == NOT_A_NUMBER && parse_float(v.as.text, &d) == PARSED)
            parsed = isinf(d) ? NOT_A_NUMBER : truncate_float(d, &i);
    } else if (v.kind == JINJA_FLOAT) {
        parsed = truncate_float(v.as.number, &i);
    } else if (v.kind == JINJA_INT || v.kind == JINJA_BOOL) {
        i = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
        parsed = PARSED;
    }
    if (parsed == TOO_LARGE)
        return too_large(run);
    struct jvalue fallback = call->arg[0].kind == JINJA_MISSING ? jvalue_int(0) : call->arg[0];
    call->result = parsed == PARSED ? jvalue_int(i) : fallback;
    return true;
}

static bool to_float(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue v = call->self;
    double d;
    if (v.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, v);
    call->result = call->arg[0].kind == JINJA_MISSING ? jvalue_float(0.0) : call->arg[0];
    if (jvalue_is_number(v))
        call->result = jvalue_float(jvalue_to_double(v));
    else if (v.kind == JINJA_STRING && parse_float(v.as.text, &d) == PARSED)
        call->result = jvalue_float(d);
    return true;
}

/* ---- rounding
 * -------------------------------------------------------------------------------------- */

/* Python's round(d, n): half to even of the exact binary value, which printf rounds too. */
static bool round_float(struct jinja_run *run, double d, int64_t n, double *out) {
    char text[400];
    *out = d;
    if (!isfinite(d) || n > 322)
        return true;
    if (n < -308) {
        *out = copysign(0.0, d);
        return true;
    }
    if (n < 0) {
        double unit = pow(10.0, (double)-n);
        *out = nearbyint(d / unit) * unit;
    } else if (fabs(d) < 1e22) { /* larger ones are whole */
        number_print(text, sizeof text, "%.*f", (int)n, d);
        *out = number_parse(text, NULL);
    }
    return isfinite(*out) || jinja_fail(run, "rounded value too large to represent");
}

static bool round_integer(struct jinja_run *run, int64_t i, int64_t n, struct jvalue *out) {
    *out = jvalue_int(i);
    if (n >= 0)
        return true;
    int64_t unit = 1;
    for (; n < 0; n++)
        if (__builtin_mul_overflow(unit, 10, &unit)) {
            *out = jvalue_int(0);
            return true;
        }
    int64_t rest = i % unit, down = i - rest, half = unit / 2;
    if (rest < 0) {
        rest += unit;
        if (__builtin_sub_overflow(down, unit, &down))
            return too_large(run);
    }
    bool up = rest > half || (rest == half && (down / unit) % 2 != 0);
    if (up && __builtin_add_overflow(down, unit, &down))
        return too_large(run);
    *out = jvalue_int(down);
    return true;
}

static bool round_value(struct jinja_run *run, struct jnative_call *call) {
    struct jvalue v = call->self;
    struct str method;
    int64_t n;
    double d;
    if (!jnative_int(run, call, 0, 0, &n) || !jnative_text(run, call, 1, &method))
        return false;
    bool common = !method.ptr || str_is(method, "common");
    if (!common && !str_is(method, "ceil") && !str_is(method, "floor"))
        return jinja_fail(run, "round: method must be common, ceil or floor");
    if (!jvalue_is_number(v))
        return jinja_fail(run, "type %s cannot be rounded", jvalue_type_name(v));
    if (common && v.kind != JINJA_FLOAT)
        return round_integer(run, v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer, n,
                             &call->result);
    d = jvalue_to_double(v);
    if (common) {
        if (!round_float(run, d, n, &d))
            return false;
    } else {
        double unit = pow(10.0, (double)n);
        if (!isfinite(d * unit))
            return jinja_fail(run, "round: cannot convert to an integer");
        d = (str_is(method, "ceil") ? ceil(d * unit) : floor(d * unit)) / unit;
        d += 0.0; /* an integer divided: never -0.0 */
    }
    call->result = jvalue_float(d);
    return true;
}

/* ---- JSON
 * --------------------------------------------------------------------------------------------- */

static bool json_indent(struct jinja_run *run, struct jvalue v, struct jjson_style *style) {
    style->indented = v.kind != JINJA_MISSING && v.kind != JINJA_NONE;
    if (!style->indented)
        return true;
    if (v.kind == JINJA_STRING) {
        style->indent = v.as.text;
        return true;
    }
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        return jinja_fail(run, "tojson: indent must be an integer or a string");
    int64_t n = v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
    n = n < 0 ? 0 : n;
    if (n > 1000)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "tojson: indent is more than 1000");
    char *spaces = jinja_alloc(run, (size_t)n, 1);
    if (!spaces)
        return false;
    memset(spaces, ' ', (size_t)n);
    style->indent = (struct str){spaces, (size_t)n};
    return true;
}

static bool json_separators(struct jinja_run *run, struct jvalue v, struct jjson_style *style) {
    style->item_separator = style->indented ? STR_LIT(",") : STR_LIT(", ");
    style->key_separator = STR_LIT(": ");
    if (v.kind == JINJA_MISSING || v.kind == JINJA_NONE)
        return true;
    struct jlist *pair;
    if (!jvalue_to_list(run, v, &pair))
        return false;
    if (pair->n != 2 || pair->items[0].kind != JINJA_STRING || pair->items[1].kind != JINJA_STRING)
        return jinja_fail(run, "tojson: separators must be two strings");
    style->item_separator = pair->items[0].as.text;
    style->key_separator = pair->items[1].as.text;
    return true;
}

static bool tojson(struct jinja_run *run, struct jnative_call *call) {
    struct jjson_style style = {.ascii = jnative_flag(call, 0, false),
                                .sort_keys = jnative_flag(call, 3, false)};
    if (!json_indent(run, call->arg[1], &style) || !json_separators(run, call->arg[2], &style))
        return false;
    struct buffer out;
    buffer_init(&out, JINJA_OUTPUT_BYTES_MAX);
    if (!jvalue_write_json(run, call->self, &style, 0, &out)) {
        buffer_release(&out);
        return false;
    }
    return jinja_take_buffer(run, &out, &call->result);
}

const struct jnative jinja_value_filters[] = {
    {"abs", "", absolute, 0},
    {"attr", "name", attr, 0},
    {"default", "?default_value,boolean", default_value, 0},
    {"d", "?default_value,boolean", default_value, 0},
    {"int", "?default,base", to_int, 0},
    {"float", "?default", to_float, 0},
    {"round", "?precision,method", round_value, 0},
    {"tojson", "?ensure_ascii,indent,separators,sort_keys", tojson, 0},
    {NULL, NULL, NULL, 0},
};
