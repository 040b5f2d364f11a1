/* int8_attention.h - attention over int8 keys and values, for a file that defines dot4() as int8_rows.h wants it:
 * both products are sums of integers, so that their order is free. All operands are signed bytes: 16384
 * is taken off each weight, and added again times the sum of the values, which all queries share. */
#ifndef QUERN_KERNELS_NEON_INT8_ATTENTION_H
#define QUERN_KERNELS_NEON_INT8_ATTENTION_H

#include "kernels/neon/neon_attention.h"

enum { WEIGHT_OFF = 16384 };

/* All high bytes, then all low ones. */
static inline void store_query(void *to, size_t d, size_t padded, int8x16_t high, int8x16_t low) {
    vst1q_s8((int8_t *)to + d, high);
    vst1q_s8((int8_t *)to + padded + d, low);
}

/* Four positions' high bytes, then their low ones: weight - 16384 = 256 * high + low. */
static inline void store_weights(unsigned char *codes, size_t j, uint16x8_t first, uint16x8_t second) {
    const int16x8_t off = vdupq_n_s16(WEIGHT_OFF);
    const int16x8_t a = vsubq_s16(vreinterpretq_s16_u16(first), off);
    const int16x8_t b = vsubq_s16(vreinterpretq_s16_u16(second), off);
    /* Rounded, so that what is left fits a signed byte, whose bits are the lower ones anyway. */
    const int32x4_t high = vreinterpretq_s32_s8(vcombine_s8(vrshrn_n_s16(a, 8), vrshrn_n_s16(b, 8)));
    const int32x4_t low = vreinterpretq_s32_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    vst1q_u8(codes + 2 * j, vreinterpretq_u8_s32(vzip1q_s32(high, low)));
    vst1q_u8(codes + 2 * j + 16, vreinterpretq_u8_s32(vzip2q_s32(high, low)));
}

#include "kernels/neon/int8_codes.h"

static inline int8x16_t four_bytes(const void *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* ---- scores: 16 positions at a time --------------------------------------------------------------- */

/* Keys lie as codes + 128. */
static inline int8x16_t keys_at(const unsigned char *p) {
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(128)));
}

/* h and l: query, four positions. */
#define DECLARE_S(q)                                                                                   \
    const int8_t *x##q = a->query[q];                                                                  \
    int32x4_t h##q##0 = vdupq_n_s32(0), h##q##1 = h##q##0, h##q##2 = h##q##0, h##q##3 = h##q##0;       \
    int32x4_t l##q##0 = vdupq_n_s32(0), l##q##1 = l##q##0, l##q##2 = l##q##0, l##q##3 = l##q##0;
