/* neon.h - shared by the files of this folder: the 16 partial sums of a reduction are four
 * registers of four lanes. */
#ifndef QUERN_KERNELS_NEON_NEON_H
#define QUERN_KERNELS_NEON_NEON_H

#include <arm_neon.h>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/tiles.h"

enum { NEON_LANES = 4 };

/* Tokens x weight rows whose sums are held in registers: 24 of 32. */
enum { NEON_TOKENS = 3, NEON_ROWS = 2 };

matmul_fn neon_matmul_f32, neon_matmul_f16, neon_matmul_bf16;
attention_fn neon_attention_f32, neon_attention_bf16, neon_attention_int8;
/* In ../neondot/ and ../neonmmla/ */
attention_fn neondot_attention_int8, neonmmla_attention_bf16;
matmul_bf16_fn neonmmla_matmul_bf16_pairs;
void neon_attention_join(const struct attention_join *a);
matmul_bf16_fn neon_matmul_bf16_pairs;
void neon_to_bf16(uint16_t *y, const float *x, size_t n);

/* s = exp(s * scale - max); the sum of them. */
float neon_exp_scores(float *s, size_t n, float scale);
void neon_divide(float *x, size_t n, float by);

/* Four elements at any address, as floats. */
static inline float32x4_t widen_f32(const unsigned char *w) {
    return vreinterpretq_f32_u8(vld1q_u8(w));
}

static inline float32x4_t widen_f16(const unsigned char *w) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(w)));
}

static inline float32x4_t widen_bf16(const unsigned char *w) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(w)), 16));
}

/* All ones in the lanes below n. */
static inline uint32x4_t first_lanes(size_t n) {
    static const uint32_t index[NEON_LANES] = {0, 1, 2, 3};
    return vcltq_u32(vld1q_u32(index), vdupq_n_u32(n < NEON_LANES ? (uint32_t)n : NEON_LANES));
}

/* Lanes 0-3, 4-7, 8-11, 12-15: i and i+8, then 4, 2, 1. */
static inline float fold(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d) {
    float32x4_t s = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
    float32x2_t h = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

/* 2^n for the integers in n, in [-126, 127]. */
static inline float32x4_t exp2_int4(int32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

/* exp32 of math.h, step by step. */
static inline float32x4_t exp4(float32x4_t x) {
    x = vminq_f32(vdupq_n_f32(EXP_MAX), x);
    x = vmaxq_f32(vdupq_n_f32(EXP_MIN), x);
    const float32x4_t t = vfmaq_f32(vdupq_n_f32(EXP_ROUND), x, vdupq_n_f32(EXP_LOG2E));
    const float32x4_t n = vsubq_f32(t, vdupq_n_f32(EXP_ROUND));
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-EXP_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-EXP_LN2_LO));
    float32x4_t p = vdupq_n_f32(EXP_P0);
    p = vfmaq_f32(vdupq_n_f32(EXP_P1), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P2), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P3), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P4), p, r);
    p = vfmaq_f32(vdupq_n_f32(EXP_P5), p, r);
    p = vfmaq_f32(r, p, vmulq_f32(r, r));
    p = vaddq_f32(p, vdupq_n_f32(1.0f));
    const int32x4_t k = vsubq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32((int32_t)EXP_ROUND_BITS));
    const int32x4_t half = vshrq_n_s32(k, 1);
    return vmulq_f32(vmulq_f32(p, exp2_int4(half)), exp2_int4(vsubq_s32(k, half)));
}

#endif
