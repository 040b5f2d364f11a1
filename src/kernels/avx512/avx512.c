/* avx512.c - the element-wise functions and the table. Needs F, BW, VL, DQ. */
#include "kernels/avx512/avx512.h"
#include "kernels/avx512amx/avx512amx.h"
#include "kernels/avx512bf16/avx512bf16.h"
#include "kernels/avx512vnni/avx512vnni.h"
#include "kernels/generic/generic.h"
#include "kernels/tables.h"

#define W KERNEL_LANES

static inline __mmask16 lanes_at(size_t i, size_t n) {
    return n - i < W ? first_lanes(n - i) : (__mmask16)0xFFFF;
}

static void rms_norm(float *y, const float *x, const float *w, size_t n, float eps) {
    __m512 s = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        s = _mm512_mask3_fmadd_ps(v, v, s, m);
    }
    const __m512 scale = _mm512_set1_ps(1.0f / sqrtf(fold1(s) / (float)n + eps));
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), scale);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(v, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

static void rope(float *x, const float *cos, const float *sin, size_t d) {
    size_t half = d / 2;
    for (size_t i = 0; i < half; i += W) {
        __mmask16 m = lanes_at(i, half);
        __m512 a = _mm512_maskz_loadu_ps(m, x + i), b = _mm512_maskz_loadu_ps(m, x + half + i);
        __m512 c = _mm512_maskz_loadu_ps(m, cos + i), s = _mm512_maskz_loadu_ps(m, sin + i);
        _mm512_mask_storeu_ps(x + i, m, _mm512_sub_ps(_mm512_mul_ps(a, c), _mm512_mul_ps(b, s)));
        _mm512_mask_storeu_ps(x + half + i, m,
                              _mm512_add_ps(_mm512_mul_ps(b, c), _mm512_mul_ps(a, s)));
    }
}

static void silu_mul(float *y, const float *gate, const float *up, size_t n) {
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        __m512 s = _mm512_div_ps(g, _mm512_add_ps(one, exp16(_mm512_xor_ps(g, sign))));
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(s, _mm512_maskz_loadu_ps(m, up + i)));
    }
}

static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        _mm512_mask_storeu_ps(y + i, m, _mm512_add_ps(_mm512_maskz_loadu_ps(m, y + i), v));
    }
}

static void axpy(float *y, float a, const float *x, size_t n) {
    const __m512 factor = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        v = _mm512_fmadd_ps(factor, v, _mm512_maskz_loadu_ps(m, y + i));
        _mm512_mask_storeu_ps(y + i, m, v);
    }
}

/* In place; the sum of the results. */
static float exp_and_sum(float *s, size_t n) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    __m512 max = lowest;
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        max = _mm512_mask_max_ps(max, m, max, _mm512_maskz_loadu_ps(m, s + j));
    }
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    __m512 sum = _mm512_setzero_ps();
    for (size_t j = 0; j < n; j += KERNEL_LANES) {
        __mmask16 m = n - j < KERNEL_LANES ? first_lanes(n - j) : (__mmask16)0xFFFF;
        __m512 p = exp16(_mm512_sub_ps(_mm512_maskz_loadu_ps(m, s + j), top));
        _mm512_mask_storeu_ps(s + j, m, p);
        sum = _mm512_mask_add_ps(sum, m, sum, p);
    }
    return fold1(sum);
}

static void divide(float *x, size_t n, float by) {
    const __m512 d = _mm512_set1_ps(by);
    for (size_t i = 0; i < n; i += KERNEL_LANES) {
        __mmask16 m = n - i < KERNEL_LANES ? first_lanes(n - i) : (__mmask16)0xFFFF;
        _mm512_mask_storeu_ps(x + i, m, _mm512_div_ps(_mm512_maskz_loadu_ps(m, x + i), d));
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
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        _mm512_mask_storeu_ps(y + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, h + 2 * i)));
    }
}

static void bf16_to_f32_n(float *y, const void *x, size_t n) {
    const unsigned char *h = x;
    for (size_t i = 0; i < n; i += W) {
        __mmask16 m = lanes_at(i, n);
        __m512i v = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, h + 2 * i));
        _mm512_mask_storeu_ps(y + i, m, _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)));
    }
}

#define SHARED                                                                                       \
    .matmul = {[DTYPE_F32] = avx512_matmul_f32,                                                      \
               [DTYPE_F16] = avx512_matmul_f16,                                                      \
               [DTYPE_BF16] = avx512_matmul_bf16},                                                   \
    .attention_join = avx512_attention_join,                                                          \
    .kv_store = {generic_kv_store_f32, avx512_kv_store_bf16, generic_kv_store_int8},                 \
    .divide = divide, .rms_norm = rms_norm, .rope = rope, .silu_mul = silu_mul,                      \
    .add = add, .axpy = axpy, .softmax = softmax, .to_bf16 = avx512_to_bf16,                         \
    .to_f32 = {[DTYPE_F32] = f32_to_f32, [DTYPE_F16] = f16_to_f32_n, [DTYPE_BF16] = bf16_to_f32_n}

const struct kernels kernels_avx512 = {
    .name = "avx512", .packed = &packed_avx512, .train = &train_avx512, .matmul_bf16 = avx512_matmul_bf16_pairs,
    .attention = {avx512_attention_f32, avx2_attention_bf16, avx2_attention_int8}, SHARED};
const struct kernels kernels_avx512vnni = {
    .name = "avx512vnni", .packed = &packed_avx512vnni, .train = &train_avx512, .matmul_bf16 = avx512_matmul_bf16_pairs,
    .attention = {avx512_attention_f32, avx2_attention_bf16, avx512vnni_attention_int8}, SHARED};
/* With VNNI and VBMI, which all but the first CPU with BF16 have. */
const struct kernels kernels_avx512bf16 = {
    .name = "avx512bf16", .packed = &packed_avx512bf16, .train = &train_avx512bf16, .matmul_bf16 = avx512bf16_matmul,
    .attention = {avx512_attention_f32, avx512bf16_attention, avx512vnni_attention_int8},
    .bf16_is_fast = true, SHARED};
const struct kernels kernels_avx512amx = {
    .name = "avx512amx", .packed = &packed_avx512amx, .train = &train_avx512bf16, .matmul_bf16 = avx512bf16_matmul,
    .attention = {avx512_attention_f32, avx512bf16_attention, avx512vnni_attention_int8},
    .bf16_is_fast = true, SHARED};
/* For bfloat16 weights in the order of tiles, the one thing that no other table computes. */
const struct kernels kernels_avx512amxbf16 = {
    .name = "avx512amxbf16", .packed = &packed_avx512amx, .train = &train_avx512bf16,
    .matmul_bf16 = avx512amx_matmul_bf16,
    .attention = {avx512_attention_f32, avx512bf16_attention, avx512vnni_attention_int8},
    .bf16_is_fast = true, .bf16_by_tiles = true, SHARED};
