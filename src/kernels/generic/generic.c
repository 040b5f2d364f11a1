/* generic.c - the reference: portable C that states what every other table must
 * compute, bit for bit. Written to be read; the speed is that of plain C. */
#include "kernels/generic/generic.h"
#include "kernels/math.h"
#include "kernels/tables.h"

#define W KERNEL_LANES

static float load_f32(const unsigned char *w, size_t i) {
    float f;
    memcpy(&f, w + 4 * i, sizeof f);
    return f;
}

static float load_f16(const unsigned char *w, size_t i) {
    uint16_t h;
    memcpy(&h, w + 2 * i, sizeof h);
    return f16_to_f32(h);
}

static float load_bf16(const unsigned char *w, size_t i) {
    uint16_t h;
    memcpy(&h, w + 2 * i, sizeof h);
    return bf16_to_f32(h);
}

/* s[k mod 16] = fma(a[k], b[k], s[k mod 16]) for k in order. */
static void dot_lanes(float s[W], const float *a, const float *b, size_t n) {
    size_t k = 0;
    for (; k + W <= n; k += W)
        for (size_t i = 0; i < W; i++)
            s[i] = fma32(a[k + i], b[k + i], s[i]);
    for (size_t i = 0; k + i < n; i++)
        s[i] = fma32(a[k + i], b[k + i], s[i]);
}

static float dot(const float *a, const float *b, size_t n) {
    float s[W] = {0};
    dot_lanes(s, a, b, n);
    return fold_lanes(s);
}

/* Columns of a weight row that are widened at a time. A multiple of the lanes, so
 * that term k keeps its lane. */
enum { WIDEN_COLS = 256 };

#define DEFINE_TO_F32(name, load, size)                                  \
    static void to_f32_##name(float *y, const void *x, size_t n) {       \
        const unsigned char *bytes = x;                                  \
        for (size_t i = 0; i < n; i++)                                   \
            y[i] = load(bytes, i);                                       \
    }                                                                    \
    static void matmul_##name(const struct matmul_args *a) {             \
        matmul(a, to_f32_##name, size);                                  \
    }

static void matmul(const struct matmul_args *a, void (*widen)(float *, const void *, size_t),
                   size_t element_bytes) {
    for (size_t r = a->row_begin; r < a->row_end; r++) {
        const unsigned char *row = (const unsigned char *)a->w + r * a->n_cols * element_bytes;
        for (size_t t = 0; t < a->n_tokens; t++) {
            float s[W] = {0};
            for (size_t k = 0; k < a->n_cols; k += WIDEN_COLS) {
                float w[WIDEN_COLS];
                size_t n = a->n_cols - k < WIDEN_COLS ? a->n_cols - k : WIDEN_COLS;
                widen(w, row + k * element_bytes, n);
                dot_lanes(s, a->x + t * a->x_stride + k, w, n);
            }
            float y = fold_lanes(s);
            a->y[t * a->y_stride + r] = a->bias ? y + a->bias[r] : y;
        }
    }
}

DEFINE_TO_F32(f32, load_f32, 4)
DEFINE_TO_F32(f16, load_f16, 2)
DEFINE_TO_F32(bf16, load_bf16, 2)

static float dot_bf16(const uint16_t *x, const unsigned char *w, size_t n) {
    float s = 0.0f;
    for (size_t k = 0; k < n; k += 2) {
        float w1 = k + 1 < n ? load_bf16(w, k + 1) : 0.0f, x1 = k + 1 < n ? bf16_to_f32(x[k + 1]) : 0.0f;
        s = mac_bf16(w1, x1, s);
        s = mac_bf16(load_bf16(w, k), bf16_to_f32(x[k]), s);
    }
    return s;
}

static void matmul_bf16_fast(const struct matmul_bf16_args *a) {
    for (size_t r = a->row_begin; r < a->row_end; r++) {
        const unsigned char *row = (const unsigned char *)a->w + r * a->n_cols * 2;
        for (size_t t = 0; t < a->n_tokens; t++) {
            float y = dot_bf16(a->x + t * a->x_stride, row, a->n_cols);
            a->y[t * a->y_stride + r] = a->bias ? y + a->bias[r] : y;
        }
    }
}

static void to_bf16(uint16_t *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

/* x[i] = exp(x[i] - max x); the sum of them. */
static float exp_and_sum(float *x, size_t n) {
    float max = x[0];
    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    float s[W] = {0};
    for (size_t i = 0; i < n; i++) {
        x[i] = exp32(x[i] - max);
        s[i % W] += x[i];
    }
    return fold_lanes(s);
}

static void divide(float *x, size_t n, float by) {
    for (size_t i = 0; i < n; i++)
        x[i] /= by;
}

static void softmax(float *x, size_t n) {
    divide(x, n, exp_and_sum(x, n));
}

static void axpy(float *y, float a, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = fma32(a, x[i], y[i]);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps) {
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void rope(float *x, const float *cos, const float *sin, size_t d) {
    size_t half = d / 2;
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + exp32(-gate[i])) * up[i];
}

static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

const struct kernels kernels_generic = {
    .name = "generic",
    .packed = &packed_generic,
    .train = &train_generic,
    .matmul = {[DTYPE_F32] = matmul_f32, [DTYPE_F16] = matmul_f16, [DTYPE_BF16] = matmul_bf16},
    .attention = {generic_attention_f32, generic_attention_bf16, generic_attention_int8},
    .attention_join = generic_attention_join,
    .kv_store = {generic_kv_store_f32, generic_kv_store_bf16, generic_kv_store_int8},
    .divide = divide,
    .matmul_bf16 = matmul_bf16_fast,
    .to_bf16 = to_bf16,
    .rms_norm = rms_norm,
    .rope = rope,
    .silu_mul = silu_mul,
    .add = add,
    .axpy = axpy,
    .softmax = softmax,
    .to_f32 = {[DTYPE_F32] = to_f32_f32, [DTYPE_F16] = to_f32_f16, [DTYPE_BF16] = to_f32_bf16},
};
