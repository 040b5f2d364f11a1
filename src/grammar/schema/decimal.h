/* decimal.h - exact decimal numbers of JSON texts: what a schema's bounds are compared in. */
#ifndef QUERN_GRAMMAR_DECIMAL_H
#define QUERN_GRAMMAR_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { DECIMAL_DIGITS_MAX = 400, DECIMAL_EXPONENT_MAX = 100000 };

/* sign * 0.d1 d2 ... dn * 10^point, d1 and dn not 0. Zero has no digits, point 0, and no sign. */
struct decimal {
    bool negative;
    int n;
    int32_t point;
    unsigned char digits[DECIMAL_DIGITS_MAX]; /* '0' to '9' */
};

/* A JSON number. False when it has too many digits or too large an exponent. */
bool decimal_parse(struct str text, struct decimal *out);
bool decimal_equal(const struct decimal *a, const struct decimal *b);
/* A whole number from 0 to UINT32_MAX - 1. */
bool decimal_to_count(const struct decimal *d, uint32_t *out);
bool decimal_is_integer(const struct decimal *d);

#endif
