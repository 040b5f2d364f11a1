#include <math.h>
#include <stdbool.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"

static float max_of(const float *x, size_t n) {
    float max = -INFINITY;
    bool nan = false;
    for (size_t i = 0; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        nan |= x[i] != x[i];
    }
    return nan ? NAN : max;
}

static size_t first_above(const float *x, size_t n, float threshold) {
    for (size_t i = 0; i < n; i++)
        if (!(x[i] <= threshold))
            return i;
    return n;
}

static uint64_t weigh(uint64_t *weights, const float *x, size_t n, double max, double scale,
                      double z_min) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        double z = ((double)x[i] - max) * scale;
        z = z > z_min ? z : z_min;
        weights[i] = (uint64_t)(int64_t)(exp_256(z) * (double)SAMPLING_WEIGHT_ONE);
        sum += weights[i];
    }
    return sum;
}

static double exp_sum(const float *x, size_t n, double max, double z_min) {
    double s[16] = {0};
    for (size_t i = 0; i < n; i++) {
        double z = ((double)x[i] - max) * EXP_256_PER_UNIT;
        s[i % 16] += exp_256(z < z_min ? z_min : z); /* NaN stays NaN */
    }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

const struct sampling_kernels sampling_kernels_generic = {
    .name = "generic",
    .max = max_of,
    .first_above = first_above,
    .weigh = weigh,
    .exp_sum = exp_sum,
};
