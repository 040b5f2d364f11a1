/* random_tensors.h - a checkpoint of random numbers in memory, made in seconds: for benchmarks,
 * where speed does not depend on the numbers. (random_checkpoint.h has numbers that can be told
 * from a seed, and takes its time.) */
#ifndef QUERN_FORMATS_RANDOM_TENSORS_H
#define QUERN_FORMATS_RANDOM_TENSORS_H

#include "base/threads.h"
#include "formats/checkpoint.h"
#include "formats/hf_config.h"

/* Matrices normal(0, initializer_range) in BF16, norms 1, biases 0. `overlapping`: the tensors
 * share memory, as much as the largest takes, which is enough when they are converted on loading;
 * else each has its own, as in a file. `pool` may be NULL. */
enum quern_status random_tensors_create(const struct hf_config *config, bool overlapping,
                                        struct thread_pool *pool, struct checkpoint **out,
                                        struct quern_error *err);
/* What they take; SIZE_MAX when that cannot be addressed. */
size_t random_tensors_bytes(const struct hf_config *config, bool overlapping);

#endif
