/* neon_attention.c - softmax of a row of scores, and the weighted sum of values with lanes along
 * head_dim. */
#include "kernels/neon/neon.h"

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

/* ---- weighted values: 16 columns in hand stay in registers over all positions ----------- */

#define LOAD_4(q)                                                                            \
    const float *p##q = a->p[q];                                                             \
    float32x4_t o##q##0 = vld1q_f32(a->out[q] + i), o##q##1 = vld1q_f32(a->out[q] + i + 4);  \
    float32x4_t o##q##2 = vld1q_f32(a->out[q] + i + 8);                                      \
    float32x4_t o##q##3 = vld1q_f32(a->out[q] + i + 12);
#define STEP_4(q)                                       \
    {                                                   \
        const float32x4_t p = vdupq_n_f32(p##q[j]);     \
        o##q##0 = vfmaq_f32(o##q##0, p, v0);            \
        o##q##1 = vfmaq_f32(o##q##1, p, v1);            \
        o##q##2 = vfmaq_f32(o##q##2, p, v2);            \
        o##q##3 = vfmaq_f32(o##q##3, p, v3);            \
    }
#define STORE_4(q)                        \
    vst1q_f32(a->out[q] + i, o##q##0);    \
    vst1q_f32(a->out[q] + i + 4, o##q##1); \
    vst1q_f32(a->out[q] + i + 8, o##q##2); \
    vst1q_f32(a->out[q] + i + 12, o##q##3);

/* The columns after the last 16, one by one. */
static void weigh_rest(const struct weighing *a, size_t n_queries, size_t i) {
    for (size_t q = 0; q < n_queries; q++)
        for (size_t j = 0; j < a->n; j++)
            for (size_t c = i; c < a->head_dim; c++)
                a->out[q][c] = fma32(a->p[q][j], a->v[j * a->head_dim + c], a->out[q][c]);
}

#define DEFINE_WEIGH(Q)                                                            \
    static void weigh_##Q(const struct weighing *a) {                              \
        size_t i = 0;                                                              \
        for (; i + 16 <= a->head_dim; i += 16) {                                   \
            const float *v = a->v + i;                                             \
            EACH_##Q(LOAD_4) for (size_t j = 0; j < a->n; j++, v += a->head_dim) { \
                fetch((const char *)v + a->ahead);                                 \
                const float32x4_t v0 = vld1q_f32(v), v1 = vld1q_f32(v + 4);        \
                const float32x4_t v2 = vld1q_f32(v + 8), v3 = vld1q_f32(v + 12);   \
                EACH_##Q(STEP_4)                                                   \
            }                                                                      \
            EACH_##Q(STORE_4)                                                      \
        }                                                                          \
        if (i < a->head_dim)                                                       \
            weigh_rest(a, Q, i);                                                   \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)
DEFINE_WEIGH(5)
DEFINE_WEIGH(6)

static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4, weigh_5, weigh_6};

void neon_attention(const struct attention_args *a) {
    const struct attention_parts parts = {.scores = neon_tiles_f32,
                                          .weigh = weigh,
                                          .n_weigh = 6,
                                          .exp_scores = neon_exp_scores,
                                          .divide = neon_divide};
    tiles_attention(a, &parts);
}
