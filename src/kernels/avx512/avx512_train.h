/* avx512_train.h - strips for tiles: what avx512 and avx512bf16 share. */
#ifndef QUERN_KERNELS_AVX512_TRAIN_H
#define QUERN_KERNELS_AVX512_TRAIN_H

#include <immintrin.h>

#include "kernels/avx512/transpose16.h"
#include "kernels/train_kernels.h"

/* 24 sums in registers, two of b, one of a. In bfloat16 16 sums are as fast, and 8 rows leave less over. */
enum { TRAIN_MR = 12, TRAIN_NR = 32, TRAIN_MR_BF16 = 8 };

static inline __mmask16 train_lanes(size_t n) {
    if (n >= 16)
        return 0xffff;
    return (__mmask16)((1u << n) - 1u);
}

/* Elements [at, at + 16) of src as floats, lanes beyond the mask zero and not read. */
static inline __m512 train_load(enum dtype t, const void *src, size_t at, __mmask16 m) {
    if (t == DTYPE_F32)
        return _mm512_maskz_loadu_ps(m, (const char *)src + 4 * at);
    const __m256i h = _mm256_maskz_loadu_epi16(m, (const char *)src + 2 * at);
    if (t == DTYPE_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Rows of tiles by names, since gcc 12 keeps arrays of registers in memory. */
#define TRAIN_ROWS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define TRAIN_BEGIN(i)                                                                        \
    __m512 c##i##_0 = add ? _mm512_loadu_ps(c + i * ld) : _mm512_setzero_ps();                \
    __m512 c##i##_1 = add ? _mm512_loadu_ps(c + i * ld + 16) : _mm512_setzero_ps();
#define TRAIN_END(i)                        \
    _mm512_storeu_ps(c + i * ld, c##i##_0); \
    _mm512_storeu_ps(c + i * ld + 16, c##i##_1);

void avx512bf16_train_tile(size_t k, const void *a, const void *b, float *c, size_t ld, bool add);
void avx512bf16_train_pack(const struct gemm_strip *s);
void avx512bf16_train_decode(const struct packed_matrix *m, size_t row, uint16_t *out);
void avx512bf16_train_decode_strip(const struct packed_matrix *m, size_t row, uint16_t *out);

#endif
