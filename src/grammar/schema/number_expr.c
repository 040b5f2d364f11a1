/* number_expr.c - digit intervals.
 *
 * A spelling is a sign, and a magnitude of one of three forms: I "12", F "12.50", E "1.25e+1". */
#include "grammar/schema/number_expr.h"

#include <stdio.h>

enum { FRACTION_DIGITS_MAX = 24, MULTIPLE_MAX = 512 };

static expr_id digits(struct grammar_builder *b, uint32_t min, uint32_t max) {
    return expr_repeat(b, expr_byte_range(b, '0', '9'), min, max);
}

static expr_id zeros(struct grammar_builder *b) {
    return expr_star(b, expr_text(b, "0"));
}

static expr_id cat3(struct grammar_builder *b, expr_id x, expr_id y, expr_id z) {
    return expr_concat(b, x, expr_concat(b, y, z));
}

static expr_id minus_optional(struct grammar_builder *b) {
    return expr_optional(b, expr_text(b, "-"));
}

/* (0|[1-9][0-9]*) */
static expr_id whole(struct grammar_builder *b) {
    return expr_or(b, expr_text(b, "0"),
                   expr_concat(b, expr_byte_range(b, '1', '9'), digits(b, 0, GRAMMAR_INF)));
}

static expr_id exponent_mark(struct grammar_builder *b) {
    return expr_or(b, expr_text(b, "e"), expr_text(b, "E"));
}

static expr_id sign_optional(struct grammar_builder *b) {
    return expr_optional(b, expr_or(b, expr_text(b, "+"), expr_text(b, "-")));
}

static expr_id fraction_optional(struct grammar_builder *b) {
    return expr_optional(b, expr_concat(b, expr_text(b, "."), digits(b, 1, GRAMMAR_INF)));
}

static expr_id any_exponent(struct grammar_builder *b) {
    return cat3(b, exponent_mark(b), sign_optional(b), digits(b, 1, GRAMMAR_INF));
}

expr_id number_any_json(struct grammar_builder *b) {
    return expr_concat(b, minus_optional(b),
                       cat3(b, whole(b), fraction_optional(b), expr_optional(b, any_exponent(b))));
}

/* 0, 0.00, 0e7 */
static expr_id zero_magnitude(struct grammar_builder *b) {
    expr_id fraction = expr_concat(b, expr_text(b, "."), expr_plus(b, expr_text(b, "0")));
    return cat3(b, expr_text(b, "0"), expr_optional(b, fraction),
                expr_optional(b, any_exponent(b)));
}

static expr_id fixed_magnitude(struct grammar_builder *b) {
    return expr_concat(b, whole(b), fraction_optional(b));
}

static expr_id mantissa(struct grammar_builder *b) {
    return expr_concat(b, expr_byte_range(b, '1', '9'), fraction_optional(b));
}

static expr_id magnitude(struct grammar_builder *b) {
    const expr_id forms[] = {fixed_magnitude(b), zero_magnitude(b),
                             expr_concat(b, mantissa(b), any_exponent(b))};
    return expr_or_n(b, forms, 3);
}

expr_id number_domain(struct grammar_builder *b) {
    return expr_concat(b, minus_optional(b), magnitude(b));
}

expr_id number_plain(struct grammar_builder *b) {
    expr_id fraction = cat3(b, zeros(b), expr_byte_range(b, '1', '9'), digits(b, 0, GRAMMAR_INF));
    expr_id signed_whole =
        expr_and(b, expr_concat(b, minus_optional(b), whole(b)), expr_not(b, expr_text(b, "-0")));
    return expr_or(
        b, signed_whole,
        expr_concat(b, minus_optional(b), cat3(b, whole(b), expr_text(b, "."), fraction)));
}

/* ---- comparing digit strings ---- */

/* Of the n digits at d: all digit strings of the same length that are greater, followed by `after`.
 */
static expr_id greater_same_length(struct grammar_builder *b, const unsigned char *d, int n,
                                   expr_id after) {
    expr_id out = expr_nothing(b);
    for (int i = n; i-- > 0;) { /* from the last digit: x = d_i x | greater digit, any digits */
        expr_id rest = digits(b, (uint32_t)(n - 1 - i), (uint32_t)(n - 1 - i));
        expr_id here = d[i] == '9' ? expr_nothing(b)
                                   : cat3(b, expr_byte_range(b, d[i] + 1u, '9'), rest, after);
        out = expr_or(b, here, expr_concat(b, expr_byte_range(b, d[i], d[i]), out));
    }
    return out;
}

