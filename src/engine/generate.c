#include "engine/generate.h"

#include "base/os.h"
#include "engine/completion.h"

static enum quern_status start(const struct generate_context *ctx,
                               const struct quern_generate_options *options,
                               struct completion **out, struct quern_error *err) {
    const struct session *s = ctx->session;
    if (!ctx->tokenizer)
        return error_set(err, QUERN_ERR_STATE,
                         "generate: the model was opened without its tokenizer");
    if (!s->has_logits)
        return error_set(err, QUERN_ERR_STATE,
                         "generate: the session has no logits; feed it at least one token first");
    const struct completion_setup setup = {
        .tokenizer = ctx->tokenizer,
        .n_vocab = s->model->config.vocab_size,
        .eos = ctx->eos,
        .n_eos = ctx->n_eos,
        .constraint = ctx->constraint,
        .prompt = s->tokens,
        .n_prompt = s->kv.n_tokens,
        .room = s->kv.max_tokens - s->kv.n_tokens,
    };
    return completion_create(&setup, options, out, err);
}

enum { AT_ONCE_MAX = 32 };

/* Makes a token of the logits, and those that must follow it: all are computed together. The events
 * go out before: nobody waits for the forward pass to read what is already known. */
static enum quern_status make_tokens(const struct session *s, struct completion *c,
                                     const struct quern_generate_options *options, int32_t *tokens,
                                     size_t *n, bool *wanted, struct quern_error *err) {
    struct quern_event event;
    int32_t forced;
    *n = 0;
    do {
        const enum quern_status status =
            completion_step(c, *n ? NULL : s->logits, s->kv.n_tokens + *n, &event, err);
        if (status)
            return status;
        tokens[(*n)++] = event.token;
        *wanted = !options->on_event || options->on_event(options->user, &event);
    } while (*wanted && *n < AT_ONCE_MAX && !completion_is_done(c) && !completion_wants_logits(c) &&
             completion_forced(c, &forced, 1) > 0);
    return QUERN_OK;
}

static enum quern_status run(struct session *s, struct completion *c,
                             const struct quern_generate_options *options,
                             struct quern_error *err) {
    struct quern_event event;
    bool wanted = true;
    while (wanted && !completion_is_done(c)) {
        int32_t tokens[AT_ONCE_MAX];
        size_t n;
        enum quern_status status = make_tokens(s, c, options, tokens, &n, &wanted, err);
        if (!status)
            status = session_feed(s, tokens, n, NULL, err);
        if (status)
            return status;
    }
    if (!wanted) {
        completion_cancel(c);
        return QUERN_OK;
    }
    enum quern_status status = completion_finish(c, &event, err);
    if (!status && options->on_event)
        options->on_event(options->user, &event);
    return status;
}

enum quern_status generate(const struct generate_context *ctx,
                           const struct quern_generate_options *options,
                           struct quern_generate_result *result, struct quern_error *err) {
    struct completion *c = NULL;
    const uint64_t begin_ns = os_now_ns();
    enum quern_status status = start(ctx, options, &c, err);
    if (!status)
        status = run(ctx->session, c, options, err);
    if (!status && result) {
        completion_result(c, result);
        result->seconds = (double)(os_now_ns() - begin_ns) * 1e-9;
    }
    completion_destroy(c);
    return status;
}
