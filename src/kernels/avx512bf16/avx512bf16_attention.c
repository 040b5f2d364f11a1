/* avx512bf16_attention.c - attention over bfloat16 keys and values with vdpbf16ps. Assembly, for gcc 12
 * spills the sums of its own intrinsic. */
#include "kernels/avx512/avx512_attention.h"
#include "kernels/avx512bf16/avx512bf16.h"

/* sums = mac(odd, odd, sums), then mac(even, even, sums), in each lane. */
static inline __m512 mac2(__m512 sums, __m512i a, __m512i b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b));
    return sums;
}

static inline __m512i load_pairs(const void *p) {
    __m512i v = _mm512_loadu_si512(p);
    __asm__("" : "+v"(v));
    return v;
}

static inline __m512i pair_of(const unsigned char *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
}

/* To nearest even, subnormals to zero. */
static inline __m256i round_to_bf16(__m512 x) {
    __m256i y;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(y) : "v"(x));
    return y;
}

static float pack_query(void *to, const float *q, size_t head_dim, size_t padded) {
    unsigned char *pairs = to;
    (void)padded;
    for (size_t d = 0; d < head_dim; d += 16) {
        __m512 x = _mm512_maskz_loadu_ps(lanes_between(d, 0, head_dim), q + d);
        _mm256_storeu_si256((void *)(pairs + 2 * d), round_to_bf16(x));
    }
    return 1.0f;
}

/* ---- scores: 32 positions ------------------------------------------------------------------------ */

#define DECLARE_S(q)                            \
    const unsigned char *x##q = a->query[q];    \
    __m512 s##q##0 = _mm512_setzero_ps(), s##q##1 = _mm512_setzero_ps();
#define STEP_S(q)                               \
    {                                           \
        __m512i x = pair_of(x##q + 2 * d);      \
        s##q##0 = mac2(s##q##0, k0, x);         \
        s##q##1 = mac2(s##q##1, k1, x);         \
    }
#define STORE_S(q)                      \
    _mm512_storeu_ps(a->s[q], s##q##0); \
    _mm512_storeu_ps(a->s[q] + 16, s##q##1);

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        const unsigned char *k = a->k, *next = a->next;                                       \
        EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 2, k += 128, next += 128) { \
            fetch(next), fetch(next + 64);                                                    \
            __m512i k0 = load_pairs(k), k1 = load_pairs(k + 64);                              \
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

/* ---- weights --------------------------------------------------------------------------------------- */

static void soften_bf16(struct soften *a) {
    a->max = avx512_scale_scores(a->s, a->begin, a->end, a->factor);
    const __m512 top = _mm512_set1_ps(a->max);
    unsigned char *weights = (void *)a->s;
    __m512 sum = _mm512_setzero_ps();
    for (size_t j = a->begin / 16 * 16; j < a->end; j += 16) {
        __mmask16 m = lanes_between(j, a->begin, a->end);
        __m512 p = exp16(_mm512_sub_ps(_mm512_loadu_ps(a->s + j), top));
        __m256i w = round_to_bf16(_mm512_maskz_mov_ps(m, p));
        _mm256_storeu_si256((void *)(weights + 2 * j), w);
        __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16);
        sum = _mm512_add_ps(sum, _mm512_castsi512_ps(wide));
    }
    a->sum = fold1(sum);
}

/* ---- weighted values -------------------------------------------------------------------------------- */

#define LOAD_W1(q, c) __m512 s##q##c = _mm512_loadu_ps(a->o[q] + i + 16 * (c));
#define STEP_W1(q, c) s##q##c = mac2(s##q##c, v##c, w);
#define STORE_W1(q, c) _mm512_storeu_ps(a->o[q] + i + 16 * (c), s##q##c);

#define OVER_1(M, q) M(q, 0)
#define OVER_4(M, q) M(q, 0) M(q, 1) M(q, 2) M(q, 3)
#define OVER_8(M, q) OVER_4(M, q) M(q, 4) M(q, 5) M(q, 6) M(q, 7)
#define LOAD_V(c) __m512i v##c = load_pairs(v + 64 * (c)); fetch(next + 64 * (c));
#define LOADS_1 LOAD_V(0)
#define LOADS_4 LOAD_V(0) LOAD_V(1) LOAD_V(2) LOAD_V(3)
#define LOADS_8 LOADS_4 LOAD_V(4) LOAD_V(5) LOAD_V(6) LOAD_V(7)

#define NAME_W(q) const unsigned char *w##q = a->w[q];
#define WEIGHT(q) const __m512i w = pair_of(w##q + 2 * j);
#define LOAD_WC1(q) NAME_W(q) OVER_1(LOAD_W1, q)
#define LOAD_WC4(q) NAME_W(q) OVER_4(LOAD_W1, q)
#define LOAD_WC8(q) NAME_W(q) OVER_8(LOAD_W1, q)
#define STEP_WC1(q) { WEIGHT(q) OVER_1(STEP_W1, q) }
#define STEP_WC4(q) { WEIGHT(q) OVER_4(STEP_W1, q) }
#define STEP_WC8(q) { WEIGHT(q) OVER_8(STEP_W1, q) }
#define STORE_WC1(q) OVER_1(STORE_W1, q)
#define STORE_WC4(q) OVER_4(STORE_W1, q)
#define STORE_WC8(q) OVER_8(STORE_W1, q)

/* 16 * C dimensions of Q queries. */
#define DEFINE_COLUMNS(Q, C)                                                                  \
    static inline void columns_##Q##_##C(const struct weigh_tile *a, size_t i) {              \
        EACH_##Q(LOAD_WC##C) for (size_t j = a->begin; j < a->end;) {                         \
            size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;                 \
            size_t at = 2 * (j % KV_BLOCK_TOKENS * a->padded) + 4 * i;                        \
            const unsigned char *v = a->v[b] + at, *next = a->v[b + 1] + at;                  \
            stop = stop < a->end ? stop : a->end;                                             \
            for (; j < stop; j += 2, v += 4 * a->padded, next += 4 * a->padded) {             \
                LOADS_##C EACH_##Q(STEP_WC##C)                                                \
            }                                                                                 \
        }                                                                                     \
        EACH_##Q(STORE_WC##C)                                                                 \
    }