/* Fractions ".ddd" (or none) greater than 0.d1...dn, dn not 0; n may be 0. */
static expr_id fraction_greater(struct grammar_builder *b, const unsigned char *d, int n) {
    /* Behind the digits themselves something other than zeros must follow. */
    expr_id out = cat3(b, zeros(b), expr_byte_range(b, '1', '9'), digits(b, 0, GRAMMAR_INF));
    for (int i = n; i-- > 0;) {
        expr_id here = d[i] == '9' ? expr_nothing(b)
                                   : expr_concat(b, expr_byte_range(b, d[i] + 1u, '9'),
                                                 digits(b, 0, GRAMMAR_INF));
        out = expr_or(b, here, expr_concat(b, expr_byte_range(b, d[i], d[i]), out));
    }
    return expr_concat(b, expr_text(b, "."), out);
}

static expr_id fraction_equal(struct grammar_builder *b, const unsigned char *d, int n) {
    if (n == 0)
        return expr_optional(b, expr_concat(b, expr_text(b, "."), expr_plus(b, expr_text(b, "0"))));
    return cat3(b, expr_text(b, "."), expr_literal(b, (struct str){(const char *)d, (size_t)n}),
                zeros(b));
}

/* Canonical whole numbers (no leading zeros) with more than n digits. */
static expr_id longer_than(struct grammar_builder *b, int n) {
    return expr_concat(b, expr_byte_range(b, '1', '9'), digits(b, (uint32_t)n, GRAMMAR_INF));
}

/* The digits of d before and after the point, d > 0. */
struct parts {
    unsigned char whole[DECIMAL_DIGITS_MAX + 400], fraction[DECIMAL_DIGITS_MAX + 400];
    int n_whole, n_fraction; /* n_whole 0 when the whole part is 0 */
};

static bool split(const struct decimal *d, struct parts *p) {
    p->n_whole = p->n_fraction = 0;
    if (d->point > DECIMAL_DIGITS_MAX || d->point < -DECIMAL_DIGITS_MAX + 1)
        return false;
    for (int i = 0; i < d->point; i++)
        p->whole[p->n_whole++] = i < d->n ? d->digits[i] : '0';
    for (int i = d->point; i < 0; i++)
        p->fraction[p->n_fraction++] = '0';
    for (int i = d->point > 0 ? d->point : 0; i < d->n; i++)
        p->fraction[p->n_fraction++] = d->digits[i];
    return true;
}

/* Fixed magnitudes beyond the split range compare by being shorter than any such bound: they are
 * taken for smaller (a bound of 10^400) or greater (10^-400). */
static expr_id fixed_greater(struct grammar_builder *b, const struct decimal *d, bool or_equal) {
    struct parts p;
    if (!split(d, &p))
        return d->point > 0 ? longer_than(b, d->point)
                            : expr_and(b, fixed_magnitude(b), expr_not(b, zero_magnitude(b)));
    expr_id out = expr_nothing(b), equal_whole;
    if (p.n_whole == 0) {
        equal_whole = expr_text(b, "0");
        out = expr_concat(b, longer_than(b, 0), fraction_optional(b));
    } else {
        equal_whole = expr_literal(b, (struct str){(const char *)p.whole, (size_t)p.n_whole});
        out = expr_or(b, expr_concat(b, longer_than(b, p.n_whole), fraction_optional(b)),
                      greater_same_length(b, p.whole, p.n_whole, fraction_optional(b)));
    }
    expr_id fraction = fraction_greater(b, p.fraction, p.n_fraction);
    if (or_equal)
        fraction = expr_or(b, fraction, fraction_equal(b, p.fraction, p.n_fraction));
    return expr_or(b, out, expr_concat(b, equal_whole, fraction));
}

static expr_id fixed_equal(struct grammar_builder *b, const struct decimal *d) {
    struct parts p;
    if (!split(d, &p))
        return expr_nothing(b);
    expr_id w = p.n_whole ? expr_literal(b, (struct str){(const char *)p.whole, (size_t)p.n_whole})
                          : expr_text(b, "0");
    return expr_concat(b, w, fraction_equal(b, p.fraction, p.n_fraction));
}

/* ---- exponents ---- */

/* The canonical spellings of integers greater than k >= 0. */
static expr_id integers_greater(struct grammar_builder *b, int32_t k) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d", (int)k);
    if (k == 0)
        return longer_than(b, 0);
    return expr_or(b, longer_than(b, n),
                   greater_same_length(b, (const unsigned char *)text, n, expr_empty(b)));
}

