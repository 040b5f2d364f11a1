/* generic_packed.c - packed_kernels.h in plain C, one output after the other: what every other table
 * is held against. */
#include "kernels/math.h"
#include "kernels/tables.h"

/* ---- activations ------------------------------------------------------------------- */

static float column(const struct packed_prepare_args *a, size_t t, size_t c) {
    return a->x[t * a->x_stride + (a->col_order ? a->col_order[c] : c)];
}

static void prepare_exact(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    for (size_t g = 0; g < in->n_groups; g++) {
        const size_t first = g * in->group;
        const size_t n = a->cols - first < in->group ? a->cols - first : in->group;
        const size_t stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++) {
            float *to = (float *)in->x + packed_input_at(in, g) + t * stride;
            for (size_t c = 0; c < stride; c++)
                to[c] = c < n ? column(a, t, first + c) : 0.0f;
        }
    }
}

/* The largest magnitude's bits: as integers, NaN stands above infinity above all numbers. */
static uint32_t top_bits(const struct packed_prepare_args *a, size_t t, size_t first, size_t n) {
    uint32_t top = 0;
    for (size_t c = 0; c < n; c++) {
        const float x = column(a, t, first + c);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        bits &= 0x7fffffff;
        top = bits > top ? bits : top;
    }
    return top;
}

static void quantize_group(const struct packed_prepare_args *a, size_t t, size_t g) {
    const struct packed_input *in = a->out;
    const size_t first = g * in->group;
    const size_t n = a->cols - first < in->group ? a->cols - first : in->group;
    const struct int8_scale s = int8_scale_of(top_bits(a, t, first, n));
    int8_t *to = (int8_t *)in->x + packed_input_at(in, g) + t * packed_input_cols(n);
    int32_t sum = 0;
    memset(to, 0, packed_input_cols(n));
    for (size_t c = 0; c < n && s.inverse > 0; c++) {
        to[c] = (int8_t)rintf(column(a, t, first + c) * s.inverse);
        sum += to[c];
    }
    in->scale[g * in->n_tokens + t] = s.scale;
    in->sum[g * in->n_tokens + t] = sum;
}

static void prepare_int8(const struct packed_prepare_args *a) {
    for (size_t t = a->token_begin; t < a->token_end; t++)
        for (size_t g = 0; g < a->out->n_groups; g++)
            quantize_group(a, t, g);
}

static void prepare_bf16(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    for (size_t g = 0; g < in->n_groups; g++) {
        const size_t first = g * in->group;
        const size_t n = a->cols - first < in->group ? a->cols - first : in->group;
        const size_t stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++) {
            uint16_t *to = (uint16_t *)in->x + packed_input_at(in, g) + t * stride;
            for (size_t c = 0; c < stride; c++)
                to[c] = c < n ? f32_to_bf16(column(a, t, first + c)) : 0;
        }
    }
}

/* ---- products ----------------------------------------------------------------------- */

/* Group g of one row. */
struct row_group {
    const struct packed_matrix *w;
    const unsigned char *codes;
    float scale, zero;
    size_t r, n;
};

static float zero_of(const struct packed_matrix *w, const unsigned char *zeros, size_t r) {
    uint16_t z;
    switch (w->zeros) {
    case ZEROS_U8:
        return zeros[r];
    case ZEROS_U16:
        memcpy(&z, zeros + 2 * r, sizeof z);
        return z;
    case ZEROS_FLOAT:
        return packed_number(w->number, zeros, r);
    case ZEROS_CONSTANT:
        return (float)w->zero;
    case ZEROS_NONE:
        break;
    }
    return 0;
}

static struct row_group group_of(const struct packed_matrix *w, size_t row, size_t g) {
    const unsigned char *scales = packed_group_at(w, row / PACKED_ROWS, g);
    const size_t r = row % PACKED_ROWS;
    return (struct row_group){.w = w,
                              .codes = scales + w->scales_bytes + w->zeros_bytes,
                              .scale = packed_number(w->number, scales, r),
                              .zero = zero_of(w, scales + w->scales_bytes, r),
                              .r = r,
                              .n = packed_group_cols(w, g)};
}

