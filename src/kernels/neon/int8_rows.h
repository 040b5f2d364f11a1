/* int8_rows.h - MATH_INT8 for a file that defines dot4() beforehand:
 *     int32x4_t dot4(int32x4_t s, int8x16_t w, int8x16_t x)
 * adds to each lane of s the four products of its bytes, all exactly; CODES_ARE_UNSIGNED is defined where w counts as
 * unsigned. 32 rows (eight registers of sums) by up to three tokens at a time. */
#ifndef QUERN_KERNELS_NEON_INT8_ROWS_H
#define QUERN_KERNELS_NEON_INT8_ROWS_H

#include "kernels/neon/neon_packed.h"

static inline int8x16_t four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* The sums of one token and 4 rows. `taken`: what was taken off every code, to make it signed. */
static inline void add_int8(const struct packed_tile *a, size_t t, size_t row, int32x4_t dot,
                            int32_t taken) {
    const struct packed_matrix *w = a->w;
    float *to = a->sums + t * PACKED_ROWS + row;
    const int32x4_t x_sum = vdupq_n_s32(a->x_sum[t]);
    dot = vmlaq_s32(dot, x_sum, vdupq_n_s32(taken));
    if (w->kind == QUANT_INT)
        dot = vmlsq_s32(dot, x_sum, packed_int_zeros(w, a->zeros, row));
    const float32x4_t scale = vmulq_n_f32(packed_numbers(w->number, a->scales, row), a->x_scale[t]);
    float32x4_t y = vfmaq_f32(vld1q_f32(to), vcvtq_f32_s32(dot), scale);
    if (w->kind == QUANT_AFFINE)
        y = vfmsq_f32(y, packed_numbers(w->number, a->zeros, row),
                      vdupq_n_f32(a->x_scale[t] * (float)a->x_sum[t]));
    vst1q_f32(to, y);
}

#define DECLARE_8(t)                                                                            \
    const int8_t *x##t = (const int8_t *)a->x + t * a->x_stride;                                \
    int32x4_t s##t##0 = vdupq_n_s32(0), s##t##1 = s##t##0, s##t##2 = s##t##0, s##t##3 = s##t##0; \
    int32x4_t s##t##4 = s##t##0, s##t##5 = s##t##0, s##t##6 = s##t##0, s##t##7 = s##t##0;
#define LOAD_8(t) const int8x16_t v##t = four_of(x##t + k);
#define DOT_0(t) s##t##0 = dot4(s##t##0, w, v##t);
#define DOT_1(t) s##t##1 = dot4(s##t##1, w, v##t);
#define DOT_2(t) s##t##2 = dot4(s##t##2, w, v##t);
#define DOT_3(t) s##t##3 = dot4(s##t##3, w, v##t);
#define DOT_4(t) s##t##4 = dot4(s##t##4, w, v##t);
#define DOT_5(t) s##t##5 = dot4(s##t##5, w, v##t);
#define DOT_6(t) s##t##6 = dot4(s##t##6, w, v##t);
#define DOT_7(t) s##t##7 = dot4(s##t##7, w, v##t);
/* Four rows. */
#define ROWS(r, T, flip)                                                                \
    {                                                                                   \
        const int8x16_t w = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(q + 16 * r), flip));  \
        EACH_##T(DOT_##r)                                                               \
    }
