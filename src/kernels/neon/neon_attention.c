/* neon_attention.c - softmax, and attention over float32 keys and values. Scores have 4 positions in
 * a register, values 4 dimensions: nothing is ever folded. */
#include "kernels/neon/neon_attention.h"

/* In place; the sum of the results. */
float neon_exp_scores(float *s, size_t n, float scale) {
    float32x4_t top = vdupq_n_f32(-INFINITY);
    float max, sums[KERNEL_LANES];
    size_t j = 0;
    for (; j + NEON_LANES <= n; j += NEON_LANES) {
        const float32x4_t x = vmulq_n_f32(vld1q_f32(s + j), scale);
        vst1q_f32(s + j, x);
        top = vmaxq_f32(top, x);
    }
    max = vmaxvq_f32(top); /* NaN when there is one: then all results are */
    for (; j < n; j++) {
        s[j] *= scale;
        max = s[j] > max ? s[j] : max;
    }
    float32x4_t p0 = vdupq_n_f32(0), p1 = p0, p2 = p0, p3 = p0;
    const float32x4_t m = vdupq_n_f32(max);
    for (j = 0; j + KERNEL_LANES <= n; j += KERNEL_LANES) {
        const float32x4_t e0 = exp4(vsubq_f32(vld1q_f32(s + j), m));
        const float32x4_t e1 = exp4(vsubq_f32(vld1q_f32(s + j + 4), m));
        const float32x4_t e2 = exp4(vsubq_f32(vld1q_f32(s + j + 8), m));
        const float32x4_t e3 = exp4(vsubq_f32(vld1q_f32(s + j + 12), m));
        vst1q_f32(s + j, e0);
        vst1q_f32(s + j + 4, e1);
        vst1q_f32(s + j + 8, e2);
        vst1q_f32(s + j + 12, e3);
        p0 = vaddq_f32(p0, e0);
        p1 = vaddq_f32(p1, e1);
        p2 = vaddq_f32(p2, e2);
        p3 = vaddq_f32(p3, e3);
    }
    vst1q_f32(sums, p0);
    vst1q_f32(sums + 4, p1);
    vst1q_f32(sums + 8, p2);
    vst1q_f32(sums + 12, p3);
    for (size_t lane = 0; j < n; j++, lane++) {
        s[j] = exp32(s[j] - max);
        sums[lane] += s[j];
    }
    return fold_lanes(sums);
}

void neon_divide(float *x, size_t n, float by) {
    const float32x4_t d = vdupq_n_f32(by);
    size_t i = 0;
    for (; i + NEON_LANES <= n; i += NEON_LANES)
        vst1q_f32(x + i, vdivq_f32(vld1q_f32(x + i), d));
    for (; i < n; i++)
        x[i] /= by;
}

/* ---- scores: 8 positions, four chains each -------------------------------------------------- */

/* s, query, chain, positions 0-3 or 4-7. */
#define DECLARE_S(q)                                                                          \
    const float *x##q = a->query[q];                                                          \
    float32x4_t s##q##00 = vdupq_n_f32(0), s##q##01 = s##q##00, s##q##10 = s##q##00;          \
    float32x4_t s##q##11 = s##q##00, s##q##20 = s##q##00, s##q##21 = s##q##00;                \
    float32x4_t s##q##30 = s##q##00, s##q##31 = s##q##00;
