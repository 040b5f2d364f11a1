/* sampling_kernels.h - passes over a row of logits, as many as the vocabulary has tokens. As for
 * the forward pass, every instruction set gives the same bits. */
#ifndef QUERN_KERNELS_SAMPLING_KERNELS_H
#define QUERN_KERNELS_SAMPLING_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLING_WEIGHT_ONE ((uint64_t)1 << 44)

struct sampling_kernels {
    const char *name; /* as in struct kernels */

    /* The largest of x[n], n > 0; NaN when there is one. Of zeros, either. */
    float (*max)(const float *x, size_t n);
    /* Index of the first of x[n] that is not <= threshold (NaN never is), n without one. */
    size_t (*first_above)(const float *x, size_t n, float threshold);
    /* weights[i] = floor(SAMPLING_WEIGHT_ONE * exp_256(((double)x[i] - max) * scale)), of z below
     * z_min that of z_min; answers their sum. No NaN, nothing above max. */
    uint64_t (*weigh)(uint64_t *weights, const float *x, size_t n, double max, double scale,
                      double z_min);
    /* Sum of exp_256(((double)x[i] - max) * EXP_256_PER_UNIT), of z below z_min that of z_min; NaN
     * when there is one. Term i goes to partial sum i mod 16, which are folded s[i] += s[i + 8],
     * then 4, 2, 1. */
    double (*exp_sum)(const float *x, size_t n, double max, double z_min);
};

/* The best of this CPU. */
const struct sampling_kernels *sampling_kernels(void);
/* The one that goes with a table of kernels, by its name; the generic one where there is none. */
const struct sampling_kernels *sampling_kernels_named(const char *name);

extern const struct sampling_kernels sampling_kernels_generic;
extern const struct sampling_kernels sampling_kernels_avx2;
extern const struct sampling_kernels sampling_kernels_avx512;
extern const struct sampling_kernels sampling_kernels_neon;

#endif
