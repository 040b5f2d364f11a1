/* avx2_attention.c - softmax of a row of scores, and the weighted sum of values with lanes along
 * head_dim. */
#include "kernels/avx2/avx2.h"

static inline float max_of(__m256 v) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

/* In place; the sum of the results. */
float avx2_exp_scores(float *s, size_t n, float scale) {
    const __m256 lowest = _mm256_set1_ps(-INFINITY), factor = _mm256_set1_ps(scale);
    __m256 max = lowest;
    for (size_t j = 0; j < n; j += HALF_LANES) {
        __m256i m = first_lanes(n - j);
        __m256 x = _mm256_mul_ps(_mm256_maskload_ps(s + j, m), factor);
        _mm256_maskstore_ps(s + j, m, x);
        max = _mm256_max_ps(max, select_lanes(m, x, lowest));
    }
    const __m256 top = _mm256_set1_ps(max_of(max));
    __m256 low = _mm256_setzero_ps(), high = low;
    for (size_t j = 0; j < n; j += HALF_LANES) {
        __m256i m = first_lanes(n - j);
        __m256 p = exp8(_mm256_sub_ps(_mm256_maskload_ps(s + j, m), top));
        _mm256_maskstore_ps(s + j, m, p);
        /* The lanes swap halves at every step, and back at the end. */
        __m256 next = select_lanes(m, _mm256_add_ps(low, p), low);
        low = high;
        high = next;
    }
    return (n + HALF_LANES - 1) / HALF_LANES % 2 ? fold1(high, low) : fold1(low, high);
}

void avx2_divide(float *x, size_t n, float by) {
    const __m256 d = _mm256_set1_ps(by);
    for (size_t i = 0; i < n; i += HALF_LANES) {
        __m256i m = first_lanes(n - i);
        _mm256_maskstore_ps(x + i, m, _mm256_div_ps(_mm256_maskload_ps(x + i, m), d));
    }
}

/* ---- weighted values: 16 columns in hand stay in registers over all positions ----------- */

#define LOAD_2(q)                \
    const float *p##q = a->p[q]; \
    __m256 l##q = _mm256_loadu_ps(a->out[q] + i), h##q = _mm256_loadu_ps(a->out[q] + i + 8);
#define STEP_2(q)                                \
    {                                            \
        __m256 p = _mm256_broadcast_ss(p##q + j); \
        l##q = _mm256_fmadd_ps(p, v0, l##q);     \
        h##q = _mm256_fmadd_ps(p, v1, h##q);     \
    }
#define STORE_2(q)                        \
    _mm256_storeu_ps(a->out[q] + i, l##q); \
    _mm256_storeu_ps(a->out[q] + i + 8, h##q);

#define LOAD_1(q)                \
    const float *p##q = a->p[q]; \
    __m256 l##q = _mm256_maskload_ps(a->out[q] + i, m);
#define STEP_1(q) l##q = _mm256_fmadd_ps(_mm256_broadcast_ss(p##q + j), v0, l##q);
#define STORE_1(q) _mm256_maskstore_ps(a->out[q] + i, m, l##q);

#define DEFINE_WEIGH(Q)                                                            \
    static void weigh_##Q(const struct weighing *a) {                              \
        size_t i = 0;                                                              \
        for (; i + 16 <= a->head_dim; i += 16) {                                   \
            const float *v = a->v + i;                                             \
            EACH_##Q(LOAD_2) for (size_t j = 0; j < a->n; j++, v += a->head_dim) { \
                fetch((const char *)v + a->ahead);                                 \
                __m256 v0 = load_once(v), v1 = load_once(v + 8);                   \
                EACH_##Q(STEP_2)                                                   \
            }                                                                      \
            EACH_##Q(STORE_2)                                                      \
        }                                                                          \
        for (; i < a->head_dim; i += 8) {                                          \
            const float *v = a->v + i;                                             \
            __m256i m = first_lanes(a->head_dim - i);                              \
            EACH_##Q(LOAD_1) for (size_t j = 0; j < a->n; j++, v += a->head_dim) { \
                __m256 v0 = _mm256_maskload_ps(v, m);                              \
                EACH_##Q(STEP_1)                                                   \
            }                                                                      \
            EACH_##Q(STORE_1)                                                      \
        }                                                                          \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void avx2_attention(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = avx2_tiles_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .exp_scores = avx2_exp_scores,
                                          .divide = avx2_divide};
    tiles_attention(a, &parts);
}
