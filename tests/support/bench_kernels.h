/* bench_kernels.h - speed of kernel tables on one thread. */
#ifndef TESTS_SUPPORT_BENCH_KERNELS_H
#define TESTS_SUPPORT_BENCH_KERNELS_H

#include "kernels/kernels.h"

/* Prints a line for each function and shape with a column for each table, and the share of the
 * machine's peak, measured in the same run. `wanted`: only lines whose names contain it; NULL: all.
 * 0, or 1 when memory is short. */
int bench_kernels(const struct kernels *const *tables, size_t n_tables, const char *wanted);

#endif
