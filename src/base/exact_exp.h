/* exact_exp.h - exp and log whose bits are the same on every machine. Only +, -, *, / of
 * doubles in a fixed order (the build forbids contraction into fma), rounding to
 * nearest; the C library's functions differ between versions. */
#ifndef QUERN_BASE_EXACT_EXP_H
#define QUERN_BASE_EXACT_EXP_H

#include <float.h>
#include <stdint.h>
#include <string.h>

_Static_assert(FLT_EVAL_METHOD == 0, "doubles must be computed as doubles (x86: SSE2, not x87)");

extern const double exact_exp_table[256];

/* exp(x) = exp_256(x * EXP_256_PER_UNIT) */
#define EXP_256_PER_UNIT 0x1.71547652b82fep+8 /* 256 / ln 2 */

/* 2^(z/256) for -200000 < z < 200000, relative error below 3e-16. z splits into an
 * exponent, a table index and |f| <= 1/2, where the polynomial is exp(f ln2/256). */
static inline double exp_256(double z) {
    const double to_integer = 0x1.8p52; /* adding it rounds to an integer in the low bits */
    double shifted = z + to_integer;
    int64_t n;
    memcpy(&n, &shifted, sizeof n);
    double f = z - (shifted - to_integer);
    double p = 0x1.c6b08d704a0c0p-29 + f * 0x1.3b2ab6fba4e77p-39;
    p = 0x1.ebfbdff82c58fp-19 + f * p;
    p = 0x1.62e42fefa39efp-9 + f * p;
    int64_t bits;
    memcpy(&bits, &exact_exp_table[n & 255], sizeof bits);
    /* The low 32 bits of n are the integer in two's complement; its quotient by 256 goes
     * into the exponent. */
    bits += (int64_t)((uint64_t)((int32_t)(uint32_t)(uint64_t)n >> 8) << 52);
    double base;
    memcpy(&base, &bits, sizeof base);
    return base + base * (f * p);
}

/* For -500 < x < 500. */
static inline double exact_exp(double x) {
    return exp_256(x * EXP_256_PER_UNIT);
}

/* For normal x > 0, within a few units in the last place of max(1, |log x|). */
double exact_log(double x);

#endif
