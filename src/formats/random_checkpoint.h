/* random_checkpoint.h - weights for a configuration, drawn from a seed: for tests, benchmarks and
 * training from scratch. The bytes are a function of (configuration, seed, options) alone: the same
 * on every machine and for any number of threads. */
#ifndef QUERN_FORMATS_RANDOM_CHECKPOINT_H
#define QUERN_FORMATS_RANDOM_CHECKPOINT_H

#include "base/threads.h"
#include "formats/hf_config.h"
#include "formats/tensor_layout.h"

struct random_checkpoint_options {
    uint64_t seed;
    enum dtype dtype;       /* a weight type */
    size_t max_shard_bytes; /* 0: one file */
    /* Norm weights 1 + 0.1 normal and biases 0.1 normal instead of 1 and 0, so that a test notices
     * when they are mixed up or left out. */
    bool randomize_norms;
    struct thread_pool *pool;                         /* borrowed; NULL: the calling thread alone */
    void (*on_progress)(void *user, double fraction); /* or NULL */
    bool (*is_cancelled)(void *user);                 /* or NULL; true: QUERN_ERR_CANCELLED */
    void *user;
};

/* Writes model.safetensors, or shards and index, to `dir`, which must exist. Matrices are
 * normal(0, initializer_range). Memory stays at a few megabytes. */
enum quern_status random_checkpoint_write(const struct hf_config *config, const char *dir,
                                          const struct random_checkpoint_options *options,
                                          struct quern_error *err);

/* Elements [begin, begin + n) of one tensor, as they are before conversion to the dtype. */
void random_checkpoint_values(const struct hf_config *config, const struct tensor_spec *spec,
                              const struct random_checkpoint_options *options, size_t begin,
                              size_t n, float *out);

#endif
