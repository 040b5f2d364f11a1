/* avx512bf16.c - what AVX512_BF16 adds to the AVX-512 table. */
#include "kernels/avx512bf16/avx512bf16.h"

#include "kernels/avx512bf16/mac2.h"

/* After the steps it is made of. */
#include "kernels/avx512/bf16_rows.h"

void avx512bf16_matmul(const struct matmul_bf16_args *a) {
    bf16_products(a);
    bf16_bias(a);
}
