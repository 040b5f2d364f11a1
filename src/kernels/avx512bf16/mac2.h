/* mac2.h - the steps of bf16_rows.h and bf16_packed.h by vdpbf16ps. By hand, since gcc 12 spills the sums of
 * its own intrinsic. */
#ifndef QUERN_KERNELS_AVX512BF16_MAC2_H
#define QUERN_KERNELS_AVX512BF16_MAC2_H

#include <stdint.h>

/* A pair of activations as the memory operand of an instruction: registers are for the weights. */
struct pair {
    uint16_t x[2];
};

#define MAC2(s, w, x) __asm__("vdpbf16ps %1, %2, %0" : "+v"(s) : "v"(w), "v"(x))
#define MAC2_AT(s, w, p)                                  \
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0"               \
            : "+v"(s)                                     \
            : "v"(w), "m"(*(const struct pair *)(const void *)(p)))
#define PANEL_TOKENS 6

#endif
