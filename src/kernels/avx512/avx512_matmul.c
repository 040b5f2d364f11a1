/* avx512_matmul.c - y = x W^T with the 16 partial sums of each output in one register,
 * lanes along the columns, weights read in the file's own layout and widened in registers. */
#include "kernels/avx512/avx512.h"

/* ---- 16 weights as floats ------------------------------------------------------ */

static inline __m512 widen_f32(const unsigned char *w) {
    return load_once(w);
}

static inline __m512 widen_some_f32(const unsigned char *w, __mmask16 m) {
    return _mm512_maskz_loadu_ps(m, w);
}

static inline __m512 widen_f16(const unsigned char *w) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)w));
}

static inline __m512 widen_some_f16(const unsigned char *w, __mmask16 m) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, w));
}

static inline __m512 bf16_to_ps(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static inline __m512 widen_bf16(const unsigned char *w) {
    return bf16_to_ps(_mm256_loadu_si256((const void *)w));
}

static inline __m512 widen_some_bf16(const unsigned char *w, __mmask16 m) {
    return bf16_to_ps(_mm256_maskz_loadu_epi16(m, w));
}

/* ---- tiles ------------------------------------------------------------------------ */

/* Lanes past the last column keep their sums by the mask, for adding +0 would turn -0 into +0. */
#define DECLARE_4(t)                                                     \
    const float *x##t = a->x[t];                                         \
    __m512 s##t##0 = _mm512_setzero_ps(), s##t##1 = _mm512_setzero_ps(); \
    __m512 s##t##2 = _mm512_setzero_ps(), s##t##3 = _mm512_setzero_ps();
#define STEP_4(t)                                   \
    {                                               \
        __m512 x = load_once(x##t + k);             \
        s##t##0 = _mm512_fmadd_ps(x, w0, s##t##0);  \
        s##t##1 = _mm512_fmadd_ps(x, w1, s##t##1);  \
        s##t##2 = _mm512_fmadd_ps(x, w2, s##t##2);  \
        s##t##3 = _mm512_fmadd_ps(x, w3, s##t##3);  \
    }
#define LAST_4(t)                                            \
    {                                                        \
        __m512 x = _mm512_maskz_loadu_ps(m, x##t + k);       \
        s##t##0 = _mm512_mask3_fmadd_ps(x, w0, s##t##0, m);  \
        s##t##1 = _mm512_mask3_fmadd_ps(x, w1, s##t##1, m);  \
        s##t##2 = _mm512_mask3_fmadd_ps(x, w2, s##t##2, m);  \
        s##t##3 = _mm512_mask3_fmadd_ps(x, w3, s##t##3, m);  \
    }
#define STORE_4(t)                                             \
    {                                                          \
        __m128 y = fold4(s##t##0, s##t##1, s##t##2, s##t##3);  \
        if (a->bias)                                           \
            y = _mm_add_ps(y, _mm_loadu_ps(a->bias + r));      \
        _mm_storeu_ps(a->y[t] + r, y);                         \
    }

#define DECLARE_1(t)             \
    const float *x##t = a->x[t]; \
    __m512 s##t = _mm512_setzero_ps();
#define STEP_1(t) s##t = _mm512_fmadd_ps(_mm512_loadu_ps(x##t + k), w0, s##t);
#define LAST_1(t) s##t = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(m, x##t + k), w0, s##t, m);
#define STORE_1(t)                                               \
    {                                                            \
        float y = fold1(s##t);                                   \
        a->y[t][r] = a->bias ? y + a->bias[r] : y;               \
    }

/* T tokens by four rows at a time, then by one. */
#define DEFINE_TILE(type, size, T)                                                     \
    static inline void rows4_##type##_##T(const struct tile *a, size_t r) {            \
        const unsigned char *p0 = a->w + r * a->w_stride, *p1 = p0 + a->w_stride;      \
        const unsigned char *p2 = p1 + a->w_stride, *p3 = p2 + a->w_stride;            \
        const ptrdiff_t ahead = a->ahead;                                              \
        const size_t n = a->n_cols, whole = n / KERNEL_LANES * KERNEL_LANES;           \
        EACH_##T(DECLARE_4) size_t k = 0;                                              \
        for (; k < whole; k += KERNEL_LANES) {                                         \
            if (ahead) {                                                               \
                fetch(p0 + k * size + ahead), fetch(p1 + k * size + ahead);            \
                fetch(p2 + k * size + ahead), fetch(p3 + k * size + ahead);            \
            }                                                                          \
            __m512 w0 = widen_##type(p0 + k * size), w1 = widen_##type(p1 + k * size); \
            __m512 w2 = widen_##type(p2 + k * size), w3 = widen_##type(p3 + k * size); \
            EACH_##T(STEP_4)                                                           \
        }                                                                              \
        if (k < n) {                                                                   \
            __mmask16 m = first_lanes(n - k);                                          \
            __m512 w0 = widen_some_##type(p0 + k * size, m);                           \
            __m512 w1 = widen_some_##type(p1 + k * size, m);                           \
            __m512 w2 = widen_some_##type(p2 + k * size, m);                           \
            __m512 w3 = widen_some_##type(p3 + k * size, m);                           \
            EACH_##T(LAST_4)                                                           \
        }                                                                              \
        EACH_##T(STORE_4)                                                              \
    }                                                                                  \
    static inline void rows1_##type##_##T(const struct tile *a, size_t r) {            \
        const unsigned char *p0 = a->w + r * a->w_stride;                              \
        const size_t n = a->n_cols, whole = n / KERNEL_LANES * KERNEL_LANES;           \
        EACH_##T(DECLARE_1) size_t k = 0;                                              \
        for (; k < whole; k += KERNEL_LANES) {                                         \
            __m512 w0 = widen_##type(p0 + k * size);                                   \
            EACH_##T(STEP_1)                                                           \
        }                                                                              \
        if (k < n) {                                                                   \
            __mmask16 m = first_lanes(n - k);                                          \
            __m512 w0 = widen_some_##type(p0 + k * size, m);                           \
            EACH_##T(LAST_1)                                                           \
        }                                                                              \
        EACH_##T(STORE_1)                                                              \
    }                                                                                  \
    static void tile_##type##_##T(const struct tile *a) {                              \
        size_t r = 0;                                                                  \
        for (; r + AVX512_ROWS <= a->n_rows; r += AVX512_ROWS)                             \
            rows4_##type##_##T(a, r);                                                  \
        for (; r < a->n_rows; r++)                                                     \
            rows1_##type##_##T(a, r);                                                  \
    }

#define DEFINE_TILES(type, size) \
    DEFINE_TILE(type, size, 1)   \
    DEFINE_TILE(type, size, 2)   \
    DEFINE_TILE(type, size, 3)   \
    DEFINE_TILE(type, size, 4)   \
    DEFINE_TILE(type, size, 5)   \
    DEFINE_TILE(type, size, 6)

#define TILE_TABLE(type)                                                                          \
    {                                                                                             \
        NULL, tile_##type##_1, tile_##type##_2, tile_##type##_3, tile_##type##_4, tile_##type##_5, \
            tile_##type##_6                                                                       \
    }

DEFINE_TILES(f32, 4)
DEFINE_TILES(f16, 2)
DEFINE_TILES(bf16, 2)

static tile_fn *const tile_f32[] = TILE_TABLE(f32);
static tile_fn *const tile_f16[] = TILE_TABLE(f16);
static tile_fn *const tile_bf16[] = TILE_TABLE(bf16);

const struct tile_set avx512_tiles_f32 = {tile_f32, AVX512_TOKENS, AVX512_ROWS, 4};
static const struct tile_set tiles_f16 = {tile_f16, AVX512_TOKENS, AVX512_ROWS, 2};
static const struct tile_set tiles_bf16 = {tile_bf16, AVX512_TOKENS, AVX512_ROWS, 2};

void avx512_matmul_f32(const struct matmul_args *a) {
    tiles_matmul(a, &avx512_tiles_f32);
}

void avx512_matmul_f16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_f16);
}

void avx512_matmul_bf16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_bf16);
}
