/* avx512bf16.h - functions by the instructions of AVX512_BF16. */
#ifndef QUERN_KERNELS_AVX512BF16_AVX512BF16_H
#define QUERN_KERNELS_AVX512BF16_AVX512BF16_H

#include "kernels/kernels.h"
#include "kernels/packed_kernels.h"

matmul_bf16_fn avx512bf16_matmul;
packed_matmul_fn avx512bf16_packed;
attention_fn avx512bf16_attention;

#endif
