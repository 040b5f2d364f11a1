/* avx512_bf16.c - fast bfloat16 products on a CPU without the instruction: its two steps as multiply-adds,
 * in the processor's mode in which these flush subnormals as the instruction does. */
#include "kernels/avx512/avx512.h"

static inline __m512 upper(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000)));
}

static inline __m512 lower(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline __m512 mac2(__m512 s, __m512i w, __m512i x) {
    return _mm512_fmadd_ps(lower(w), lower(x), _mm512_fmadd_ps(upper(w), upper(x), s));
}

#define MAC2(s, w, x) s = mac2(s, w, x)
#define MAC2_AT(s, w, p) s = mac2(s, w, _mm512_set1_epi32(load_pair(p)))
#define PANEL_TOKENS 5
#include "kernels/avx512/bf16_rows.h"

/* Apart, so that no arithmetic moves out of the mode it is meant for. */
static __attribute__((noinline)) void products(const struct matmul_bf16_args *a) {
    bf16_products(a);
}

void avx512_matmul_bf16_pairs(const struct matmul_bf16_args *a) {
    const unsigned mode = _mm_getcsr(), flush_results = 1u << 15, flush_operands = 1u << 6;
    _mm_setcsr(mode | flush_results | flush_operands);
    products(a);
    _mm_setcsr(mode);
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
