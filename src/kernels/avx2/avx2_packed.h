/* avx2_packed.h - scales and zeros of a packed panel in registers. */
#ifndef QUERN_KERNELS_AVX2_AVX2_PACKED_H
#define QUERN_KERNELS_AVX2_AVX2_PACKED_H

#include "kernels/avx2/avx2.h"
#include "kernels/packed_tiles.h"

packed_matmul_fn avx2_packed_int8; /* what AVX-512 without VNNI uses too */

/* Numbers i .. i+7. */
static inline __m256 numbers_at(enum dtype type, const unsigned char *p, size_t i) {
    if (type == DTYPE_F32)
        return _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
    const __m128i h = _mm_loadu_si128((const void *)(p + 2 * i));
    if (type == DTYPE_F16)
        return _mm256_cvtph_ps(h);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

/* Zeros i .. i+7 of QUANT_INT. */
static inline __m256i packed_int_zeros(const struct packed_matrix *w, const unsigned char *p, size_t i) {
    if (w->zeros == ZEROS_U8)
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)(p + i)));
    if (w->zeros == ZEROS_U16)
        return _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 2 * i)));
    return _mm256_set1_epi32(w->zero);
}

#endif
