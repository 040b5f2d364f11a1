#include "engine/completion.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "engine/thinking.h"
#include "sampler/sampler.h"
#include "sampler/stop_filter.h"

enum {
    STEP_TEXT_MAX = 1 << 20, /* far above what one token and a stop string can release */
    STOP_TOKENS_MAX = 1 << 16,
};

struct completion {
    const struct tokenizer *tokenizer;
    struct constraint *constraint;
    struct sampler *sampler;
    struct token_stream stream;
    struct stop_filter *stops;
    struct thinking thinking;
    int32_t *end_tokens; /* [n_end_tokens] the model's and the caller's */
    size_t n_end_tokens;
    int32_t n_tokens_known;
    int32_t n_top; /* -1: no logprobs */
    size_t max_tokens;
    bool done;
    struct quern_generate_result result;
    struct quern_top_logprob top[SAMPLER_TOP_MAX];
    struct buffer decoded; /* what the last token made certain */
    struct buffer text;    /* and what of it cannot become a stop string */
};

/* ---- setting up ------------------------------------------------------------------ */

static enum quern_status check_options(const struct quern_generate_options *o, int32_t n_vocab,
                                       struct quern_error *err) {
    if (o->max_tokens < 0)
        return error_set(err, QUERN_ERR_ARG, "generate: max_tokens is %d, expected 0 or more",
                         (int)o->max_tokens);
    if (o->thinking_budget < 0)
        return error_set(err, QUERN_ERR_ARG, "generate: thinking_budget is %d, expected 0 or more",
                         (int)o->thinking_budget);
    if (o->n_top_logprobs < -1 || o->n_top_logprobs > SAMPLER_TOP_MAX)
        return error_set(err, QUERN_ERR_ARG, "generate: n_top_logprobs is %d, expected -1 to %d",
                         (int)o->n_top_logprobs, SAMPLER_TOP_MAX);
    if ((o->n_stop_tokens && !o->stop_tokens) || (o->n_stop_strings && !o->stop_strings))
        return error_set(err, QUERN_ERR_ARG, "generate: %s is NULL, but its number is not 0",
                         o->n_stop_tokens && !o->stop_tokens ? "stop_tokens" : "stop_strings");
    if (o->n_stop_tokens > STOP_TOKENS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "generate: %zu stop tokens, expected at most %d",
                         o->n_stop_tokens, STOP_TOKENS_MAX);
    for (size_t i = 0; i < o->n_stop_tokens; i++)
        if (o->stop_tokens[i] < 0 || o->stop_tokens[i] >= n_vocab)
            return error_set(err, QUERN_ERR_ARG,
                             "generate: stop_tokens[%zu] is %d, expected 0 to %d", i,
                             (int)o->stop_tokens[i], (int)n_vocab - 1);
    return QUERN_OK;
}

static enum quern_status collect_end_tokens(struct completion *c,
                                            const struct completion_setup *setup,
                                            const struct quern_generate_options *o,
                                            struct quern_error *err) {
    size_t n_eos = o->ignore_eos ? 0 : setup->n_eos;
    c->end_tokens = malloc((n_eos + o->n_stop_tokens + 1) * sizeof *c->end_tokens);
    if (!c->end_tokens)
        return error_nomem(err);
    if (n_eos)
        memcpy(c->end_tokens, setup->eos, n_eos * sizeof *c->end_tokens);
    if (o->n_stop_tokens)
        memcpy(c->end_tokens + n_eos, o->stop_tokens, o->n_stop_tokens * sizeof *c->end_tokens);
    c->n_end_tokens = n_eos + o->n_stop_tokens;
    return QUERN_OK;
}

