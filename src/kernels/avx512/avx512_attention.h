/* avx512_attention.h - shared by the AVX-512 files of attention. */
#ifndef QUERN_KERNELS_AVX512_AVX512_ATTENTION_H
#define QUERN_KERNELS_AVX512_AVX512_ATTENTION_H

#include "kernels/attention.h"
#include "kernels/avx512/avx512.h"

/* Lanes of positions j .. j + 15 that lie in [begin, end); j < end, begin < j + 16. */
static inline __mmask16 lanes_between(size_t j, size_t begin, size_t end) {
    unsigned mask = end - j < 16 ? (1u << (end - j)) - 1u : 0xFFFFu;
    return (__mmask16)(begin > j ? mask & (0xFFFFu << (begin - j)) : mask);
}

/* s *= scale for [begin, end), and around it up to multiples of 16; the largest of them. */
float avx512_scale_scores(float *s, size_t begin, size_t end, float scale);
void avx512_soften_f32(struct soften *a);

#endif
