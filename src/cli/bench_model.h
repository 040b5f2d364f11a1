/* bench_model.h - a model to be measured: from a directory, or of random numbers in a known shape. */
#ifndef QUERN_CLI_BENCH_MODEL_H
#define QUERN_CLI_BENCH_MODEL_H

#include "base/options.h"
#include "base/threads.h"
#include "model/adapter.h"
#include "model/model.h"

struct bench_source {
    const char *dir, *shape; /* one of them */
    int64_t n_layers;        /* of a shape: the first ones only; 0: all */
    const char *cpu;
    const char *weights, *embed_weights, *math; /* CLI_WEIGHTS_OPTIONS */
    bool cache;
    struct option_list adapters;
};

struct bench_model {
    struct hf_config config;
    struct device *device;
    struct model *model;
    struct adapter_set adapters; /* on every sequence */
    double load_seconds;
};

/* The configuration alone. */
enum quern_status bench_config(const struct bench_source *source, struct hf_config *out,
                               struct quern_error *err);
/* Refuses random weights that do not fit in the free memory, with the numbers. */
enum quern_status bench_model_open(const struct bench_source *source, int n_threads,
                                   struct bench_model *out, struct quern_error *err);
void bench_model_close(struct bench_model *m); /* zeroed is fine */

/* What a pass over `n_tokens` tokens with `n_rows` rows of logits reads of weights, and how many
 * operations its matrices take (a multiply-add is two). Attention is not counted. */
void bench_model_work(const struct model *m, size_t n_tokens, size_t n_rows, double *weight_bytes,
                      double *ops);
size_t bench_model_weight_bytes(const struct model *m);

#endif
