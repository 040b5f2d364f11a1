/* int8_codes.h - queries and weights of int8 caches as two bytes each, for a file that says how they lie:
 *     void store_query(void *to, size_t d, size_t padded, int8x16_t high, int8x16_t low)
 *         16 dimensions from d on, 128 * high + low
 *     void store_weights(unsigned char *codes, size_t j, uint16x8_t first, uint16x8_t second)
 *         16 positions from j on, in the 32 bytes at codes + 2 * j */
#ifndef QUERN_KERNELS_NEON_INT8_CODES_H
#define QUERN_KERNELS_NEON_INT8_CODES_H

#include "kernels/neon/neon_attention.h"

static inline int16x8_t eight_codes(const float *x, float times) {
    const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), times));
    const int32x4_t b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), times));
    return vcombine_s16(vmovn_s32(a), vmovn_s32(b));
}

static float pack_query(void *to, const float *q, size_t head_dim, size_t padded) {
    const float top = neon_query_top(q, head_dim), times = top >= INT8_LEAST ? INT8_QUERY / top : 0.0f;
    for (size_t d = 0; d < padded; d += 16) {
        const size_t n = head_dim - d < 16 ? head_dim - d : 16;
        float x[16] = {0};
        if (times > 0.0f)
            memcpy(x, q + d, n * sizeof *x);
        const int16x8_t a = eight_codes(x, times), b = eight_codes(x + 8, times);
        /* (u + 64) / 128, downwards */
        const int16x8_t ha = vrshrq_n_s16(a, 7), hb = vrshrq_n_s16(b, 7);
        const int16x8_t la = vsubq_s16(a, vshlq_n_s16(ha, 7)), lb = vsubq_s16(b, vshlq_n_s16(hb, 7));
        store_query(to, d, padded, vcombine_s8(vmovn_s16(ha), vmovn_s16(hb)),
                    vcombine_s8(vmovn_s16(la), vmovn_s16(lb)));
    }
    return top < INT8_LEAST ? 0.0f : top / INT8_QUERY;
}

static void soften_int8(struct soften *a) {
    const float times = neon_soften_int8(a);
    const uint16x8_t none = vdupq_n_u16(0);
    unsigned char *codes = (void *)a->s;
    size_t from = a->begin / 16 * 16, j = from;
    for (; j < a->end; j += 16) {
        const uint16x8_t first = vreinterpretq_u16_s16(eight_codes(a->s + j, times));
        const uint16x8_t second = vreinterpretq_u16_s16(eight_codes(a->s + j + 8, times));
        store_weights(codes, j, first, second);
    }
    for (; j < ATTENTION_CHUNK; j += 16)
        store_weights(codes, j, none, none);
    for (j = 0; j < from; j += 16)
        store_weights(codes, j, none, none);
}

#endif
