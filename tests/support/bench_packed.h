/* bench_packed.h - speed of products with packed matrices, on one thread. */
#ifndef TESTS_SUPPORT_BENCH_PACKED_H
#define TESTS_SUPPORT_BENCH_PACKED_H

#include "kernels/kernels.h"

/* A line for each format, shape and number of tokens, a column for each table, and the share of the
 * peaks measured in the same run. 0, or 1 when memory is short. */
int bench_packed(const struct kernels *const *tables, size_t n_tables, const char *wanted);

#endif
