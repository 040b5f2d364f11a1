/* avx512vnni_attention.c - attention over int8 keys and values with vpdpbusd: both products are sums of
 * integers. Queries and weights have 15 bits, in two bytes, so each takes two instructions for 64
 * products. Assembly, for gcc 12 would move the sums to and fro. */
#include "kernels/avx512/avx512_attention.h"
#include "kernels/avx512vnni/avx512vnni.h"

#include <float.h>

/* sums += four unsigned bytes of a times four signed bytes of b, in each lane. */
static inline __m512i dot4(__m512i sums, __m512i a, __m512i b) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
    return sums;
}

static inline __m512i load_codes(const unsigned char *p) {
    __m512i v = _mm512_loadu_si512(p);
    __asm__("" : "+v"(v));
    return v;
}

static inline __m512i four_of(const unsigned char *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* ---- queries: u = 128 * high + low; then what 128 too many in each code add to the product ------ */

static float pack_query(void *to, const float *q, size_t head_dim, size_t padded) {
    unsigned char *high = to, *low = high + padded;
    __m512 most = _mm512_setzero_ps();
    __mmask16 bad = 0;
    for (size_t d = 0; d < head_dim; d += 16) {
        __m512 x = _mm512_abs_ps(_mm512_maskz_loadu_ps(lanes_between(d, 0, head_dim), q + d));
        bad |= _mm512_cmp_ps_mask(x, _mm512_set1_ps(FLT_MAX), _CMP_NLE_UQ);
        most = _mm512_max_ps(most, x);
    }
    const float top = bad ? NAN : _mm512_reduce_max_ps(most);
    const __m512 times = _mm512_set1_ps(top >= INT8_LEAST ? INT8_QUERY / top : 0.0f);
    __m512i sum = _mm512_setzero_si512();
    for (size_t d = 0; d < padded; d += 16) {
        __mmask16 m = d < head_dim && !bad ? lanes_between(d, 0, head_dim) : 0;
        __m512i u = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(m, q + d), times));
        __m512i h = _mm512_srai_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(64)), 7);
        __m512i l = _mm512_sub_epi32(u, _mm512_slli_epi32(h, 7));
        _mm_storeu_si128((void *)(high + d), _mm512_cvtepi32_epi8(h));
        _mm_storeu_si128((void *)(low + d), _mm512_cvtepi32_epi8(l));
        sum = _mm512_add_epi32(sum, u);
    }
    const int32_t surplus = (int32_t)(128u * (uint32_t)_mm512_reduce_add_epi32(sum));
    memcpy(low + padded, &surplus, sizeof surplus);
    return top < INT8_LEAST ? 0.0f : top / INT8_QUERY;
}

/* ---- scores: 32 positions ------------------------------------------------------------------------ */

#define DECLARE_S(q)                                                                        \
    const unsigned char *x##q = a->query[q];                                                \
    __m512i h##q##0 = _mm512_setzero_si512(), h##q##1 = _mm512_setzero_si512();             \
    __m512i l##q##0 = _mm512_setzero_si512(), l##q##1 = _mm512_setzero_si512();
