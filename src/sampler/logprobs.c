#include <math.h>

#include "base/exact_exp.h"
#include "kernels/sampling_kernels.h"
#include "sampler/sampler.h"

int32_t sampler_argmax(const float *logits, int32_t n) {
    const struct sampling_kernels *k = sampling_kernels();
    const float max = k->max(logits, (size_t)n);
    if (max > -INFINITY)
        return (int32_t)k->first_above(logits, (size_t)n, nextafterf(max, -INFINITY));
    int32_t best = -1; /* all are -infinity, or there is NaN, which is passed over */
    for (int32_t i = 0; i < n; i++)
        if (logits[i] > (best < 0 ? -INFINITY : logits[best]))
            best = i;
    return best < 0 ? 0 : best;
}

/* log of the sum of exp(logit); -INFINITY when all are. */
static double log_sum_exp(const float *logits, int32_t n) {
    const double z_min = -200000; /* where exp_256 is still a normal number */
    const struct sampling_kernels *k = sampling_kernels();
    const double max = (double)k->max(logits, (size_t)n);
    if (!(max > -INFINITY && max < INFINITY))
        return max;
    const double sum = k->exp_sum(logits, (size_t)n, max, z_min);
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
