/* neondot_packed.c - MATH_INT8 with SDOT. */
#include "kernels/neondot/neondot.h"

#include "kernels/neon/int8_rows.h"
#include "kernels/tables.h"

const struct packed_kernels packed_neondot = {
    .prepare = {[MATH_EXACT] = neon_prepare_exact, [MATH_INT8] = neon_prepare_int8},
    .matmul = {[MATH_EXACT] = neon_packed_exact, [MATH_INT8] = int8_matmul},
};
