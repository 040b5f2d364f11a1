/* avx512vnni_packed.c - MATH_INT8 with vpdpbusd: 64 rows by up to six tokens in 24 registers of 32-bit
 * sums. Needs VNNI. Written as assembly, for gcc 12 would move the sums to and fro. */
#include "kernels/avx512vnni/avx512vnni_packed.h"

#include "kernels/avx512vnni/avx512vnni_dot.h"
#include "kernels/tables.h"

/* sums -= zero * x_sum: two of 16 bits are enough, and this instruction needs no second one. */
static inline __m512i less_zeros(__m512i sums, __m512i zero, int32_t x_sum) {
    const __m512i minus = _mm512_set1_epi32(-x_sum & 0xffff);
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(zero), "v"(minus));
    return sums;
}

/* ---- tiles ------------------------------------------------------------------------------ */

#define DECLARE(t)                                                                              \
    const int8_t *x##t = (const int8_t *)a->x + t * a->x_stride;                                \
    __m512i s##t##0 = _mm512_set1_epi32(-a->w->zero * a->x_sum[t]);                             \
    __m512i s##t##1 = s##t##0, s##t##2 = s##t##0, s##t##3 = s##t##0;
#define STEP(t)                                  \
    {                                            \
        const __m512i x = four_of(x##t + k);     \
        s##t##0 = dot4(s##t##0, w0, x);          \
        s##t##1 = dot4(s##t##1, w1, x);          \
        s##t##2 = dot4(s##t##2, w2, x);          \
        s##t##3 = dot4(s##t##3, w3, x);          \
    }
/* The end of a group, for 16 rows of a token: constant zeros are taken off already. */
#define ADD(t, r)                                                                                    \
    {                                                                                                \
        const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(a->x_scale[t]));                       \
        float *to = a->sums + t * PACKED_ROWS + 16 * r;                                              \
        _mm512_storeu_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(s##t##r), by, _mm512_loadu_ps(to))); \
    }
#define ADD_ZEROS(t, r)                                          \
    s##t##r = less_zeros(s##t##r, zero, a->x_sum[t]);            \
    ADD(t, r)
#define ADD_AFFINE(t, r)                                                                             \
    {                                                                                                \
        const __m512 by = _mm512_mul_ps(scale, _mm512_set1_ps(a->x_scale[t]));                       \
        const __m512 sum = _mm512_set1_ps(a->x_scale[t] * (float)a->x_sum[t]);                       \
        float *to = a->sums + t * PACKED_ROWS + 16 * r;                                              \
        const __m512 y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s##t##r), by, _mm512_loadu_ps(to));      \
        _mm512_storeu_ps(to, _mm512_fnmadd_ps(zero, sum, y));                                        \
    }
#define ADD_0(t) ADD(t, 0)
#define ADD_1(t) ADD(t, 1)
#define ADD_2(t) ADD(t, 2)
#define ADD_3(t) ADD(t, 3)
#define ADD_ZEROS_0(t) ADD_ZEROS(t, 0)
#define ADD_ZEROS_1(t) ADD_ZEROS(t, 1)
#define ADD_ZEROS_2(t) ADD_ZEROS(t, 2)
#define ADD_ZEROS_3(t) ADD_ZEROS(t, 3)
#define ADD_AFFINE_0(t) ADD_AFFINE(t, 0)
#define ADD_AFFINE_1(t) ADD_AFFINE(t, 1)
#define ADD_AFFINE_2(t) ADD_AFFINE(t, 2)
#define ADD_AFFINE_3(t) ADD_AFFINE(t, 3)
#define FINISH_ROWS(T, r)                                                                   \
    {                                                                                       \
        const __m512 scale = _mm512_load_ps(a->numbers->scale + 16 * r);                    \
        if (a->w->kind == QUANT_AFFINE) {                                                   \
            const __m512 zero = _mm512_loadu_ps(a->numbers->zero.f + 16 * r);               \
            EACH_##T(ADD_AFFINE_##r)                                                        \
        } else if (a->w->zeros == ZEROS_CONSTANT) {                                         \
            EACH_##T(ADD_##r)                                                               \
        } else {                                                                            \
            const __m512i zero = _mm512_loadu_si512(a->numbers->zero.i + 16 * r);           \
            EACH_##T(ADD_ZEROS_##r)                                                         \
        }                                                                                   \
    }
#define FINISH(T) FINISH_ROWS(T, 0) FINISH_ROWS(T, 1) FINISH_ROWS(T, 2) FINISH_ROWS(T, 3)

/* Bytes in chunks of four columns. */
#define DEFINE_BYTES(T)                                                                          \
    static void bytes_##T(const struct packed_tile *a) {                                         \
        const unsigned char *q = a->codes;                                                       \
        const size_t ahead = a->ahead;                                                           \
        EACH_##T(DECLARE) for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES) {   \
            if (ahead)                                                                           \
                fetch(q + ahead), fetch(q + ahead + 64), fetch(q + ahead + 128),                 \
                    fetch(q + ahead + 192);                                                      \
            const __m512i w0 = load_codes(q), w1 = load_codes(q + 64);                           \
            const __m512i w2 = load_codes(q + 128), w3 = load_codes(q + 192);                    \
            EACH_##T(STEP)                                                                       \
        }                                                                                        \
        FINISH(T)                                                                                \
    }

