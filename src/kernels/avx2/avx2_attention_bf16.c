/* avx2_attention_bf16.c - attention over bfloat16 keys and values without vdpbf16ps: its two steps as
 * multiply-adds, in the processor's mode in which these flush subnormals as it does. The mode holds in
 * the two products only: weights are exponentials, which are not flushed. */
#include "kernels/avx2/avx2_attention.h"
#include "kernels/avx2/avx2_bf16.h"
#include "kernels/math.h"

/* sums = mac(odd, odd, sums), then mac(even, even, sums), in each lane; b is in halves already. */
static inline __m256 mac2(__m256 sums, __m256 a_even, __m256 a_odd, __m256i b) {
    sums = _mm256_fmadd_ps(a_odd, upper(b), sums);
    return _mm256_fmadd_ps(a_even, lower(b), sums);
}

static float pack_query(void *to, const float *q, size_t head_dim, size_t padded) {
    uint16_t *codes = to;
    (void)padded;
    for (size_t d = 0; d < head_dim; d++)
        codes[d] = bf16_flushed(q[d]);
    return 1.0f;
}

/* ---- scores: 8 positions in a register ---------------------------------------------------------- */

#define DECLARE_S(q)                                                                        \
    const uint16_t *x##q = a->query[q];                                                     \
    __m256 s##q##0 = _mm256_setzero_ps(), s##q##1 = _mm256_setzero_ps();                    \
    __m256 s##q##2 = _mm256_setzero_ps(), s##q##3 = _mm256_setzero_ps();
#define STEP_S1(q, c)                                        \
    s##q##c = _mm256_fmadd_ps(k##c##o, odd, s##q##c);        \
    s##q##c = _mm256_fmadd_ps(k##c##e, even, s##q##c);
