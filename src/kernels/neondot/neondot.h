/* neondot.h - the instruction of this folder. Needs FEAT_DotProd (ARMv8.2, asimddp). */
#ifndef QUERN_KERNELS_NEONDOT_NEONDOT_H
#define QUERN_KERNELS_NEONDOT_NEONDOT_H

#include <arm_neon.h>

static inline int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t x) {
    return vdotq_s32(s, w, x);
}

#endif
