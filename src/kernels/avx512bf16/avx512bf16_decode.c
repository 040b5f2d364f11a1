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

/* Two columns of sixteen rows as pairs: the first in the lower half. */
static inline __m512i paired(__m512 first, __m512 second) {
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* 32 columns of sixteen rows, from the chunks at p: pairs[i] has columns 2i and 2i + 1. */
static void decode_any(const struct group *g, const unsigned char *p, __m512i pairs[16]) {
    const unsigned cols = g->bits == 8 ? 4 : 8;
    for (unsigned i = 0; i < 16; i++) {
        const unsigned c = 2 * i % cols;
        const __m512i w = _mm512_loadu_si512(p + 2 * i / cols * PACKED_CHUNK_BYTES);
        pairs[i] = paired(column(g, w, c), column(g, w, c + 1));
    }
}

/* The same of a code book of sixteen: vpermps looks at no more than the four bits itself. */
static inline __m512i code_pair(const struct group *g, __m512i w, unsigned shift) {
    const __m512 a = _mm512_permutexvar_ps(_mm512_srli_epi32(w, shift), g->table);
    const __m512 b = _mm512_permutexvar_ps(_mm512_srli_epi32(w, 16 + shift), g->table);
    return paired(_mm512_mul_ps(g->scale, a), _mm512_mul_ps(g->scale, b));
}

static void decode_codes(const struct group *g, const unsigned char *p, __m512i pairs[16]) {
    for (unsigned i = 0; i < 4; i++, p += PACKED_CHUNK_BYTES) {
        const __m512i w = _mm512_loadu_si512(p);
        pairs[4 * i] = code_pair(g, w, 0);
        pairs[4 * i + 1] = code_pair(g, w, 4);
        pairs[4 * i + 2] = code_pair(g, w, 8);
        pairs[4 * i + 3] = code_pair(g, w, 12);
    }
}

/* As rows, ld elements apart. */
static void store_rows(const __m512i pairs[16], uint16_t *out, size_t ld) {
#define LOAD(i) const __m512i w##i = pairs[i];
    EACH_16(LOAD)
    TRANSPOSE16
#define STORE(i) _mm512_storeu_si512(out + i * ld, t##i);
    EACH_16(STORE)
#undef LOAD
#undef STORE
}

/* fn gets 32 columns, from `col` on. */
typedef void pairs_fn(const struct packed_matrix *m, const __m512i pairs[16], size_t col, uint16_t *out);

static inline __attribute__((always_inline)) void decode(const struct packed_matrix *m, size_t row, uint16_t *out,
                                                         pairs_fn *fn) {
    struct group g = {.kind = m->kind, .bits = m->bits, .code = m->code, .table = _mm512_setzero_ps()};
    const size_t first = row % PACKED_ROWS, chunk_cols = packed_chunk_cols(m->bits);
    const bool is_code = m->kind == QUANT_CODE && m->bits == 4;
    __m512i pairs[16];
    if (is_code)
        g.table = _mm512_loadu_ps(m->code);
    for (size_t i = 0; i < m->n_groups; i++) {
        const unsigned char *p = packed_group_at(m, row / PACKED_ROWS, i);
        const unsigned char *codes = p + m->scales_bytes + m->zeros_bytes + 4 * first;
        g.scale = numbers(m->number, p, first);
        g.zero = zeros_of(m, p, first);
        for (size_t c = 0; c < packed_group_cols(m, i); c += 32) {
            if (is_code)
                decode_codes(&g, codes + c / chunk_cols * PACKED_CHUNK_BYTES, pairs);
            else
                decode_any(&g, codes + c / chunk_cols * PACKED_CHUNK_BYTES, pairs);
            fn(m, pairs, i * m->group + c, out);
        }
    }
}

static inline void to_rows(const struct packed_matrix *m, const __m512i pairs[16], size_t col, uint16_t *out) {
    store_rows(pairs, out + col, m->cols);
}

static inline void to_strip(const struct packed_matrix *m, const __m512i pairs[16], size_t col, uint16_t *out) {
    (void)m;
    for (size_t i = 0; i < 16; i++)
        _mm512_storeu_si512(out + (col / 2 + i) * 2 * TRAIN_NR, pairs[i]);
}

void avx512bf16_train_decode(const struct packed_matrix *m, size_t row, uint16_t *out) {
    decode(m, row, out, to_rows);
}

void avx512bf16_train_decode_strip(const struct packed_matrix *m, size_t row, uint16_t *out) {
    decode(m, row, out, to_strip);
}