static expr_id integer_text(struct grammar_builder *b, int32_t k) {
    char text[16];
    snprintf(text, sizeof text, "%d", (int)k);
    return expr_text(b, text);
}

/* "e" and an exponent, leading zeros allowed, that is greater than k (or equal). */
static expr_id exponent_greater(struct grammar_builder *b, int32_t k, bool or_equal) {
    expr_id plus = expr_optional(b, expr_text(b, "+"));
    int32_t above = or_equal ? k - 1 : k; /* greater than this */
    expr_id value;
    if (above >= 0) {
        value = cat3(b, plus, zeros(b), integers_greater(b, above));
    } else {
        /* All that are not negative, and -m with m < -above; a zero may carry a minus. */
        expr_id small = expr_nothing(b);
        expr_id all = digits(b, 1, GRAMMAR_INF);
        small = expr_and(b, all,
                         expr_not(b, expr_concat(b, zeros(b),
                                                 expr_or(b, integers_greater(b, -above),
                                                         integer_text(b, -above)))));
        value = expr_or(b, expr_concat(b, plus, all), expr_concat(b, expr_text(b, "-"), small));
    }
    return expr_concat(b, exponent_mark(b), value);
}

static expr_id exponent_equal(struct grammar_builder *b, int32_t k) {
    expr_id value = expr_concat(b, zeros(b), integer_text(b, k < 0 ? -k : k));
    expr_id sign = k < 0    ? expr_text(b, "-")
                   : k == 0 ? sign_optional(b)
                            : expr_optional(b, expr_text(b, "+"));
    if (k == 0)
        value = expr_plus(b, expr_text(b, "0"));
    return cat3(b, exponent_mark(b), sign, value);
}

static expr_id mantissa_equal(struct grammar_builder *b, const struct decimal *d) {
    return expr_concat(b, expr_byte_range(b, d->digits[0], d->digits[0]),
                       fraction_equal(b, d->digits + 1, d->n - 1));
}

static expr_id mantissa_greater(struct grammar_builder *b, const struct decimal *d) {
    expr_id same = expr_concat(b, expr_byte_range(b, d->digits[0], d->digits[0]),
                               fraction_greater(b, d->digits + 1, d->n - 1));
    if (d->digits[0] == '9')
        return same;
    return expr_or(
        b, same, expr_concat(b, expr_byte_range(b, d->digits[0] + 1u, '9'), fraction_optional(b)));
}

/* ---- magnitudes, d > 0 ---- */

static expr_id magnitude_equal(struct grammar_builder *b, const struct decimal *d) {
    return expr_or(b, fixed_equal(b, d),
                   expr_concat(b, mantissa_equal(b, d), exponent_equal(b, d->point - 1)));
}

static expr_id magnitude_greater(struct grammar_builder *b, const struct decimal *d,
                                 bool or_equal) {
    const int32_t k = d->point - 1;
    expr_id same = mantissa_greater(b, d);
    if (or_equal)
        same = expr_or(b, same, mantissa_equal(b, d));
    const expr_id forms[] = {fixed_greater(b, d, or_equal),
                             expr_concat(b, mantissa(b), exponent_greater(b, k, false)),
                             expr_concat(b, same, exponent_equal(b, k))};
    return expr_or_n(b, forms, 3);
}

static expr_id signed_with(struct grammar_builder *b, bool negative, expr_id magnitudes) {
    return negative ? expr_concat(b, expr_text(b, "-"), magnitudes) : magnitudes;
}

expr_id number_equal(struct grammar_builder *b, const struct decimal *d) {
    if (d->n == 0)
        return expr_concat(b, minus_optional(b), zero_magnitude(b));
    return signed_with(b, d->negative, magnitude_equal(b, d));
}

/* Greater than d (or equal). */
static expr_id compare(struct grammar_builder *b, const struct decimal *d, bool or_equal) {
    expr_id all = magnitude(b), zero = zero_magnitude(b);
    if (d->n == 0)
        return or_equal ? expr_or(b, all, expr_concat(b, expr_text(b, "-"), zero))
                        : expr_and(b, all, expr_not(b, zero));
    if (!d->negative)
        return magnitude_greater(b, d, or_equal);
    /* -m > d = -|d| when m < |d|. */
    expr_id smaller = expr_and(b, all, expr_not(b, magnitude_greater(b, d, !or_equal)));
    return expr_or(b, all, expr_concat(b, expr_text(b, "-"), smaller));
}

expr_id number_at_least(struct grammar_builder *b, const struct decimal *d) {
    return compare(b, d, true);
}

expr_id number_greater(struct grammar_builder *b, const struct decimal *d) {
    return compare(b, d, false);
}

