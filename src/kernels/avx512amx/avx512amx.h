/* avx512amx.h - functions by the instructions of AMX. */
#ifndef QUERN_KERNELS_AVX512AMX_AVX512AMX_H
#define QUERN_KERNELS_AVX512AMX_AVX512AMX_H

#include "kernels/kernels.h"

matmul_bf16_fn avx512amx_matmul_bf16;

#endif
