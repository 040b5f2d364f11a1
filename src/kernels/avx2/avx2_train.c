/* avx2_train.c - train_kernels.h by AVX2 and FMA. */
#include <immintrin.h>

#include "kernels/train_loops.h"

/* 12 sums in registers. */
enum { MR = 6, NR = 16 };

#define ROWS(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define BEGIN(i)                                                               \
    __m256 c##i##_0 = add ? _mm256_loadu_ps(c + i * ld) : _mm256_setzero_ps(); \
    __m256 c##i##_1 = add ? _mm256_loadu_ps(c + i * ld + 8) : _mm256_setzero_ps();
#define END(i)                              \
    _mm256_storeu_ps(c + i * ld, c##i##_0); \
    _mm256_storeu_ps(c + i * ld + 8, c##i##_1);
#define STEP(i)                                  \
    x = _mm256_set1_ps(pa[i]);                   \
    c##i##_0 = _mm256_fmadd_ps(x, b0, c##i##_0); \
    c##i##_1 = _mm256_fmadd_ps(x, b1, c##i##_1);

static void tile_f32(size_t k, const void *a, const void *b, float *c, size_t ld, bool add) {
    const float *pa = a, *pb = b;
    ROWS(BEGIN)
    for (size_t t = 0; t < k; t++, pa += MR, pb += NR) {
        const __m256 b0 = _mm256_loadu_ps(pb), b1 = _mm256_loadu_ps(pb + 8);
        __m256 x;
        ROWS(STEP)
    }
    ROWS(END)
}

const struct train_kernels train_avx2 = {
    .f32 = {.mr = MR, .nr = NR, .element = sizeof(float), .pack = loop_pack_f32, .tile = tile_f32},
    TRAIN_LOOPS,
};
