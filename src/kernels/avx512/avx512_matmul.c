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

/* ---- steps ------------------------------------------------------------------------ */

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

/* ---- what is fetched --------------------------------------------------------------- */

/* One token is a matter of memory, which answers faster where it is asked in order: the next four rows are
 * fetched line after line. More tokens do better with what lies `ahead` of each row. */
static inline const unsigned char *fetch_lines(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        fetch(p + 64 * i);
    return p + 64 * n;
}
#define FETCH_IN_ORDER(size) next = fetch_lines(next, size);
#define FETCH_BY_ROWS(size)                                           \
    if (ahead) {                                                      \
        fetch(p0 + k * size + ahead), fetch(p1 + k * size + ahead);   \
        fetch(p2 + k * size + ahead), fetch(p3 + k * size + ahead);   \
    }
#define FETCH_1(size) FETCH_IN_ORDER(size)
#define FETCH_2(size) FETCH_BY_ROWS(size)
#define FETCH_3(size) FETCH_BY_ROWS(size)
#define FETCH_4(size) FETCH_BY_ROWS(size)
#define FETCH_5(size) FETCH_BY_ROWS(size)
#define FETCH_6(size) FETCH_BY_ROWS(size)

/* Of rows too long to lie four by four in the first-level cache until their turn comes, one token takes two
 * at a time, in runs of columns: those of the next run, or of the next two rows, are fetched meanwhile. The
 * activations of the longest rows need room too. */
enum { LONG_ROW = 6144, VERY_LONG_ROW = 16384, RUN_BYTES = 8192, SHORT_RUN_BYTES = 4096 };

#define DEFINE_PAIR(type, size)                                                           \
    static inline void pair_##type(const struct tile *a, size_t r, __m512 *sums) {        \
        const size_t stride = a->w_stride, n = a->n_cols, whole = n / 32 * 32;            \
        const size_t cols = (stride > VERY_LONG_ROW ? SHORT_RUN_BYTES : RUN_BYTES) / size; \
        const unsigned char *p0 = a->w + r * stride, *p1 = p0 + stride;                   \
        const float *x = a->x[0];                                                         \
        __m512 s0 = _mm512_setzero_ps(), s1 = _mm512_setzero_ps();                        \
        size_t k = 0;                                                                     \
        while (k < whole) {                                                               \
            const size_t stop = whole - k < cols ? whole : k + cols;                      \
            const unsigned char *run = p0 + (stop < whole ? stop * size : 2 * stride);    \
            size_t end = k + (stop - k) / 64 * 32;                                        \
            for (; k < stop; end = stop, run += stride) {                                 \
                for (const unsigned char *next = run; k < end; k += 32) {                 \
                    next = fetch_lines(next, size);                                       \
                    const __m512 x0 = load_once(x + k), x1 = load_once(x + k + 16);       \
                    s0 = _mm512_fmadd_ps(x0, widen_##type(p0 + k * size), s0);            \
                    s1 = _mm512_fmadd_ps(x0, widen_##type(p1 + k * size), s1);            \
                    s0 = _mm512_fmadd_ps(x1, widen_##type(p0 + (k + 16) * size), s0);     \
                    s1 = _mm512_fmadd_ps(x1, widen_##type(p1 + (k + 16) * size), s1);     \
                }                                                                         \
            }                                                                             \
        }                                                                                 \
        for (; k < n; k += KERNEL_LANES) {                                                \
            const __mmask16 m = n - k < KERNEL_LANES ? first_lanes(n - k) : 0xFFFF;       \
            const __m512 some = _mm512_maskz_loadu_ps(m, x + k);                          \
            s0 = _mm512_mask3_fmadd_ps(some, widen_some_##type(p0 + k * size, m), s0, m); \
            s1 = _mm512_mask3_fmadd_ps(some, widen_some_##type(p1 + k * size, m), s1, m); \
        }                                                                                 \
        sums[0] = s0, sums[1] = s1;                                                       \
    }                                                                                     \
    static inline void pairs_##type(const struct tile *a, size_t r) {                     \
        __m512 s[4];                                                                      \
        pair_##type(a, r, s);                                                             \
        pair_##type(a, r + 2, s + 2);                                                     \
        const __m512 s00 = s[0], s01 = s[1], s02 = s[2], s03 = s[3];                      \
        EACH_1(STORE_4)                                                                   \
    }

/* ---- the tiles ------------------------------------------------------------------------ */

/* T tokens by four rows at a time, then by one. */
#define DEFINE_TILE(type, size, T)                                                     \
    static inline void rows4_##type##_##T(const struct tile *a, size_t r) {            \
        const unsigned char *p0 = a->w + r * a->w_stride, *p1 = p0 + a->w_stride;      \
        const unsigned char *p2 = p1 + a->w_stride, *p3 = p2 + a->w_stride;            \
        const unsigned char *next = p3 + a->w_stride;                                  \
        const ptrdiff_t ahead = a->ahead;                                              \
        (void)next, (void)ahead;                                                       \
        const size_t n = a->n_cols, whole = n / KERNEL_LANES * KERNEL_LANES;           \
        EACH_##T(DECLARE_4) size_t k = 0;                                              \
        for (; k < whole; k += KERNEL_LANES) {                                         \
            FETCH_##T(size)                                                            \
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
        for (; r + AVX512_ROWS <= a->n_rows; r += AVX512_ROWS) {                       \
            if (T == 1 && a->w_stride > LONG_ROW)                                      \
                pairs_##type(a, r);                                                    \
            else                                                                       \
                rows4_##type##_##T(a, r);                                              \
        }                                                                              \
        for (; r < a->n_rows; r++)                                                     \
            rows1_##type##_##T(a, r);                                                  \
    }

#define DEFINE_TILES(type, size) \
    DEFINE_PAIR(type, size)      \
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
