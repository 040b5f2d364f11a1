/* avx2_attention.c - attention over float32 keys and values. Scores have 8 positions in a register,
 * values 8 dimensions: nothing is ever folded. */
#include "kernels/avx2/avx2_attention.h"

/* ---- scores: 8 positions, four chains each -------------------------------------------------- */

#define DECLARE_S(q)                                                              \
    const float *x##q = a->query[q];                                                  \
    __m256 s##q##0 = _mm256_setzero_ps(), s##q##1 = _mm256_setzero_ps();          \
    __m256 s##q##2 = _mm256_setzero_ps(), s##q##3 = _mm256_setzero_ps();
#define STEP_S(q, c) s##q##c = _mm256_fmadd_ps(k, _mm256_broadcast_ss(x##q + d + (c)), s##q##c);
#define STEP_S0(q) STEP_S(q, 0)
#define STEP_S1(q) STEP_S(q, 1)
#define STEP_S2(q) STEP_S(q, 2)
#define STEP_S3(q) STEP_S(q, 3)
#define STORE_S(q)                                                                   \
    _mm256_storeu_ps(a->s[q] + at, _mm256_add_ps(_mm256_add_ps(s##q##0, s##q##2),    \
                                                 _mm256_add_ps(s##q##1, s##q##3)));

#define CHAIN(Q, c)                                               \
    {                                                             \
        __m256 k = load_once(row + (c) * KV_BLOCK_TOKENS);        \
        EACH_##Q(STEP_S##c)                                       \
    }

#define DEFINE_SCORES(Q)                                                             \
    static void scores_##Q(const struct score_tile *a) {                             \
        for (size_t at = 0; at < KV_BLOCK_TOKENS; at += 8) {                         \
            const float *row = (const float *)(const void *)a->k + at;               \
            const char *next = (const char *)a->next + at / 8 * (a->head_dim * 32);  \
            size_t d = 0;                                                            \
            EACH_##Q(DECLARE_S) for (; d + 4 <= a->head_dim; d += 4) {               \
                fetch(next), fetch(next + 64);                                       \
                CHAIN(Q, 0) CHAIN(Q, 1) CHAIN(Q, 2) CHAIN(Q, 3)                      \
                row += 4 * KV_BLOCK_TOKENS, next += 128;                             \
            }                                                                        \
            if (d < a->head_dim) {                                                   \
                CHAIN(Q, 0) CHAIN(Q, 1)                                              \
            }                                                                        \
            EACH_##Q(STORE_S)                                                        \
        }                                                                            \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)
DEFINE_SCORES(3)

/* ---- weights ---------------------------------------------------------------------------------- */

float avx2_scale_scores(float *s, size_t begin, size_t end, float scale) {
    const __m256 lowest = _mm256_set1_ps(-INFINITY), factor = _mm256_set1_ps(scale);
    __m256 max = lowest;
    for (size_t j = begin / 8 * 8; j < end; j += 8) {
        __m256 x = _mm256_mul_ps(_mm256_loadu_ps(s + j), factor);
        _mm256_storeu_ps(s + j, x);
        max = _mm256_max_ps(max, select_lanes(lanes_between(j, begin, end), x, lowest));
    }
    return max_of(max);
}

void avx2_soften_f32(struct soften *a) {
    a->max = avx2_scale_scores(a->s, a->begin, a->end, a->factor);
    const __m256 top = _mm256_set1_ps(a->max);
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t j = a->begin / 8 * 8; j < a->end; j += 8) {
        __m256 m = _mm256_castsi256_ps(lanes_between(j, a->begin, a->end));
        __m256 p = _mm256_and_ps(m, exp8(_mm256_sub_ps(_mm256_loadu_ps(a->s + j), top)));
        _mm256_storeu_ps(a->s + j, p);
        sums[j / 8 % 2] = _mm256_add_ps(sums[j / 8 % 2], p);
    }
    a->sum = fold1(sums[0], sums[1]);
}

/* ---- weighted values: 16 dimensions in hand stay in registers over all positions -------------- */

#define LOAD_2(q)                \
    const float *p##q = a->w[q]; \
    __m256 l##q = _mm256_loadu_ps(a->o[q] + i), h##q = _mm256_loadu_ps(a->o[q] + i + 8);
#define STEP_2(q)                                 \
    {                                             \
        __m256 p = _mm256_broadcast_ss(p##q + j); \
        l##q = _mm256_fmadd_ps(p, v0, l##q);      \
        h##q = _mm256_fmadd_ps(p, v1, h##q);      \
    }
#define STORE_2(q)                      \
    _mm256_storeu_ps(a->o[q] + i, l##q); \
    _mm256_storeu_ps(a->o[q] + i + 8, h##q);

#define DEFINE_WEIGH(Q)                                                                  \
    static void weigh_##Q(const struct weigh_tile *a) {                                  \
        for (size_t i = 0; i < a->padded; i += 16) {                                     \
            EACH_##Q(LOAD_2) for (size_t j = a->begin; j < a->end;) {                    \
                size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;        \
                size_t at = j % KV_BLOCK_TOKENS * a->padded + i;                         \
                const float *v = (const float *)(const void *)a->v[b] + at;              \
                const float *next = (const float *)(const void *)a->v[b + 1] + at;       \
                stop = stop < a->end ? stop : a->end;                                    \
                for (; j < stop; j++, v += a->padded, next += a->padded) {               \
                    fetch(next);                                                         \
                    __m256 v0 = load_once(v), v1 = load_once(v + 8);                     \
                    EACH_##Q(STEP_2)                                                     \
                }                                                                        \
            }                                                                            \
            EACH_##Q(STORE_2)                                                            \
        }                                                                                \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

/* ---- joining ---------------------------------------------------------------------------------- */

void avx2_attention_join(const struct attention_join *a) {
    if (*a->sum == 0.0f) {
        memcpy(a->out, a->o, a->n * sizeof *a->out);
        *a->max = a->m;
        *a->sum = a->l;
        return;
    }
    float max = a->m > *a->max ? a->m : *a->max;
    float old = exp32(*a->max - max), new = exp32(a->m - max);
    const __m256 x = _mm256_set1_ps(old), y = _mm256_set1_ps(new);
    size_t i = 0;
    for (; i + 8 <= a->n; i += 8) {
        __m256 o = _mm256_mul_ps(_mm256_loadu_ps(a->out + i), x);
        _mm256_storeu_ps(a->out + i, _mm256_fmadd_ps(_mm256_loadu_ps(a->o + i), y, o));
    }
    for (; i < a->n; i++)
        a->out[i] = fma32(a->o[i], new, a->out[i] * old);
    *a->sum = fma32(a->l, new, *a->sum * old);
    *a->max = max;
}

static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void avx2_attention_f32(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = scores,
                                          .n_scores = 3,
                                          .soften = avx2_soften_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .grain = 1,
                                          .join = avx2_attention_join};
    attention_walk(a, &parts);
}
