/* avx512_bf16.c - fast bfloat16 products on a CPU without the instruction: its two steps as multiply-adds. */
#include "kernels/avx512/mac2_fma.h"

/* After the steps it is made of. */
#include "kernels/avx512/bf16_rows.h"

/* Apart, so that no arithmetic moves out of the mode it is meant for. */
static __attribute__((noinline)) void products(const struct matmul_bf16_args *a) {
    bf16_products(a);
}

void avx512_matmul_bf16_pairs(const struct matmul_bf16_args *a) {
    const struct flushing f = flush_begin();
    products(a);
    flush_end(f);
    bf16_bias(a);
}

void avx512_to_bf16(uint16_t *y, const float *x, size_t n) {
    const __m512i half = _mm512_set1_epi32(0x7FFF), one = _mm512_set1_epi32(1);
    const __m512i quiet = _mm512_set1_epi32(0x40);
    for (size_t i = 0; i < n; i += KERNEL_LANES) {
        __mmask16 m = n - i < KERNEL_LANES ? first_lanes(n - i) : (__mmask16)0xFFFF;
        __m512 v = _mm512_maskz_loadu_ps(m, x + i);
        __m512i bits = _mm512_castps_si512(v), top = _mm512_srli_epi32(bits, 16);
        __m512i round = _mm512_add_epi32(half, _mm512_and_si512(top, one));
        __m512i h = _mm512_srli_epi32(_mm512_add_epi32(bits, round), 16);
        h = _mm512_mask_or_epi32(h, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), top, quiet);
        _mm512_mask_cvtepi32_storeu_epi16(y + i, m, h);
    }
}
