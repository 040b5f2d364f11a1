/* avx512.h - shared by the files of this folder: one zmm register holds the 16 partial
 * sums of a reduction. */
#ifndef QUERN_KERNELS_AVX512_AVX512_H
#define QUERN_KERNELS_AVX512_AVX512_H

#include <immintrin.h>

#include "kernels/kernels.h"
#include "kernels/math.h"
#include "kernels/tiles.h"

/* Tokens (or queries) x weight rows (or keys) whose sums are held in registers: 24 of 32. */
enum { AVX512_TOKENS = 6, AVX512_ROWS = 4 };

extern const struct tile_set avx512_tiles_f32;

matmul_fn avx512_matmul_f32, avx512_matmul_f16, avx512_matmul_bf16;
matmul_bf16_fn avx512_matmul_bf16_pairs;
void avx512_to_bf16(uint16_t *y, const float *x, size_t n);
attention_fn avx512_attention_f32, avx2_attention_bf16, avx2_attention_int8;
void avx512_attention_join(const struct attention_join *a);
kv_store_fn avx512_kv_store_bf16;

static inline __mmask16 first_lanes(size_t n) {
    return (__mmask16)((1u << n) - 1u);
}

/* The processor's mode in which multiply-adds flush subnormals as vdpbf16ps does. */
struct flushing {
    unsigned mode;
};

static inline struct flushing flush_begin(void) {
    const struct flushing f = {_mm_getcsr()};
    const unsigned results = 1u << 15, operands = 1u << 6;
    _mm_setcsr(f.mode | results | operands);
    return f;
}

static inline void flush_end(struct flushing f) {
    _mm_setcsr(f.mode);
}

/* Two neighbouring bfloat16, read as one. */
static inline int load_pair(const void *p) {
    int pair;
    memcpy(&pair, p, sizeof pair);
    return pair;
}

/* A load that happens once. gcc 12 would repeat it as an operand of every multiply-add that uses
 * the value, and run into the limit of two loads a cycle. */
static inline __m512 load_once(const void *p) {
    __m512 v = _mm512_loadu_ps(p);
    __asm__("" : "+v"(v));
    return v;
}

/* Lanes i and i+8, then 4, 2, 1 of four registers at once; the four sums. */
static inline __m128 fold4(__m512 a, __m512 b, __m512 c, __m512 d) {
    __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
    __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xEE));
    __m512 s = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4E));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xB1));
    const __m512i starts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(starts, s));
}

static inline float fold1(__m512 a) {
    return _mm_cvtss_f32(fold4(a, a, a, a));
}

/* exp32 of math.h. VSCALEFPS rounds once, as the scalar form's two steps do. */
static inline __m512 exp16(__m512 x) {
    x = _mm512_min_ps(_mm512_set1_ps(EXP_MAX), x);
    x = _mm512_max_ps(_mm512_set1_ps(EXP_MIN), x);
    __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(EXP_LOG2E), _mm512_set1_ps(EXP_ROUND));
    __m512 n = _mm512_sub_ps(t, _mm512_set1_ps(EXP_ROUND));
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXP_LN2_LO), r);
    __m512 p = _mm512_set1_ps(EXP_P0);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(EXP_P5));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    p = _mm512_add_ps(p, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

#endif
