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

/* Tokens the penalties look at. `generated` tells presence and frequency penalties apart
 * from the prompt. */
enum quern_status sampler_accept(struct sampler *s, const int32_t *ids, size_t n, bool generated,
                                 struct quern_error *err);

/* Draws the token for `position` (a counter: same seed, position and logits give the same
 * token). logits[n_vocab] is not changed. `constraint` may be NULL. No allocation. An
 * all-forbidden row is QUERN_ERR_STATE. */
enum quern_status sampler_sample(struct sampler *s, const float *logits, uint64_t position,
                                 struct constraint *constraint, int32_t *token,
                                 struct quern_error *err);

/* log softmax of the untouched logits at `token`, and the n best tokens; ties go to the
 * smaller id. n <= 20. */
void sampler_logprobs(const float *logits, int32_t n_tokens, int32_t token, float *logprob,
                      struct quern_top_logprob *top, size_t n_top);

int32_t sampler_argmax(const float *logits, int32_t n); /* ties go to the smaller id */

#endif
