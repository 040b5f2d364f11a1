/* bench_report.h - results of measurements, as a table or as JSON. */
#ifndef QUERN_CLI_BENCH_REPORT_H
#define QUERN_CLI_BENCH_REPORT_H

#include "cli/bench_limits.h"
#include "cli/bench_run.h"
#include "text/json.h"

enum { BENCH_REPEATS_MAX = 1000 };

/* A model with settings, and what was measured with it. */
struct bench_setting {
    const char *model; /* the shape's name or the directory */
    const char *cpu;   /* "cpu/avx512" */
    const char *weights, *kv_type;
    enum peak_kind arithmetic; /* which peak its matrices are measured by */
    int n_threads;
    double load_seconds;
    size_t weight_bytes;
    int64_t n_params;
    struct bench_limits limits;
};

struct bench_result {
    struct bench_test test;
    struct bench_work work;
    double seconds[BENCH_REPEATS_MAX]; /* sorted */
    size_t n;
};

void bench_print_setting(const struct bench_setting *s);
void bench_print_result(const struct bench_setting *s, const struct bench_result *r);

/* NULL when memory ran out. */
json_t *bench_setting_json(const struct bench_setting *s);
json_t *bench_result_json(const struct bench_setting *s, const struct bench_result *r);

#endif