static enum quern_status make_sampler(struct completion *c, const struct completion_setup *setup,
                                      const struct quern_generate_options *o,
                                      struct quern_error *err) {
    size_t total;
    if (!checked_add(setup->n_prompt, c->max_tokens, &total))
        return error_nomem(err);
    enum quern_status status =
        sampler_create(&o->sampling, setup->n_vocab, c->n_tokens_known, &c->sampler, err);
    if (!status)
        status = sampler_reserve(c->sampler, total, err);
    if (!status)
        status = sampler_accept(c->sampler, setup->prompt, setup->n_prompt, false, err);
    return status;
}

/* Memory that steps would otherwise ask for while they run. */
static enum quern_status reserve_text(struct completion *c, struct quern_error *err) {
    const size_t usual_bytes = 1024;
    buffer_init(&c->decoded, STEP_TEXT_MAX);
    buffer_init(&c->text, STEP_TEXT_MAX);
    if (buffer_reserve(&c->decoded, usual_bytes) || buffer_reserve(&c->text, usual_bytes))
        return error_nomem(err);
    return QUERN_OK;
}

enum quern_status completion_create(const struct completion_setup *setup,
                                    const struct quern_generate_options *options,
                                    struct completion **out, struct quern_error *err) {
    enum quern_status status = check_options(options, setup->n_vocab, err);
    if (status)
        return status;
    struct completion *c = calloc(1, sizeof *c);
    if (!c)
        return error_nomem(err);
    c->tokenizer = setup->tokenizer;
    c->constraint = setup->constraint;
    c->n_top = options->n_top_logprobs;
    int32_t known = tokenizer_n_tokens(setup->tokenizer);
    c->n_tokens_known = known < setup->n_vocab ? known : setup->n_vocab;
    size_t asked = (size_t)options->max_tokens;
    c->max_tokens = asked && asked < setup->room ? asked : setup->room;
    c->done = c->max_tokens == 0;
    c->result = (struct quern_generate_result){
        .finish = QUERN_FINISH_LENGTH, .stop_token = -1, .stop_string = -1};
    token_stream_init(&c->stream, setup->tokenizer, !options->keep_special);
    status = reserve_text(c, err);
    if (!status)
        status = collect_end_tokens(c, setup, options, err);
    if (!status)
        status = stop_filter_create(options->stop_strings, options->n_stop_strings, &c->stops, err);
    if (!status)
        status = thinking_init(&c->thinking, setup->tokenizer, setup->prompt, setup->n_prompt,
                               options->thinking_budget, err);
    if (!status)
        status = make_sampler(c, setup, options, err);
    if (status) {
        completion_destroy(c);
        return status;
    }
    *out = c;
    return QUERN_OK;
}

void completion_destroy(struct completion *c) {
    if (!c)
        return;
    sampler_destroy(c->sampler);
    stop_filter_destroy(c->stops);
    thinking_release(&c->thinking);
    free(c->end_tokens);
    buffer_release(&c->decoded);
    buffer_release(&c->text);
    free(c);
}

/* ---- one token -------------------------------------------------------------------- */

bool completion_is_done(const struct completion *c) {
    return c->done;
}

void completion_cancel(struct completion *c) {
    c->done = true;
    c->result.finish = QUERN_FINISH_CANCELLED;
}

void completion_result(const struct completion *c, struct quern_generate_result *out) {
    *out = c->result;
    out->n_thinking = c->thinking.n_thought;
}

size_t completion_forced(struct completion *c, int32_t *tokens, size_t max) {
    size_t n;
    const size_t n_left = c->max_tokens - c->result.n_tokens;
    const int32_t *sentence = thinking_forced(&c->thinking, c->stream.n_pending > 0, &n);
    if (n) {
        n = n < max ? n : max;
        memcpy(tokens, sentence, n * sizeof *tokens);
        return n;
    }
    if (!c->constraint || !c->constraint->ops->forced)
        return 0;
    return c->constraint->ops->forced(c->constraint->state, tokens, max, n_left);
}

bool completion_wants_logits(const struct completion *c) {
    return c->n_top >= 0;
}