#define STEP_S(q)                                             \
    {                                                         \
        __m512i high = four_of(x##q + d);                     \
        h##q##0 = dot4(h##q##0, k0, high);                    \
        h##q##1 = dot4(h##q##1, k1, high);                    \
        __m512i low = four_of(x##q + a->padded + d);          \
        l##q##0 = dot4(l##q##0, k0, low);                     \
        l##q##1 = dot4(l##q##1, k1, low);                     \
    }
#define STORE_S(q)                                                  \
    store_scores(a->s[q], h##q##0, l##q##0, x##q + 2 * a->padded);  \
    store_scores(a->s[q] + 16, h##q##1, l##q##1, x##q + 2 * a->padded);

static inline void store_scores(float *s, __m512i high, __m512i low, const unsigned char *surplus) {
    __m512i sum = _mm512_sub_epi32(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low), four_of(surplus));
    _mm512_storeu_ps(s, _mm512_cvtepi32_ps(sum));
}

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        const unsigned char *k = a->k, *next = a->next;                                       \
        EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 4, k += 128, next += 128) { \
            fetch(next), fetch(next + 64);                                                    \
            __m512i k0 = load_codes(k), k1 = load_codes(k + 64);                              \
            EACH_##Q(STEP_S)                                                                  \
        }                                                                                     \
        EACH_##Q(STORE_S)                                                                     \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)
DEFINE_SCORES(3)
DEFINE_SCORES(4)
DEFINE_SCORES(5)
DEFINE_SCORES(6)

/* ---- weights: c = 128 * high + low, four positions' high bytes, then their low bytes -------------- */

static const float *scales_at(const struct soften *a, size_t offset, size_t j) {
    const unsigned char *head = a->blocks[j / KV_BLOCK_TOKENS];
    return (const float *)(const void *)(head + offset) + j % KV_BLOCK_TOKENS;
}

/* exp(s - max) times the values' scales in place of the scores; the largest of them, NaN when one is. */
static float weights_of(struct soften *a) {
    const __m512 top = _mm512_set1_ps(a->max);
    __m512 sum = _mm512_setzero_ps(), most = _mm512_setzero_ps();
    __mmask16 bad = 0;
    for (size_t j = a->begin / 16 * 16; j < a->end; j += 16) {
        __mmask16 m = lanes_between(j, a->begin, a->end);
        __m512 p = exp16(_mm512_sub_ps(_mm512_loadu_ps(a->s + j), top));
        sum = _mm512_mask_add_ps(sum, m, sum, p);
        __m512 w = _mm512_maskz_mul_ps(
            m, p, _mm512_loadu_ps(scales_at(a, a->layout->v_scale_offset, j)));
        bad |= _mm512_cmp_ps_mask(w, w, _CMP_UNORD_Q);
        most = _mm512_max_ps(w, most);
        _mm512_storeu_ps(a->s + j, w);
    }
    a->sum = fold1(sum);
    return bad ? NAN : _mm512_reduce_max_ps(most);
}

static void soften_int8(struct soften *a) {
    const __m512 factor = _mm512_set1_ps(a->factor);
    const size_t from = a->begin / 16 * 16;
    __m512 max = _mm512_set1_ps(-INFINITY);
    for (size_t j = from; j < a->end; j += 16) {
        __m512 scale = _mm512_loadu_ps(scales_at(a, a->layout->k_scale_offset, j));
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(a->s + j), _mm512_mul_ps(scale, factor));
        _mm512_storeu_ps(a->s + j, x);
        max = _mm512_mask_max_ps(max, lanes_between(j, a->begin, a->end), max, x);
    }
    a->max = _mm512_reduce_max_ps(max);
    const float most = weights_of(a);
    const __m512 times = _mm512_set1_ps(most >= INT8_LEAST ? INT8_WEIGHT / most : 0.0f);
    a->o_factor = most < INT8_LEAST ? 0.0f : most / INT8_WEIGHT;
    unsigned char *codes = (void *)a->s;
    size_t j = from;
    for (; j < a->end; j += 16) {
        __m512i c = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(a->s + j), times));
        __m128i high = _mm512_cvtepi32_epi8(_mm512_srli_epi32(c, 7));
        __m128i low = _mm512_cvtepi32_epi8(_mm512_and_si512(c, _mm512_set1_epi32(127)));
        _mm_storeu_si128((void *)(codes + 2 * j), _mm_unpacklo_epi32(high, low));
        _mm_storeu_si128((void *)(codes + 2 * j + 16), _mm_unpackhi_epi32(high, low));
    }
    memset(codes, 0, 2 * from);
    memset(codes + 2 * j, 0, 2 * (ATTENTION_CHUNK - j));
}

/* ---- weighted values -------------------------------------------------------------------------------- */

#define DECLARE_W1(q, c) __m512i h##q##c = _mm512_setzero_si512(), l##q##c = _mm512_setzero_si512();
#define STEP_W1(q, c)                            \
    h##q##c = dot4(h##q##c, high, v##c);         \
    l##q##c = dot4(l##q##c, low, v##c);
