/* avx512bf16.c - what AVX512_BF16 adds to the AVX-512 table. */
#include "kernels/avx512bf16/avx512bf16.h"

/* A pair of activations as the memory operand of an instruction: registers are for the weights. */
struct pair {
    uint16_t x[2];
};

/* By hand, since gcc 12 spills the sums of its own intrinsic. */
#define MAC2(s, w, x) __asm__("vdpbf16ps %1, %2, %0" : "+v"(s) : "v"(w), "v"(x))
#define MAC2_AT(s, w, p)                                  \
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0"               \
            : "+v"(s)                                     \
            : "v"(w), "m"(*(const struct pair *)(const void *)(p)))
#define PANEL_TOKENS 6
#include "kernels/avx512/bf16_rows.h"

void avx512bf16_matmul(const struct matmul_bf16_args *a) {
    bf16_products(a);
    bf16_bias(a);
}
