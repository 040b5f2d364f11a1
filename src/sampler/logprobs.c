#include <math.h>

#include "sampler/exact_exp.h"
#include "sampler/sampler.h"

int32_t sampler_argmax(const float *logits, int32_t n) {
    int32_t best = 0;
    float max = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        if (logits[i] > max) {
            max = logits[i];
            best = i;
        }
    }
    return best;
}

/* exp(logit - max); anything below 1e-235 may as well be that, beside a sum of at least 1. */
static double exp_below(float logit, double max) {
    const double z_min = -200000; /* where exp_256 is still a normal number */
    double z = ((double)logit - max) * EXP_256_PER_UNIT;
    return exp_256(z < z_min ? z_min : z); /* NaN stays NaN */
}

/* log of the sum of exp(logit); -INFINITY when all are. */
static double log_sum_exp(const float *logits, int32_t n) {
    const double max = (double)logits[sampler_argmax(logits, n)];
    if (!(max > -INFINITY && max < INFINITY))
        return max;
    /* Four sums, because one addition waits for the one before. */
    double sums[4] = {0};
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int lane = 0; lane < 4; lane++)
            sums[lane] += exp_below(logits[i + lane], max);
    for (; i < n; i++)
        sums[0] += exp_below(logits[i], max);
    double sum = sums[0] + sums[1] + (sums[2] + sums[3]);
    return sum >= 1 ? max + exact_log(sum) : (double)NAN;
}

double sampler_logprob(const float *logits, int32_t n_tokens, int32_t token) {
    return (double)logits[token] - log_sum_exp(logits, n_tokens);
}

/* Keeps top[n] sorted, best first. */
static void insert_top(struct quern_top_logprob *top, size_t n, int32_t token, float logit) {
    size_t at = n - 1;
    for (; at > 0 && !(top[at - 1].token >= 0 && top[at - 1].logprob >= logit); at--)
        top[at] = top[at - 1];
    top[at] = (struct quern_top_logprob){token, logit};
}

void sampler_logprobs(const float *logits, int32_t n_tokens, int32_t token, float *logprob,
                      struct quern_top_logprob *top, size_t n_top) {
    const double norm = log_sum_exp(logits, n_tokens);
    *logprob = (float)((double)logits[token] - norm);
    for (size_t i = 0; i < n_top; i++)
        top[i] = (struct quern_top_logprob){-1, -INFINITY};
    for (int32_t i = 0; n_top && i < n_tokens; i++)
        if (top[n_top - 1].token < 0 || logits[i] > top[n_top - 1].logprob)
            insert_top(top, n_top, i, logits[i]);
    for (size_t i = 0; i < n_top; i++)
        if (top[i].token >= 0)
            top[i].logprob = (float)((double)top[i].logprob - norm);
}
