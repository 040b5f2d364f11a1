/* avx2_bf16.h - the two steps of vdpbf16ps as multiply-adds, shared by the files that have them. */
#ifndef QUERN_KERNELS_AVX2_AVX2_BF16_H
#define QUERN_KERNELS_AVX2_AVX2_BF16_H

#include "kernels/avx2/avx2.h"

/* The processor's mode in which multiply-adds flush subnormals as the instruction does. */
struct flushing {
    unsigned mode;
};

static inline struct flushing flush_begin(void) {
    const struct flushing f = {_mm_getcsr()};
    const unsigned results = 1u << 15, operands = 1u << 6;
    _mm_setcsr(f.mode | results | operands);
    return f;
}

static inline void flush_end(struct flushing f) {
    _mm_setcsr(f.mode);
}

static inline __m256 upper(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xFFFF0000)));
}

static inline __m256 lower(__m256i pairs) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

static inline __m256i pair_of(const uint16_t *x) {
    int pair;
    memcpy(&pair, x, sizeof pair);
    return _mm256_set1_epi32(pair);
}

#endif
