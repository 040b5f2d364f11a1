/* mac2_fma.h - the steps of bf16_rows.h and bf16_packed.h as multiply-adds, for a CPU without vdpbf16ps:
 * in the processor's mode in which these flush subnormals as the instruction does. */
#ifndef QUERN_KERNELS_AVX512_MAC2_FMA_H
#define QUERN_KERNELS_AVX512_MAC2_FMA_H

#include "kernels/avx512/avx512.h"

static inline __m512 upper_half(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000)));
}

static inline __m512 lower_half(__m512i pairs) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline __m512 mac2(__m512 s, __m512i w, __m512i x) {
    s = _mm512_fmadd_ps(upper_half(w), upper_half(x), s);
    return _mm512_fmadd_ps(lower_half(w), lower_half(x), s);
}

#define MAC2(s, w, x) s = mac2(s, w, x)
#define MAC2_AT(s, w, p) s = mac2(s, w, _mm512_set1_epi32(load_pair(p)))
#define PANEL_TOKENS 5

#endif