#define DEFINE_WEIGH(Q, C)                              \
    DEFINE_COLUMNS(Q, C)                                \
    DEFINE_COLUMNS(Q, 1)                                \
    static void weigh_##Q(const struct weigh_tile *a) { \
        size_t i = 0;                                   \
        for (; i + 16 * (C) <= a->padded; i += 16 * (C)) \
            columns_##Q##_##C(a, i);                    \
        for (; i < a->padded; i += 16)                  \
            columns_##Q##_1(a, i);                      \
    }

DEFINE_WEIGH(1, 8)
DEFINE_WEIGH(2, 8)
DEFINE_WEIGH(3, 4)
DEFINE_WEIGH(4, 4)
DEFINE_WEIGH(5, 4)
DEFINE_WEIGH(6, 4)

/* One position of a pair: the other one's values are cleared, its weight is zero already. */
static void edge_1(const struct weigh_tile *a) {
    const size_t j = a->begin, row = j % KV_BLOCK_TOKENS / 2;
    const unsigned char *v = a->v[j / KV_BLOCK_TOKENS] + 4 * row * a->padded;
    const __m512i keep = _mm512_set1_epi32(j % 2 ? (int)0xFFFF0000 : 0xFFFF);
    const __m512i w = pair_of((const unsigned char *)a->w[0] + 2 * (j / 2 * 2));
    for (size_t i = 0; i < a->padded; i += 16) {
        __m512i pairs = _mm512_and_si512(_mm512_loadu_si512(v + 4 * i), keep);
        _mm512_storeu_ps(a->o[0] + i, mac2(_mm512_loadu_ps(a->o[0] + i), pairs, w));
    }
}

static void edges(const struct weigh_tile *a, size_t n) {
    struct weigh_tile one = *a;
    for (size_t i = 0; i < n; i++) {
        one.o[0] = a->o[i];
        one.w[0] = a->w[i];
        edge_1(&one);
    }
}

#define DEFINE_EDGE(Q)                                 \
    static void edge_##Q(const struct weigh_tile *a) { \
        edges(a, Q);                                   \
    }
DEFINE_EDGE(2)
DEFINE_EDGE(3)
DEFINE_EDGE(4)
DEFINE_EDGE(5)
DEFINE_EDGE(6)

static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3, scores_4, scores_5, scores_6};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};
static weigh_fn *const edge[] = {NULL, edge_1, edge_2, edge_3, edge_4, edge_5, edge_6};

void avx512bf16_attention(const struct attention_args *a) {
    const struct attention_parts parts = {.pack = pack_query,
                                          .scores = scores,
                                          .n_scores = 6,
                                          .soften = soften_bf16,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .grain = 2,
                                          .edge = edge,
                                          .join = avx512_attention_join};
    attention_walk(a, &parts);
}
