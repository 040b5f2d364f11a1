/* avx2_attention_int8.c - attention over int8 keys and values with vpmaddwd: codes widened to 16 bits
 * meet queries and weights of 15. Sums are integers, so that their order is free; keys lie as codes +
 * 128, and what that adds to a score is taken off at its end, modulo 2^32. */
#include <float.h>

#include "kernels/avx2/avx2_attention.h"
#include "kernels/math.h"

static inline __m256i four_of(const int16_t *p) {
    int64_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi64x(four);
}

/* ---- queries: codes of 16 bits, then what 128 too many in each key's add to the product --------- */

static float pack_query(void *to, const float *q, size_t head_dim, size_t padded) {
    int16_t *codes = to;
    float most = 0.0f;
    bool finite = true;
    int32_t sum = 0;
    for (size_t d = 0; d < head_dim; d++) {
        const float m = fabsf(q[d]);
        finite = finite && m <= FLT_MAX;
        most = m > most ? m : most;
    }
    const float top = finite ? most : NAN, times = top >= INT8_LEAST ? INT8_QUERY / top : 0.0f;
    memset(codes, 0, padded * sizeof *codes);
    for (size_t d = 0; d < head_dim && finite; d++) {
        codes[d] = (int16_t)_mm_cvtss_si32(_mm_set_ss(q[d] * times));
        sum += codes[d];
    }
    const int32_t surplus = 128 * sum;
    memcpy(codes + padded, &surplus, sizeof surplus);
    return top < INT8_LEAST ? 0.0f : top / INT8_QUERY;
}

/* ---- scores: 16 positions at a time --------------------------------------------------------------- */

#define DECLARE_S(q)                                                                    \
    const int16_t *x##q = a->query[q];                                                  \
    __m256i s##q##0 = _mm256_setzero_si256(), s##q##1 = _mm256_setzero_si256();         \
    __m256i s##q##2 = _mm256_setzero_si256(), s##q##3 = _mm256_setzero_si256();
#define STEP_S1(q, c) s##q##c = _mm256_add_epi32(s##q##c, _mm256_madd_epi16(k##c, x));
#define STEP_S(q)                                              \
    {                                                          \
        const __m256i x = four_of(x##q + d);                   \
        STEP_S1(q, 0) STEP_S1(q, 1) STEP_S1(q, 2) STEP_S1(q, 3) \
    }
#define STORE_S(q)                                                        \
    store_scores(a->s[q] + at, s##q##0, s##q##1, x##q + a->padded);       \
    store_scores(a->s[q] + at + 8, s##q##2, s##q##3, x##q + a->padded);

/* Each has two parts of the sums of four positions side by side. */
static inline void store_scores(float *s, __m256i first, __m256i second, const int16_t *surplus) {
    int32_t off;
    memcpy(&off, surplus, sizeof off);
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xD8);
    _mm256_storeu_ps(s, _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, _mm256_set1_epi32(off))));
}

static inline __m256i keys_at(const unsigned char *p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        for (size_t at = 0; at < KV_BLOCK_TOKENS; at += 16) {                                 \
            const unsigned char *k = a->k + 4 * at, *next = a->next + 4 * at;                 \
            EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 4, k += 128) {       \
                fetch(next);                                                                  \
                next += 128;                                                                  \
                const __m256i k0 = keys_at(k), k1 = keys_at(k + 16);                          \
                const __m256i k2 = keys_at(k + 32), k3 = keys_at(k + 48);                     \
                EACH_##Q(STEP_S)                                                              \
            }                                                                                 \
            EACH_##Q(STORE_S)                                                                 \
        }                                                                                     \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)

/* ---- weights: codes of 16 bits ------------------------------------------------------------------- */

static const float *scales_at(const struct soften *a, size_t offset, size_t j) {
    const unsigned char *head = a->blocks[j / KV_BLOCK_TOKENS];
    return (const float *)(const void *)(head + offset) + j % KV_BLOCK_TOKENS;
}

static float scale_scores(struct soften *a) {
    const __m256 factor = _mm256_set1_ps(a->factor), lowest = _mm256_set1_ps(-INFINITY);
    __m256 max = lowest;
    for (size_t j = a->begin / 8 * 8; j < a->end; j += 8) {
        const __m256 scale = _mm256_loadu_ps(scales_at(a, a->layout->k_scale_offset, j));
        const __m256 x = _mm256_mul_ps(_mm256_loadu_ps(a->s + j), _mm256_mul_ps(scale, factor));
        _mm256_storeu_ps(a->s + j, x);
        max = _mm256_max_ps(max, select_lanes(lanes_between(j, a->begin, a->end), x, lowest));
    }
    return max_of(max);
}

