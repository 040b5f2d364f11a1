/* avx2_attention.h - shared by the AVX2 files of attention. */
#ifndef QUERN_KERNELS_AVX2_AVX2_ATTENTION_H
#define QUERN_KERNELS_AVX2_AVX2_ATTENTION_H

#include "kernels/attention.h"
#include "kernels/avx2/avx2.h"

/* All ones in the lanes of positions j .. j + 7 that lie in [begin, end). */
static inline __m256i lanes_between(size_t j, size_t begin, size_t end) {
    const __m256i at = _mm256_add_epi32(_mm256_set1_epi32((int)j),
                                        _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_and_si256(_mm256_cmpgt_epi32(at, _mm256_set1_epi32((int)begin - 1)),
                            _mm256_cmpgt_epi32(_mm256_set1_epi32((int)end), at));
}

/* s *= scale for [begin, end), and around it up to multiples of 8; the largest of them. */
float avx2_scale_scores(float *s, size_t begin, size_t end, float scale);
void avx2_soften_f32(struct soften *a);

#endif
