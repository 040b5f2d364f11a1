/* tables.h - the tables of every folder, for kernels.c alone. A build has those
 * of its architecture. */
#ifndef QUERN_KERNELS_TABLES_H
#define QUERN_KERNELS_TABLES_H

#include "kernels/kernels.h"

extern const struct kernels kernels_generic;
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;

#endif
