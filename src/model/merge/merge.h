/* merge.h - adapters added into a model's weights: a new model directory that needs no adapter.
 *
 * Each weight is W' = W + s B A (DoRA: m / |W + s B A| times that), one adapter after the other in
 * the order of the forward pass (model/adapter.h), in float32, and rounded once to the type it is
 * written in. */
#ifndef QUERN_MODEL_MERGE_MERGE_H
#define QUERN_MODEL_MERGE_MERGE_H

#include "device/device.h"
#include "formats/hf_config.h"
#include "formats/peft_adapter.h"

enum { MERGE_ADAPTERS_MAX = 8 };

struct merge_adapter {
    const struct peft_adapter *files;
    float scale; /* of s */
};

struct merge_options {
    const struct merge_adapter *adapters; /* [n_adapters], 1..MERGE_ADAPTERS_MAX */
    size_t n_adapters;
    bool has_dtype; /* all weights are written as `dtype`; else as they are, and coded ones as BF16
                     */
    enum dtype dtype;
    size_t max_shard_bytes;                     /* 0: one file */
    struct device *device;                      /* borrowed */
    bool (*go_on)(void *user, double fraction); /* false stops it (QUERN_ERR_CANCELLED); or NULL */
    void *user;
};

struct merge_result {
    size_t n_changed, n_replaced,
        n_decoded; /* matrices merged; tensors saved whole; coded before */
    bool untied;   /* the head was the embedding and is a matrix of its own now */
    size_t total_bytes;
};

/* Reads the directory `from`, of any kind that can be loaded, and makes `to`, absent or empty
 * before, which appears when it is complete. Memory: some rows of one matrix. A tied head stays the
 * embedding unless an adapter changes one of them alone. Every module of the adapters must have its
 * place. */
enum quern_status merge_directory(const char *from, const char *to,
                                  const struct merge_options *options, struct merge_result *result,
                                  struct quern_error *err);

#endif