#define STEP_A(q)                                                      \
    {                                                                  \
        const __m256i x = pair_of(x##q + d);                           \
        const __m256 odd = upper(x), even = lower(x);                  \
        STEP_S1(q, 0) STEP_S1(q, 1)                                    \
    }
#define STEP_B(q)                                                      \
    {                                                                  \
        const __m256i x = pair_of(x##q + d);                           \
        const __m256 odd = upper(x), even = lower(x);                  \
        STEP_S1(q, 2) STEP_S1(q, 3)                                    \
    }
#define KEYS(c)                                                                            \
    const __m256i k##c = _mm256_loadu_si256((const void *)(k + 32 * (c)));                 \
    const __m256 k##c##o = upper(k##c), k##c##e = lower(k##c);
#define STORE_S(q)                          \
    _mm256_storeu_ps(a->s[q], s##q##0);     \
    _mm256_storeu_ps(a->s[q] + 8, s##q##1); \
    _mm256_storeu_ps(a->s[q] + 16, s##q##2); \
    _mm256_storeu_ps(a->s[q] + 24, s##q##3);

#define DEFINE_SCORES(Q)                                                                   \
    static void scores_##Q(const struct score_tile *a) {                                   \
        const unsigned char *k = a->k, *next = a->next;                                    \
        const struct flushing mode = flush_begin();                                        \
        EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 2, k += 128, next += 128) { \
            fetch(next), fetch(next + 64);                                                 \
            {                                                                              \
                KEYS(0) KEYS(1) EACH_##Q(STEP_A)                                           \
            }                                                                              \
            {                                                                              \
                KEYS(2) KEYS(3) EACH_##Q(STEP_B)                                           \
            }                                                                              \
        }                                                                                  \
        EACH_##Q(STORE_S)                                                                  \
        flush_end(mode);                                                                   \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)

/* ---- weights --------------------------------------------------------------------------------------- */

/* Of numbers that are not negative, or NaN: to nearest even, subnormals to zero, in the upper half. */
static inline __m256i round_positive(__m256 x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i y = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    y = _mm256_and_si256(y, _mm256_set1_epi32((int)0xFFFF0000));
    const __m256 normal = _mm256_cmp_ps(x, _mm256_set1_ps(0x1p-126f), _CMP_GE_OQ);
    y = _mm256_and_si256(y, _mm256_castps_si256(normal));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_or_si256(y, _mm256_and_si256(nan, _mm256_set1_epi32(0x7fc00000)));
}

static void soften_bf16(struct soften *a) {
    a->max = avx2_scale_scores(a->s, a->begin, a->end, a->factor);
    const __m256 top = _mm256_set1_ps(a->max);
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    uint16_t *weights = (void *)a->s;
    for (size_t j = a->begin / 8 * 8; j < a->end; j += 8) {
        const __m256 m = _mm256_castsi256_ps(lanes_between(j, a->begin, a->end));
        const __m256 p = _mm256_and_ps(m, exp8(_mm256_sub_ps(_mm256_loadu_ps(a->s + j), top)));
        const __m256i w = round_positive(p);
        sums[j / 8 % 2] = _mm256_add_ps(sums[j / 8 % 2], _mm256_castsi256_ps(w));
        const __m256i low = _mm256_srli_epi32(w, 16);
        _mm_storeu_si128((void *)(weights + j), _mm_packus_epi32(_mm256_castsi256_si128(low),
                                                                 _mm256_extracti128_si256(low, 1)));
    }
    a->sum = fold1(sums[0], sums[1]);
}

/* ---- weighted values: 16 dimensions ---------------------------------------------------------------- */

#define LOAD_W(q)                   \
    const uint16_t *w##q = a->w[q]; \
    __m256 o##q##0 = _mm256_loadu_ps(a->o[q] + i), o##q##1 = _mm256_loadu_ps(a->o[q] + i + 8);
#define STEP_W(q)                                          \
    {                                                      \
        const __m256i w = pair_of(w##q + j);               \
        o##q##0 = mac2(o##q##0, v0e, v0o, w);              \
        o##q##1 = mac2(o##q##1, v1e, v1o, w);              \
    }
#define STORE_W(q)                        \
    _mm256_storeu_ps(a->o[q] + i, o##q##0); \
    _mm256_storeu_ps(a->o[q] + i + 8, o##q##1);

#define DEFINE_WEIGH(Q)                                                                         \
    static void weigh_##Q(const struct weigh_tile *a) {                                         \
        const struct flushing mode = flush_begin();                                             \
        for (size_t i = 0; i < a->padded; i += 16) {                                            \
            EACH_##Q(LOAD_W) for (size_t j = a->begin; j < a->end;) {                           \
                size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;               \
                size_t at = 2 * (j % KV_BLOCK_TOKENS * a->padded) + 4 * i;                      \
                const unsigned char *v = a->v[b] + at, *next = a->v[b + 1] + at;                \
                stop = stop < a->end ? stop : a->end;                                           \
                for (; j < stop; j += 2, v += 4 * a->padded, next += 4 * a->padded) {           \
                    fetch(next);                                                                \
                    const __m256i v0 = _mm256_loadu_si256((const void *)v);                     \
                    const __m256i v1 = _mm256_loadu_si256((const void *)(v + 32));              \
                    const __m256 v0o = upper(v0), v0e = lower(v0);                              \
                    const __m256 v1o = upper(v1), v1e = lower(v1);                              \
                    EACH_##Q(STEP_W)                                                            \
                }                                                                               \
            }                                                                                   \
            EACH_##Q(STORE_W)                                                                   \
        }                                                                                       \
        flush_end(mode);                                                                        \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)

/* One position of a pair: the other one's values are cleared, its weight is zero already. */
static void edge_1(const struct weigh_tile *a) {
    const size_t j = a->begin, row = j % KV_BLOCK_TOKENS / 2;
    const unsigned char *v = a->v[j / KV_BLOCK_TOKENS] + 4 * row * a->padded;
    const __m256i keep = _mm256_set1_epi32(j % 2 ? (int)0xFFFF0000 : 0xFFFF);
    const __m256i w = pair_of((const uint16_t *)a->w[0] + j / 2 * 2);
    const struct flushing mode = flush_begin();
    for (size_t i = 0; i < a->padded; i += 8) {
        const __m256i pairs = _mm256_and_si256(_mm256_loadu_si256((const void *)(v + 4 * i)), keep);
        float *o = a->o[0] + i;
        _mm256_storeu_ps(o, mac2(_mm256_loadu_ps(o), lower(pairs), upper(pairs), w));
    }
    flush_end(mode);
}

static void edges(const struct weigh_tile *a, size_t n) {
    struct weigh_tile one = *a;
    for (size_t i = 0; i < n; i++) {
        one.o[0] = a->o[i];
        one.w[0] = a->w[i];
        edge_1(&one);
    }
}

static void edge_2(const struct weigh_tile *a) {
    edges(a, 2);
}

static void edge_3(const struct weigh_tile *a) {
    edges(a, 3);
}

static score_fn *const scores[] = {NULL, scores_1, scores_2};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3};
static weigh_fn *const edge[] = {NULL, edge_1, edge_2, edge_3};

void avx2_attention_bf16(const struct attention_args *a) {
    const struct attention_parts parts = {.pack = pack_query,
                                          .scores = scores,
                                          .n_scores = 2,
                                          .soften = soften_bf16,
                                          .weigh = weigh,
                                          .n_weigh = 3,
                                          .grain = 2,
                                          .edge = edge,
                                          .join = avx2_attention_join};
    attention_walk(a, &parts);
}