/* ---- multiples ---- */

/* Multiples of 10^-s, with and without exponent: at most s digits other than zero behind the
 * point; with an exponent x and n such digits in the mantissa, n - x <= s. */
static expr_id multiples_of_power(struct grammar_builder *b, int32_t s) {
    expr_id forms[FRACTION_DIGITS_MAX + 3];
    size_t n = 0;
    expr_id point = expr_text(b, ".");
    forms[n++] = zero_magnitude(b);
    if (s >= 0) {
        expr_id some = expr_concat(b, digits(b, 0, (uint32_t)s), zeros(b));
        expr_id fraction = expr_and(b, some, digits(b, 1, GRAMMAR_INF));
        forms[n++] = expr_concat(b, whole(b), expr_optional(b, expr_concat(b, point, fraction)));
    } else {
        expr_id tail = expr_repeat(b, expr_text(b, "0"), (uint32_t)-s, (uint32_t)-s);
        forms[n++] = cat3(b, whole(b), tail, fraction_equal(b, NULL, 0));
    }
    for (int32_t i = 0; i <= FRACTION_DIGITS_MAX; i++) {
        expr_id fraction = fraction_equal(b, NULL, 0);
        if (i > 0)
            fraction = cat3(b, point, digits(b, (uint32_t)i, (uint32_t)i), zeros(b));
        forms[n++] =
            cat3(b, expr_byte_range(b, '1', '9'), fraction, exponent_greater(b, i - s, true));
    }
    return expr_concat(b, minus_optional(b), expr_or_n(b, forms, n));
}

expr_id number_integers(struct grammar_builder *b) {
    return multiples_of_power(b, 0);
}

/* Behind a whole part of remainder r: "." and digits so that all is a multiple of p * 10^-s. */
static expr_id multiple_fraction(struct grammar_builder *b, uint32_t p, int32_t s, uint32_t r) {
    expr_id out = expr_nothing(b);
    uint64_t scale = 1;                /* 10^(s-j) mod p */
    for (int32_t j = s; j >= 0; j--) { /* j digits, then as many zeros as one likes */
        /* (r * 10^j + f) * scale = 0 mod p, over the wanted remainders of r * 10^j + f */
        uint64_t shifted = r;
        for (int32_t i = 0; i < j; i++)
            shifted = shifted * 10 % p;
        for (uint32_t want = 0; want < p; want++) {
            if (want * scale % p != 0)
                continue;
            uint32_t rest = (uint32_t)((want + p - shifted % p) % p);
            expr_id f =
                expr_and(b, expr_remainder(b, p, rest), digits(b, (uint32_t)j, (uint32_t)j));
            out = expr_or(b, out, j == s ? expr_concat(b, f, zeros(b)) : f);
        }
        scale = scale * 10 % p;
    }
    return expr_and(b, out, digits(b, 0, GRAMMAR_INF));
}

bool number_multiple_of(struct grammar_builder *b, const struct decimal *d, expr_id *out) {
    uint32_t p = 0;
    int32_t s = d->n - d->point;
    for (int i = 0; i < d->n; i++) {
        if (p > 1000u * 1000)
            return false;
        p = p * 10 + (uint32_t)(d->digits[i] - '0');
    }
    for (; s < 0 && p > 1 && p <= 1000u * 1000; s++)
        p *= 10;
    if (p == 1) {
        *out = s > 400 ? number_domain(b) : multiples_of_power(b, s);
        return s <= 400 && s >= -400;
    }
    if (s < 0 || s > 12 || (s > 0 && p > MULTIPLE_MAX))
        return false;
    if (s == 0) {
        expr_id w = expr_and(b, whole(b), expr_multiple_of(b, p, 0));
        *out = expr_concat(
            b, minus_optional(b),
            expr_or(b, expr_concat(b, w, fraction_equal(b, NULL, 0)), zero_magnitude(b)));
        return true;
    }
    expr_id forms = zero_magnitude(b);
    for (uint32_t r = 0; r < p && !grammar_builder_failed(b); r++) {
        expr_id w = expr_and(b, whole(b), expr_remainder(b, p, r));
        expr_id f = multiple_fraction(b, p, s, r);
        expr_id tail = expr_concat(b, expr_text(b, "."), expr_and(b, f, digits(b, 1, GRAMMAR_INF)));
        if (expr_nullable(b, f)) /* the whole part alone */
            tail = expr_optional(b, tail);
        forms = expr_or(b, forms, expr_concat(b, w, tail));
    }
    *out = expr_concat(b, minus_optional(b), forms);
    return true;
}
