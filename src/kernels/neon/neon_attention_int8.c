/* neon_attention_int8.c - attention over int8 keys and values without dot product instructions, and what all of
 * NEON's share: the exponentials. */
#include "kernels/neon/neon_dot4.h"

#include "kernels/neon/int8_attention.h"

float neon_query_top(const float *q, size_t head_dim) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    uint32x4_t top = vdupq_n_u32(0);
    size_t d = 0;
    for (; d + NEON_LANES <= head_dim; d += NEON_LANES)
        top = vmaxq_u32(top, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(q + d)), magnitude));
    uint32_t most = vmaxvq_u32(top);
    for (; d < head_dim; d++) {
        uint32_t bits;
        memcpy(&bits, q + d, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float x;
    memcpy(&x, &most, sizeof x);
    return most < 0x7f800000 ? x : NAN;
}

static const float *scales_at(const struct soften *a, size_t offset, size_t j) {
    const unsigned char *head = a->blocks[j / KV_BLOCK_TOKENS];
    return (const float *)(const void *)(head + offset) + j % KV_BLOCK_TOKENS;
}

float neon_soften_int8(struct soften *a) {
    const size_t from = a->begin / KERNEL_LANES * KERNEL_LANES;
    float32x4_t top = vdupq_n_f32(-INFINITY), most = vdupq_n_f32(0);
    float sums[KERNEL_LANES] = {0};
    for (size_t j = from; j < a->end; j += NEON_LANES) {
        const float32x4_t scale = vld1q_f32(scales_at(a, a->layout->k_scale_offset, j));
        const float32x4_t x = vmulq_f32(vld1q_f32(a->s + j), vmulq_n_f32(scale, a->factor));
        vst1q_f32(a->s + j, x);
        top = vmaxq_f32(top, vbslq_f32(lanes_between(j, a->begin, a->end), x, top));
    }
    a->max = vmaxvq_f32(top);
    const float32x4_t max = vdupq_n_f32(a->max);
    const size_t until = (a->end + KERNEL_LANES - 1) / KERNEL_LANES * KERNEL_LANES;
    for (size_t j = from; j < until; j += NEON_LANES) {
        const uint32x4_t m = lanes_between(j, a->begin, a->end);
        const float32x4_t p = keep_lanes(m, exp4(vsubq_f32(vld1q_f32(a->s + j), max)));
        float *to = sums + j % KERNEL_LANES;
        vst1q_f32(to, vaddq_f32(vld1q_f32(to), p));
        const float32x4_t scale = vld1q_f32(scales_at(a, a->layout->v_scale_offset, j));
        const float32x4_t w = keep_lanes(m, vmulq_f32(p, scale));
        most = vmaxq_f32(w, most); /* NaN wins */
        vst1q_f32(a->s + j, w);
    }
    a->sum = fold_lanes(sums);
    const float largest = vmaxvq_f32(most);
    a->o_factor = largest < INT8_LEAST ? 0.0f : largest / INT8_WEIGHT;
    return largest >= INT8_LEAST ? INT8_WEIGHT / largest : 0.0f;
}

void neon_attention_int8(const struct attention_args *a) {
    attention_int8(a);
}
