/* random_adapter.h - adapters of random numbers, written as peft writes them. */
#ifndef TESTS_RANDOM_ADAPTER_H
#define TESTS_RANDOM_ADAPTER_H

#include "model/adapter.h"

/* LoRA (or DoRA) of rank r on all linear layers of `m`, in this test's own folder; the directory.
 */
const char *random_adapter_write(const struct model *m, const char *name, size_t rank, bool dora,
                                 uint64_t seed);
/* The same, opened; released by the caller. */
struct quern_adapter *random_adapter_open(const struct model *m, const char *name, size_t rank,
                                          bool dora, uint64_t seed, float scale);

#endif
