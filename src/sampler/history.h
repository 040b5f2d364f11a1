/* history.h - the tokens a sequence has seen, and the penalties that look at them. */
#ifndef QUERN_SAMPLER_HISTORY_H
#define QUERN_SAMPLER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "quern.h"

/* How often each token occurs, and which do, so that a penalty visits only those. */
struct token_counts {
    uint32_t *count; /* [n_vocab] or NULL: not counted */
    int32_t *seen;   /* [n_seen] each token that was ever added, once */
    size_t n_seen;
    bool *listed; /* [n_vocab] is it in `seen`? */
};

struct token_history {
    struct quern_sampling params; /* logit_bias is not used */
    int32_t n_vocab;
    int32_t *tokens; /* prompt and generated; kept only when something needs the order */
    size_t n, capacity;
    struct token_counts window;    /* for repetition_penalty */
    struct token_counts generated; /* for presence and frequency */
    uint8_t *dry_longest;          /* [n_vocab] zero between calls; NULL: DRY is off */
    int32_t *dry_touched;          /* [n_vocab] */
};

enum quern_status token_history_init(struct token_history *h, const struct quern_sampling *params,
                               int32_t n_vocab, struct quern_error *err);
void token_history_release(struct token_history *h); /* zeroed is fine */

bool token_history_is_used(const struct token_history *h); /* is any penalty on? */

/* Room for n tokens in all, so that token_history_add up to there does not allocate. */
enum quern_status token_history_reserve(struct token_history *h, size_t n, struct quern_error *err);
/* On failure nothing was added. */
enum quern_status token_history_add(struct token_history *h, const int32_t *ids, size_t n, bool generated,
                              struct quern_error *err);

/* Changes scores[n_scores] by repetition, presence, frequency and DRY, in this order. */
void token_history_apply(struct token_history *h, float *scores, size_t n_scores);

/* dry.c: "Don't Repeat Yourself". */
void token_history_apply_dry(struct token_history *h, float *scores, size_t n_scores);

#endif
