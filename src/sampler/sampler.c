#include "sampler/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "sampler/history.h"
#include "sampler/pool.h"

/* Sets the sampler's random numbers apart from other users of the same seed ("samp"). */
static const uint64_t RNG_STREAM = 0x73616d70;

struct sampler {
    struct quern_sampling params; /* logit_bias owned */
    struct quern_logit_bias *bias;
    int32_t n_vocab, n_tokens; /* n_tokens <= n_vocab */
    struct token_history history;
    struct pool pool;
    uint32_t *mask; /* [(n_vocab+31)/32] */
};

/* ---- parameters ------------------------------------------------------------------ */

static enum quern_status check_range(const char *field, double value, double min, double max,
                                     struct quern_error *err) {
    if (value >= min && value <= max)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_ARG, "sampling: %s is %g, expected %g to %g", field, value, min,
                     max);
}

static enum quern_status check_bias(const struct quern_sampling *p, int32_t n_vocab,
                                    struct quern_error *err) {
    const double limit = 1e6; /* far above any logit, far below float32's range */
    if (p->n_logit_bias && !p->logit_bias)
        return error_set(err, QUERN_ERR_ARG, "sampling: logit_bias is NULL with n_logit_bias %zu",
                         p->n_logit_bias);
    for (size_t i = 0; i < p->n_logit_bias; i++) {
        int32_t token = p->logit_bias[i].token;
        float bias = p->logit_bias[i].bias;
        if (token < 0 || token >= n_vocab)
            return error_set(err, QUERN_ERR_ARG,
                             "sampling: logit_bias[%zu].token is %d, expected 0 to %d", i,
                             (int)token, (int)n_vocab - 1);
        if (!(bias == -INFINITY || ((double)bias >= -limit && (double)bias <= limit)))
            return error_set(
                err, QUERN_ERR_ARG,
                "sampling: logit_bias[%zu].bias is %g, expected -1e6 to 1e6 or -infinity", i,
                (double)bias);
    }
    return QUERN_OK;
}

static enum quern_status check_params(const struct quern_sampling *p, int32_t n_vocab,
                                      struct quern_error *err) {
    const bool dry = p->dry_multiplier != 0; /* else its other fields may hold anything */
    const struct {
        const char *field;
        double value, min, max;
    } ranges[] = {
        {"temperature", (double)p->temperature, 0, 1e4},
        {"top_k", p->top_k, 0, INT32_MAX},
        {"top_p", (double)p->top_p, 0, 1},
        {"min_p", (double)p->min_p, 0, 1},
        {"typical_p", (double)p->typical_p, 0, 1},
        {"repetition_penalty", (double)p->repetition_penalty, 1e-3, 1e3},
        {"presence_penalty", (double)p->presence_penalty, -100, 100},
        {"frequency_penalty", (double)p->frequency_penalty, -100, 100},
        {"penalty_window", p->penalty_window, 0, INT32_MAX},
        {"dry_multiplier", (double)p->dry_multiplier, 0, 100},
        {"dry_base", dry ? (double)p->dry_base : 1, 1, 100},
        {"dry_allowed_length", dry ? p->dry_allowed_length : 0, 0, INT32_MAX},
        {"dry_window", dry ? p->dry_window : 0, 0, INT32_MAX},
        {"top_n_sigma", (double)p->top_n_sigma, -1, 1e3},
        {"xtc_probability", (double)p->xtc_probability, 0, 1},
        {"xtc_threshold", (double)p->xtc_threshold, 0, 1},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        enum quern_status status =
            check_range(ranges[i].field, ranges[i].value, ranges[i].min, ranges[i].max, err);
        if (status)
            return status;
    }
    return check_bias(p, n_vocab, err);
}

