/* neon_attention.h - shared by the files of attention. */
#ifndef QUERN_KERNELS_NEON_NEON_ATTENTION_H
#define QUERN_KERNELS_NEON_NEON_ATTENTION_H

#include "kernels/attention.h"
#include "kernels/neon/neon.h"

/* All ones in the lanes of positions j .. j + 3 that lie in [begin, end). */
static inline uint32x4_t lanes_between(size_t j, size_t begin, size_t end) {
    static const uint32_t index[NEON_LANES] = {0, 1, 2, 3};
    const uint32x4_t at = vaddq_u32(vdupq_n_u32((uint32_t)j), vld1q_u32(index));
    return vandq_u32(vcgeq_u32(at, vdupq_n_u32((uint32_t)begin)),
                     vcltq_u32(at, vdupq_n_u32((uint32_t)end)));
}

static inline float32x4_t keep_lanes(uint32x4_t mask, float32x4_t x) {
    return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(x)));
}

/* s *= factor for [begin, end), and around it up to multiples of 4; the largest of them. */
float neon_scale_scores(float *s, size_t begin, size_t end, float factor);

/* The queries of int8 caches: the largest magnitude, NaN when a number is not finite. */
float neon_query_top(const float *q, size_t head_dim);
/* Scores become exp(s - max) times the values' scales, 0 outside of [begin, end), for positions down to and up
 * to multiples of 16. What they are to be multiplied by to become 15-bit integers; a->max, a->sum and
 * a->o_factor are set. */
float neon_soften_int8(struct soften *a);

#endif
