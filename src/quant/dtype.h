/* dtype.h - element types of weights and activations: sizes, names, conversions. */
#ifndef QUERN_QUANT_DTYPE_H
#define QUERN_QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

enum dtype {
    DTYPE_F32 = 0,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U64,
    DTYPE_U32,
    DTYPE_U16,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_COUNT
};

size_t dtype_size_bytes(enum dtype t);
const char *dtype_name(enum dtype t); /* safetensors' spelling: "BF16" */
bool dtype_from_name(struct str name, enum dtype *out);
bool dtype_is_weight(enum dtype t); /* F32, F16 or BF16: what a matmul takes directly */

static inline float bf16_to_f32(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN. */
uint16_t f32_to_bf16(float f);
float f16_to_f32(uint16_t h); /* exact, subnormals included */
uint16_t f32_to_f16(float f); /* round to nearest even, overflow to infinity */

/* n elements of type t at src to float32; t must be a weight type. */
void dtype_to_f32(enum dtype t, const void *src, float *dst, size_t n);
void dtype_from_f32(enum dtype t, const float *src, void *dst, size_t n);

#endif
