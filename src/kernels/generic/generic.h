/* generic.h - reference functions that other tables take over as they are. */
#ifndef QUERN_KERNELS_GENERIC_GENERIC_H
#define QUERN_KERNELS_GENERIC_GENERIC_H

#include "kernels/kernels.h"

kv_store_fn generic_kv_store_f32, generic_kv_store_bf16, generic_kv_store_int8;
attention_fn generic_attention_f32, generic_attention_bf16, generic_attention_int8;
matmul_bf16_fn generic_matmul_bf16_tiles;
void generic_attention_join(const struct attention_join *a);

#endif
