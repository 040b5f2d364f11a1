/* rng.h - counter-based random numbers (Philox4x32-10; Salmon et al., "Parallel
 * random numbers: as easy as 1, 2, 3", SC'11). A draw is a pure function of
 * (key, counter): same seed, same numbers, on every machine and in any order. */
#ifndef QUERN_BASE_RNG_H
#define QUERN_BASE_RNG_H

#include <stdint.h>

/* 128 random bits. The Philox counter is {index low, index high, stream low, stream high},
 * the key {seed low, seed high}. */
void rng_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]);

/* Uniform in [0,1): the upper 53 bits of (out[1] << 32 | out[0]). */
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Approximately normal, mean 0 and variance 1: the sum of the eight 16-bit halves
 * of a block (Irwin-Hall), in exact arithmetic, so that every machine gets the same bits. */
float rng_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
