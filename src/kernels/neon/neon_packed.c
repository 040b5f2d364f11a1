/* neon_packed.c - packed matrices without dot product instructions. */
#include "kernels/neon/neon_dot4.h"

#include "kernels/neon/int8_rows.h"
#include "kernels/tables.h"

/* ---- activations ------------------------------------------------------------------- */

static const float *columns(const struct packed_prepare_args *a, size_t t, size_t first, size_t n,
                            float *room) {
    const float *x = a->x + t * a->x_stride;
    for (size_t c = 0; c < n; c++)
        room[c] = x[a->col_order ? a->col_order[first + c] : first + c];
    for (size_t c = n; c < packed_input_cols(n); c++)
        room[c] = 0;
    return room;
}

static size_t group_cols(const struct packed_prepare_args *a, size_t g) {
    const size_t rest = a->cols - g * a->out->group;
    return rest < a->out->group ? rest : a->out->group;
}

void neon_prepare_exact(const struct packed_prepare_args *a) {
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = group_cols(a, g), stride = packed_input_cols(n);
        float *to = (float *)a->out->x + packed_input_at(a->out, g);
        for (size_t t = a->token_begin; t < a->token_end; t++)
            columns(a, t, g * a->out->group, n, to + t * stride);
    }
}

static uint32_t top_of(const float *x, size_t n) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7fffffff);
    uint32x4_t top = vdupq_n_u32(0);
    for (size_t i = 0; i < n; i += NEON_LANES)
        top = vmaxq_u32(top, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), magnitude));
    return vmaxvq_u32(top);
}

static int32_t quantize(int8_t *to, const float *x, size_t n, float by) {
    const float32x4_t inverse = vdupq_n_f32(by);
    int32x4_t sum = vdupq_n_s32(0);
    for (size_t i = 0; i < n; i += 8) {
        const int32x4_t a = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + i), inverse));
        const int32x4_t b = vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + i + 4), inverse));
        sum = vaddq_s32(sum, vaddq_s32(a, b));
        vst1_s8(to + i, vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))));
    }
    return vaddvq_s32(sum);
}

void neon_prepare_int8(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    float room[PACKED_GROUP_MAX];
    for (size_t t = a->token_begin; t < a->token_end; t++) {
        for (size_t g = 0; g < in->n_groups; g++) {
            const size_t n = group_cols(a, g), stride = packed_input_cols(n);
            const float *x = columns(a, t, g * in->group, n, room);
            const struct int8_scale s = int8_scale_of(top_of(x, stride));
            int8_t *to = (int8_t *)in->x + packed_input_at(in, g) + t * stride;
            int32_t sum = 0;
            if (s.inverse > 0)
                sum = quantize(to, x, stride, s.inverse);
            else
                memset(to, 0, stride);
            in->scale[g * in->n_tokens + t] = s.scale;
            in->sum[g * in->n_tokens + t] = sum;
        }
    }
}

/* ---- MATH_EXACT --------------------------------------------------------------------- */

/* Four rows' values of the codes in q. */
static inline float32x4_t value_of(const struct packed_tile *a, uint32x4_t q, float32x4_t scale,
                                   float32x4_t zero) {
    if (a->w->kind == QUANT_CODE) {
        const float v[NEON_LANES] = {
            a->w->code[vgetq_lane_u32(q, 0)], a->w->code[vgetq_lane_u32(q, 1)],
            a->w->code[vgetq_lane_u32(q, 2)], a->w->code[vgetq_lane_u32(q, 3)]};
        return vld1q_f32(v);
    }
    const float32x4_t v = vcvtq_f32_u32(q);
    return a->w->kind == QUANT_INT ? vsubq_f32(v, zero) : vsubq_f32(vmulq_f32(scale, v), zero);
}

static inline int shift_of(const struct packed_matrix *w, size_t c) {
    if (w->bits == 8)
        return (int)(8 * c);
    return (int)(4 * (w->kind == QUANT_CODE ? c / 2 + c % 2 * 4 : c % 4 * 2 + c / 4));
}

