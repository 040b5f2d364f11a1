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

/* log of the sum of exp(logit); -INFINITY when all are. */
static double log_sum_exp(const float *logits, int32_t n) {
    const double max = (double)logits[sampler_argmax(logits, n)];
    if (!(max > -INFINITY && max < INFINITY))
        return max;
    /* Four sums, because one addition waits for the one before. */
    double sums[4] = {0};
    for (int32_t i = 0; i < n; i++) {
        double z = ((double)logits[i] - max) * EXP_256_PER_UNIT;
        sums[i & 3] += z < -150000 ? 0 : exp_256(z); /* below float64's normal range: 1e-255 */
    }
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
