/* avx512vnni_dot.h - the steps that both walks of MATH_INT8 are made of. Written as assembly, for gcc 12 would
 * move the sums to and fro. */
#ifndef QUERN_KERNELS_AVX512VNNI_AVX512VNNI_DOT_H
#define QUERN_KERNELS_AVX512VNNI_AVX512VNNI_DOT_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* sums += four unsigned bytes of w times four signed bytes of x, in each lane. */
static inline __m512i dot4(__m512i sums, __m512i w, __m512i x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(w), "v"(x));
    return sums;
}

static inline __m512i load_codes(const unsigned char *p) {
    __m512i v = _mm512_loadu_si512(p);
    __asm__("" : "+v"(v));
    return v;
}

static inline __m512i four_of(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

#endif
