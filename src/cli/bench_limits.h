/* bench_limits.h - what the machine allows, measured with all threads: reading memory and
 * arithmetic of each kind. */
#ifndef QUERN_CLI_BENCH_LIMITS_H
#define QUERN_CLI_BENCH_LIMITS_H

#include "base/threads.h"
#include "kernels/peaks.h"

struct bench_limits {
    double read_bytes_s;              /* 0: unknown, as below */
    double compute_ops_s[PEAK_KINDS]; /* a multiply-add is two */
};

/* Takes about a second and, for that time, a buffer of 1 GB (a quarter of the free memory where that
 * is less). */
enum quern_status bench_limits_measure(struct thread_pool *pool, struct bench_limits *out,
                                       struct quern_error *err);

/* The fastest arithmetic of one kind, operations a second; 0: unknown. Takes a fraction of a second. */
double bench_limits_compute(struct thread_pool *pool, enum peak_kind kind);

#endif
