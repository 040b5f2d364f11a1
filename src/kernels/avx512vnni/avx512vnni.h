/* avx512vnni.h - functions by the instructions of AVX512_VNNI. */
#ifndef QUERN_KERNELS_AVX512VNNI_AVX512VNNI_H
#define QUERN_KERNELS_AVX512VNNI_AVX512VNNI_H

#include "kernels/kernels.h"

attention_fn avx512vnni_attention_int8;

#endif
