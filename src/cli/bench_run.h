/* bench_run.h - one measurement: prompts fed, or tokens decoded, by one or several sequences. */
#ifndef QUERN_CLI_BENCH_RUN_H
#define QUERN_CLI_BENCH_RUN_H

#include "cli/bench_model.h"
#include "model/forward.h"

struct bench_test {
    size_t n_prompt;   /* tokens of a prompt; 0: decoding is measured */
    size_t n_generate; /* tokens a sequence decodes; 0 when n_prompt is not */
    size_t batch;      /* sequences */
    size_t depth;      /* tokens each holds before */
    size_t chunk;      /* most tokens of a forward pass */
    enum kv_type kv_type;
    const struct adapter_set *adapters; /* on all sequences; NULL: none */
};

struct bench_run {
    struct bench_test test;
    const struct model *model;
    struct workspace *workspace;
    struct rope rope;
    struct kv_cache *caches; /* [batch] */
    struct forward_seq *seqs;
    int32_t *ids;  /* [batch * tokens of a sequence] */
    float *logits; /* [batch, vocab] */
    double kv_token_bytes;
};

/* With the caches filled to `depth` (with copies of a few tokens' keys and values, which read as
 * fast as any). */
enum quern_status bench_run_init(struct bench_run *r, const struct model *m,
                                 const struct bench_test *test, struct quern_error *err);
void bench_run_release(struct bench_run *r); /* zeroed is fine */

/* Seconds it took. The caches are as before afterwards. `limit`: tokens each sequence takes at
 * most, for warming up; 0: as many as the test says. */
enum quern_status bench_run_once(struct bench_run *r, size_t limit, double *seconds,
                                 struct quern_error *err);

/* Tokens the test counts, bytes it reads of weights and caches, operations it takes with those of
 * attention. */
struct bench_work {
    double tokens, bytes, ops;
};
struct bench_work bench_run_work(const struct bench_run *r);

/* Memory for it beside the weights, in bytes; SIZE_MAX when that cannot be addressed. */
size_t bench_test_bytes(const struct hf_config *c, const struct bench_test *test);

#endif
