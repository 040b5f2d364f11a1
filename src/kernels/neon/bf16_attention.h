/* bf16_attention.h - attention over bfloat16 keys and values, for a file that defines
 *     float32x4_t mac2(float32x4_t s, uint32x4_t a, uint32x4_t b)
 * the two steps of a pair in each lane, the upper halves first, in the mode of neon_bf16.h. */
#ifndef QUERN_KERNELS_NEON_BF16_ATTENTION_H
#define QUERN_KERNELS_NEON_BF16_ATTENTION_H

#include "kernels/neon/neon_bf16.h"

static inline uint32x4_t pairs_at(const unsigned char *p) {
    return vreinterpretq_u32_u8(vld1q_u8(p));
}

/* ---- scores: 16 positions at a time --------------------------------------------------------------- */

#define DECLARE_S(q)                                                                                 \
    const uint16_t *x##q = a->query[q];                                                              \
    float32x4_t s##q##0 = vdupq_n_f32(0), s##q##1 = s##q##0, s##q##2 = s##q##0, s##q##3 = s##q##0;
#define STEP_S(q)                                                        \
    {                                                                    \
        const uint32x4_t x = vdupq_n_u32(pair_of(x##q + d));             \
        s##q##0 = mac2(s##q##0, k0, x), s##q##1 = mac2(s##q##1, k1, x);  \
        s##q##2 = mac2(s##q##2, k2, x), s##q##3 = mac2(s##q##3, k3, x);  \
    }
#define HOLD_S(q) HOLD(s##q##0) HOLD(s##q##1) HOLD(s##q##2) HOLD(s##q##3)
#define STORE_S(q)                                                             \
    vst1q_f32(a->s[q] + at, s##q##0), vst1q_f32(a->s[q] + at + 4, s##q##1);    \
    vst1q_f32(a->s[q] + at + 8, s##q##2), vst1q_f32(a->s[q] + at + 12, s##q##3);

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        const struct flushing mode = flush_begin();                                           \
        for (size_t at = 0; at < KV_BLOCK_TOKENS; at += 16) {                                 \
            const unsigned char *k = a->k + 4 * at, *next = a->next + 4 * at;                 \
            EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 2, k += 128) {       \
                fetch(next);                                                                  \
                next += 128;                                                                  \
                const uint32x4_t k0 = pairs_at(k), k1 = pairs_at(k + 16);                     \
                const uint32x4_t k2 = pairs_at(k + 32), k3 = pairs_at(k + 48);                \
                EACH_##Q(STEP_S)                                                              \
            }                                                                                 \
            EACH_##Q(HOLD_S)                                                                  \
            EACH_##Q(STORE_S)                                                                 \
        }                                                                                     \
        const bool again = was_flushed();                                                     \
        flush_end(mode);                                                                      \
        if (again)                                                                            \
            neon_plain_scores(a, Q);                                                          \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)
DEFINE_SCORES(3)

/* ---- weighted values: 16 dimensions ---------------------------------------------------------------- */

#define LOAD_W(q)                                                                            \
    const uint16_t *w##q = a->w[q];                                                          \
    float32x4_t o##q##0 = vld1q_f32(a->o[q] + i), o##q##1 = vld1q_f32(a->o[q] + i + 4);      \
    float32x4_t o##q##2 = vld1q_f32(a->o[q] + i + 8), o##q##3 = vld1q_f32(a->o[q] + i + 12);
#define STEP_W(q)                                                        \
    {                                                                    \
        const uint32x4_t w = vdupq_n_u32(pair_of(w##q + j));             \
        o##q##0 = mac2(o##q##0, v0, w), o##q##1 = mac2(o##q##1, v1, w);  \
        o##q##2 = mac2(o##q##2, v2, w), o##q##3 = mac2(o##q##3, v3, w);  \
    }
#define HOLD_W(q) HOLD(o##q##0) HOLD(o##q##1) HOLD(o##q##2) HOLD(o##q##3)
#define STORE_W(q)                                                               \
    vst1q_f32(a->o[q] + i, o##q##0), vst1q_f32(a->o[q] + i + 4, o##q##1);        \
    vst1q_f32(a->o[q] + i + 8, o##q##2), vst1q_f32(a->o[q] + i + 12, o##q##3);

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
                    const uint32x4_t v0 = pairs_at(v), v1 = pairs_at(v + 16);                   \
                    const uint32x4_t v2 = pairs_at(v + 32), v3 = pairs_at(v + 48);              \
                    EACH_##Q(STEP_W)                                                            \
                }                                                                               \
            }                                                                                   \
            EACH_##Q(HOLD_W)                                                                    \
            if (was_flushed()) {                                                                \
                flush_end(mode);                                                                \
                neon_plain_weigh(a, Q, i);                                                      \
                flush_begin();                                                                  \
                continue;                                                                       \
            }                                                                                   \
            EACH_##Q(STORE_W)                                                                   \
        }                                                                                       \
        flush_end(mode);                                                                        \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)
DEFINE_WEIGH(3)
DEFINE_WEIGH(4)

static void attention_bf16(const struct attention_args *a) {
    static score_fn *const scores[] = {NULL, scores_1, scores_2, scores_3};
    static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2, weigh_3, weigh_4};
    const struct attention_parts parts = {.pack = neon_bf16_pack,
                                          .scores = scores,
                                          .n_scores = 3,
                                          .soften = neon_bf16_soften,
                                          .weigh = weigh,
                                          .n_weigh = 4,
                                          .grain = 2,
                                          .edge = neon_bf16_edges,
                                          .join = neon_attention_join};
    attention_walk(a, &parts);
}

#endif
