/* train_loops.h - the loops of train_kernels.h that a compiler makes vectors of. Each folder's
 * train file includes this once and so compiles it for its instruction set; every operation and the
 * order of every sum are written out, so the bits are the same in all. */
#ifndef QUERN_KERNELS_TRAIN_LOOPS_H
#define QUERN_KERNELS_TRAIN_LOOPS_H

#include "kernels/math.h"
#include "kernels/train_kernels.h"

static inline void loop_fold_in(float sums[KERNEL_LANES], const float *x, const float *y, size_t n) {
    size_t i = 0;
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES)
        for (size_t j = 0; j < KERNEL_LANES; j++)
            sums[j] = fma32(x[i + j], y[i + j], sums[j]);
    for (size_t j = 0; i + j < n; j++)
        sums[j] = fma32(x[i + j], y[i + j], sums[j]);
}

static float loop_dot(const float *x, const float *y, size_t n) {
    float sums[KERNEL_LANES] = {0};
    loop_fold_in(sums, x, y, n);
    return fold_lanes(sums);
}

static float loop_norm(float *y, const float *x, const float *w, size_t n, float eps) {
    const float r = 1.0f / sqrtf(loop_dot(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++)
        y[i] = (x[i] * r) * w[i];
    return r;
}

static void loop_norm_back(float *dx, const float *dy, const float *x, const float *w, size_t n,
                           float r) {
    float sums[KERNEL_LANES] = {0};
    size_t i = 0;
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES)
        for (size_t j = 0; j < KERNEL_LANES; j++)
            sums[j] = fma32(dy[i + j] * w[i + j], x[i + j] * r, sums[j]);
    for (size_t j = 0; i + j < n; j++)
        sums[j] = fma32(dy[i + j] * w[i + j], x[i + j] * r, sums[j]);
    const float mean = fold_lanes(sums) / (float)n;
    for (i = 0; i < n; i++)
        dx[i] = r * (dy[i] * w[i] - (x[i] * r) * mean);
}

static void loop_norm_weight(float *dw, const float *dy, const float *x, size_t n, float r) {
    for (size_t i = 0; i < n; i++)
        dw[i] += dy[i] * (x[i] * r);
}

static void loop_silu(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + exp32(-gate[i])) * up[i];
}

static void loop_silu_back(float *gate, float *up, const float *dy, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float g = gate[i], s = 1.0f / (1.0f + exp32(-g));
        gate[i] = dy[i] * up[i] * s * (1.0f + g * (1.0f - s));
        up[i] = dy[i] * (g * s);
    }
}

static float loop_largest(const float *x, size_t n) {
    float most[KERNEL_LANES];
    size_t i = 0;
    for (size_t j = 0; j < KERNEL_LANES; j++)
        most[j] = x[0];
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES)
        for (size_t j = 0; j < KERNEL_LANES; j++)
            most[j] = x[i + j] > most[j] ? x[i + j] : most[j];
    for (; i < n; i++)
        most[0] = x[i] > most[0] ? x[i] : most[0];
    for (size_t j = 1; j < KERNEL_LANES; j++)
        most[0] = most[j] > most[0] ? most[j] : most[0];
    return most[0];
}

static float loop_exp_sum(float *x, size_t n, float scale, float shift) {
    float sums[KERNEL_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        x[i] = exp32(x[i] * scale - shift);
    size_t i = 0;
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES)
        for (size_t j = 0; j < KERNEL_LANES; j++)
            sums[j] += x[i + j];
    for (size_t j = 0; i + j < n; j++)
        sums[j] += x[i + j];
    return fold_lanes(sums);
}

static void loop_softmax_back(float *ds, const float *s, size_t n, float delta, float scale) {
    for (size_t i = 0; i < n; i++)
        ds[i] = s[i] * ((ds[i] - delta) * scale);
}

static void loop_scale(float *y, const float *x, float a, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * a;
}

static void loop_axpy(float *y, const float *x, float a, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = fma32(x[i], a, y[i]);
}

static void loop_mul(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] *= x[i];
}

static void loop_mul_add(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        y[i] = fma32(a[i], b[i], y[i]);
}

static void loop_adamw(float *p, const float *g, float *m, float *v, size_t n,
                       const struct adamw_rates *r) {
    const float c1 = 1.0f - r->beta1, c2 = 1.0f - r->beta2;
    const struct adamw_rates k = *r;
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] * k.grad;
        m[i] = m[i] + c1 * (d - m[i]);
        v[i] = k.beta2 * v[i] + c2 * (d * d);
        p[i] = p[i] * k.decay - k.step * (m[i] / (sqrtf(v[i]) / k.root_v + k.epsilon));
    }
}

/* ---- packing, element by element ------------------------------------------------------------- */

static inline float loop_load(const struct gemm_strip *s, size_t w, size_t i) {
    const size_t at = s->across ? i * s->ld + w : w * s->ld + i;
    uint16_t h;
    float f;
    if (w >= s->count || i >= s->k)
        return 0.0f;
    if (s->dtype == DTYPE_F32) {
        memcpy(&f, (const char *)s->src + at * sizeof f, sizeof f);
        return f;
    }
    memcpy(&h, (const char *)s->src + at * sizeof h, sizeof h);
    return s->dtype == DTYPE_BF16 ? bf16_to_f32(h) : f16_to_f32(h);
}

static inline void loop_pack_f32(const struct gemm_strip *s) {
    float *dst = s->dst;
    for (size_t i = 0; i < s->k; i++)
        for (size_t w = 0; w < s->width; w++)
            dst[i * s->width + w] = loop_load(s, w, i);
}

static inline void loop_pack_bf16(const struct gemm_strip *s) {
    uint16_t *dst = s->dst;
    for (size_t i = 0; i < s->k; i += 2)
        for (size_t w = 0; w < s->width; w++) {
            dst[i * s->width + 2 * w] = f32_to_bf16(loop_load(s, w, i));
            dst[i * s->width + 2 * w + 1] = f32_to_bf16(loop_load(s, w, i + 1));
        }
}

#define TRAIN_LOOPS                                                                             \
    .norm = loop_norm, .norm_back = loop_norm_back, .norm_weight = loop_norm_weight,            \
    .silu = loop_silu, .silu_back = loop_silu_back, .largest = loop_largest,                    \
    .exp_sum = loop_exp_sum, .softmax_back = loop_softmax_back, .scale = loop_scale,            \
    .axpy = loop_axpy, .mul = loop_mul, .dot = loop_dot, .mul_add = loop_mul_add,               \
    .adamw = loop_adamw

#endif