#define STEP_S(q)                                                                      \
    {                                                                                  \
        const int8x16_t high = four_bytes(x##q + d), low = four_bytes(x##q + a->padded + d); \
        h##q##0 = dot4(h##q##0, k0, high), l##q##0 = dot4(l##q##0, k0, low);           \
        h##q##1 = dot4(h##q##1, k1, high), l##q##1 = dot4(l##q##1, k1, low);           \
        h##q##2 = dot4(h##q##2, k2, high), l##q##2 = dot4(l##q##2, k2, low);           \
        h##q##3 = dot4(h##q##3, k3, high), l##q##3 = dot4(l##q##3, k3, low);           \
    }
#define STORE_S1(q, c) \
    vst1q_f32(a->s[q] + at + 4 * c, vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(h##q##c, 7), l##q##c)));
#define STORE_S(q) STORE_S1(q, 0) STORE_S1(q, 1) STORE_S1(q, 2) STORE_S1(q, 3)

#define DEFINE_SCORES(Q)                                                                      \
    static void scores_##Q(const struct score_tile *a) {                                      \
        for (size_t at = 0; at < KV_BLOCK_TOKENS; at += 16) {                                 \
            const unsigned char *k = a->k + 4 * at, *next = a->next + 4 * at;                 \
            EACH_##Q(DECLARE_S) for (size_t d = 0; d < a->head_dim; d += 4, k += 128) {       \
                fetch(next);                                                                  \
                next += 128;                                                                  \
                const int8x16_t k0 = keys_at(k), k1 = keys_at(k + 16);                        \
                const int8x16_t k2 = keys_at(k + 32), k3 = keys_at(k + 48);                   \
                EACH_##Q(STEP_S)                                                              \
            }                                                                                 \
            EACH_##Q(STORE_S)                                                                 \
        }                                                                                     \
    }

DEFINE_SCORES(1)
DEFINE_SCORES(2)

/* ---- weighted values: 16 dimensions ---------------------------------------------------------------- */

#define DECLARE_W(q)                                                                                   \
    const unsigned char *w##q = a->w[q];                                                               \
    int32x4_t h##q##0 = vdupq_n_s32(0), h##q##1 = h##q##0, h##q##2 = h##q##0, h##q##3 = h##q##0;       \
    int32x4_t l##q##0 = vdupq_n_s32(0), l##q##1 = l##q##0, l##q##2 = l##q##0, l##q##3 = l##q##0;
#define STEP_W(q)                                                                               \
    {                                                                                           \
        const int8x16_t high = four_bytes(w##q + 2 * j), low = four_bytes(w##q + 2 * j + 4);    \
        h##q##0 = dot4(h##q##0, v0, high), l##q##0 = dot4(l##q##0, v0, low);                    \
        h##q##1 = dot4(h##q##1, v1, high), l##q##1 = dot4(l##q##1, v1, low);                    \
        h##q##2 = dot4(h##q##2, v2, high), l##q##2 = dot4(l##q##2, v2, low);                    \
        h##q##3 = dot4(h##q##3, v3, high), l##q##3 = dot4(l##q##3, v3, low);                    \
    }
#define STORE_W1(q, c) store_sums(a->o[q] + i + 4 * c, h##q##c, l##q##c, sum##c, a->o_factor[q]);
#define STORE_W(q) STORE_W1(q, 0) STORE_W1(q, 1) STORE_W1(q, 2) STORE_W1(q, 3)

static inline void store_sums(float *o, int32x4_t high, int32x4_t low, int32x4_t values, float factor) {
    const int32x4_t sum = vaddq_s32(vaddq_s32(vshlq_n_s32(high, 8), low), vmulq_n_s32(values, WEIGHT_OFF));
    vst1q_f32(o, vmulq_n_f32(vcvtq_f32_s32(sum), factor));
}

static inline int8x16_t values_at(const unsigned char *p) {
    return vreinterpretq_s8_u8(vld1q_u8(p));
}

#define DEFINE_WEIGH(Q)                                                                         \
    static void weigh_##Q(const struct weigh_tile *a) {                                         \
        const int8x16_t one = vdupq_n_s8(1);                                                    \
        for (size_t i = 0; i < a->padded; i += 16) {                                            \
            int32x4_t sum0 = vdupq_n_s32(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;             \
            EACH_##Q(DECLARE_W) for (size_t j = a->begin; j < a->end;) {                        \
                size_t b = j / KV_BLOCK_TOKENS, stop = (b + 1) * KV_BLOCK_TOKENS;               \
                size_t at = j % KV_BLOCK_TOKENS * a->padded + 4 * i;                            \
                const unsigned char *v = a->v[b] + at, *next = a->v[b + 1] + at;                \
                stop = stop < a->end ? stop : a->end;                                           \
                for (; j < stop; j += 4, v += 4 * a->padded, next += 4 * a->padded) {           \
                    fetch(next);                                                                \
                    const int8x16_t v0 = values_at(v), v1 = values_at(v + 16);                  \
                    const int8x16_t v2 = values_at(v + 32), v3 = values_at(v + 48);             \
                    sum0 = dot4(sum0, v0, one), sum1 = dot4(sum1, v1, one);                     \
                    sum2 = dot4(sum2, v2, one), sum3 = dot4(sum3, v3, one);                     \
                    EACH_##Q(STEP_W)                                                            \
                }                                                                               \
            }                                                                                   \
            EACH_##Q(STORE_W)                                                                   \
        }                                                                                       \
    }

DEFINE_WEIGH(1)
DEFINE_WEIGH(2)

static void attention_int8(const struct attention_args *a) {
    static score_fn *const scores[] = {NULL, scores_1, scores_2};
    static weigh_fn *const weigh[] = {NULL, weigh_1, weigh_2};
    const struct attention_parts parts = {.pack = pack_query,
                                          .scores = scores,
                                          .n_scores = 2,
                                          .soften = soften_int8,
                                          .weigh = weigh,
                                          .n_weigh = 2,
                                          .grain = 4,
                                          .zero_is_nothing = true,
                                          .join = neon_attention_join};
    attention_walk(a, &parts);
}

#endif
