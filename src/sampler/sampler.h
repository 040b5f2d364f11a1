/* sampler.h - from a row of logits to a token. */
#ifndef QUERN_SAMPLER_SAMPLER_H
#define QUERN_SAMPLER_SAMPLER_H

#include "base/error.h"
#include "quern.h"
#include "sampler/constraint.h"

struct sampler; /* one sequence's state; one thread at a time */

/* Checks every field of `params` (NaN, ranges; the message names the field) and copies
 * what it needs. n_tokens: ids >= n_tokens are padding and never sampled. */
enum quern_status sampler_create(const struct quern_sampling *params, int32_t n_vocab,
                                 int32_t n_tokens, struct sampler **out, struct quern_error *err);
void sampler_destroy(struct sampler *s); /* NULL is fine */

/* Room for a sequence of n tokens: sampler_accept up to there does not allocate. */
enum quern_status sampler_reserve(struct sampler *s, size_t n, struct quern_error *err);

/* Tokens the penalties look at. `generated` tells presence and frequency penalties apart
 * from the prompt. */
enum quern_status sampler_accept(struct sampler *s, const int32_t *ids, size_t n, bool generated,
                                 struct quern_error *err);

/* Draws the token for `position` (a counter: same seed, position and logits give the same
 * token, on every machine). logits[n_vocab] is not changed. `constraint` may be NULL. No
 * allocation. A row that forbids every token, or with NaN or +infinity, is QUERN_ERR_STATE. */
enum quern_status sampler_sample(struct sampler *s, const float *logits, uint64_t position,
                                 struct constraint *constraint, int32_t *token,
                                 struct quern_error *err);

/* What sampler_sample draws from: the tokens left in the draw, best first, and their
 * probabilities (they sum to 1). XTC is in it only
 * where its probability is 1. At most `cap` are written to ids and probs; the answer in *n is
 * how many there are. For tests and display. */
enum quern_status sampler_distribution(struct sampler *s, const float *logits,
                                       struct constraint *constraint, int32_t *ids, double *probs,
                                       size_t cap, size_t *n, struct quern_error *err);

/* log softmax of logits[n_tokens] at `token`; -INFINITY for a forbidden token, NaN when a
 * logit is NaN. */
double sampler_logprob(const float *logits, int32_t n_tokens, int32_t token);

enum { SAMPLER_TOP_MAX = 20 };

/* log softmax of the untouched logits at `token`, and the n_top <= SAMPLER_TOP_MAX best
 * tokens; ties go to the smaller id. When n_tokens is smaller than n_top, the rest has token -1. */
void sampler_logprobs(const float *logits, int32_t n_tokens, int32_t token, float *logprob,
                      struct quern_top_logprob *top, size_t n_top);

/* Ties go to the smaller id; NaN never wins; 0 when nothing is above -infinity. */
int32_t sampler_argmax(const float *logits, int32_t n);

#endif