static float add_exact(float y, const struct row_group *k, const struct packed_input *in, size_t g,
                       size_t t) {
    const float *x = (const float *)in->x + packed_input_at(in, g) + t * packed_input_cols(k->n);
    float sum = 0;
    for (size_t c = 0; c < k->n; c++) {
        const uint8_t q = packed_code(k->w, k->codes, k->r, c);
        const float w = k->w->kind == QUANT_CODE  ? k->w->code[q]
                        : k->w->kind == QUANT_INT ? (float)q - k->zero
                                                  : k->scale * (float)q - k->zero;
        sum = fma32(x[c], w, sum);
    }
    return k->w->kind == QUANT_AFFINE ? y + sum : fma32(sum, k->scale, y);
}

static float add_int8(float y, const struct row_group *k, const struct packed_input *in, size_t g,
                      size_t t) {
    const int8_t *x = (const int8_t *)in->x + packed_input_at(in, g) + t * packed_input_cols(k->n);
    const float s = in->scale[g * in->n_tokens + t];
    const int32_t x_sum = in->sum[g * in->n_tokens + t];
    int32_t n = 0;
    for (size_t c = 0; c < k->n; c++)
        n += packed_code(k->w, k->codes, k->r, c) * x[c];
    if (k->w->kind == QUANT_INT)
        return fma32((float)(n - (int32_t)k->zero * x_sum), k->scale * s, y);
    y = fma32((float)n, k->scale * s, y);
    return fma32(-k->zero, s * (float)x_sum, y);
}

static float code_of(const struct row_group *k, size_t c) {
    return bf16_to_f32(f32_to_bf16(k->w->code[packed_code(k->w, k->codes, k->r, c)]));
}

static float add_bf16(float y, const struct row_group *k, const struct packed_input *in, size_t g,
                      size_t t) {
    const uint16_t *x = (const uint16_t *)in->x + packed_input_at(in, g) + t * packed_input_cols(k->n);
    const size_t chunk = packed_chunk_cols(k->w->bits), n = (k->n + chunk - 1) / chunk * chunk;
    float sum = 0;
    for (size_t c = 0; c < n; c += 2) {
        sum = mac_bf16(code_of(k, c + 1), bf16_to_f32(x[c + 1]), sum);
        sum = mac_bf16(code_of(k, c), bf16_to_f32(x[c]), sum);
    }
    return mac_bf16(sum, k->scale, y);
}

static void multiply(const struct packed_args *a, float (*add)(float, const struct row_group *,
                                                               const struct packed_input *, size_t,
                                                               size_t)) {
    const struct packed_matrix *w = a->w;
    const size_t end = a->panel_end * PACKED_ROWS < w->rows ? a->panel_end * PACKED_ROWS : w->rows;
    for (size_t row = a->panel_begin * PACKED_ROWS; row < end; row++) {
        for (size_t t = a->token_begin; t < a->token_end; t++)
            a->y[t * a->y_stride + row] = 0;
        for (size_t g = 0; g < w->n_groups; g++) {
            const struct row_group k = group_of(w, row, g);
            for (size_t t = a->token_begin; t < a->token_end; t++) {
                float *y = a->y + t * a->y_stride + row;
                *y = add(*y, &k, a->x, g, t);
            }
        }
        for (size_t t = a->token_begin; a->bias && t < a->token_end; t++)
            a->y[t * a->y_stride + row] += a->bias[row];
    }
}

static void matmul_exact(const struct packed_args *a) {
    multiply(a, add_exact);
}

static void matmul_int8(const struct packed_args *a) {
    multiply(a, add_int8);
}

static void matmul_bf16(const struct packed_args *a) {
    multiply(a, add_bf16);
}

const struct packed_kernels packed_generic = {
    .prepare = {[MATH_EXACT] = prepare_exact, [MATH_INT8] = prepare_int8, [MATH_BF16] = prepare_bf16},
    .matmul = {[MATH_EXACT] = matmul_exact, [MATH_INT8] = matmul_int8, [MATH_BF16] = matmul_bf16},
};
