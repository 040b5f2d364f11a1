/* completion.h - one answer being made, without the model: logits in, tokens and text out.
 * The loop that computes the tokens is the caller's (generate.c for one sequence). One thread at a
 * time. */
#ifndef QUERN_ENGINE_COMPLETION_H
#define QUERN_ENGINE_COMPLETION_H

#include "quern.h"
#include "sampler/constraint.h"
#include "tokenizer/tokenizer.h"

struct completion;

struct completion_setup {
    const struct tokenizer *tokenizer; /* borrowed, as is the constraint */
    int32_t n_vocab;                   /* width of a row of logits */
    const int32_t *eos;                /* the model's end tokens */
    size_t n_eos;
    struct constraint *constraint; /* or NULL */
    const int32_t *prompt;         /* the tokens before the answer, for the penalties */
    size_t n_prompt;
    size_t room; /* tokens the context still takes */
};

/* Checks and copies everything in `options`; they may go afterwards. */
enum quern_status completion_create(const struct completion_setup *setup,
                                    const struct quern_generate_options *options,
                                    struct completion **out, struct quern_error *err);
void completion_destroy(struct completion *c); /* NULL is fine */

/* No further token is to be made. True from the start when there is no room. */
bool completion_is_done(const struct completion *c);

/* Chooses the next token from logits[n_vocab] (NULL will do where it is forced and nobody wants
 * log-probabilities); `position` is its place in the sequence, which decides the random number. Only
 * before completion_is_done. The event is valid until the next call. An end token gives no text. The
 * token counts as generated, and is the caller's to compute if the sequence goes on. */
enum quern_status completion_step(struct completion *c, const float *logits, uint64_t position,
                                  struct quern_event *event, struct quern_error *err);

/* The tokens that the next steps will give whatever the logits say: the end of a thinking budget, text
 * to which the constraint leaves no choice. At most `max`; how many there are. */
size_t completion_forced(struct completion *c, int32_t *tokens, size_t max);
/* Whether events carry log-probabilities, for which forced tokens need logits too. */
bool completion_wants_logits(const struct completion *c);

/* What the answer's sampler would take at `position` given other logits (a draft model's), as far
 * as history and constraint are left as they are: with the same random number, so that similar
 * logits give the same token. Changes nothing. */
enum quern_status completion_guess(struct completion *c, const float *logits, uint64_t position,
                                   int32_t *token, struct quern_error *err);

/* An event for a token of the prompt, given the logits before it: log-probabilities, no text. */
void completion_score(struct completion *c, const float *logits, int32_t token,
                      struct quern_event *event);

/* The answer ends here, whatever comes next. */
void completion_cancel(struct completion *c);

/* The last event, token -1, with the text held back: half a character (as U+FFFD), the beginning of
 * a stop string that was not completed. Once, when no more steps follow. */
enum quern_status completion_finish(struct completion *c, struct quern_event *event,
                                    struct quern_error *err);

/* `seconds` is left at 0. */
void completion_result(const struct completion *c, struct quern_generate_result *out);

#endif
