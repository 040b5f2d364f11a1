#include <immintrin.h>
#include <math.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"

static float max_of(const float *x, size_t n) {
    __m256 a = _mm256_set1_ps(-INFINITY), b = a, nan = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256 u = _mm256_loadu_ps(x + i), v = _mm256_loadu_ps(x + i + 8);
        a = _mm256_max_ps(a, u);
        b = _mm256_max_ps(b, v);
        nan = _mm256_or_ps(nan, _mm256_cmp_ps(u, v, _CMP_UNORD_Q));
    }
    float lanes[8], max = -INFINITY;
    int is_nan = _mm256_movemask_ps(nan);
    _mm256_storeu_ps(lanes, _mm256_max_ps(a, b));
    for (int k = 0; k < 8; k++)
        max = lanes[k] > max ? lanes[k] : max;
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        is_nan |= x[i] != x[i];
    }
    return is_nan ? NAN : max;
}

static __m256 above(const float *x, __m256 threshold) {
    return _mm256_cmp_ps(_mm256_loadu_ps(x), threshold, _CMP_NLE_UQ);
}

static size_t first_above(const float *x, size_t n, float threshold) {
    const __m256 t = _mm256_set1_ps(threshold);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256 any = _mm256_or_ps(_mm256_or_ps(above(x + i, t), above(x + i + 8, t)),
                                        _mm256_or_ps(above(x + i + 16, t), above(x + i + 24, t)));
        if (_mm256_movemask_ps(any))
            break;
    }
    for (; i < n; i++)
        if (!(x[i] <= threshold))
            return i;
    return n;
}

/* exp_256 of exact_exp.h, four at a time. */
static __m256d exp_256_x4(__m256d z) {
    const __m256d to_integer = _mm256_set1_pd(0x1.8p52);
    const __m256d shifted = _mm256_add_pd(z, to_integer);
    const __m256i n = _mm256_castpd_si256(shifted);
    const __m256d f = _mm256_sub_pd(z, _mm256_sub_pd(shifted, to_integer));
    __m256d p = _mm256_add_pd(_mm256_set1_pd(0x1.c6b08d704a0c0p-29),
                              _mm256_mul_pd(f, _mm256_set1_pd(0x1.3b2ab6fba4e77p-39)));
    p = _mm256_add_pd(_mm256_set1_pd(0x1.ebfbdff82c58fp-19), _mm256_mul_pd(f, p));
    p = _mm256_add_pd(_mm256_set1_pd(0x1.62e42fefa39efp-9), _mm256_mul_pd(f, p));
    __m256i bits = _mm256_castpd_si256(_mm256_i64gather_pd(
        exact_exp_table, _mm256_and_si256(n, _mm256_set1_epi64x(255)), 8));
    /* The quotient by 256 goes into the exponent; its upper bits fall off. */
    bits = _mm256_add_epi64(bits, _mm256_slli_epi64(_mm256_srli_epi64(n, 8), 52));
    const __m256d base = _mm256_castsi256_pd(bits);
    return _mm256_add_pd(base, _mm256_mul_pd(base, _mm256_mul_pd(f, p)));
}

static __m256d load_z(const float *x, __m256d max, __m256d scale) {
    return _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x)), max), scale);
}

/* The integer part of 0 <= v < 2^51: added to 2^52 it stands in the low bits. */
static __m256i whole(__m256d v) {
    const __m256d magic = _mm256_set1_pd(0x1p52);
    v = _mm256_add_pd(_mm256_round_pd(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC), magic);
    return _mm256_xor_si256(_mm256_castpd_si256(v), _mm256_castpd_si256(magic));
}

static uint64_t weigh(uint64_t *weights, const float *x, size_t n, double max, double scale,
                      double z_min) {
    const __m256d m = _mm256_set1_pd(max), s = _mm256_set1_pd(scale), low = _mm256_set1_pd(z_min);
    const __m256d one = _mm256_set1_pd((double)SAMPLING_WEIGHT_ONE);
    __m256i sums = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const __m256d z = _mm256_max_pd(load_z(x + i, m, s), low);
        const __m256i w = whole(_mm256_mul_pd(exp_256_x4(z), one));
        _mm256_storeu_si256((__m256i *)(weights + i), w);
        sums = _mm256_add_epi64(sums, w);
    }
    uint64_t parts[4];
    _mm256_storeu_si256((__m256i *)parts, sums);
    uint64_t sum = parts[0] + parts[1] + parts[2] + parts[3];
    return sum + sampling_kernels_generic.weigh(weights + i, x + i, n - i, max, scale, z_min);
}

static double exp_sum(const float *x, size_t n, double max, double z_min) {
    const __m256d m = _mm256_set1_pd(max), s = _mm256_set1_pd(EXP_256_PER_UNIT);
    const __m256d low = _mm256_set1_pd(z_min);
    double t[16] = {0};
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                       _mm256_setzero_pd()};
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 4; k++) /* vmaxpd answers its second operand for NaN */
            sums[k] = _mm256_add_pd(
                sums[k], exp_256_x4(_mm256_max_pd(low, load_z(x + i + 4 * k, m, s))));
    for (size_t k = 0; k < 4; k++)
        _mm256_storeu_pd(t + 4 * k, sums[k]);
    for (; i < n; i++) {
        double z = ((double)x[i] - max) * EXP_256_PER_UNIT;
        t[i % 16] += exp_256(z < z_min ? z_min : z);
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            t[k] += t[k + half];
    return t[0];
}

const struct sampling_kernels sampling_kernels_avx2 = {
    .name = "avx2",
    .max = max_of,
    .first_above = first_above,
    .weigh = weigh,
    .exp_sum = exp_sum,
};
