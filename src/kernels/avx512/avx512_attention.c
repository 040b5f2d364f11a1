/* avx512_attention.c - softmax of a row of scores, and the weighted sum of values with lanes along
 * head_dim. */
#include "kernels/avx512/avx512.h"

/* In place; the sum of the results. */
float avx512_exp_scores(float *s, size_t n, float scale) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY), factor = _mm512_set1_ps(scale);
    __m512 max = lowest;
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, s + j), factor);
        _mm512_mask_storeu_ps(s + j, m, x);
        max = _mm512_mask_max_ps(max, m, max, x);
    }
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    __m512 sum = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        __m512 p = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, s + j), top));
        _mm512_mask_storeu_ps(s + j, m, p);
        sum = _mm512_mask_add_ps(sum, m, sum, p);
    }
    return fold1(sum);
}

void avx512_divide(float *x, size_t n, float by) {
    const __m512 d = _mm512_set1_ps(by);
    for (size_t i = 0; i < n; i += KERNEL_LANES) {
        __mmask16 m = n - i < KERNEL_LANES ? first_lanes(n - i) : (__mmask16)0xFFFF;
        _mm512_mask_storeu_ps(x + i, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, x + i), d));
    }
}

/* ---- weighted values: 64 columns in hand stay in registers over all positions ---------- */

#define LOAD_4(q)                                                                                \
    const float *p##q = a->p[q];                                                                 \
    __m512 s##q##0 = _mm512_loadu_ps(a->out[q] + i), s##q##1 = _mm512_loadu_ps(a->out[q] + i + 16); \
    __m512 s##q##2 = _mm512_loadu_ps(a->out[q] + i + 32), s##q##3 = _mm512_loadu_ps(a->out[q] + i + 48);
#define STEP_4(q)                                   \
    {                                               \
        __m512 p = _mm512_set1_ps(p##q[j]);         \
        s##q##0 = _mm512_fmadd_ps(p, v0, s##q##0);  \
        s##q##1 = _mm512_fmadd_ps(p, v1, s##q##1);  \
        s##q##2 = _mm512_fmadd_ps(p, v2, s##q##2);  \
        s##q##3 = _mm512_fmadd_ps(p, v3, s##q##3);  \
    }
#define STORE_4(q)                                \
    _mm512_storeu_ps(a->out[q] + i, s##q##0);      \
    _mm512_storeu_ps(a->out[q] + i + 16, s##q##1); \
    _mm512_storeu_ps(a->out[q] + i + 32, s##q##2); \
    _mm512_storeu_ps(a->out[q] + i + 48, s##q##3);

#define LOAD_1(q)                \
    const float *p##q = a->p[q]; \
    __m512 s##q = _mm512_maskz_loadu_ps(m, a->out[q] + i);
#define STEP_1(q) s##q = _mm512_fmadd_ps(_mm512_set1_ps(p##q[j]), v0, s##q);
#define STORE_1(q) _mm512_mask_storeu_ps(a->out[q] + i, m, s##q);

#define DEFINE_WEIGH(Q)                                                                  \
    static inline void weigh64_##Q(const struct weighing *a, size_t i) {                 \
        const float *v = a->v + i;                                                       \
        EACH_##Q(LOAD_4) for (size_t j = 0; j < a->n; j++, v += a->head_dim) {           \
            const char *next = (const char *)v + a->ahead;                               \
            fetch(next), fetch(next + 64), fetch(next + 128), fetch(next + 192);         \
            __m512 v0 = load_once(v), v1 = load_once(v + 16);                            \
            __m512 v2 = load_once(v + 32), v3 = load_once(v + 48);                       \
            EACH_##Q(STEP_4)                                                             \
        }                                                                                \
        EACH_##Q(STORE_4)                                                                \
    }                                                                                    \
    static inline void weigh16_##Q(const struct weighing *a, size_t i) {                 \
        const float *v = a->v + i;                                                       \
        __mmask16 m = first_lanes(a->head_dim - i < 16 ? a->head_dim - i : 16);          \
        EACH_##Q(LOAD_1) for (size_t j = 0; j < a->n; j++, v += a->head_dim) {           \
            __m512 v0 = _mm512_maskz_loadu_ps(m, v);                                     \
            EACH_##Q(STEP_1)                                                             \
        }                                                                                \
        EACH_##Q(STORE_1)                                                                \
    }                                                                                    \
    static void weigh_##Q(const struct weighing *a) {                                    \
        size_t i = 0;                                                                    \
        for (; i + 64 <= a->head_dim; i += 64)                                           \
            weigh64_##Q(a, i);                                                           \
        for (; i < a->head_dim; i += 16)                                                 \
            weigh16_##Q(a, i);                                                           \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void avx512_attention(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = avx512_tiles_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .exp_scores = avx512_exp_scores,
                                          .divide = avx512_divide};
    tiles_attention(a, &parts);
}
