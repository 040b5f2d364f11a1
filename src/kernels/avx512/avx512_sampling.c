#include <immintrin.h>
#include <math.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"

static float max_of(const float *x, size_t n) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    __m512 a = lowest, b = lowest;
    __mmask16 nan = 0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m512 u = _mm512_loadu_ps(x + i), v = _mm512_loadu_ps(x + i + 16);
        a = _mm512_max_ps(a, u);
        b = _mm512_max_ps(b, v);
        nan |= _mm512_cmp_ps_mask(u, v, _CMP_UNORD_Q);
    }
    for (; i < n; i += 16) {
        const __mmask16 here = (__mmask16)(n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1);
        const __m512 u = _mm512_mask_loadu_ps(lowest, here, x + i);
        a = _mm512_max_ps(a, u);
        nan |= _mm512_cmp_ps_mask(u, u, _CMP_UNORD_Q);
    }
    return nan ? NAN : _mm512_reduce_max_ps(_mm512_max_ps(a, b));
}

static __mmask16 above(const float *x, __m512 threshold) {
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), threshold, _CMP_NLE_UQ);
}

static size_t first_above(const float *x, size_t n, float threshold) {
    const __m512 t = _mm512_set1_ps(threshold);
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const uint64_t found = (uint64_t)above(x + i, t) | (uint64_t)above(x + i + 16, t) << 16 |
                               (uint64_t)above(x + i + 32, t) << 32 |
                               (uint64_t)above(x + i + 48, t) << 48;
        if (found)
            return i + (size_t)__builtin_ctzll(found);
    }
    for (; i < n; i++)
        if (!(x[i] <= threshold))
            return i;
    return n;
}

/* exp_256 of exact_exp.h, eight at a time. */
static __m512d exp_256_x8(__m512d z) {
    const __m512d to_integer = _mm512_set1_pd(0x1.8p52);
    const __m512d shifted = _mm512_add_pd(z, to_integer);
    const __m512i n = _mm512_castpd_si512(shifted);
    const __m512d f = _mm512_sub_pd(z, _mm512_sub_pd(shifted, to_integer));
    __m512d p = _mm512_add_pd(_mm512_set1_pd(0x1.c6b08d704a0c0p-29),
                              _mm512_mul_pd(f, _mm512_set1_pd(0x1.3b2ab6fba4e77p-39)));
    p = _mm512_add_pd(_mm512_set1_pd(0x1.ebfbdff82c58fp-19), _mm512_mul_pd(f, p));
    p = _mm512_add_pd(_mm512_set1_pd(0x1.62e42fefa39efp-9), _mm512_mul_pd(f, p));
    __m512i bits = _mm512_i64gather_epi64(_mm512_and_si512(n, _mm512_set1_epi64(255)),
                                          exact_exp_table, 8);
    /* The quotient by 256 goes into the exponent; its upper bits fall off. */
    bits = _mm512_add_epi64(bits, _mm512_slli_epi64(_mm512_srli_epi64(n, 8), 52));
    const __m512d base = _mm512_castsi512_pd(bits);
    return _mm512_add_pd(base, _mm512_mul_pd(base, _mm512_mul_pd(f, p)));
}

static __m512d load_z(const float *x, __mmask8 here, __m512d max, __m512d scale) {
    const __m512d wide = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(here, x));
    return _mm512_mul_pd(_mm512_sub_pd(wide, max), scale);
}

static __mmask8 lanes(size_t left) {
    return (__mmask8)(left >= 8 ? 0xffu : (1u << left) - 1);
}

static uint64_t weigh(uint64_t *weights, const float *x, size_t n, double max, double scale,
                      double z_min) {
    const __m512d m = _mm512_set1_pd(max), s = _mm512_set1_pd(scale), low = _mm512_set1_pd(z_min);
    const __m512d one = _mm512_set1_pd((double)SAMPLING_WEIGHT_ONE);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 8) {
        const __mmask8 here = lanes(n - i);
        const __m512d z = _mm512_max_pd(load_z(x + i, here, m, s), low);
        const __m512i w = _mm512_cvttpd_epi64(_mm512_mul_pd(exp_256_x8(z), one));
        _mm512_mask_storeu_epi64(weights + i, here, w);
        sum = _mm512_mask_add_epi64(sum, here, sum, w);
    }
    return (uint64_t)_mm512_reduce_add_epi64(sum);
}

/* max(z, low), but NaN stays NaN: vmaxpd answers its second operand then. */
static __m512d at_least(__m512d low, __m512d z) {
    return _mm512_max_pd(low, z);
}

static double exp_sum(const float *x, size_t n, double max, double z_min) {
    const __m512d m = _mm512_set1_pd(max), s = _mm512_set1_pd(EXP_256_PER_UNIT);
    const __m512d low = _mm512_set1_pd(z_min);
    __m512d even = _mm512_setzero_pd(), odd = _mm512_setzero_pd();
    for (size_t i = 0; i < n; i += 16) {
        const __mmask8 here = lanes(n - i), next = n - i > 8 ? lanes(n - i - 8) : 0;
        const __m512d a = exp_256_x8(at_least(low, load_z(x + i, here, m, s)));
        even = _mm512_mask_add_pd(even, here, even, a);
        if (next)
            odd = _mm512_mask_add_pd(odd, next, odd,
                                     exp_256_x8(at_least(low, load_z(x + i + 8, next, m, s))));
    }
    double t[8];
    _mm512_storeu_pd(t, _mm512_add_pd(even, odd));
    for (size_t half = 4; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            t[i] += t[i + half];
    return t[0];
}

const struct sampling_kernels sampling_kernels_avx512 = {
    .name = "avx512",
    .max = max_of,
    .first_above = first_above,
    .weigh = weigh,
    .exp_sum = exp_sum,
};
