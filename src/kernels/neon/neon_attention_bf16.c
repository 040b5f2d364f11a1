/* neon_attention_bf16.c - attention over bfloat16 keys and values, with multiply-adds; and what the table with
 * instructions for bfloat16 shares of it. */
#include "kernels/neon/neon_bf16.h"

static inline float32x4_t mac2(float32x4_t s, uint32x4_t a, uint32x4_t b) {
    s = vfmaq_f32(s, upper(a), upper(b));
    return vfmaq_f32(s, lower(a), lower(b));
}

#include "kernels/neon/bf16_attention.h"

float neon_bf16_pack(void *to, const float *q, size_t head_dim, size_t padded) {
    uint16_t *codes = to;
    (void)padded;
    for (size_t d = 0; d < head_dim; d++)
        codes[d] = bf16_flushed(q[d]);
    return 1.0f;
}

/* bf16_flushed of what is not negative, left in the upper halves. */
static inline uint32x4_t round_positive(float32x4_t x) {
    const uint32x4_t bits = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t y = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    y = vandq_u32(vandq_u32(y, vdupq_n_u32(0xFFFF0000u)), vcgeq_f32(x, vdupq_n_f32(MIN_NORMAL)));
    return vorrq_u32(y, vbicq_u32(vdupq_n_u32(0x7fc00000), vceqq_f32(x, x)));
}

void neon_bf16_soften(struct soften *a) {
    float sums[KERNEL_LANES] = {0};
    uint16_t *weights = (void *)a->s;
    a->max = neon_scale_scores(a->s, a->begin, a->end, a->factor);
    const float32x4_t max = vdupq_n_f32(a->max);
    for (size_t j = a->begin / NEON_LANES * NEON_LANES; j < a->end; j += NEON_LANES) {
        const uint32x4_t m = lanes_between(j, a->begin, a->end);
        const float32x4_t p = keep_lanes(m, exp4(vsubq_f32(vld1q_f32(a->s + j), max)));
        const uint32x4_t w = round_positive(p);
        float *to = sums + j % KERNEL_LANES;
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), vreinterpretq_f32_u32(w)));
        vst1_u16(weights + j, vshrn_n_u32(w, 16));
    }
    a->sum = fold_lanes(sums);
}

/* ---- plain arithmetic ------------------------------------------------------------------------------ */

static float half_of(const unsigned char *pairs, size_t i) {
    uint16_t h;
    memcpy(&h, pairs + 2 * i, sizeof h);
    return bf16_to_f32(h);
}

void neon_plain_scores(const struct score_tile *a, size_t n) {
    for (size_t q = 0; q < n; q++) {
        const uint16_t *x = a->query[q];
        for (size_t j = 0; j < KV_BLOCK_TOKENS; j++) {
            float s = 0.0f;
            for (size_t d = 0; d < a->head_dim; d += 2) {
                const unsigned char *k = a->k + 4 * (d / 2 * KV_BLOCK_TOKENS + j);
                s = mac_bf16(bf16_to_f32(x[d + 1]), half_of(k, 1), s);
                s = mac_bf16(bf16_to_f32(x[d]), half_of(k, 0), s);
            }
            a->s[q][j] = s;
        }
    }
}

/* Of the two positions from j on those in [begin, end). */
static float plain_pair(const struct weigh_tile *a, const uint16_t *w, size_t j, size_t d, float o) {
    const unsigned char *v = a->v[j / KV_BLOCK_TOKENS] +
                             4 * (j % KV_BLOCK_TOKENS / 2 * a->padded + d);
    for (size_t e = 2; e-- > 0;) {
        const bool seen = j + e >= a->begin && j + e < a->end;
        o = mac_bf16(seen ? bf16_to_f32(w[j + e]) : 0.0f, seen ? half_of(v, e) : 0.0f, o);
    }
    return o;
}

void neon_plain_weigh(const struct weigh_tile *a, size_t n, size_t i) {
    for (size_t q = 0; q < n; q++)
        for (size_t d = i; d < i + 16; d++)
            for (size_t j = a->begin / 2 * 2; j < a->end; j += 2)
                a->o[q][d] = plain_pair(a, a->w[q], j, d, a->o[q][d]);
}

/* ---- one position of a pair: so rare that plain arithmetic serves -------------------------------------- */

static void edge(const struct weigh_tile *a, size_t n) {
    for (size_t i = 0; i < a->padded; i += 16)
        neon_plain_weigh(a, n, i);
}

#define DEFINE_EDGE(Q)                                \
    static void edge_##Q(const struct weigh_tile *a) { \
        edge(a, Q);                                   \
    }

DEFINE_EDGE(1)
DEFINE_EDGE(2)
DEFINE_EDGE(3)
DEFINE_EDGE(4)

weigh_fn *const neon_bf16_edges[] = {NULL, edge_1, edge_2, edge_3, edge_4};

void neon_attention_bf16(const struct attention_args *a) {
    attention_bf16(a);
}
