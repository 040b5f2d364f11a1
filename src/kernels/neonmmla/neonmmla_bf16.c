/* neonmmla_bf16.c - products of bfloat16 with BFMLALT and BFMLALB, which widen and multiply-add with one
 * rounding: the two steps of a pair. (BFDOT and BFMMLA round differently, so they would give other numbers
 * than other CPUs.) Needs FEAT_BF16. */
#include "kernels/neon/neon_bf16.h"

static inline bfloat16x8_t halves(uint32x4_t pairs) {
    return vreinterpretq_bf16_u32(pairs);
}

static inline float32x4_t mac2(float32x4_t s, uint32x4_t a, uint32x4_t b) {
    s = vbfmlaltq_f32(s, halves(a), halves(b));
    return vbfmlalbq_f32(s, halves(a), halves(b));
}

/* By assembly, for gcc 12 takes registers from 16 on for x, which the instruction cannot name. */
static inline float32x4_t mac2_lane(float32x4_t s, uint32x4_t w, uint32x4_t x, int i) {
    __asm__("bfmlalt %0.4s, %1.8h, %2.h[%3]\n\tbfmlalb %0.4s, %1.8h, %2.h[%4]"
            : "+w"(s)
            : "w"(w), "x"(x), "i"(2 * i + 1), "i"(2 * i));
    return s;
}

#define MAC2_LANE mac2_lane

#include "kernels/neon/bf16_attention.h"
#include "kernels/neon/bf16_pairs.h"

void neonmmla_attention_bf16(const struct attention_args *a) {
    attention_bf16(a);
}

void neonmmla_matmul_bf16_pairs(const struct matmul_bf16_args *a) {
    matmul_pairs(a);
}
