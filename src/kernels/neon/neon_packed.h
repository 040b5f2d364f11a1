/* neon_packed.h - packed matrices: activations, exact products (neon_packed.c), and numbers of a
 * panel in registers. */
#ifndef QUERN_KERNELS_NEON_NEON_PACKED_H
#define QUERN_KERNELS_NEON_NEON_PACKED_H

#include "kernels/neon/neon.h"
#include "kernels/packed_tiles.h"

packed_prepare_fn neon_prepare_exact, neon_prepare_int8;
packed_matmul_fn neon_packed_exact;

/* Scales or zeros i .. i+3. */
static inline float32x4_t packed_numbers(enum dtype type, const unsigned char *p, size_t i) {
    if (type == DTYPE_F32)
        return widen_f32(p + 4 * i);
    return type == DTYPE_F16 ? widen_f16(p + 2 * i) : widen_bf16(p + 2 * i);
}

/* Zeros i .. i+3 of QUANT_INT. */
static inline int32x4_t packed_int_zeros(const struct packed_matrix *w, const unsigned char *p, size_t i) {
    if (w->zeros == ZEROS_CONSTANT)
        return vdupq_n_s32(w->zero);
    if (w->zeros == ZEROS_U16)
        return vreinterpretq_s32_u32(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p + 2 * i))));
    uint32_t four;
    memcpy(&four, p + i, sizeof four);
    const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)));
}

#endif
