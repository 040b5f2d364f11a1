/* avx2.c - the element-wise functions and the table. Needs AVX2, FMA, F16C. */
#include "kernels/avx2/avx2.h"
#include "kernels/generic/generic.h"
#include "kernels/tables.h"

/* Elements after the last whole vector are done by the scalar definitions of math.h: the same steps,
 * and fma32 is one instruction here. */
#define WHOLE(n) ((n) / HALF_LANES * HALF_LANES)

static float sum_of_squares(const float *x, size_t n) {
    __m256 low = _mm256_setzero_ps(), high = low;
    size_t i = 0;
    for (; i + KERNEL_LANES <= n; i += KERNEL_LANES) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + 8);
        low = _mm256_fmadd_ps(a, a, low);
        high = _mm256_fmadd_ps(b, b, high);
    }
    float s[KERNEL_LANES];
    _mm256_storeu_ps(s, low);
    _mm256_storeu_ps(s + 8, high);
    for (size_t lane = 0; i < n; i++, lane++)
        s[lane] = fma32(x[i], x[i], s[lane]);
    return fold_lanes(s);
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps) {
    float scale = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps);
    const __m256 factor = _mm256_set1_ps(scale);
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES) {
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(v, _mm256_loadu_ps(w + i)));
    }
    for (; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void rope(float *x, const float *cos, const float *sin, size_t d) {
    size_t half = d / 2, i = 0;
    for (; i < WHOLE(half); i += HALF_LANES) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + half + i);
        __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_loadu_ps(sin + i);
        _mm256_storeu_ps(x + i, _mm256_sub_ps(_mm256_mul_ps(a, c), _mm256_mul_ps(b, s)));
        _mm256_storeu_ps(x + half + i, _mm256_add_ps(_mm256_mul_ps(b, c), _mm256_mul_ps(a, s)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES) {
        __m256 g = _mm256_loadu_ps(gate + i);
        __m256 s = _mm256_div_ps(g, _mm256_add_ps(one, exp8(_mm256_xor_ps(g, sign))));
        _mm256_storeu_ps(y + i, _mm256_mul_ps(s, _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++)
        y[i] = gate[i] / (1.0f + exp32(-gate[i])) * up[i];
}

static void add(float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES)
        _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

static void axpy(float *y, float a, const float *x, size_t n) {
    const __m256 factor = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES) {
        __m256 v = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i));
        _mm256_storeu_ps(y + i, v);
    }
    for (; i < n; i++)
        y[i] = fma32(a, x[i], y[i]);
}

/* In place; the sum of the results. */
static float exp_and_sum(float *s, size_t n) {
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 max = lowest;
    for (size_t j = 0; j < n; j += HALF_LANES) {
        __m256i m = first_lanes(n - j);
        max = _mm256_max_ps(max, select_lanes(m, _mm256_maskload_ps(s + j, m), lowest));
    }
    const __m256 top = _mm256_set1_ps(max_of(max));
    __m256 low = _mm256_setzero_ps(), high = low;
    for (size_t j = 0; j < n; j += HALF_LANES) {
        __m256i m = first_lanes(n - j);
        __m256 p = exp8(_mm256_sub_ps(_mm256_maskload_ps(s + j, m), top));
        _mm256_maskstore_ps(s + j, m, p);
        /* The lanes swap halves at every step, and back at the end. */
        __m256 next = select_lanes(m, _mm256_add_ps(low, p), low);
        low = high;
        high = next;
    }
    return (n + HALF_LANES - 1) / HALF_LANES % 2 ? fold1(high, low) : fold1(low, high);
}

static void divide(float *x, size_t n, float by) {
    const __m256 d = _mm256_set1_ps(by);
    for (size_t i = 0; i < n; i += HALF_LANES) {
        __m256i m = first_lanes(n - i);
        _mm256_maskstore_ps(x + i, m, _mm256_div_ps(_mm256_maskload_ps(x + i, m), d));
    }
}

static void softmax(float *x, size_t n) {
    /* A scale of one changes nothing. */
    divide(x, n, exp_and_sum(x, n));
}

static void f32_to_f32(float *y, const void *x, size_t n) {
    memcpy(y, x, n * sizeof *y);
}

static void f16_to_f32_n(float *y, const void *x, size_t n) {
    const unsigned char *h = x;
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES)
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(h + 2 * i))));
    for (; i < n; i++) {
        uint16_t one;
        memcpy(&one, h + 2 * i, sizeof one);
        y[i] = _cvtsh_ss(one);
    }
}

static void bf16_to_f32_n(float *y, const void *x, size_t n) {
    const unsigned char *h = x;
    size_t i = 0;
    for (; i < WHOLE(n); i += HALF_LANES) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(h + 2 * i)));
        _mm256_storeu_ps(y + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
    }
    for (; i < n; i++) {
        uint16_t one;
        memcpy(&one, h + 2 * i, sizeof one);
        y[i] = bf16_to_f32(one);
    }
}

const struct kernels kernels_avx2 = {
    .name = "avx2",
    .packed = &packed_avx2,
    .train = &train_avx2,
    .matmul = {[DTYPE_F32] = avx2_matmul_f32,
               [DTYPE_F16] = avx2_matmul_f16,
               [DTYPE_BF16] = avx2_matmul_bf16},
    .attention = {avx2_attention_f32, avx2_attention_bf16, avx2_attention_int8},
    .attention_join = avx2_attention_join,
    .kv_store = {generic_kv_store_f32, generic_kv_store_bf16, generic_kv_store_int8},
    .divide = divide,
    .matmul_bf16 = avx2_matmul_bf16_pairs,
    .to_bf16 = avx2_to_bf16,
    .rms_norm = rms_norm,
    .rope = rope,
    .silu_mul = silu_mul,
    .add = add,
    .axpy = axpy,
    .softmax = softmax,
    .to_f32 = {[DTYPE_F32] = f32_to_f32, [DTYPE_F16] = f16_to_f32_n, [DTYPE_BF16] = bf16_to_f32_n},
};
