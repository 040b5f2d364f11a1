/* Arithmetic with Python's rules on 64-bit integers, doubles, strings and lists. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "chat/jinja_interp.h"
#include "chat/jinja_string.h"

static bool overflow(struct jinja_run *run) {
    return jinja_fail(run, "an integer has more than 64 bits");
}

static bool bad_operands(struct jinja_run *run, enum jbinary op, struct jvalue a, struct jvalue b) {
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};
    return jinja_fail(run, "unsupported operand types for %s: '%s' and '%s'", signs[op],
                      jvalue_type_name(a), jvalue_type_name(b));
}

static int64_t integer_of(struct jvalue v) {
    return v.kind == JINJA_BOOL ? v.as.boolean : v.as.integer;
}

/* ---- integers -----------------------------------------------------------------------------------
 */

static bool power_of_integers(struct jinja_run *run, int64_t base, int64_t exponent,
                              struct jvalue *out) {
    if (exponent < 0) {
        if (base == 0)
            return jinja_fail(run, "zero to a negative power");
        *out = jvalue_float(pow((double)base, (double)exponent));
        return true;
    }
    int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return overflow(run);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return overflow(run);
    }
    *out = jvalue_int(result);
    return true;
}

__extension__ typedef unsigned __int128 uint128;

static int bit_length(uint64_t u) {
    return u ? 64 - __builtin_clzll(u) : 0;
}

/* a / b rounded once, as Python does: not every 64-bit integer is a double. */
static double divide_integers(int64_t a, int64_t b) {
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    int shift = 56 - (bit_length(x) - bit_length(y)); /* a quotient of 56 bits or more */
    shift = shift > 0 ? shift : 0;
    uint128 dividend = (uint128)x << shift;
    uint64_t quotient = (uint64_t)(dividend / y);
    quotient |= dividend % y != 0; /* what is cut off decides ties */
    double magnitude = ldexp((double)quotient, -shift);
    return (a < 0) != (b < 0) ? -magnitude : magnitude;
}

static bool integers(struct jinja_run *run, enum jbinary op, int64_t a, int64_t b,
                     struct jvalue *out) {
    int64_t r = 0;
    bool over = false;
    if (b == 0 && (op == BINARY_DIV || op == BINARY_FLOORDIV || op == BINARY_MOD))
        return jinja_fail(run, "division by zero");
    switch (op) {
    case BINARY_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case BINARY_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case BINARY_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case BINARY_DIV:
        *out = jvalue_float(divide_integers(a, b));
        return true;
    case BINARY_FLOORDIV:
        over = a == INT64_MIN && b == -1;
        if (!over)
            r = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case BINARY_MOD:
        r = b == -1 ? 0 : a % b;
        if (r != 0 && (r < 0) != (b < 0))
            r += b;
        break;
    case BINARY_POW:
        return power_of_integers(run, a, b, out);
    }
    *out = jvalue_int(r);
    return over ? overflow(run) : true;
}

/* ---- doubles
 * -------------------------------------------------------------------------------------- */

/* CPython's float_divmod: both results from one fmod, so that they agree. */
static void divide_doubles(double a, double b, double *quotient, double *rest) {
    double mod = fmod(a, b);
    double div = (a - mod) / b;
    if (mod != 0.0) {
        if ((b < 0) != (mod < 0)) {
            mod += b;
            div -= 1.0;
        }
    } else {
        mod = copysign(0.0, b);
    }
    *rest = mod;
    *quotient = copysign(0.0, a / b);
    if (div != 0.0) {
        *quotient = floor(div);
        if (div - *quotient > 0.5)
            *quotient += 1.0;
    }
}

static bool doubles(struct jinja_run *run, enum jbinary op, double a, double b,
                    struct jvalue *out) {
    double r = 0.0, rest = 0.0;
    if (b == 0.0 && (op == BINARY_DIV || op == BINARY_FLOORDIV || op == BINARY_MOD))
        return jinja_fail(run, "division by zero");
    switch (op) {
    case BINARY_ADD:
        r = a + b;
        break;
    case BINARY_SUB:
        r = a - b;
        break;
    case BINARY_MUL:
        r = a * b;
        break;
    case BINARY_DIV:
        r = a / b;
        break;
    case BINARY_FLOORDIV:
        divide_doubles(a, b, &r, &rest);
        break;
    case BINARY_MOD:
        divide_doubles(a, b, &rest, &r);
        break;
    case BINARY_POW:
        if (a == 0.0 && b < 0.0)
            return jinja_fail(run, "zero to a negative power");
        r = pow(a, b);
        if (isnan(r) && !isnan(a) && !isnan(b))
            return jinja_fail(run, "complex numbers are not supported");
        if (isinf(r) && isfinite(a) && isfinite(b))
            return jinja_fail(run, "the result is too large for a float");
        break;
    }
    *out = jvalue_float(r);
    return true;
}

