/* neondot_packed.c - MATH_INT8 with SDOT. Needs FEAT_DotProd (ARMv8.2, asimddp). */
#include <arm_neon.h>

static inline int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t x) {
    return vdotq_s32(s, w, x);
}

#include "kernels/neon/int8_rows.h"
#include "kernels/tables.h"

const struct packed_kernels packed_neondot = {
    .prepare = {[MATH_EXACT] = neon_prepare_exact, [MATH_INT8] = neon_prepare_int8},
    .matmul = {[MATH_EXACT] = neon_packed_exact, [MATH_INT8] = int8_matmul},
};
