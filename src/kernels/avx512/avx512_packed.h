/* avx512_packed.h - what packed matrices have in common on AVX-512; shared with avx512vnni/. */
#ifndef QUERN_KERNELS_AVX512_AVX512_PACKED_H
#define QUERN_KERNELS_AVX512_AVX512_PACKED_H

#include "kernels/avx512/avx512.h"
#include "kernels/packed_tiles.h"

packed_prepare_fn avx512_prepare_exact, avx512_prepare_int8, avx512_prepare_bf16;
packed_matmul_fn avx512_packed_exact, avx512_packed_bf16, avx2_packed_int8, avx512vnni_packed_int8;

/* Columns [first, first + n) of a token, in the matrix's order; n <= PACKED_GROUP_MAX. */
static inline const float *packed_columns(const struct packed_prepare_args *a, size_t t, size_t first,
                                          size_t n, float *room) {
    const float *x = a->x + t * a->x_stride;
    if (!a->col_order)
        return x + first;
    for (size_t c = 0; c < n; c++)
        room[c] = x[a->col_order[first + c]];
    return room;
}

/* Columns of group g. */
static inline size_t packed_prepared_cols(const struct packed_prepare_args *a, size_t g) {
    const size_t rest = a->cols - g * a->out->group;
    return rest < a->out->group ? rest : a->out->group;
}

/* Numbers i .. i+15. */
static inline __m512 numbers_at(enum dtype type, const unsigned char *p, size_t i) {
    if (type == DTYPE_F32)
        return _mm512_loadu_ps(p + 4 * i);
    const __m256i h = _mm256_loadu_si256((const void *)(p + 2 * i));
    if (type == DTYPE_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

/* Zeros i .. i+15 of QUANT_INT. */
static inline __m512i packed_int_zeros(const struct packed_matrix *w, const unsigned char *p, size_t i) {
    if (w->zeros == ZEROS_U8)
        return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(p + i)));
    if (w->zeros == ZEROS_U16)
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p + 2 * i)));
    return _mm512_set1_epi32(w->zero);
}

/* packed_parts.numbers */
void avx512_packed_numbers(struct packed_numbers *to, const struct packed_tile *group);

#endif
