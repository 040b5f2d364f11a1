/* avx512_packed.c - activations for packed matrices. */
#include "kernels/avx512/avx512_packed.h"
#include "kernels/tables.h"

#define W KERNEL_LANES

/* ---- activations ------------------------------------------------------------------- */

void avx512_prepare_exact(const struct packed_prepare_args *a) {
    float room[PACKED_GROUP_MAX];
    for (size_t g = 0; g < a->out->n_groups; g++) {
        const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
        for (size_t t = a->token_begin; t < a->token_end; t++) {
            float *to = (float *)a->out->x + packed_input_at(a->out, g) + t * stride;
            memcpy(to, packed_columns(a, t, g * a->out->group, n, room), n * sizeof *to);
            memset(to + n, 0, (stride - n) * sizeof *to);
        }
    }
}

static inline __mmask16 lanes_at(size_t i, size_t n) {
    return n - i < W ? first_lanes(n - i) : (__mmask16)0xFFFF;
}

static int32_t quantize(int8_t *to, const float *x, size_t n, size_t stride, struct int8_scale s) {
    const __m512 inverse = _mm512_set1_ps(s.inverse);
    __m512i sum = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += W) {
        const __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes_at(i, n), x + i), inverse);
        const __m512i q = _mm512_cvtps_epi32(v);
        sum = _mm512_add_epi32(sum, q);
        _mm_mask_storeu_epi8(to + i, lanes_at(i, stride), _mm512_cvtepi32_epi8(q));
    }
    return _mm512_reduce_add_epi32(sum);
}

void avx512_prepare_int8(const struct packed_prepare_args *a) {
    const struct packed_input *in = a->out;
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    float room[PACKED_GROUP_MAX];
    for (size_t t = a->token_begin; t < a->token_end; t++) {
        for (size_t g = 0; g < in->n_groups; g++) {
            const size_t n = packed_prepared_cols(a, g), stride = packed_input_cols(n);
            const float *x = packed_columns(a, t, g * in->group, n, room);
            __m512i top = _mm512_setzero_si512();
            for (size_t i = 0; i < n; i += W) {
                const __m512i v = _mm512_maskz_loadu_epi32(lanes_at(i, n), x + i);
                top = _mm512_max_epu32(top, _mm512_and_si512(v, magnitude));
            }
            const struct int8_scale s = int8_scale_of(_mm512_reduce_max_epu32(top));
            int8_t *to = (int8_t *)in->x + packed_input_at(in, g) + t * stride;
            int32_t sum = 0;
            if (s.inverse > 0)
                sum = quantize(to, x, n, stride, s);
            else
                memset(to, 0, stride);
            in->scale[g * in->n_tokens + t] = s.scale;
            in->sum[g * in->n_tokens + t] = sum;
        }
    }
}

void avx512_packed_numbers(struct packed_numbers *to, const struct packed_tile *a) {
    const struct packed_matrix *w = a->w;
    for (size_t row = 0; row < PACKED_ROWS; row += W) {
        _mm512_store_ps(to->scale + row, numbers_at(w->number, a->scales, row));
        if (w->kind == QUANT_AFFINE)
            _mm512_store_ps(to->zero.f + row, numbers_at(w->number, a->zeros, row));
        else if (w->kind == QUANT_INT)
            _mm512_store_si512(to->zero.i + row, packed_int_zeros(w, a->zeros, row));
    }
}

const struct packed_kernels packed_avx512 = {
    .prepare = {[MATH_EXACT] = avx512_prepare_exact, [MATH_INT8] = avx512_prepare_int8,
                [MATH_BF16] = avx512_prepare_bf16},
    .matmul = {[MATH_EXACT] = avx512_packed_exact, [MATH_INT8] = avx2_packed_int8,
               [MATH_BF16] = avx512_packed_bf16},
};
