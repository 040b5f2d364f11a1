#include <arm_neon.h>
#include <math.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"

static float max_of(const float *x, size_t n) {
    float32x4_t a = vdupq_n_f32(-INFINITY), b = a;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) { /* NaN wins here */
        a = vmaxq_f32(a, vld1q_f32(x + i));
        b = vmaxq_f32(b, vld1q_f32(x + i + 4));
    }
    float max = vmaxvq_f32(vmaxq_f32(a, b));
    for (; i < n; i++)
        max = x[i] <= max ? max : x[i] != x[i] || max == max ? x[i] : max;
    return max;
}

static size_t first_above(const float *x, size_t n, float threshold) {
    const float32x4_t t = vdupq_n_f32(threshold);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint32x4_t all = vandq_u32(vcleq_f32(vld1q_f32(x + i), t), vcleq_f32(vld1q_f32(x + i + 4), t));
        if (vminvq_u32(all) == 0)
            break;
    }
    for (; i < n; i++)
        if (!(x[i] <= threshold))
            return i;
    return n;
}

/* exp_256 of exact_exp.h, two at a time. */
static float64x2_t exp_256_x2(float64x2_t z) {
    const float64x2_t to_integer = vdupq_n_f64(0x1.8p52);
    const float64x2_t shifted = vaddq_f64(z, to_integer);
    const int64x2_t n = vreinterpretq_s64_f64(shifted);
    const float64x2_t f = vsubq_f64(z, vsubq_f64(shifted, to_integer));
    float64x2_t p = vaddq_f64(vdupq_n_f64(0x1.c6b08d704a0c0p-29),
                              vmulq_f64(f, vdupq_n_f64(0x1.3b2ab6fba4e77p-39)));
    p = vaddq_f64(vdupq_n_f64(0x1.ebfbdff82c58fp-19), vmulq_f64(f, p));
    p = vaddq_f64(vdupq_n_f64(0x1.62e42fefa39efp-9), vmulq_f64(f, p));
    float64x2_t base = vdupq_n_f64(exact_exp_table[vgetq_lane_s64(n, 0) & 255]);
    base = vsetq_lane_f64(exact_exp_table[vgetq_lane_s64(n, 1) & 255], base, 1);
    /* The quotient by 256 goes into the exponent; its upper bits fall off. */
    const int64x2_t exponent = vshlq_n_s64(vshrq_n_s64(n, 8), 52);
    base = vreinterpretq_f64_s64(vaddq_s64(vreinterpretq_s64_f64(base), exponent));
    return vaddq_f64(base, vmulq_f64(base, vmulq_f64(f, p)));
}

/* Of x[0] and x[1]; NaN stays NaN. */
static float64x2_t load_z(const float *x, float64x2_t max, float64x2_t scale, float64x2_t z_min) {
    const float64x2_t z = vmulq_f64(vsubq_f64(vcvt_f64_f32(vld1_f32(x)), max), scale);
    return vmaxq_f64(z, z_min);
}

static uint64_t weigh(uint64_t *weights, const float *x, size_t n, double max, double scale,
                      double z_min) {
    const float64x2_t m = vdupq_n_f64(max), s = vdupq_n_f64(scale), low = vdupq_n_f64(z_min);
    const float64x2_t one = vdupq_n_f64((double)SAMPLING_WEIGHT_ONE);
    uint64x2_t sums = vdupq_n_u64(0);
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        const uint64x2_t w = vcvtq_u64_f64(vmulq_f64(exp_256_x2(load_z(x + i, m, s, low)), one));
        vst1q_u64(weights + i, w);
        sums = vaddq_u64(sums, w);
    }
    return vaddvq_u64(sums) +
           sampling_kernels_generic.weigh(weights + i, x + i, n - i, max, scale, z_min);
}

static double exp_sum(const float *x, size_t n, double max, double z_min) {
    const float64x2_t m = vdupq_n_f64(max), s = vdupq_n_f64(EXP_256_PER_UNIT);
    const float64x2_t low = vdupq_n_f64(z_min);
    double t[16] = {0};
    float64x2_t sums[8];
    for (size_t k = 0; k < 8; k++)
        sums[k] = vdupq_n_f64(0);
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 8; k++)
            sums[k] = vaddq_f64(sums[k], exp_256_x2(load_z(x + i + 2 * k, m, s, low)));
    for (size_t k = 0; k < 8; k++)
        vst1q_f64(t + 2 * k, sums[k]);
    for (; i < n; i++) {
        double z = ((double)x[i] - max) * EXP_256_PER_UNIT;
        t[i % 16] += exp_256(z < z_min ? z_min : z);
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t k = 0; k < half; k++)
            t[k] += t[k + half];
    return t[0];
}

const struct sampling_kernels sampling_kernels_neon = {
    .name = "neon",
    .max = max_of,
    .first_above = first_above,
    .weigh = weigh,
    .exp_sum = exp_sum,
};
