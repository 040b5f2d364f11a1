/* avx512_exact.c - MATH_EXACT: 64 rows by up to six tokens in 24 registers of float32 sums. For one or two
 * tokens codes become floats in registers; for more, once for all of them, in memory. */
#include "kernels/avx512/avx512_packed.h"

/* ---- codes of 16 rows as floats -------------------------------------------------------------------
 * `v` has the codes of a chunk, four bytes a row; the rest are the registers of SETUP. `shift` brings a
 * code to the low bits. */

#define SETUP                                                                                        \
    const struct packed_matrix *m = a->w;                                                            \
    const __m512 table = table_of(m);                                                                \
    const __m512i byte = _mm512_set1_epi32(255), e4m3_bits = _mm512_set1_epi32((int)0x87f00000u);    \
    const __m512 e4m3_up = _mm512_set1_ps(0x1p120f);                                                 \
    const __m512 scale0 = _mm512_load_ps(a->numbers->scale), scale1 = _mm512_load_ps(a->numbers->scale + 16); \
    const __m512 scale2 = _mm512_load_ps(a->numbers->scale + 32);                                    \
    const __m512 scale3 = _mm512_load_ps(a->numbers->scale + 48);                                    \
    const __m512 zero0 = zeros_of(a, 0), zero1 = zeros_of(a, 16);                                    \
    const __m512 zero2 = zeros_of(a, 32), zero3 = zeros_of(a, 48);                                   \
    (void)byte, (void)e4m3_bits, (void)e4m3_up, (void)scale0, (void)scale1, (void)scale2, (void)scale3; \
    (void)zero0, (void)zero1, (void)zero2, (void)zero3, (void)table, (void)m;

/* Four bits: the float of code i in lane i. With constant zeros these are off already. */
static inline __m512 table_of(const struct packed_matrix *m) {
    const __m512i index = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (m->kind == QUANT_CODE)
        return _mm512_loadu_ps(m->code);
    return _mm512_cvtepi32_ps(
        _mm512_sub_epi32(index, _mm512_set1_epi32(m->zeros == ZEROS_CONSTANT ? m->zero : 0)));
}

static inline __m512 zeros_of(const struct packed_tile *a, size_t row) {
    if (a->w->kind == QUANT_INT)
        return _mm512_cvtepi32_ps(_mm512_loadu_si512(a->numbers->zero.i + row));
    return _mm512_loadu_ps(a->numbers->zero.f + row); /* QUANT_CODE: not looked at */
}