#define STORE_W1(q, c) store_sums(a->o[q] + i + 16 * (c), h##q##c, l##q##c, a->o_factor[q]);

#define OVER_1(M, q) M(q, 0)
#define OVER_2(M, q) M(q, 0) M(q, 1)
#define OVER_4(M, q) M(q, 0) M(q, 1) M(q, 2) M(q, 3)
#define LOAD_V(c) __m512i v##c = load_codes(v + 64 * (c)); fetch(next + 64 * (c));
#define LOADS_1 LOAD_V(0)
#define LOADS_2 LOAD_V(0) LOAD_V(1)
#define LOADS_4 LOAD_V(0) LOAD_V(1) LOAD_V(2) LOAD_V(3)

#define WEIGHTS(q) const __m512i high = four_of(w##q + 2 * j), low = four_of(w##q + 2 * j + 4);
#define NAME_W(q) const unsigned char *w##q = a->w[q];
#define DECLARE_WC1(q) NAME_W(q) OVER_1(DECLARE_W1, q)
#define DECLARE_WC2(q) NAME_W(q) OVER_2(DECLARE_W1, q)
#define DECLARE_WC4(q) NAME_W(q) OVER_4(DECLARE_W1, q)
#define STEP_WC1(q) { WEIGHTS(q) OVER_1(STEP_W1, q) }
#define STEP_WC2(q) { WEIGHTS(q) OVER_2(STEP_W1, q) }
#define STEP_WC4(q) { WEIGHTS(q) OVER_4(STEP_W1, q) }
#define STORE_WC1(q) OVER_1(STORE_W1, q)
#define STORE_WC2(q) OVER_2(STORE_W1, q)
#define STORE_WC4(q) OVER_4(STORE_W1, q)

static inline void store_sums(float *o, __m512i high, __m512i low, float factor) {
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, 7), low);
    _mm512_storeu_ps(o, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(factor)));
}

/* 16 * C dimensions of Q queries. */
#define DEFINE_COLUMNS(Q, C)                                                                  \
    static inline void columns_##Q##_##C(const struct weigh_tile *a, size_t i) {              \
        EACH_##Q(DECLARE_WC##C) for (size_t j = a->begin; j < a->end;) {                      \
            size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;                 \
            size_t at = j % KV_BLOCK_TOKENS * a->padded + 4 * i;                              \
            const unsigned char *v = a->v[b] + at, *next = a->v[b + 1] + at;                  \
            stop = stop < a->end ? stop : a->end;                                             \
            for (; j < stop; j += 4, v += 4 * a->padded, next += 4 * a->padded) {             \
                LOADS_##C EACH_##Q(STEP_WC##C)                                                \
            }                                                                                 \
        }                                                                                     \
        EACH_##Q(STORE_WC##C)                                                                 \
    }

#define DEFINE_WEIGH(Q, C)                            \
    DEFINE_COLUMNS(Q, C)                              \
    DEFINE_COLUMNS(Q, 1)                              \
    static void weigh_##Q(const struct weigh_tile *a) { \
        size_t i = 0;                                 \
        for (; i + 16 * (C) <= a->padded; i += 16 * (C)) \
            columns_##Q##_##C(a, i);                  \
        for (; i < a->padded; i += 16)                \
            columns_##Q##_1(a, i);                    \
    }

DEFINE_WEIGH(1, 4)
DEFINE_WEIGH(2, 4)
DEFINE_WEIGH(3, 4)
DEFINE_WEIGH(4, 2)
DEFINE_WEIGH(5, 2)
DEFINE_WEIGH(6, 2)

static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3, scores_4, scores_5, scores_6};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void avx512vnni_attention_int8(const struct attention_args *a) {
    const struct attention_parts parts = {.pack = pack_query,
                                          .scores = scores,
                                          .n_scores = 6,
                                          .soften = soften_int8,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .grain = 4,
                                          .zero_is_nothing = true,
                                          .join = avx512_attention_join};
    attention_walk(a, &parts);
}
