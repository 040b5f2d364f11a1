/* neon_dot4.h - the dot product of bytes without an instruction for it. */
#ifndef QUERN_KERNELS_NEON_NEON_DOT4_H
#define QUERN_KERNELS_NEON_NEON_DOT4_H

#include <arm_neon.h>

/* Products of bytes have 15 bits, so that pairs of them still fit, unless all four bytes are -128. */
static inline int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(s, vpaddq_s16(low, high));
}

#endif