/* ---- strings and lists
 * ------------------------------------------------------------------------------ */

/* Markup keeps itself safe: the other side is escaped when it is plain text. */
static bool add_strings(struct jinja_run *run, struct jvalue a, struct jvalue b,
                        struct jvalue *out) {
    bool markup = a.flag || b.flag;
    struct buffer text;
    buffer_init(&text, JINJA_OUTPUT_BYTES_MAX);
    const struct jvalue parts[] = {a, b};
    for (int i = 0; i < 2; i++) {
        if (markup && !parts[i].flag)
            jinja_escape_html(parts[i].as.text, &text);
        else
            buffer_append_str(&text, parts[i].as.text);
    }
    if (!jinja_take_buffer(run, &text, out))
        return false;
    out->flag = markup;
    return true;
}

static bool add_lists(struct jinja_run *run, struct jvalue a, struct jvalue b, struct jvalue *out) {
    struct jlist *list = jlist_create(run, a.as.list->n + b.as.list->n);
    if (!list)
        return false;
    if (a.as.list->n)
        memcpy(list->items, a.as.list->items, a.as.list->n * sizeof *list->items);
    if (b.as.list->n)
        memcpy(list->items + a.as.list->n, b.as.list->items, b.as.list->n * sizeof *list->items);
    *out = (struct jvalue){.kind = a.kind, .as.list = list};
    return true;
}

static bool repeat(struct jinja_run *run, struct jvalue v, int64_t times, struct jvalue *out) {
    bool is_text = v.kind == JINJA_STRING;
    size_t unit = is_text ? v.as.text.len : v.as.list->n, total;
    size_t n = times > 0 && unit ? (size_t)times : 0;
    if (!checked_mul(unit, n, &total) || total > JINJA_OUTPUT_BYTES_MAX)
        return jinja_fail_with(run, QUERN_ERR_LIMIT, "a repetition is longer than %d",
                               JINJA_OUTPUT_BYTES_MAX);
    if (is_text) {
        char *text = jinja_alloc(run, total, 1);
        for (size_t i = 0; text && i < n; i++)
            memcpy(text + i * unit, v.as.text.ptr, unit);
        *out = jvalue_string((struct str){text, total});
        out->flag = v.flag;
        return text != NULL;
    }
    struct jlist *list = jlist_create(run, total);
    for (size_t i = 0; list && i < n; i++)
        memcpy(list->items + i * unit, v.as.list->items, unit * sizeof *list->items);
    *out = (struct jvalue){.kind = v.kind, .as.list = list};
    return list != NULL;
}

static bool is_sequence(struct jvalue v) {
    return v.kind == JINJA_STRING || v.kind == JINJA_LIST || v.kind == JINJA_TUPLE;
}

static bool is_integer(struct jvalue v) {
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

bool jinja_binary(struct jinja_run *run, enum jbinary op, struct jvalue a, struct jvalue b,
                  struct jvalue *out) {
    if (op == BINARY_MOD && a.kind == JINJA_STRING) {
        if (!jinja_format_percent(run, a.as.text, b, out))
            return false;
        out->flag = a.flag;
        return true;
    }
    if (a.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, a);
    if (b.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, b);
    if (is_integer(a) && is_integer(b))
        return integers(run, op, integer_of(a), integer_of(b), out);
    if (jvalue_is_number(a) && jvalue_is_number(b))
        return doubles(run, op, jvalue_to_double(a), jvalue_to_double(b), out);
    if (op == BINARY_ADD && a.kind == b.kind && is_sequence(a))
        return a.kind == JINJA_STRING ? add_strings(run, a, b, out) : add_lists(run, a, b, out);
    if (op == BINARY_MUL && is_sequence(a) && is_integer(b))
        return repeat(run, a, integer_of(b), out);
    if (op == BINARY_MUL && is_sequence(b) && is_integer(a))
        return repeat(run, b, integer_of(a), out);
    return bad_operands(run, op, a, b);
}

bool jinja_negate(struct jinja_run *run, struct jvalue a, bool minus, struct jvalue *out) {
    if (a.kind == JINJA_UNDEFINED)
        return jinja_fail_undefined(run, a);
    if (!jvalue_is_number(a))
        return jinja_fail(run, "bad operand type for unary %s: '%s'", minus ? "-" : "+",
                          jvalue_type_name(a));
    if (a.kind == JINJA_FLOAT) {
        *out = jvalue_float(minus ? -a.as.number : a.as.number);
        return true;
    }
    int64_t i = integer_of(a);
    if (minus && i == INT64_MIN)
        return overflow(run);
    *out = jvalue_int(minus ? -i : i);
    return true;
}
