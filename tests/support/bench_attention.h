/* bench_attention.h - speed of storing keys and values and of attention, one thread, every table. */
#ifndef TESTS_BENCH_ATTENTION_H
#define TESTS_BENCH_ATTENTION_H

#include "kernels/kernels.h"

/* Prints a line for each shape, of one type of cache or (NULL) all; the program's exit code. */
int bench_attention(const struct kernels *const *tables, size_t n_tables, const char *wanted);

#endif
