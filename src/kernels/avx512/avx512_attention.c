/* avx512_attention.c - attention over float32 keys and values. Scores have 16 positions in a
 * register, values 16 dimensions: nothing is ever folded. */
#include "kernels/avx512/avx512_attention.h"

/* ---- scores: 32 positions, four chains each ----------------------------------------------- */

#define DECLARE_S(q)                                                                           \
    const float *x##q = a->query[q];                                                               \
    __m512 a##q##0 = _mm512_setzero_ps(), a##q##1 = _mm512_setzero_ps();                       \
    __m512 a##q##2 = _mm512_setzero_ps(), a##q##3 = _mm512_setzero_ps();                       \
    __m512 b##q##0 = _mm512_setzero_ps(), b##q##1 = _mm512_setzero_ps();                       \
    __m512 b##q##2 = _mm512_setzero_ps(), b##q##3 = _mm512_setzero_ps();
#define STEP_S(q, c)                                        \
    {                                                       \
        __m512 y = _mm512_set1_ps(x##q[d + (c)]);           \
        a##q##c = _mm512_fmadd_ps(k0, y, a##q##c);          \
        b##q##c = _mm512_fmadd_ps(k1, y, b##q##c);          \
    }
#define STEP_S0(q) STEP_S(q, 0)
#define STEP_S1(q) STEP_S(q, 1)
#define STEP_S2(q) STEP_S(q, 2)
#define STEP_S3(q) STEP_S(q, 3)
#define STORE_S(q)                                                                             \
    _mm512_storeu_ps(a->s[q], _mm512_add_ps(_mm512_add_ps(a##q##0, a##q##2),                   \
                                            _mm512_add_ps(a##q##1, a##q##3)));                 \
    _mm512_storeu_ps(a->s[q] + 16, _mm512_add_ps(_mm512_add_ps(b##q##0, b##q##2),              \
                                                 _mm512_add_ps(b##q##1, b##q##3)));

/* Dimension d + c of all positions. */
#define CHAIN(Q, c)                                                                           \
    {                                                                                         \
        const float *row = k + (d + (c)) * KV_BLOCK_TOKENS;                                   \
        const float *ahead = next + (d + (c)) * KV_BLOCK_TOKENS;                              \
        fetch(ahead), fetch(ahead + 16);                                                      \
        __m512 k0 = load_once(row), k1 = load_once(row + 16);                                 \
        EACH_##Q(STEP_S##c)                                                                   \
    }

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        const float *k = (const void *)a->k, *next = (const void *)a->next;                   \
        size_t d = 0;                                                                         \
        EACH_##Q(DECLARE_S) for (; d + 4 <= a->head_dim; d += 4) {                            \
            CHAIN(Q, 0) CHAIN(Q, 1) CHAIN(Q, 2) CHAIN(Q, 3)                                   \
        }                                                                                     \
        if (d < a->head_dim) {                                                                \
            CHAIN(Q, 0) CHAIN(Q, 1)                                                           \
        }                                                                                     \
        EACH_##Q(STORE_S)                                                                     \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)
DEFINE_SCORES(3)

/* ---- weights -------------------------------------------------------------------------------- */

float avx512_scale_scores(float *s, size_t begin, size_t end, float scale) {
    const __m512 factor = _mm512_set1_ps(scale);
    __m512 max = _mm512_set1_ps(-INFINITY);
    for (size_t j = begin / 16 * 16; j < end; j += 16) {
        __mmask16 m = lanes_between(j, begin, end);
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(s + j), factor);
        _mm512_storeu_ps(s + j, x);
        max = _mm512_mask_max_ps(max, m, max, x);
    }
    return _mm512_reduce_max_ps(max);
}

void avx512_soften_f32(struct soften *a) {
    a->max = avx512_scale_scores(a->s, a->begin, a->end, a->factor);
    const __m512 top = _mm512_set1_ps(a->max);
    __m512 sum = _mm512_setzero_ps();
    for (size_t j = a->begin / 16 * 16; j < a->end; j += 16) {
        __mmask16 m = lanes_between(j, a->begin, a->end);
        __m512 p = exp16(_mm512_sub_ps(_mm512_loadu_ps(a->s + j), top));
        _mm512_storeu_ps(a->s + j, _mm512_maskz_mov_ps(m, p));
        sum = _mm512_mask_add_ps(sum, m, sum, p);
    }
    a->sum = fold1(sum);
}

/* ---- weighted values ------------------------------------------------------------------------ */

#define LOAD_8(q)                                                                        \
    const float *p##q = a->w[q];                                                         \
    __m512 s##q##0 = _mm512_loadu_ps(a->o[q] + i), s##q##1 = _mm512_loadu_ps(a->o[q] + i + 16);       \
    __m512 s##q##2 = _mm512_loadu_ps(a->o[q] + i + 32), s##q##3 = _mm512_loadu_ps(a->o[q] + i + 48);
#define STEP_8(q)                                   \
    {                                               \
        __m512 p = _mm512_set1_ps(p##q[j]);         \
        s##q##0 = _mm512_fmadd_ps(p, v0, s##q##0);  \
        s##q##1 = _mm512_fmadd_ps(p, v1, s##q##1);  \
        s##q##2 = _mm512_fmadd_ps(p, v2, s##q##2);  \
        s##q##3 = _mm512_fmadd_ps(p, v3, s##q##3);  \
    }
#define STORE_8(q)                               \
    _mm512_storeu_ps(a->o[q] + i, s##q##0);      \
    _mm512_storeu_ps(a->o[q] + i + 16, s##q##1); \
    _mm512_storeu_ps(a->o[q] + i + 32, s##q##2); \
    _mm512_storeu_ps(a->o[q] + i + 48, s##q##3);

#define LOAD_1(q)                \
    const float *p##q = a->w[q]; \
    __m512 s##q = _mm512_loadu_ps(a->o[q] + i);
#define STEP_1(q) s##q = _mm512_fmadd_ps(_mm512_set1_ps(p##q[j]), v0, s##q);
#define STORE_1(q) _mm512_storeu_ps(a->o[q] + i, s##q);

/* Positions j of one block after the other; v and next follow. */
#define EACH_POSITION(...)                                                                \
    for (size_t j = a->begin; j < a->end;) {                                              \
        size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;                 \
        size_t at = j % KV_BLOCK_TOKENS * a->padded + i;                                  \
        const float *v = (const float *)(const void *)a->v[b] + at;                       \
        const float *next = (const float *)(const void *)a->v[b + 1] + at;                \
        stop = stop < a->end ? stop : a->end;                                             \
        for (; j < stop; j++, v += a->padded, next += a->padded) {                        \
            __VA_ARGS__                                                                   \
        }                                                                                 \
    }

#define DEFINE_WEIGH(Q)                                                                  \
    static inline void weigh64_##Q(const struct weigh_tile *a, size_t i) {               \
        EACH_##Q(LOAD_8) EACH_POSITION({                                                 \
            fetch(next), fetch(next + 16), fetch(next + 32), fetch(next + 48);           \
            __m512 v0 = load_once(v), v1 = load_once(v + 16);                            \
            __m512 v2 = load_once(v + 32), v3 = load_once(v + 48);                       \
            EACH_##Q(STEP_8)                                                             \
        }) EACH_##Q(STORE_8)                                                             \
    }                                                                                    \
    static inline void weigh16_##Q(const struct weigh_tile *a, size_t i) {               \
        EACH_##Q(LOAD_1) EACH_POSITION({                                                 \
            fetch(next);                                                                 \
            __m512 v0 = load_once(v);                                                    \
            EACH_##Q(STEP_1)                                                             \
        }) EACH_##Q(STORE_1)                                                             \
    }                                                                                    \
    static void weigh_##Q(const struct weigh_tile *a) {                                  \
        size_t i = 0;                                                                    \
        for (; i + 64 <= a->padded; i += 64)                                             \
            weigh64_##Q(a, i);                                                           \
        for (; i < a->padded; i += 16)                                                   \
            weigh16_##Q(a, i);                                                           \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

/* ---- joining -------------------------------------------------------------------------------- */

void avx512_attention_join(const struct attention_join *a) {
    if (*a->sum == 0.0f) {
        memcpy(a->out, a->o, a->n * sizeof *a->out);
        *a->max = a->m;
        *a->sum = a->l;
        return;
    }
    float max = a->m > *a->max ? a->m : *a->max;
    float old = _mm512_cvtss_f32(exp16(_mm512_set1_ps(*a->max - max)));
    float new = _mm512_cvtss_f32(exp16(_mm512_set1_ps(a->m - max)));
    const __m512 x = _mm512_set1_ps(old), y = _mm512_set1_ps(new);
    for (size_t i = 0; i < a->n; i += 16) {
        __mmask16 m = lanes_between(i, 0, a->n);
        __m512 o = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, a->out + i), x);
        _mm512_mask_storeu_ps(a->out + i, m,
                              _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a->o + i), y, o));
    }
    *a->sum = fma32(a->l, new, *a->sum * old);
    *a->max = max;
}

static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void avx512_attention_f32(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = scores,
                                          .n_scores = 3,
                                          .soften = avx512_soften_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .grain = 1,
                                          .join = avx512_attention_join};
    attention_walk(a, &parts);
}

/* ---- storing ---------------------------------------------------------------------------------- */

/* bf16_flushed of 16 numbers, each in the low half of its lane. */
static inline __m512i halves_of(__m512 v) {
    const __m512i bits = _mm512_castps_si512(v), sign = _mm512_set1_epi32(INT32_MIN);
    const __m512i size = _mm512_andnot_si512(sign, bits), top = _mm512_srli_epi32(bits, 16);
    const __m512i round = _mm512_add_epi32(_mm512_set1_epi32(0x7FFF),
                                           _mm512_and_si512(top, _mm512_set1_epi32(1)));
    __m512i h = _mm512_srli_epi32(_mm512_add_epi32(bits, round), 16);
    const __mmask16 nan = _mm512_cmpgt_epi32_mask(size, _mm512_set1_epi32(0x7f800000));
    const __mmask16 small = _mm512_cmplt_epi32_mask(size, _mm512_set1_epi32(0x00800000));
    h = _mm512_mask_or_epi32(h, nan, top, _mm512_set1_epi32(0x40));
    return _mm512_mask_and_epi32(h, small, top, _mm512_set1_epi32(0x8000));
}

/* K: a pair of dimensions is a word, B of them to the next. V: a position is one half of its pair's words. */
void avx512_kv_store_bf16(const struct kv_store_args *a) {
    const struct kv_layout *l = a->layout;
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i step = _mm512_mullo_epi32(_mm512_set1_epi32(KV_BLOCK_TOKENS),
                                            _mm512_srli_epi32(evens, 1));
    for (size_t i = 0; i < a->n_rows; i++) {
        const size_t row = a->first_row + i, odd = row % 2;
        const float *from_k = a->k + i * a->stride, *from_v = a->v + i * a->stride;
        uint32_t *k = (uint32_t *)(void *)a->head + row;
        uint32_t *v = (uint32_t *)(void *)(a->head + l->v_offset) + row / 2 * l->padded;
        for (size_t d = 0; d < l->head_dim; d += 16) {
            const __mmask16 m = lanes_between(d, 0, l->head_dim);
            const __m512i hk = halves_of(_mm512_maskz_loadu_ps(m, from_k + d));
            const __m512i hv = halves_of(_mm512_maskz_loadu_ps(m, from_v + d));
            const __m512i pairs = _mm512_or_si512(hk, _mm512_srli_epi64(hk, 16));
            _mm512_mask_i32scatter_epi32(k + d / 2 * KV_BLOCK_TOKENS, first_lanes((size_t)__builtin_popcount(m) / 2),
                                         step, _mm512_permutexvar_epi32(evens, pairs), 4);
            const __m512i old = _mm512_maskz_loadu_epi32(m, v + d);
            const __m512i new = odd ? _mm512_slli_epi32(hv, 16) : hv;
            _mm512_mask_storeu_epi32(v + d, m, _mm512_mask_blend_epi16(odd ? 0xAAAAAAAAu : 0x55555555u, old, new));
        }
    }
}
