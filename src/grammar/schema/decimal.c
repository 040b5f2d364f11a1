/* decimal.c - exact decimal numbers. */
#include "grammar/schema/decimal.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Reads e+12 at *at; false when it is out of bounds. */
static bool read_exponent(struct str text, size_t *at, int32_t *out) {
    bool negative = false;
    int32_t value = 0;
    if (*at == text.len || (text.ptr[*at] != 'e' && text.ptr[*at] != 'E')) {
        *out = 0;
        return true;
    }
    ++*at;
    if (*at < text.len && (text.ptr[*at] == '-' || text.ptr[*at] == '+'))
        negative = text.ptr[(*at)++] == '-';
    for (; *at < text.len && is_digit(text.ptr[*at]); ++*at) {
        value = value * 10 + (text.ptr[*at] - '0');
        if (value > DECIMAL_EXPONENT_MAX)
            return false;
    }
    *out = negative ? -value : value;
    return true;
}

bool decimal_parse(struct str text, struct decimal *out) {
    struct decimal d = {.negative = text.len > 0 && text.ptr[0] == '-'};
    size_t at = d.negative ? 1 : 0;
    int32_t exponent, before = 0;
    bool in_fraction = false;
    for (; at < text.len && (is_digit(text.ptr[at]) || text.ptr[at] == '.'); at++) {
        if (text.ptr[at] == '.') {
            in_fraction = true;
            continue;
        }
        if (d.n == 0 && text.ptr[at] == '0') { /* leading zeros */
            before -= in_fraction;
            continue;
        }
        if (d.n == DECIMAL_DIGITS_MAX)
            return false;
        d.digits[d.n++] = (unsigned char)text.ptr[at];
        before += !in_fraction;
    }
    if (!read_exponent(text, &at, &exponent) || at != text.len)
        return false;
    while (d.n > 0 && d.digits[d.n - 1] == '0')
        d.n--;
    d.point = d.n ? before + exponent : 0;
    d.negative = d.negative && d.n > 0;
    *out = d;
    return true;
}

bool decimal_equal(const struct decimal *a, const struct decimal *b) {
    return a->negative == b->negative && a->n == b->n && a->point == b->point &&
           memcmp(a->digits, b->digits, (size_t)a->n) == 0;
}

bool decimal_is_integer(const struct decimal *d) {
    return d->n <= d->point;
}

bool decimal_to_count(const struct decimal *d, uint32_t *out) {
    uint64_t value = 0;
    if (d->negative || !decimal_is_integer(d) || d->point > 10)
        return false;
    for (int i = 0; i < d->point; i++)
        value = value * 10 + (i < d->n ? d->digits[i] - '0' : 0);
    if (value >= UINT32_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}