/* exp(s - max) times the values' scales in place of the scores; the largest of them, NaN when one is. */
static float weights_of(struct soften *a) {
    const __m256 top = _mm256_set1_ps(a->max);
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    __m256 most = _mm256_setzero_ps(), bad = _mm256_setzero_ps();
    for (size_t j = a->begin / 8 * 8; j < a->end; j += 8) {
        const __m256 m = _mm256_castsi256_ps(lanes_between(j, a->begin, a->end));
        const __m256 p = _mm256_and_ps(m, exp8(_mm256_sub_ps(_mm256_loadu_ps(a->s + j), top)));
        sums[j / 8 % 2] = _mm256_add_ps(sums[j / 8 % 2], p);
        const __m256 scale = _mm256_loadu_ps(scales_at(a, a->layout->v_scale_offset, j));
        const __m256 w = _mm256_and_ps(m, _mm256_mul_ps(p, scale));
        bad = _mm256_or_ps(bad, _mm256_cmp_ps(w, w, _CMP_UNORD_Q));
        most = _mm256_max_ps(w, most);
        _mm256_storeu_ps(a->s + j, w);
    }
    a->sum = fold1(sums[0], sums[1]);
    return _mm256_movemask_ps(bad) ? NAN : max_of(most);
}

static void soften_int8(struct soften *a) {
    a->max = scale_scores(a);
    const float most = weights_of(a);
    const __m256 times = _mm256_set1_ps(most >= INT8_LEAST ? INT8_WEIGHT / most : 0.0f);
    const size_t from = a->begin / 8 * 8;
    int16_t *codes = (void *)a->s;
    size_t j = from;
    a->o_factor = most < INT8_LEAST ? 0.0f : most / INT8_WEIGHT;
    for (; j < a->end; j += 8) {
        const __m256i c = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(a->s + j), times));
        const __m128i low = _mm256_castsi256_si128(c), high = _mm256_extracti128_si256(c, 1);
        _mm_storeu_si128((void *)(codes + j), _mm_packs_epi32(low, high));
    }
    memset(codes, 0, from * sizeof *codes);
    memset(codes + j, 0, (ATTENTION_CHUNK - j) * sizeof *codes);
}

/* ---- weighted values: 16 dimensions ---------------------------------------------------------------- */

#define DECLARE_W(q)                                                            \
    const int16_t *w##q = a->w[q];                                              \
    __m256i o##q##0 = _mm256_setzero_si256(), o##q##1 = _mm256_setzero_si256(); \
    __m256i o##q##2 = _mm256_setzero_si256(), o##q##3 = _mm256_setzero_si256();
#define STEP_W1(q, c) o##q##c = _mm256_add_epi32(o##q##c, _mm256_madd_epi16(v##c, w));
#define STEP_W(q)                                              \
    {                                                          \
        const __m256i w = four_of(w##q + j);                   \
        STEP_W1(q, 0) STEP_W1(q, 1) STEP_W1(q, 2) STEP_W1(q, 3) \
    }
#define STORE_W(q)                                                   \
    store_sums(a->o[q] + i, o##q##0, o##q##1, a->o_factor[q]);       \
    store_sums(a->o[q] + i + 8, o##q##2, o##q##3, a->o_factor[q]);

static inline void store_sums(float *o, __m256i first, __m256i second, float factor) {
    const __m256i sums = _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0xD8);
    _mm256_storeu_ps(o, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(factor)));
}

static inline __m256i values_at(const unsigned char *p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}

#define DEFINE_WEIGH(Q)                                                                         \
    static void weigh_##Q(const struct weigh_tile *a) {                                         \
        for (size_t i = 0; i < a->padded; i += 16) {                                            \
            EACH_##Q(DECLARE_W) for (size_t j = a->begin; j < a->end;) {                        \
                size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;               \
                size_t at = j % KV_BLOCK_TOKENS * a->padded + 4 * i;                            \
                const unsigned char *v = a->v[b] + at, *next = a->v[b + 1] + at;                \
                stop = stop < a->end ? stop : a->end;                                           \
                for (; j < stop; j += 4, v += 4 * a->padded, next += 4 * a->padded) {           \
                    fetch(next);                                                                \
                    const __m256i v0 = values_at(v), v1 = values_at(v + 16);                    \
                    const __m256i v2 = values_at(v + 32), v3 = values_at(v + 48);               \
                    EACH_##Q(STEP_W)                                                            \
                }                                                                               \
            }                                                                                   \
            EACH_##Q(STORE_W)                                                                   \
        }                                                                                       \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)

static score_fn *const scores[] = {NULL, scores_1, scores_2};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2};

void avx2_attention_int8(const struct attention_args *a) {
    const struct attention_parts parts = {.pack = pack_query,
                                          .scores = scores,
                                          .n_scores = 2,
                                          .soften = soften_int8,
                                          .weigh = weigh,
                                          .n_weigh = 2,
                                          .grain = 4,
                                          .zero_is_nothing = true,
                                          .join = avx2_attention_join};
    attention_walk(a, &parts);
}