DEFINE_BYTES(1)
DEFINE_BYTES(2)
DEFINE_BYTES(3)
DEFINE_BYTES(4)
DEFINE_BYTES(5)
DEFINE_BYTES(6)

#define LOADS_X(t) const __m512i xl##t = four_of(x##t + k), xh##t = four_of(x##t + k + 4);
#define HALVES(r)                                              \
    {                                                          \
        const __m512i v = load_codes(q + 64 * r);              \
        l = _mm512_and_si512(v, low);                          \
        h = _mm512_and_si512(_mm512_srli_epi32(v, 4), low);    \
    }
#define STEP_HALVES(t, r)                    \
    s##t##r = dot4(s##t##r, l, xl##t);       \
    s##t##r = dot4(s##t##r, h, xh##t);
#define STEP_0(t) STEP_HALVES(t, 0)
#define STEP_1(t) STEP_HALVES(t, 1)
#define STEP_2(t) STEP_HALVES(t, 2)
#define STEP_3(t) STEP_HALVES(t, 3)

/* Nibbles, unpacked in registers. */
#define DEFINE_NIBBLES(T)                                                                        \
    static void nibbles_##T(const struct packed_tile *a) {                                       \
        const unsigned char *q = a->codes;                                                       \
        const __m512i low = _mm512_set1_epi8(15);                                                \
        const size_t ahead = a->ahead;                                                           \
        __m512i l, h;                                                                            \
        EACH_##T(DECLARE) for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES) {   \
            if (ahead)                                                                           \
                fetch(q + ahead), fetch(q + ahead + 64), fetch(q + ahead + 128),                 \
                    fetch(q + ahead + 192);                                                      \
            EACH_##T(LOADS_X)                                                                    \
            HALVES(0) EACH_##T(STEP_0) HALVES(1) EACH_##T(STEP_1)                                \
            HALVES(2) EACH_##T(STEP_2) HALVES(3) EACH_##T(STEP_3)                                \
        }                                                                                        \
        FINISH(T)                                                                                \
    }

DEFINE_NIBBLES(1)
DEFINE_NIBBLES(2)
DEFINE_NIBBLES(3)
DEFINE_NIBBLES(4)

/* A chunk of eight columns becomes two of four. */
void avx512vnni_unpack(void *to, const struct packed_tile *a) {
    const unsigned char *q = a->codes;
    const __m512i low = _mm512_set1_epi8(15);
    unsigned char *out = to;
    for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_CHUNK_BYTES) {
        for (size_t i = 0; i < PACKED_CHUNK_BYTES; i += 64) {
            const __m512i v = _mm512_loadu_si512(q + i);
            fetch(q + a->ahead + i);
            _mm512_storeu_si512(out + i, _mm512_and_si512(v, low));
            _mm512_storeu_si512(out + PACKED_CHUNK_BYTES + i,
                                _mm512_and_si512(_mm512_srli_epi32(v, 4), low));
        }
    }
}

packed_tile_fn *const avx512vnni_bytes[VNNI_TOKENS + 1] = {NULL,    bytes_1, bytes_2, bytes_3,
                                                           bytes_4, bytes_5, bytes_6};
packed_tile_fn *const avx512vnni_nibbles[VNNI_NIBBLES_TOKENS + 1] = {NULL, nibbles_1, nibbles_2,
                                                                     nibbles_3, nibbles_4};

void avx512vnni_packed_int8(const struct packed_args *a) {
    static const struct packed_parts parts8 = {
        .dot = avx512vnni_bytes, .n_tokens = VNNI_TOKENS, .numbers = avx512_packed_numbers};
    static const struct packed_parts parts4 = {.dot = avx512vnni_bytes, .n_tokens = VNNI_TOKENS,
                                               .unpack = avx512vnni_unpack,
                                               .direct = avx512vnni_nibbles,
                                               .n_direct = VNNI_NIBBLES_TOKENS,
                                               .direct_most = VNNI_NIBBLES_MOST,
                                               .numbers = avx512_packed_numbers};
    if (!avx512vnni_halves(a) && !avx512vnni_panels(a))
        packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
}

const struct packed_kernels packed_avx512vnni = {
    .prepare = {[MATH_EXACT] = avx512_prepare_exact, [MATH_INT8] = avx512_prepare_int8,
                [MATH_BF16] = avx512_prepare_bf16},
    .matmul = {[MATH_EXACT] = avx512_packed_exact, [MATH_INT8] = avx512vnni_packed_int8,
               [MATH_BF16] = avx512_packed_bf16},
};
