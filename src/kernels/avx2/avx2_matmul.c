/* avx2_matmul.c - y = x W^T with lanes along the columns, weights read in the file's own layout
 * and widened in registers. */
#include "kernels/avx2/avx2.h"

/* ---- 8 weights as floats --------------------------------------------------------- */

static inline __m256 widen_f32(const unsigned char *w) {
    return load_once(w);
}

static inline __m256 widen_f16(const unsigned char *w) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)w));
}

static inline __m256 widen_bf16(const unsigned char *w) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)w));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* ---- tiles -------------------------------------------------------------------------- */

/* In the last columns, fewer than 16, lanes without a term keep their sum: adding +0 would turn
 * -0 into +0. `tail` copies the columns into a padded place, since there is no masked load of
 * 16-bit elements. */
struct tail {
    unsigned char bytes[KERNEL_LANES * sizeof(float)];
};

static inline struct tail tail_of(const void *from, size_t bytes) {
    struct tail t = {{0}};
    memcpy(t.bytes, from, bytes);
    return t;
}

/* l and h are lanes 0-7 and 8-15; the digits are token and row. */
#define DECLARE_2(t)                                                       \
    const float *x##t = a->x[t];                                           \
    __m256 l##t##0 = _mm256_setzero_ps(), h##t##0 = _mm256_setzero_ps();   \
    __m256 l##t##1 = _mm256_setzero_ps(), h##t##1 = _mm256_setzero_ps();
#define LOW_2(t)                                    \
    {                                               \
        __m256 x = load_once(x##t + k);             \
        l##t##0 = _mm256_fmadd_ps(x, w0, l##t##0);  \
        l##t##1 = _mm256_fmadd_ps(x, w1, l##t##1);  \
    }
#define HIGH_2(t)                                   \
    {                                               \
        __m256 x = load_once(x##t + k + 8);         \
        h##t##0 = _mm256_fmadd_ps(x, w0, h##t##0);  \
        h##t##1 = _mm256_fmadd_ps(x, w1, h##t##1);  \
    }
#define LAST_2(t)                                                               \
    {                                                                           \
        struct tail tx = tail_of(x##t + k, (n - k) * sizeof(float));            \
        __m256 x = widen_f32(tx.bytes), y = widen_f32(tx.bytes + 32);           \
        l##t##0 = select_lanes(ml, _mm256_fmadd_ps(x, w0l, l##t##0), l##t##0);  \
        l##t##1 = select_lanes(ml, _mm256_fmadd_ps(x, w1l, l##t##1), l##t##1);  \
        h##t##0 = select_lanes(mh, _mm256_fmadd_ps(y, w0h, h##t##0), h##t##0);  \
        h##t##1 = select_lanes(mh, _mm256_fmadd_ps(y, w1h, h##t##1), h##t##1);  \
    }
#define STORE_2(t)                                                              \
    {                                                                           \
        __m256 s = fold2(l##t##0, h##t##0, l##t##1, h##t##1);                   \
        float y0 = _mm256_cvtss_f32(s);                                         \
        float y1 = _mm_cvtss_f32(_mm256_extractf128_ps(s, 1));                  \
        a->y[t][r] = a->bias ? y0 + a->bias[r] : y0;                            \
        a->y[t][r + 1] = a->bias ? y1 + a->bias[r + 1] : y1;                    \
    }

/* One row is rare: the second of the pair is the first again, and not stored. */
#define STORE_1(t)                                             \
    {                                                          \
        float y0 = fold1(l##t##0, h##t##0);                    \
        a->y[t][r] = a->bias ? y0 + a->bias[r] : y0;           \
    }

#define DEFINE_ROWS(type, size, T, store)                                                    \
    {                                                                                        \
        const size_t n = a->n_cols, whole = n / KERNEL_LANES * KERNEL_LANES;                 \
        const ptrdiff_t ahead = a->ahead;                                                    \
        EACH_##T(DECLARE_2) size_t k = 0;                                                    \
        for (; k < whole; k += KERNEL_LANES) {                                               \
            if (ahead)                                                                       \
                fetch(p0 + k * size + ahead), fetch(p1 + k * size + ahead);                  \
            __m256 w0 = widen_##type(p0 + k * size), w1 = widen_##type(p1 + k * size);       \
            EACH_##T(LOW_2) w0 = widen_##type(p0 + k * size + 8 * size);                     \
            w1 = widen_##type(p1 + k * size + 8 * size);                                     \
            EACH_##T(HIGH_2)                                                                 \
        }                                                                                    \
        if (k < n) {                                                                         \
            struct tail t0 = tail_of(p0 + k * size, (n - k) * size);                         \
            struct tail t1 = tail_of(p1 + k * size, (n - k) * size);                         \
            __m256i ml = first_lanes(n - k), mh = first_lanes(n - k > 8 ? n - k - 8 : 0);    \
            __m256 w0l = widen_##type(t0.bytes), w0h = widen_##type(t0.bytes + 8 * size);    \
            __m256 w1l = widen_##type(t1.bytes), w1h = widen_##type(t1.bytes + 8 * size);    \
            EACH_##T(LAST_2)                                                                 \
        }                                                                                    \
        EACH_##T(store)                                                                      \
    }

#define DEFINE_TILE(type, size, T)                                            \
    static void tile_##type##_##T(const struct tile *a) {                     \
        size_t r = 0;                                                         \
        for (; r + AVX2_ROWS <= a->n_rows; r += AVX2_ROWS) {                  \
            const unsigned char *p0 = a->w + r * a->w_stride;                 \
            const unsigned char *p1 = p0 + a->w_stride;                       \
            DEFINE_ROWS(type, size, T, STORE_2)                               \
        }                                                                     \
        if (r < a->n_rows) {                                                  \
            const unsigned char *p0 = a->w + r * a->w_stride, *p1 = p0;       \
            DEFINE_ROWS(type, size, T, STORE_1)                               \
        }                                                                     \
    }

#define DEFINE_TILES(type, size) \
    DEFINE_TILE(type, size, 1)   \
    DEFINE_TILE(type, size, 2)   \
    DEFINE_TILE(type, size, 3)   \
    static tile_fn *const tile_##type[] = {NULL, tile_##type##_1, tile_##type##_2, tile_##type##_3};

DEFINE_TILES(f32, 4)
DEFINE_TILES(f16, 2)
DEFINE_TILES(bf16, 2)

const struct tile_set avx2_tiles_f32 = {tile_f32, AVX2_TOKENS, AVX2_ROWS, 4};
static const struct tile_set tiles_f16 = {tile_f16, AVX2_TOKENS, AVX2_ROWS, 2};
static const struct tile_set tiles_bf16 = {tile_bf16, AVX2_TOKENS, AVX2_ROWS, 2};

void avx2_matmul_f32(const struct matmul_args *a) {
    tiles_matmul(a, &avx2_tiles_f32);
}

void avx2_matmul_f16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_f16);
}

void avx2_matmul_bf16(const struct matmul_args *a) {
    tiles_matmul(a, &tiles_bf16);
}