enum quern_status sampler_create(const struct quern_sampling *params, int32_t n_vocab,
                                 int32_t n_tokens, struct sampler **out, struct quern_error *err) {
    if (n_vocab < 1 || n_vocab > POOL_TOKENS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "sampler: vocabulary of %d tokens, expected 1 to %d",
                         (int)n_vocab, POOL_TOKENS_MAX);
    if (n_tokens < 1)
        return error_set(err, QUERN_ERR_ARG,
                         "sampler: the tokenizer knows %d tokens, expected at least 1",
                         (int)n_tokens);
    enum quern_status status = check_params(params, n_vocab, err);
    if (status)
        return status;
    struct sampler *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    s->params = *params;
    s->n_vocab = n_vocab;
    s->n_tokens = n_tokens < n_vocab ? n_tokens : n_vocab;
    s->mask = malloc(((size_t)n_vocab + 31) / 32 * sizeof *s->mask);
    s->bias = malloc((params->n_logit_bias + 1) * sizeof *s->bias);
    if (!s->mask || !s->bias)
        status = error_nomem(err);
    if (!status)
        status = token_history_init(&s->history, params, n_vocab, err);
    if (!status)
        status = pool_init(&s->pool, (size_t)s->n_tokens, err);
    if (status)
        goto fail;
    if (params->n_logit_bias)
        memcpy(s->bias, params->logit_bias, params->n_logit_bias * sizeof *s->bias);
    s->params.logit_bias = s->bias;
    *out = s;
    return QUERN_OK;
fail:
    sampler_destroy(s);
    return status;
}

void sampler_destroy(struct sampler *s) {
    if (!s)
        return;
    token_history_release(&s->history);
    pool_release(&s->pool);
    free(s->bias);
    free(s->mask);
    free(s);
}

enum quern_status sampler_reserve(struct sampler *s, size_t n, struct quern_error *err) {
    return token_history_reserve(&s->history, n, err);
}

enum quern_status sampler_accept(struct sampler *s, const int32_t *ids, size_t n, bool generated,
                                 struct quern_error *err) {
    return token_history_add(&s->history, ids, n, generated, err);
}

/* ---- drawing ----------------------------------------------------------------------- */

static void apply_bias(const struct sampler *s, float *scores) {
    for (size_t i = 0; i < s->params.n_logit_bias; i++)
        if (s->bias[i].token < s->n_tokens)
            scores[s->bias[i].token] += s->bias[i].bias;
}

/* Words of a mask are mostly all of one kind; of mixed ones each forbidden token costs. */
static void apply_mask(const struct sampler *s, float *scores) {
    const int32_t whole = s->n_tokens / 32 * 32;
    for (int32_t i = 0; i < s->n_tokens; i += 32) {
        uint32_t forbidden = ~s->mask[i / 32];
        if (forbidden == UINT32_MAX && i < whole) {
            for (int32_t j = i; j < i + 32; j++)
                scores[j] = -INFINITY;
            continue;
        }
        if (i == whole)
            forbidden &= (1u << (s->n_tokens - whole)) - 1;
        for (; forbidden; forbidden &= forbidden - 1)
            scores[i + __builtin_ctz(forbidden)] = -INFINITY;
    }
}

/* Forbids what lies more than so many standard deviations below the best: of all logits that are
 * not forbidden, in the order of their ids. */
static void apply_top_n_sigma(const struct sampler *s, float *scores) {
    double sum = 0, squares = 0, max = -INFINITY;
    size_t n = 0;
    for (int32_t i = 0; i < s->n_tokens; i++) {
        const double x = (double)scores[i];
        if (!(x < INFINITY))
            return; /* NaN or infinity: an error soon */
        if (x == -INFINITY)
            continue;
        sum += x;
        max = x > max ? x : max;
        n++;
    }
    const double mean = sum / (double)n;
    for (int32_t i = 0; i < s->n_tokens; i++) {
        const double d = (double)scores[i] - mean;
        squares += scores[i] > -INFINITY ? d * d : 0;
    }
    const double lowest = max - (double)s->params.top_n_sigma * sqrt(squares / (double)n);
    for (int32_t i = 0; i < s->n_tokens; i++)
        if ((double)scores[i] < lowest)
            scores[i] = -INFINITY;
}

