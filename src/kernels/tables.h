/* tables.h - the tables of every folder, for kernels.c alone. A build has those
 * of its architecture. */
#ifndef QUERN_KERNELS_TABLES_H
#define QUERN_KERNELS_TABLES_H

#include "kernels/kernels.h"
#include "kernels/packed_kernels.h"
#include "kernels/train_kernels.h"

extern const struct kernels kernels_generic;
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
/* In avx512.c: they differ in few functions. */
extern const struct kernels kernels_avx512vnni;
extern const struct kernels kernels_avx512bf16;
extern const struct kernels kernels_avx512amx;
extern const struct kernels kernels_avx512amxbf16;
/* In neon.c: they differ in products of integers and of bfloat16. */
extern const struct kernels kernels_neon;
extern const struct kernels kernels_neondot;
extern const struct kernels kernels_neonmmla;

extern const struct packed_kernels packed_generic;
extern const struct packed_kernels packed_avx2;
extern const struct packed_kernels packed_avx512;
extern const struct packed_kernels packed_avx512vnni;
extern const struct packed_kernels packed_avx512bf16;
extern const struct packed_kernels packed_avx512amx;
extern const struct packed_kernels packed_neon;
extern const struct packed_kernels packed_neondot;
extern const struct packed_kernels packed_neonmmla;

#endif
