/* avx512bf16_decode.c - coded matrices back to rows of bfloat16. */
#include <immintrin.h>

#include "kernels/avx512/avx512_train.h"

/* One group of sixteen rows in lanes. */
struct group {
    __m512 scale, zero;
    enum quant_kind kind;
    int bits;
    __m512 table; /* of 16 codes */
    const float *code;
};

static __m512 numbers(enum dtype t, const void *p, size_t first) {
    if (t == DTYPE_F32)
        return _mm512_loadu_ps((const float *)p + first);
    const __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)p + first));
    if (t == DTYPE_F16)
        return _mm512_cvtph_ps(h);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static __m512 zeros_of(const struct packed_matrix *m, const unsigned char *p, size_t first) {
    p += m->scales_bytes;
    switch (m->zeros) {
    case ZEROS_NONE:
        break;
    case ZEROS_CONSTANT:
        return _mm512_set1_ps((float)m->zero);
    case ZEROS_U8:
        return _mm512_cvtepi32_ps(
            _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + first))));
    case ZEROS_U16:
        return _mm512_cvtepi32_ps(
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(p + 2 * first))));
    case ZEROS_FLOAT:
        return numbers(m->number, p, first);
    }
    return _mm512_setzero_ps();
}

/* Column c of the chunk whose words are w (packed.h says where its bits are). */
static inline __m512 column(const struct group *g, __m512i w, unsigned c) {
    const unsigned shift = g->bits == 8             ? 8 * c
                           : g->kind == QUANT_CODE ? 4 * (c / 2) + 16 * (c % 2)
                                                    : 8 * (c % 4) + 4 * (c / 4);
    const __m512i mask = _mm512_set1_epi32(g->bits == 8 ? 255 : 15);
    const __m512i q = _mm512_and_si512(_mm512_srl_epi32(w, _mm_cvtsi32_si128((int)shift)), mask);
    if (g->kind == QUANT_CODE) {
        const __m512 v = g->bits == 4 ? _mm512_permutexvar_ps(q, g->table) : _mm512_i32gather_ps(q, g->code, 4);
        return _mm512_mul_ps(g->scale, v);
    }
    const __m512 x = _mm512_cvtepi32_ps(q);
    return g->kind == QUANT_INT ? _mm512_mul_ps(g->scale, _mm512_sub_ps(x, g->zero))
                                : _mm512_sub_ps(_mm512_mul_ps(g->scale, x), g->zero);
}

static inline __m512i rounded(__m512 x) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

/* 32 columns of sixteen rows, from the chunks at p. */
static void block(const struct group *g, const unsigned char *p, uint16_t *out, size_t ld) {
    const unsigned cols = g->bits == 8 ? 4 : 8;
    __m512i pairs[16];
    for (unsigned i = 0; i < 16; i++) {
        const unsigned c = 2 * i % cols;
        const __m512i w = _mm512_loadu_si512(p + 2 * i / cols * PACKED_CHUNK_BYTES);
        pairs[i] = _mm512_or_si512(rounded(column(g, w, c)),
                                   _mm512_slli_epi32(rounded(column(g, w, c + 1)), 16));
    }
#define LOAD(i) const __m512i w##i = pairs[i];
    EACH_16(LOAD)
    TRANSPOSE16
#define STORE(i) _mm512_storeu_si512(out + i * ld, t##i);
    EACH_16(STORE)
#undef LOAD
#undef STORE
}

void avx512bf16_train_decode(const struct packed_matrix *m, size_t row, uint16_t *out) {
    struct group g = {.kind = m->kind, .bits = m->bits, .code = m->code, .table = _mm512_setzero_ps()};
    const size_t first = row % PACKED_ROWS, chunk_cols = packed_chunk_cols(m->bits);
    if (m->kind == QUANT_CODE && m->bits == 4)
        g.table = _mm512_loadu_ps(m->code);
    for (size_t i = 0; i < m->n_groups; i++) {
        const unsigned char *p = packed_group_at(m, row / PACKED_ROWS, i);
        const unsigned char *codes = p + m->scales_bytes + m->zeros_bytes + 4 * first;
        g.scale = numbers(m->number, p, first);
        g.zero = zeros_of(m, p, first);
        for (size_t c = 0; c < packed_group_cols(m, i); c += 32)
            block(&g, codes + c / chunk_cols * PACKED_CHUNK_BYTES, out + i * m->group + c, m->cols);
    }
}
