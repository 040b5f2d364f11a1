/* math.h - the canonical scalar arithmetic: one-rounding multiply-add, the fold of 16
 * partial sums, exp. The vector tables mirror these steps lane by lane, so a
 * change here is a change of every table (docs/NUMERICS.md). */
#ifndef QUERN_KERNELS_MATH_H
#define QUERN_KERNELS_MATH_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "quant/dtype.h"

/* Partial sums of every reduction. */
enum { KERNEL_LANES = 16 };

/* p + z, where p is a product of floats, rounded to float once. The double sum is first rounded to
 * odd: 53 bits are enough (>= 2 * 24 + 2) for the second rounding then to be right. */
static inline float round_to_odd_sum(double p, double z) {
    double s = p + z;
    double t = s - p;
    double lost = (p - (s - t)) + (z - t);
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    /* False when `lost` is NaN, so infinities and NaN stay. */
    if ((lost > 0.0 || lost < 0.0) && (bits & 1) == 0)
        bits = (lost > 0.0) == (s > 0.0) ? bits + 1 : bits - 1;
    memcpy(&s, &bits, sizeof s);
    return (float)s;
}

/* a * b + c with one rounding. Without the instruction: the product is exact in double, and the
 * double sum rounded to float is right unless it lies on or within a double's rounding of the
 * middle between two floats. The C library's fmaf is the same function, but many times
 * slower on a CPU without the instruction. */
static inline float fma32(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
    return fmaf(a, b, c);
#else
    double p = (double)a * (double)b;
    double s = p + (double)c;
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    /* 29 bits are cut off, more for what will be subnormal. */
    if ((bits & 0x1fffffff) != 0x10000000 && fabs(s) >= 0x1p-125)
        return (float)s;
    return round_to_odd_sum(p, (double)c);
#endif
}

/* 2^-126, the least normal float. */
#define MIN_NORMAL 0x1p-126f

static inline float flush_subnormal(float x) {
    return fabsf(x) < MIN_NORMAL ? copysignf(0.0f, x) : x;
}

/* One of the two steps of vdpbf16ps: fma with subnormals of either side flushed to zero. A result counts as
 * subnormal by its value rounded to 24 bits, whatever its exponent; so one that fma32 has rounded up
 * to 2^-126 is zero when it was less than 2^-126 - 2^-151. */
static inline float mac_bf16(float a, float b, float c) {
    a = flush_subnormal(a);
    b = flush_subnormal(b);
    c = flush_subnormal(c);
    float r = fma32(a, b, c);
    if (!(fabsf(r) <= MIN_NORMAL))
        return r;
    double p = (double)a * (double)b, z = (double)c, s = p + z, t = s - p;
    double lost = (p - (s - t)) + (z - t);
    const double least = 0x1p-126 - 0x1p-151;
    if (fabs(s) > least || (fabs(s) == least && !(s > 0.0 ? lost < 0.0 : lost > 0.0)))
        return r;
    return copysignf(0.0f, r);
}

/* s[i] += s[i+8], then 4, 2, 1; destroys s. */
static inline float fold_lanes(float s[KERNEL_LANES]) {
    for (size_t half = KERNEL_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

/* exp(x) = 2^n * exp(r), x = n*ln2 + r, |r| <= ln2/2. Beyond EXP_MAX the result is
 * infinity, below EXP_MIN zero, so clamping there changes nothing but keeps n in range. */
#define EXP_MAX 89.0f
#define EXP_MIN (-104.0f)
#define EXP_LOG2E 1.44269504f
/* Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits. */
#define EXP_ROUND 12582912.0f
#define EXP_ROUND_BITS 0x4B400000u
/* ln2 in two parts; the first has 9 bits, so n * EXP_LN2_HI is exact. */
#define EXP_LN2_HI 0.693359375f
#define EXP_LN2_LO (-2.12194440e-4f)
/* exp(r) = 1 + (r + r^2 * p(r)) */
#define EXP_P0 1.9875691500e-4f
#define EXP_P1 1.3981999507e-3f
#define EXP_P2 8.3334519073e-3f
#define EXP_P3 4.1665795894e-2f
#define EXP_P4 1.6666665459e-1f
#define EXP_P5 5.0000001201e-1f

/* 2^n for n in [-126, 127]. */
static inline float exp2_int(uint32_t n) {
    uint32_t bits = (n + 127u) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float exp32(float x) {
    /* Written so that a NaN passes through, as minps and maxps do. */
    x = EXP_MAX < x ? EXP_MAX : x;
    x = EXP_MIN > x ? EXP_MIN : x;
    float t = fma32(x, EXP_LOG2E, EXP_ROUND);
    float n = t - EXP_ROUND;
    float r = fma32(n, -EXP_LN2_HI, x);
    r = fma32(n, -EXP_LN2_LO, r);
    float p = EXP_P0;
    p = fma32(p, r, EXP_P1);
    p = fma32(p, r, EXP_P2);
    p = fma32(p, r, EXP_P3);
    p = fma32(p, r, EXP_P4);
    p = fma32(p, r, EXP_P5);
    p = fma32(p, r * r, r);
    p = p + 1.0f;
    /* Two exact powers of two, since n reaches -150 and 128; only the last product rounds. */
    uint32_t k;
    memcpy(&k, &t, sizeof k);
    k -= EXP_ROUND_BITS;
    uint32_t half = (k >> 1) | (k & 0x80000000u);
    return (p * exp2_int(half)) * exp2_int(k - half);
}

/* The nearest integer, ties to even, of |x| < 2^22. */
static inline int32_t round_to_int(float x) {
    return (int32_t)((x + EXP_ROUND) - EXP_ROUND);
}

/* To bfloat16, to nearest even, with subnormals as zero, as vcvtneps2bf16 does. */
static inline uint16_t bf16_flushed(float x) {
    return f32_to_bf16(flush_subnormal(x));
}

/* The range of codes in the attention of int8 caches: queries have 15 bits, sums of 512 dimensions stay
 * below 2^31; weights of values 15 bits, sums of a chunk stay below 2^31. */
#define INT8_QUERY 16256.0f
#define INT8_WEIGHT 32767.0f
/* Below this, a largest number counts as zero: its reciprocal must not overflow. */
#define INT8_LEAST 0x1p-100f

#endif