/* *scores: the logits after bias, penalties and mask; `logits` itself when none applies. */
static enum quern_status adjust(struct sampler *s, const float *logits,
                                struct constraint *constraint, const float **scores,
                                struct quern_error *err) {
    bool masked = constraint != NULL;
    if (!masked && s->params.n_logit_bias == 0 && !token_history_is_used(&s->history) &&
        s->params.top_n_sigma <= 0) {
        *scores = logits;
        return QUERN_OK;
    }
    if (masked) {
        enum quern_status status =
            constraint->ops->mask(constraint->state, s->mask, s->n_vocab, err);
        if (status)
            return status;
    }
    float *own = s->pool.own_scores;
    memcpy(own, logits, (size_t)s->n_tokens * sizeof *own);
    apply_bias(s, own);
    token_history_apply(&s->history, own, (size_t)s->n_tokens);
    if (masked)
        apply_mask(s, own);
    if (s->params.top_n_sigma > 0)
        apply_top_n_sigma(s, own);
    *scores = own;
    return QUERN_OK;
}

/* Brings the pool to what is drawn from. Greedy: the pool holds one token. `chance` is uniform in
 * 0 <= chance < 2^32 and decides about XTC. */
static enum quern_status narrow(struct sampler *s, const float *logits,
                                struct constraint *constraint, uint32_t chance,
                                struct quern_error *err) {
    const struct quern_sampling *p = &s->params;
    const bool greedy = p->temperature == 0;
    const float *scores;
    enum quern_status status = adjust(s, logits, constraint, &scores, err);
    if (!status)
        status =
            pool_fill(&s->pool, scores, (size_t)s->n_tokens, greedy ? 1 : (size_t)p->top_k, err);
    if (status)
        return status;
    pool_weigh(&s->pool, greedy ? 1 : p->temperature);
    if (greedy)
        return QUERN_OK;
    if (p->top_p < 1)
        pool_cut_top_p(&s->pool, p->top_p);
    if (p->min_p > 0)
        pool_cut_min_p(&s->pool, p->min_p);
    if (p->typical_p < 1)
        pool_cut_typical(&s->pool, p->typical_p);
    if ((double)chance < (double)p->xtc_probability * 0x1p32)
        pool_cut_xtc(&s->pool, p->xtc_threshold);
    return QUERN_OK;
}

/* floor(a * b / 2^64) */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
    const uint64_t low_half = UINT32_MAX;
    uint64_t a0 = a & low_half, a1 = a >> 32, b0 = b & low_half, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t middle_low = (middle & low_half) + a0 * b1;
    return a1 * b1 + (middle >> 32) + (middle_low >> 32);
}

enum quern_status sampler_sample(struct sampler *s, const float *logits, uint64_t position,
                                 struct constraint *constraint, int32_t *token,
                                 struct quern_error *err) {
    uint32_t random[4];
    rng_block(s->params.seed, RNG_STREAM, position, random);
    enum quern_status status = narrow(s, logits, constraint, random[2], err);
    if (status)
        return status;
    uint64_t uniform = (uint64_t)random[1] << 32 | random[0];
    uint64_t before;
    *token = rank_id(pool_find(&s->pool, multiply_high(uniform, s->pool.kept), &before).key);
    return QUERN_OK;
}

enum quern_status sampler_distribution(struct sampler *s, const float *logits,
                                       struct constraint *constraint, int32_t *ids, double *probs,
                                       size_t cap, size_t *n, struct quern_error *err) {
    enum quern_status status = narrow(s, logits, constraint, UINT32_MAX, err);
    if (status)
        return status;
    const struct ranked *survivors = pool_survivors(&s->pool, n);
    for (size_t i = 0; i < *n && i < cap; i++) {
        ids[i] = rank_id(survivors[i].key);
        probs[i] = (double)survivors[i].weight / (double)s->pool.kept;
    }
    return QUERN_OK;
}