/* The look-up takes the low four bits of a lane. */
#define TABLE(v, shift, r) _mm512_permutexvar_ps(_mm512_srli_epi32(v, shift), table)
#define TABLE_ZEROS(v, shift, r) _mm512_sub_ps(TABLE(v, shift, r), zero##r)
#define TABLE_AFFINE(v, shift, r) _mm512_sub_ps(_mm512_mul_ps(scale##r, TABLE(v, shift, r)), zero##r)
#define BYTE(v, shift) _mm512_and_si512(_mm512_srli_epi32(v, shift), byte)
#define BYTE_ZEROS(v, shift, r) _mm512_sub_ps(_mm512_cvtepi32_ps(BYTE(v, shift)), zero##r)
#define BYTE_AFFINE(v, shift, r) \
    _mm512_sub_ps(_mm512_mul_ps(scale##r, _mm512_cvtepi32_ps(BYTE(v, shift))), zero##r)
#define BYTE_CODE(v, shift, r) _mm512_i32gather_ps(BYTE(v, shift), m->code, 4)
/* Sign and seven bits where a float has sign and the low bits of its exponent; 2^120 makes up for the
 * difference of the exponents' biases, of subnormal numbers too. */
#define BYTE_E4M3(v, shift, r)                                                                           \
    _mm512_mul_ps(_mm512_castsi512_ps(_mm512_and_si512(                                                  \
                      _mm512_srai_epi32(_mm512_slli_epi32(v, 24 - (shift)), 4), e4m3_bits)),             \
                  e4m3_up)

/* M(VALUE, column of the chunk, shift) for all columns of a chunk */
#define BYTES(M, VALUE) \
    M(VALUE, 0, 0) M(VALUE, 1, 8) M(VALUE, 2, 16) M(VALUE, 3, 24)
#define NIBBLES(M, VALUE) \
    M(VALUE, 0, 0) M(VALUE, 1, 8) M(VALUE, 2, 16) M(VALUE, 3, 24) \
    M(VALUE, 4, 4) M(VALUE, 5, 12) M(VALUE, 6, 20) M(VALUE, 7, 28)
#define NIBBLES_OF_PAIRS(M, VALUE) \
    M(VALUE, 0, 0) M(VALUE, 1, 16) M(VALUE, 2, 4) M(VALUE, 3, 20) \
    M(VALUE, 4, 8) M(VALUE, 5, 24) M(VALUE, 6, 12) M(VALUE, 7, 28)

/* ---- unpacked: floats [n_cols][64] ------------------------------------------------------------------ */

#define PUT(VALUE, j, shift)                                 \
    _mm512_storeu_ps(out + j * PACKED_ROWS, VALUE(v0, shift, 0));        \
    _mm512_storeu_ps(out + j * PACKED_ROWS + 16, VALUE(v1, shift, 1));   \
    _mm512_storeu_ps(out + j * PACKED_ROWS + 32, VALUE(v2, shift, 2));   \
    _mm512_storeu_ps(out + j * PACKED_ROWS + 48, VALUE(v3, shift, 3));

#define DEFINE_UNPACK(name, COLUMNS, n_columns, VALUE)                                               \
    static void unpack_##name(void *to, const struct packed_tile *a) {                               \
        const unsigned char *q = a->codes;                                                           \
        float *out = to;                                                                             \
        SETUP                                                                                        \
        for (size_t k = 0; k < a->n_cols; k += n_columns, q += PACKED_CHUNK_BYTES) {                 \
            const __m512i v0 = _mm512_loadu_si512(q), v1 = _mm512_loadu_si512(q + 64);               \
            const __m512i v2 = _mm512_loadu_si512(q + 128), v3 = _mm512_loadu_si512(q + 192);        \
            fetch(q + a->ahead), fetch(q + a->ahead + 64), fetch(q + a->ahead + 128),                \
                fetch(q + a->ahead + 192);                                                           \
            COLUMNS(PUT, VALUE)                                                                      \
            out += n_columns * PACKED_ROWS;                                                          \
        }                                                                                            \
    }

/* ---- tiles ----------------------------------------------------------------------------------------- */

static inline void add_group(const struct packed_tile *a, size_t t, size_t row, __m512 sum) {
    float *to = a->sums + t * PACKED_ROWS + row;
    const __m512 y = _mm512_loadu_ps(to);
    if (a->w->kind == QUANT_AFFINE)
        _mm512_storeu_ps(to, _mm512_add_ps(y, sum));
    else
        _mm512_storeu_ps(to, _mm512_fmadd_ps(sum, _mm512_load_ps(a->numbers->scale + row), y));
}

#define DECLARE(t)                                                           \
    const float *x##t = (const float *)a->x + t * a->x_stride;               \
    __m512 s##t##0 = _mm512_setzero_ps(), s##t##1 = _mm512_setzero_ps();     \
    __m512 s##t##2 = _mm512_setzero_ps(), s##t##3 = _mm512_setzero_ps();
#define STEP(t)                                      \
    {                                                \
        const __m512 x = _mm512_set1_ps(x##t[k]);    \
        s##t##0 = _mm512_fmadd_ps(x, w0, s##t##0);   \
        s##t##1 = _mm512_fmadd_ps(x, w1, s##t##1);   \
        s##t##2 = _mm512_fmadd_ps(x, w2, s##t##2);   \
        s##t##3 = _mm512_fmadd_ps(x, w3, s##t##3);   \
    }
#define FINISH(t)                       \
    add_group(a, t, 0, s##t##0);        \
    add_group(a, t, 16, s##t##1);       \
    add_group(a, t, 32, s##t##2);       \
    add_group(a, t, 48, s##t##3);

#define DEFINE_FLOATS(T)                                                                    \
    static void floats_##T(const struct packed_tile *a) {                                   \
        const float *w = a->codes;                                                          \
        EACH_##T(DECLARE) for (size_t k = 0; k < a->n_cols; k++, w += PACKED_ROWS) {        \
            const __m512 w0 = load_once(w), w1 = load_once(w + 16);                         \
            const __m512 w2 = load_once(w + 32), w3 = load_once(w + 48);                    \
            EACH_##T(STEP)                                                                  \
        }                                                                                   \
        EACH_##T(FINISH)                                                                    \
    }

DEFINE_FLOATS(1)
DEFINE_FLOATS(2)
DEFINE_FLOATS(3)
DEFINE_FLOATS(4)
DEFINE_FLOATS(5)
DEFINE_FLOATS(6)

static packed_tile_fn *const floats[] = {NULL,     floats_1, floats_2, floats_3,
                                         floats_4, floats_5, floats_6};

/* ---- tiles from codes ------------------------------------------------------------------------------ */

#define WEIGHTS(VALUE, shift)                                                        \
    const __m512 w0 = VALUE(v0, shift, 0), w1 = VALUE(v1, shift, 1);                 \
    const __m512 w2 = VALUE(v2, shift, 2), w3 = VALUE(v3, shift, 3);
#define COLUMN_1(VALUE, j, shift)        \
    {                                    \
        const size_t k = first + j;      \
        WEIGHTS(VALUE, shift)            \
        EACH_1(STEP)                     \
    }
#define COLUMN_2(VALUE, j, shift)        \
    {                                    \
        const size_t k = first + j;      \
        WEIGHTS(VALUE, shift)            \
        EACH_2(STEP)                     \
    }
/* Of the last chunk: adding +0 for a column that is not there could turn -0 into +0. */
#define LAST_COLUMN_1(VALUE, j, shift) \
    if (first + j < n)                 \
    COLUMN_1(VALUE, j, shift)
#define LAST_COLUMN_2(VALUE, j, shift) \
    if (first + j < n)                 \
    COLUMN_2(VALUE, j, shift)
#define LOAD_CHUNK                                                                        \
    const __m512i v0 = _mm512_loadu_si512(q), v1 = _mm512_loadu_si512(q + 64);            \
    const __m512i v2 = _mm512_loadu_si512(q + 128), v3 = _mm512_loadu_si512(q + 192);

#define DEFINE_DIRECT(name, COLUMNS, n_columns, VALUE, T)                                            \
    static void direct_##name##_##T(const struct packed_tile *a) {                                   \
        const unsigned char *q = a->codes;                                                           \
        const size_t n = a->n_cols, ahead = a->ahead;                                                \
        size_t first = 0;                                                                            \
        SETUP                                                                                        \
        EACH_##T(DECLARE) for (; first + n_columns <= n; first += n_columns, q += PACKED_CHUNK_BYTES) { \
            fetch(q + ahead), fetch(q + ahead + 64), fetch(q + ahead + 128), fetch(q + ahead + 192); \
            LOAD_CHUNK                                                                               \
            COLUMNS(COLUMN_##T, VALUE)                                                               \
        }                                                                                            \
        if (first < n) {                                                                             \
            LOAD_CHUNK                                                                               \
            COLUMNS(LAST_COLUMN_##T, VALUE)                                                          \
        }                                                                                            \
        EACH_##T(FINISH)                                                                             \
    }

#define DEFINE_PARTS(name, COLUMNS, n_columns, VALUE)                                                \
    DEFINE_UNPACK(name, COLUMNS, n_columns, VALUE)                                                   \
    DEFINE_DIRECT(name, COLUMNS, n_columns, VALUE, 1)                                                \
    DEFINE_DIRECT(name, COLUMNS, n_columns, VALUE, 2)                                                \
    static packed_tile_fn *const direct_##name[] = {NULL, direct_##name##_1, direct_##name##_2};     \
    static const struct packed_parts parts_##name = {.dot = floats,                                  \
                                                     .n_tokens = 6,                                  \
                                                     .unpack = unpack_##name,                        \
                                                     .direct = direct_##name,                        \
                                                     .n_direct = 2,                                  \
                                                     .direct_most = 4,                               \
                                                     .numbers = avx512_packed_numbers};

DEFINE_PARTS(int4, NIBBLES, 8, TABLE)
DEFINE_PARTS(int4_zeros, NIBBLES, 8, TABLE_ZEROS)
DEFINE_PARTS(affine4, NIBBLES, 8, TABLE_AFFINE)
DEFINE_PARTS(code4, NIBBLES_OF_PAIRS, 8, TABLE)
DEFINE_PARTS(int8, BYTES, 4, BYTE_ZEROS)
DEFINE_PARTS(affine8, BYTES, 4, BYTE_AFFINE)
DEFINE_PARTS(code8, BYTES, 4, BYTE_CODE)
DEFINE_PARTS(e4m3, BYTES, 4, BYTE_E4M3)

static const struct packed_parts *parts_of(const struct packed_matrix *m) {
    if (m->kind == QUANT_AFFINE)
        return m->bits == 4 ? &parts_affine4 : &parts_affine8;
    if (m->kind == QUANT_CODE)
        return m->bits == 4 ? &parts_code4 : m->is_e4m3 ? &parts_e4m3 : &parts_code8;
    if (m->bits == 8)
        return &parts_int8;
    return m->zeros == ZEROS_CONSTANT ? &parts_int4 : &parts_int4_zeros;
}

void avx512_packed_exact(const struct packed_args *a) {
    packed_tiles_matmul(a, parts_of(a->w));
}