#define STEP_S(q, c)                                        \
    {                                                       \
        const float32x4_t x = vld1q_dup_f32(x##q + d + c);  \
        s##q##c##0 = vfmaq_f32(s##q##c##0, x, k0);          \
        s##q##c##1 = vfmaq_f32(s##q##c##1, x, k1);          \
    }
#define STEP_S0(q) STEP_S(q, 0)
#define STEP_S1(q) STEP_S(q, 1)
#define STEP_S2(q) STEP_S(q, 2)
#define STEP_S3(q) STEP_S(q, 3)
#define CHAIN(Q, c)                                                                       \
    {                                                                                     \
        const float32x4_t k0 = vld1q_f32(row + c * KV_BLOCK_TOKENS);                      \
        const float32x4_t k1 = vld1q_f32(row + c * KV_BLOCK_TOKENS + 4);                  \
        EACH_##Q(STEP_S##c)                                                               \
    }
#define STORE_S(q)                                                                        \
    vst1q_f32(a->s[q] + at, vaddq_f32(vaddq_f32(s##q##00, s##q##20),                      \
                                      vaddq_f32(s##q##10, s##q##30)));                    \
    vst1q_f32(a->s[q] + at + 4, vaddq_f32(vaddq_f32(s##q##01, s##q##21),                  \
                                          vaddq_f32(s##q##11, s##q##31)));

#define DEFINE_SCORES(Q)                                                                  \
    static void scores_##Q(const struct score_tile *a) {                                  \
        for (size_t at = 0; at < KV_BLOCK_TOKENS; at += 8) {                              \
            const float *row = (const float *)(const void *)a->k + at;                    \
            const char *next = (const char *)a->next + at / 8 * (a->head_dim * 32);       \
            size_t d = 0;                                                                 \
            EACH_##Q(DECLARE_S) for (; d + 4 <= a->head_dim; d += 4) {                    \
                fetch(next), fetch(next + 64);                                            \
                CHAIN(Q, 0) CHAIN(Q, 1) CHAIN(Q, 2) CHAIN(Q, 3)                           \
                row += 4 * KV_BLOCK_TOKENS, next += 128;                                  \
            }                                                                             \
            if (d < a->head_dim) {                                                        \
                CHAIN(Q, 0) CHAIN(Q, 1)                                                   \
            }                                                                             \
            EACH_##Q(STORE_S)                                                             \
        }                                                                                 \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)
DEFINE_SCORES(3)

/* ---- weights ---------------------------------------------------------------------------------- */

float neon_scale_scores(float *s, size_t begin, size_t end, float factor) {
    float32x4_t top = vdupq_n_f32(-INFINITY);
    for (size_t j = begin / NEON_LANES * NEON_LANES; j < end; j += NEON_LANES) {
        const float32x4_t x = vmulq_n_f32(vld1q_f32(s + j), factor);
        vst1q_f32(s + j, x);
        top = vmaxq_f32(top, vbslq_f32(lanes_between(j, begin, end), x, top));
    }
    return vmaxvq_f32(top);
}

static void soften_f32(struct soften *a) {
    float sums[KERNEL_LANES] = {0};
    a->max = neon_scale_scores(a->s, a->begin, a->end, a->factor);
    const float32x4_t max = vdupq_n_f32(a->max);
    for (size_t j = a->begin / NEON_LANES * NEON_LANES; j < a->end; j += NEON_LANES) {
        const uint32x4_t m = lanes_between(j, a->begin, a->end);
        const float32x4_t p = keep_lanes(m, exp4(vsubq_f32(vld1q_f32(a->s + j), max)));
        float *to = sums + j % KERNEL_LANES;
        vst1q_f32(a->s + j, p);
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), p));
    }
    a->sum = fold_lanes(sums);
}

/* ---- weighted values: 16 dimensions in hand stay in registers over all positions -------------- */

#define LOAD_4(q)                                                                            \
    const float *p##q = a->w[q];                                                             \
    float32x4_t o##q##0 = vld1q_f32(a->o[q] + i), o##q##1 = vld1q_f32(a->o[q] + i + 4);      \
    float32x4_t o##q##2 = vld1q_f32(a->o[q] + i + 8), o##q##3 = vld1q_f32(a->o[q] + i + 12);
#define STEP_4(q)                                          \
    {                                                      \
        const float32x4_t p = vld1q_dup_f32(p##q + j);     \
        o##q##0 = vfmaq_f32(o##q##0, p, v0);               \
        o##q##1 = vfmaq_f32(o##q##1, p, v1);               \
        o##q##2 = vfmaq_f32(o##q##2, p, v2);               \
        o##q##3 = vfmaq_f32(o##q##3, p, v3);               \
    }
#define STORE_4(q)                       \
    vst1q_f32(a->o[q] + i, o##q##0);     \
    vst1q_f32(a->o[q] + i + 4, o##q##1); \
    vst1q_f32(a->o[q] + i + 8, o##q##2); \
    vst1q_f32(a->o[q] + i + 12, o##q##3);

#define DEFINE_WEIGH(Q)                                                                  \
    static void weigh_##Q(const struct weigh_tile *a) {                                  \
        for (size_t i = 0; i < a->padded; i += 16) {                                     \
            EACH_##Q(LOAD_4) for (size_t j = a->begin; j < a->end;) {                    \
                size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;        \
                const size_t at = j % KV_BLOCK_TOKENS * a->padded + i;                   \
                const float *v = (const float *)(const void *)a->v[b] + at;              \
                const float *next = (const float *)(const void *)a->v[b + 1] + at;       \
                stop = stop < a->end ? stop : a->end;                                    \
                for (; j < stop; j++, v += a->padded, next += a->padded) {               \
                    fetch(next);                                                         \
                    const float32x4_t v0 = vld1q_f32(v), v1 = vld1q_f32(v + 4);          \
                    const float32x4_t v2 = vld1q_f32(v + 8), v3 = vld1q_f32(v + 12);     \
                    EACH_##Q(STEP_4)                                                     \
                }                                                                        \
            }                                                                            \
            EACH_##Q(STORE_4)                                                            \
        }                                                                                \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

/* ---- joining ---------------------------------------------------------------------------------- */

void neon_attention_join(const struct attention_join *a) {
    if (*a->sum == 0.0f) {
        memcpy(a->out, a->o, a->n * sizeof *a->out);
        *a->max = a->m;
        *a->sum = a->l;
        return;
    }
    const float max = a->m > *a->max ? a->m : *a->max;
    const float old = exp32(*a->max - max), new = exp32(a->m - max);
    size_t i = 0;
    for (; i + NEON_LANES <= a->n; i += NEON_LANES) {
        const float32x4_t o = vmulq_n_f32(vld1q_f32(a->out + i), old);
        vst1q_f32(a->out + i, vfmaq_n_f32(o, vld1q_f32(a->o + i), new));
    }
    for (; i < a->n; i++)
        a->out[i] = fma32(a->o[i], new, a->out[i] * old);
    *a->sum = fma32(a->l, new, *a->sum * old);
    *a->max = max;
}

static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3};
static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void neon_attention_f32(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = scores,
                                          .n_scores = 3,
                                          .soften = soften_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .grain = 1,
                                          .join = neon_attention_join};
    attention_walk(a, &parts);
}