/* Floats [n_cols][64]. */
static void unpack_floats(void *to, const struct packed_tile *a) {
    const size_t per_chunk = packed_chunk_cols(a->w->bits);
    const uint32x4_t low = vdupq_n_u32(a->w->bits == 8 ? 255 : 15);
    for (size_t row = 0; row < PACKED_ROWS; row += NEON_LANES) {
        const unsigned char *q = (const unsigned char *)a->codes + 4 * row;
        const float32x4_t scale = packed_numbers(a->w->number, a->scales, row);
        float32x4_t zero = vdupq_n_f32(0);
        if (a->w->kind == QUANT_INT)
            zero = vcvtq_f32_s32(packed_int_zeros(a->w, a->zeros, row));
        else if (a->w->kind == QUANT_AFFINE)
            zero = packed_numbers(a->w->number, a->zeros, row);
        float *out = (float *)to + row;
        for (size_t k = 0; k < a->n_cols; k += per_chunk, q += PACKED_CHUNK_BYTES) {
            const uint32x4_t v = vreinterpretq_u32_u8(vld1q_u8(q));
            for (size_t c = 0; c < per_chunk; c++, out += PACKED_ROWS) {
                const uint32x4_t shifted = vshlq_u32(v, vdupq_n_s32(-shift_of(a->w, c)));
                vst1q_f32(out, value_of(a, vandq_u32(shifted, low), scale, zero));
            }
        }
    }
}

static inline void add_exact(const struct packed_tile *a, size_t t, size_t row, float32x4_t sum) {
    float *to = a->sums + t * PACKED_ROWS + row;
    const float32x4_t y = vld1q_f32(to);
    if (a->w->kind == QUANT_AFFINE)
        vst1q_f32(to, vaddq_f32(y, sum));
    else
        vst1q_f32(to, vfmaq_f32(y, sum, packed_numbers(a->w->number, a->scales, row)));
}

#define DECLARE_F(t)                                                                       \
    const float *x##t = (const float *)a->x + t * a->x_stride;                             \
    float32x4_t s##t##0 = vdupq_n_f32(0), s##t##1 = s##t##0, s##t##2 = s##t##0, s##t##3 = s##t##0;
#define STEP_F(t)                                     \
    {                                                 \
        const float32x4_t x = vdupq_n_f32(x##t[k]);   \
        s##t##0 = vfmaq_f32(s##t##0, x, w0);          \
        s##t##1 = vfmaq_f32(s##t##1, x, w1);          \
        s##t##2 = vfmaq_f32(s##t##2, x, w2);          \
        s##t##3 = vfmaq_f32(s##t##3, x, w3);          \
    }
#define FINISH_F(t)                       \
    add_exact(a, t, row, s##t##0);        \
    add_exact(a, t, row + 4, s##t##1);    \
    add_exact(a, t, row + 8, s##t##2);    \
    add_exact(a, t, row + 12, s##t##3);

#define DEFINE_FLOATS(T)                                                                \
    static void floats_##T(const struct packed_tile *a) {                               \
        for (size_t row = 0; row < PACKED_ROWS; row += 16) {                            \
            const float *w = (const float *)a->codes + row;                             \
            EACH_##T(DECLARE_F)                                                         \
            for (size_t k = 0; k < a->n_cols; k++, w += PACKED_ROWS) {                  \
                const float32x4_t w0 = vld1q_f32(w), w1 = vld1q_f32(w + 4);             \
                const float32x4_t w2 = vld1q_f32(w + 8), w3 = vld1q_f32(w + 12);        \
                EACH_##T(STEP_F)                                                        \
            }                                                                           \
            EACH_##T(FINISH_F)                                                          \
        }                                                                               \
    }

DEFINE_FLOATS(1)
DEFINE_FLOATS(2)
DEFINE_FLOATS(3)
DEFINE_FLOATS(4)
DEFINE_FLOATS(5)

static packed_tile_fn *const floats[] = {NULL, floats_1, floats_2, floats_3, floats_4, floats_5};

void neon_packed_exact(const struct packed_args *a) {
    static const struct packed_parts parts = {.dot = floats, .n_tokens = 5, .unpack = unpack_floats};
    packed_tiles_matmul(a, &parts);
}

const struct packed_kernels packed_neon = {
    .prepare = {[MATH_EXACT] = neon_prepare_exact, [MATH_INT8] = neon_prepare_int8},
    .matmul = {[MATH_EXACT] = neon_packed_exact, [MATH_INT8] = int8_matmul},
};