enum quern_status completion_guess(struct completion *c, const float *logits, uint64_t position,
                                   int32_t *token, struct quern_error *err) {
    return sampler_sample(c->sampler, logits, position, NULL, token, err);
}

static bool is_end_token(const struct completion *c, int32_t token) {
    for (size_t i = 0; i < c->n_end_tokens; i++)
        if (c->end_tokens[i] == token)
            return true;
    return false;
}

static enum quern_status choose(struct completion *c, const float *logits, uint64_t position,
                                int32_t *token, struct quern_error *err) {
    const struct constraint_ops *ops = c->constraint ? c->constraint->ops : NULL;
    enum quern_status status = QUERN_OK;
    if (completion_forced(c, token, 1) == 0)
        status = sampler_sample(c->sampler, logits, position, c->constraint, token, err);
    if (!status && ops && ops->settle)
        *token = ops->settle(c->constraint->state, *token, c->max_tokens - c->result.n_tokens);
    if (!status)
        status = sampler_accept(c->sampler, token, 1, true, err);
    if (!status && ops)
        status = ops->accept(c->constraint->state, *token, err);
    return status;
}

/* Passes what was decoded on to the text, unless a stop string ends in it. */
static enum quern_status filter_decoded(struct completion *c, struct quern_error *err) {
    int32_t hit;
    enum quern_status status = buffer_status(&c->decoded, "generated text", err);
    if (!status)
        status = stop_filter_push(c->stops, buffer_str(&c->decoded), &c->text, &hit, err);
    if (status || hit < 0)
        return status;
    c->done = true;
    c->result.finish = QUERN_FINISH_STOP;
    c->result.stop_string = hit;
    return QUERN_OK;
}

static void fill_event(struct completion *c, int32_t token, const float *logits,
                       struct quern_event *event) {
    *event = (struct quern_event){
        .token = token, .text = c->text.data ? c->text.data : "", .text_len = c->text.len};
    if (!logits || c->n_top < 0)
        return;
    event->n_top = (size_t)c->n_top;
    sampler_logprobs(logits, c->n_tokens_known, token, &event->logprob, c->top, event->n_top);
    while (event->n_top && c->top[event->n_top - 1].token < 0)
        event->n_top--; /* a vocabulary smaller than the list */
    event->top = event->n_top ? c->top : NULL;
}

void completion_score(struct completion *c, const float *logits, int32_t token,
                      struct quern_event *event) {
    buffer_clear(&c->text);
    fill_event(c, token, logits, event);
}

enum quern_status completion_step(struct completion *c, const float *logits, uint64_t position,
                                  struct quern_event *event, struct quern_error *err) {
    int32_t token;
    enum quern_status status = choose(c, logits, position, &token, err);
    if (status)
        return status;
    buffer_clear(&c->decoded);
    buffer_clear(&c->text);
    c->result.n_tokens++;
    thinking_push(&c->thinking, token);
    if (is_end_token(c, token)) {
        c->done = true;
        c->result.finish = QUERN_FINISH_STOP;
        c->result.stop_token = token;
    } else {
        token_stream_push(&c->stream, token, &c->decoded);
        status = filter_decoded(c, err);
        c->done = c->done || c->result.n_tokens >= c->max_tokens;
    }
    if (!status)
        fill_event(c, token, logits, event);
    return status;
}

enum quern_status completion_finish(struct completion *c, struct quern_event *event,
                                    struct quern_error *err) {
    buffer_clear(&c->decoded);
    buffer_clear(&c->text);
    token_stream_finish(&c->stream, &c->decoded);
    enum quern_status status = c->result.stop_string < 0 ? filter_decoded(c, err) : QUERN_OK;
    if (!status) {
        stop_filter_finish(c->stops, &c->text);
        status = buffer_status(&c->text, "generated text", err);
    }
    c->done = true;
    if (!status)
        fill_event(c, -1, NULL, event);
    return status;
}
