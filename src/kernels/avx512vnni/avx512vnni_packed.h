/* avx512vnni_packed.h - tiles of MATH_INT8 that avx512amx/ shares. */
#ifndef QUERN_KERNELS_AVX512VNNI_AVX512VNNI_PACKED_H
#define QUERN_KERNELS_AVX512VNNI_AVX512VNNI_PACKED_H

#include "kernels/avx512/avx512_packed.h"

enum { VNNI_TOKENS = 6, VNNI_NIBBLES_TOKENS = 4, VNNI_NIBBLES_MOST = 16 };

/* [1 .. VNNI_TOKENS] over bytes in chunks of four columns, [1 .. VNNI_NIBBLES_TOKENS] over nibbles. */
extern packed_tile_fn *const avx512vnni_bytes[VNNI_TOKENS + 1];
extern packed_tile_fn *const avx512vnni_nibbles[VNNI_NIBBLES_TOKENS + 1];
/* Nibbles to bytes in chunks of four columns. */
packed_unpack_fn avx512vnni_unpack;
/* False where another way is due (avx512vnni_halves.c, avx512vnni_panels.c). */
bool avx512vnni_halves(const struct packed_args *a);
bool avx512vnni_panels(const struct packed_args *a);

#endif
