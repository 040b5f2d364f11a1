/* avx2.h - shared by the files of this folder: the 16 partial sums of a reduction are two ymm
 * registers, lanes 0-7 and 8-15. */
#ifndef QUERN_KERNELS_AVX2_AVX2_H
#define QUERN_KERNELS_AVX2_AVX2_H

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/tiles.h"

enum { HALF_LANES = 8 };

/* Tokens x weight rows whose sums are held in registers: 12 of 16. */
enum { AVX2_TOKENS = 3, AVX2_ROWS = 2 };

extern const struct tile_set avx2_tiles_f32;

matmul_fn avx2_matmul_f32, avx2_matmul_f16, avx2_matmul_bf16;
matmul_bf16_fn avx2_matmul_bf16_pairs;
void avx2_to_bf16(uint16_t *y, const float *x, size_t n);
attention_fn avx2_attention_f32, avx2_attention_bf16, avx2_attention_int8;
void avx2_attention_join(const struct attention_join *a);

/* A load that happens once. gcc 12 would repeat it as an operand of every multiply-add that uses
 * the value, and run into the limit on loads: 87 GFLOP/s instead of 119. */
static inline __m256 load_once(const void *p) {
    __m256 v = _mm256_loadu_ps(p);
    __asm__("" : "+x"(v));
    return v;
}

/* All ones in the first n of eight lanes; n may be more than 8. */
static inline __m256i first_lanes(size_t n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < HALF_LANES ? (int)n : HALF_LANES), index);
}

static inline __m256 select_lanes(__m256i m, __m256 yes, __m256 no) {
    return _mm256_blendv_ps(no, yes, _mm256_castsi256_ps(m));
}

/* Lanes i and i+8, then 4, 2, 1. */
static inline float fold1(__m256 low, __m256 high) {
    __m256 s = _mm256_add_ps(low, high);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

/* Two sums at once: the results are lanes 0 and 4. */
static inline __m256 fold2(__m256 a_low, __m256 a_high, __m256 b_low, __m256 b_high) {
    __m256 a = _mm256_add_ps(a_low, a_high), b = _mm256_add_ps(b_low, b_high);
    __m256 s = _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    s = _mm256_add_ps(s, _mm256_permute_ps(s, 0x4E));
    return _mm256_add_ps(s, _mm256_permute_ps(s, 0xB1));
}

/* 2^n for the integers in n, in [-126, 127]. */
static inline __m256 exp2_int8(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* exp32 of math.h, step by step. */
static inline __m256 exp8(__m256 x) {
    x = _mm256_min_ps(_mm256_set1_ps(EXP_MAX), x);
    x = _mm256_max_ps(_mm256_set1_ps(EXP_MIN), x);
    __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(EXP_LOG2E), _mm256_set1_ps(EXP_ROUND));
    __m256 n = _mm256_sub_ps(t, _mm256_set1_ps(EXP_ROUND));
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXP_LN2_LO), r);
    __m256 p = _mm256_set1_ps(EXP_P0);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(EXP_P5));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32((int)EXP_ROUND_BITS));
    __m256i half = _mm256_srai_epi32(k, 1);
    return _mm256_mul_ps(_mm256_mul_ps(p, exp2_int8(half)), exp2_int8(_mm256_sub_epi32(k, half)));
}

static inline float max_of(__m256 v) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

#endif