#define FINISH_8(t)                                 \
    add_int8(a, t, row, s##t##0, taken);            \
    add_int8(a, t, row + 4, s##t##1, taken);        \
    add_int8(a, t, row + 8, s##t##2, taken);        \
    add_int8(a, t, row + 12, s##t##3, taken);       \
    add_int8(a, t, row + 16, s##t##4, taken);       \
    add_int8(a, t, row + 20, s##t##5, taken);       \
    add_int8(a, t, row + 24, s##t##6, taken);       \
    add_int8(a, t, row + 28, s##t##7, taken);

/* What flipping the upper bit takes off codes of 8 bits. */
#if defined(CODES_ARE_UNSIGNED)
enum { TAKEN_OFF_BYTES = 0 };
#else
enum { TAKEN_OFF_BYTES = 128 };
#endif

/* `taken`: off each code, TAKEN_OFF_BYTES or, for smaller ones, 0. */
#define DEFINE_INT8(T)                                                                       \
    static inline void rows_##T(const struct packed_tile *a, int32_t taken) {                \
        const uint8x16_t flip = vdupq_n_u8((uint8_t)taken);                                  \
        for (size_t row = 0; row < PACKED_ROWS; row += 32) {                                 \
            const unsigned char *q = (const unsigned char *)a->codes + 4 * row;              \
            EACH_##T(DECLARE_8)                                                              \
            for (size_t k = 0; k < a->n_cols; k += 4, q += PACKED_CHUNK_BYTES) {             \
                if (a->ahead)                                                                \
                    fetch(q + a->ahead), fetch(q + a->ahead + 64);                           \
                EACH_##T(LOAD_8)                                                             \
                ROWS(0, T, flip)                                                             \
                ROWS(1, T, flip)                                                             \
                ROWS(2, T, flip)                                                             \
                ROWS(3, T, flip)                                                             \
                ROWS(4, T, flip)                                                             \
                ROWS(5, T, flip)                                                             \
                ROWS(6, T, flip)                                                             \
                ROWS(7, T, flip)                                                             \
            }                                                                                \
            EACH_##T(FINISH_8)                                                               \
        }                                                                                    \
    }                                                                                        \
    static void bytes_##T(const struct packed_tile *a) {                                     \
        rows_##T(a, TAKEN_OFF_BYTES);                                                        \
    }

/* Codes of 4 bits as they lie: columns k .. k+3 and k+4 .. k+7 of four rows. */
#define NIBBLES(r)                                                                      \
    {                                                                                   \
        const uint8x16_t both = vld1q_u8(q + 16 * r);                                   \
        s0##r = dot4(s0##r, vreinterpretq_s8_u8(vandq_u8(both, low)), v0);              \
        s0##r = dot4(s0##r, vreinterpretq_s8_u8(vshrq_n_u8(both, 4)), high);            \
    }

/* One token, for which unpacking does not pay. */
static void nibbles_1(const struct packed_tile *a) {
    const uint8x16_t low = vdupq_n_u8(15);
    const int32_t taken = 0;
    for (size_t row = 0; row < PACKED_ROWS; row += 32) {
        const unsigned char *q = (const unsigned char *)a->codes + 4 * row;
        DECLARE_8(0)
        for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES) {
            fetch(q + a->ahead), fetch(q + a->ahead + 64);
            LOAD_8(0)
            const int8x16_t high = four_of(x0 + k + 4);
            EACH_8(NIBBLES)
        }
        FINISH_8(0)
    }
}

static packed_tile_fn *const nibbles[] = {NULL, nibbles_1};

DEFINE_INT8(1)
#if !defined(CODES_ARE_UNSIGNED)
DEFINE_INT8(2)
DEFINE_INT8(3)
#endif

/* Codes of 4 bits as bytes, in chunks of four columns. */
static void unpack_nibbles(void *to, const struct packed_tile *a) {
    const unsigned char *q = a->codes;
    const uint8x16_t low = vdupq_n_u8(15);
    unsigned char *out = to;
    for (size_t k = 0; k < a->n_cols; k += 8, q += PACKED_CHUNK_BYTES, out += 2 * PACKED_CHUNK_BYTES) {
        for (size_t i = 0; i < PACKED_CHUNK_BYTES; i += 16) {
            const uint8x16_t v = vld1q_u8(q + i);
            fetch(q + a->ahead + i);
            vst1q_u8(out + i, vandq_u8(v, low));
            vst1q_u8(out + PACKED_CHUNK_BYTES + i, vshrq_n_u8(v, 4));
        }
    }
}

#if !defined(CODES_ARE_UNSIGNED)
static void small_1(const struct packed_tile *a) {
    rows_1(a, 0);
}

static void small_2(const struct packed_tile *a) {
    rows_2(a, 0);
}

static void small_3(const struct packed_tile *a) {
    rows_3(a, 0);
}

static void int8_matmul(const struct packed_args *a) {
    static packed_tile_fn *const bytes[] = {NULL, bytes_1, bytes_2, bytes_3};
    static packed_tile_fn *const small[] = {NULL, small_1, small_2, small_3};
    static const struct packed_parts parts8 = {.dot = bytes, .n_tokens = 3};
    static const struct packed_parts parts4 = {.dot = small, .n_tokens = 3, .unpack = unpack_nibbles,
                                               .direct = nibbles, .n_direct = 1, .direct_most = 1};
    packed_tiles_matmul(a, a->w->bits == 8 ? &parts8 : &parts4);
}
#endif

#endif
