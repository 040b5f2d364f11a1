/* avx2_packed.h - what the files for packed matrices share. */
#ifndef QUERN_KERNELS_AVX2_AVX2_PACKED_H
#define QUERN_KERNELS_AVX2_AVX2_PACKED_H

#include "kernels/avx2/avx2.h"
#include "kernels/packed_tiles.h"

packed_prepare_fn avx2_prepare_bf16;
packed_matmul_fn avx2_packed_bf16;
packed_matmul_fn avx2_packed_int8; /* what AVX-512 without VNNI uses too */

/* Columns [first, first + n) of a token, in the matrix's order, and the padding; n <= PACKED_GROUP_MAX. */
static inline const float *packed_columns(const struct packed_prepare_args *a, size_t t, size_t first, size_t n,
                                          float *room) {
    const float *x = a->x + t * a->x_stride;
    for (size_t c = 0; c < n; c++)
        room[c] = x[a->col_order ? a->col_order[first + c] : first + c];
    for (size_t c = n; c < packed_input_cols(n); c++)
        room[c] = 0;
    return room;
}

/* Columns of group g. */
static inline size_t packed_prepared_cols(const struct packed_prepare_args *a, size_t g) {
    const size_t rest = a->cols - g * a->out->group;
    return rest < a->out->group ? rest : a->out->group;
}

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
