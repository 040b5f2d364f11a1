/* neon.c - the element-wise functions and the tables. Needs what every 64-bit ARM has. */
#include "kernels/generic/generic.h"
#include "kernels/neon/neon.h"
#include "kernels/tables.h"

/* Elements after the last whole vector are done by the scalar definitions of math.h: the same
 * steps. */
#define WHOLE(n) ((n) / NEON_LANES * NEON_LANES)

static float sum_of_squares(const float *x, size_t n) {
    float32x4_t v0 = vdupq_n_f32(0), v1 = v0, v2 = v0, v3 = v0;
    size_t i = 0;
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES) {
        const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        const float32x4_t c = vld1q_f32(x + i + 8), d = vld1q_f32(x + i + 12);
        v0 = vfmaq_f32(v0, a, a);
        v1 = vfmaq_f32(v1, b, b);
        v2 = vfmaq_f32(v2, c, c);
        v3 = vfmaq_f32(v3, d, d);
    }
    float s[KERNEL_LANES];
    vst1q_f32(s, v0);
    vst1q_f32(s + 4, v1);
    vst1q_f32(s + 8, v2);
    vst1q_f32(s + 12, v3);
    for (size_t lane = 0; i < n; i++, lane++)
        s[lane] = fma32(x[i], x[i], s[lane]);
    return fold_lanes(s);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps) {
    const float scale = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps);
    const float32x4_t factor = vdupq_n_f32(scale);
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES)
        vst1q_f32(y + i, vmulq_f32(vmulq_f32(vld1q_f32(x + i), factor), vld1q_f32(w + i)));
    for (; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void rope(float *x, const float *cos, const float *sin, size_t d) {
    const size_t half = d / 2;
    size_t i = 0;
    for (; i < WHOLE(half); i += NEON_LANES) {
        const float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + half + i);
        const float32x4_t c = vld1q_f32(cos + i), s = vld1q_f32(sin + i);
        vst1q_f32(x + i, vsubq_f32(vmulq_f32(a, c), vmulq_f32(b, s)));
        vst1q_f32(x + half + i, vaddq_f32(vmulq_f32(b, c), vmulq_f32(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES) {
        const float32x4_t g = vld1q_f32(gate + i);
        const float32x4_t s = vdivq_f32(g, vaddq_f32(one, exp4(vnegq_f32(g))));
        vst1q_f32(y + i, vmulq_f32(s, vld1q_f32(up + i)));
    }
    for (; i < n; i++)
        y[i] = gate[i] / (1.0f + exp32(-gate[i])) * up[i];
}

static void add(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES)
        vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

static void axpy(float *y, float a, const float *x, size_t n) {
    const float32x4_t factor = vdupq_n_f32(a);
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES)
        vst1q_f32(y + i, vfmaq_f32(vld1q_f32(y + i), factor, vld1q_f32(x + i)));
    for (; i < n; i++)
        y[i] = fma32(a, x[i], y[i]);
}

static void softmax(float *x, size_t n) {
    /* A scale of one changes nothing. */
    neon_divide(x, n, neon_exp_scores(x, n, 1.0f));
}

static void f32_to_f32(float *y, const void *x, size_t n) {
    memcpy(y, x, n * sizeof *y);
}

static void f16_to_f32_n(float *y, const void *x, size_t n) {
    const unsigned char *h = x;
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES)
        vst1q_f32(y + i, widen_f16(h + 2 * i));
    for (; i < n; i++) {
        uint16_t one;
        memcpy(&one, h + 2 * i, sizeof one);
        y[i] = f16_to_f32(one);
    }
}

static void bf16_to_f32_n(float *y, const void *x, size_t n) {
    const unsigned char *h = x;
    size_t i = 0;
    for (; i < WHOLE(n); i += NEON_LANES)
        vst1q_f32(y + i, widen_bf16(h + 2 * i));
    for (; i < n; i++) {
        uint16_t one;
        memcpy(&one, h + 2 * i, sizeof one);
        y[i] = bf16_to_f32(one);
    }
}

#define SHARED                                                                                   \
    .train = &train_generic,                                                                     \
    .matmul = {[DTYPE_F32] = neon_matmul_f32,                                                    \
               [DTYPE_F16] = neon_matmul_f16,                                                    \
               [DTYPE_BF16] = neon_matmul_bf16},                                                 \
    .attention_join = neon_attention_join,                                                       \
    .kv_store = {generic_kv_store_f32, generic_kv_store_bf16, generic_kv_store_int8},            \
    .divide = neon_divide, .to_bf16 = neon_to_bf16, .rms_norm = rms_norm, .rope = rope,          \
    .silu_mul = silu_mul, .add = add, .axpy = axpy, .softmax = softmax,                          \
    .to_f32 = {[DTYPE_F32] = f32_to_f32, [DTYPE_F16] = f16_to_f32_n, [DTYPE_BF16] = bf16_to_f32_n}

const struct kernels kernels_neon = {
    .name = "neon", .packed = &packed_neon, .matmul_bf16 = neon_matmul_bf16_pairs,
    .attention = {neon_attention_f32, neon_attention_bf16, neon_attention_int8}, SHARED};
const struct kernels kernels_neondot = {
    .name = "neondot", .packed = &packed_neondot, .matmul_bf16 = neon_matmul_bf16_pairs,
    .attention = {neon_attention_f32, neon_attention_bf16, neondot_attention_int8}, SHARED};
const struct kernels kernels_neonmmla = {
    .name = "neonmmla", .packed = &packed_neonmmla, .matmul_bf16 = neonmmla_matmul_bf16_pairs,
    .attention = {neon_attention_f32, neonmmla_attention_bf16, neondot_attention_int8}, SHARED};
