#include "quant/dtype.h"

#include <float.h>

/* Checkpoints and .npy files are little-endian and are read and written as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian machines are not supported");
_Static_assert(sizeof(float) == 4 && FLT_MANT_DIG == 24 && FLT_MAX_EXP == 128,
               "float must be IEEE binary32");

/* Names are those of the safetensors header. */
static const struct {
    const char *name;
    unsigned char size_bytes;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 4},   [DTYPE_F16] = {"F16", 2},         [DTYPE_BF16] = {"BF16", 2},
    [DTYPE_F64] = {"F64", 8},   [DTYPE_I64] = {"I64", 8},         [DTYPE_I32] = {"I32", 4},
    [DTYPE_I16] = {"I16", 2},   [DTYPE_I8] = {"I8", 1},           [DTYPE_U64] = {"U64", 8},
    [DTYPE_U32] = {"U32", 4},   [DTYPE_U16] = {"U16", 2},         [DTYPE_U8] = {"U8", 1},
    [DTYPE_BOOL] = {"BOOL", 1}, [DTYPE_F8_E4M3] = {"F8_E4M3", 1}, [DTYPE_F8_E5M2] = {"F8_E5M2", 1},
};

size_t dtype_size_bytes(enum dtype t) {
    return (unsigned)t < DTYPE_COUNT ? dtypes[t].size_bytes : 0;
}

const char *dtype_name(enum dtype t) {
    return (unsigned)t < DTYPE_COUNT ? dtypes[t].name : "?";
}

bool dtype_from_name(struct str name, enum dtype *out) {
    for (int t = 0; t < DTYPE_COUNT; t++) {
        if (str_is(name, dtypes[t].name)) {
            *out = (enum dtype)t;
            return true;
        }
    }
    return false;
}

bool dtype_is_weight(enum dtype t) {
    return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16;
}

static uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t f32_to_bf16(float f) {
    uint32_t bits = bits_of(f);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 |
                          0x0040); /* quiet: the payload's low bits may be all it has */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00)
        return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
    if (magnitude >= 0x0400)
        return float_of(sign | ((magnitude << 13) + ((127u - 15u) << 23)));
    /* Subnormal: magnitude * 2^-24, exact since magnitude has at most 10 bits. */
    return float_of(sign | bits_of((float)magnitude * 0x1p-24f));
}

uint16_t f32_to_f16(float f) {
    uint32_t bits = bits_of(f);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520, halfway between the largest half and 2^16 */
        return sign | 0x7c00;
    if (magnitude >= 0x38800000) { /* 2^-14: a normal half */
        uint32_t rebiased = magnitude - ((127u - 15u) << 23);
        return (uint16_t)(sign | (rebiased + 0xfff + (rebiased >> 13 & 1)) >> 13);
    }
    if (magnitude < 0x33000000) /* below 2^-25, half of the least subnormal */
        return sign;
    /* Subnormal: the 24-bit significand in units of 2^-24, rounded by hand, so that the
     * processor's rounding and flush modes do not matter. */
    uint32_t shift = 126 - (magnitude >> 23); /* 14 to 24 */
    uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    uint32_t quotient = significand >> shift;
    uint32_t rest = significand & ((1u << shift) - 1), half = 1u << (shift - 1);
    if (rest > half || (rest == half && (quotient & 1)))
        quotient++;
    return (uint16_t)(sign | quotient);
}

/* Elements are copied out with memcpy: a checkpoint's data may be unaligned. */
void dtype_to_f32(enum dtype t, const void *src, float *dst, size_t n) {
    const unsigned char *bytes = src;
    if (t == DTYPE_F32) {
        if (n)
            memcpy(dst, src, n * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, bytes + i * sizeof h, sizeof h);
        dst[i] = t == DTYPE_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
    }
}

void dtype_from_f32(enum dtype t, const float *src, void *dst, size_t n) {
    unsigned char *bytes = dst;
    if (t == DTYPE_F32) {
        if (n)
            memcpy(dst, src, n * sizeof *src);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h = t == DTYPE_BF16 ? f32_to_bf16(src[i]) : f32_to_f16(src[i]);
        memcpy(bytes + i * sizeof h, &h, sizeof h);
    }
}
