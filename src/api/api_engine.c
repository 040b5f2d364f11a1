/* api_engine.c - quern_engine_*: arguments checked and defaults filled in, the rest is
 * engine/engine.c. Tickets are the engine's own (engine/ticket.c). */
#include <stdlib.h>

#include "api/context_options.h"
#include "engine/engine.h"

/* Guesses are ids: they must mean the same to both. */
static enum quern_status check_same_tokens(const quern_model *model, const quern_model *draft,
                                           struct quern_error *err) {
    if (!draft->model || !draft->tokenizer || !model->tokenizer)
        return error_set(err, QUERN_ERR_STATE,
                         "a draft model needs its weights, and both models their tokenizers");
    const int32_t n = tokenizer_n_tokens(model->tokenizer);
    bool same = tokenizer_n_tokens(draft->tokenizer) == n;
    for (int32_t i = 0; i < n && same; i++)
        same = str_eq(tokenizer_token_bytes(model->tokenizer, i),
                      tokenizer_token_bytes(draft->tokenizer, i));
    return same ? QUERN_OK
                : error_set(err, QUERN_ERR_UNSUPPORTED,
                            "the draft model has another tokenizer than the model");
}

static enum quern_status resolve_draft(const quern_model *model, const quern_model *draft,
                                       const struct quern_engine_options *options, size_t n_context,
                                       struct engine_setup *out, struct quern_error *err) {
    if (!draft)
        return QUERN_OK;
    enum quern_status status = check_same_tokens(model, draft, err);
    if (status)
        return status;
    const size_t most = rope_max_context(&draft->config);
    *out = (struct engine_setup){
        .model = draft->model,
        .n_context = most < n_context ? most : n_context,
        .rope_scaled = wants_yarn(&draft->config, options->yarn, 0, n_context),
    };
    return QUERN_OK;
}

enum quern_status quern_engine_create(quern_model *model,
                                      const struct quern_engine_options *options,
                                      quern_engine **out, struct quern_error *err) {
    static const struct quern_engine_options defaults;
    if (!model || !out)
        return error_set(err, QUERN_ERR_ARG, "quern_engine_create: model or out is missing");
    if (!model->model)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its tokenizer only: it has no weights");
    if (!options)
        options = &defaults;
    size_t n_context = 0;
    enum quern_status status = check_yarn(options->yarn, err);
    if (!status)
        status = choose_context(&model->config, options->n_context, &n_context, err);
    struct engine_setup draft;
    if (!status)
        status = resolve_draft(model, options->draft, options, n_context, &draft, err);
    if (status)
        return status;
    const struct engine_setup setup = {
        .model = model->model,
        .tokenizer = model->tokenizer,
        .eos = model->generation.eos_token_ids,
        .n_eos = (size_t)model->generation.n_eos,
        .n_tokens_known = tokens_known(model),
        .gaps = model->gaps,
        .n_gaps = model->n_gaps,
        .n_context = n_context,
        .rope_scaled = wants_yarn(&model->config, options->yarn, 0, n_context),
        .options = options,
        .adapters = &model->adapters,
        .draft = options->draft ? &draft : NULL,
    };
    quern_engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_nomem(err);
    e->model = model;
    status = engine_create(&setup, &e->engine, err);
    if (status) {
        free(e);
        return status;
    }
    *out = e;
    return QUERN_OK;
}

void quern_engine_destroy(quern_engine *engine) {
    if (!engine)
        return;
    engine_destroy(engine->engine);
    free(engine);
}

static void release_guard(void *guard) {
    answer_guard_destroy(guard);
}

enum quern_status quern_engine_submit(quern_engine *engine, const struct quern_request *request,
                                      quern_ticket **out, struct quern_error *err) {
    if (!engine || !request || !out)
        return error_set(err, QUERN_ERR_ARG,
                         "quern_engine_submit: engine, request or out is missing");
    struct answer_guard *guard = NULL;
    enum quern_status status = check_stop_strings(&request->generate, err);
    if (!status && request->kind == QUERN_REQUEST_GENERATE)
        status = loaded_model_form(engine->model, request->generate.form, request->prompt,
                                   request->n_prompt, &guard, err);
    if (status)
        return status;
    const struct engine_extras extras = {
        .constraint = guard ? answer_guard_constraint(guard) : NULL,
        .on_release = guard ? release_guard : NULL,
        .user = guard,
    };
    status = engine_submit(engine->engine, request, guard ? &extras : NULL, out, err);
    if (status)
        answer_guard_destroy(guard);
    return status;
}

bool quern_engine_drain(quern_engine *engine, int64_t timeout_ms) {
    return !engine || engine_drain(engine->engine, timeout_ms);
}

void quern_engine_get_stats(quern_engine *engine, struct quern_engine_stats *out) {
    engine_get_stats(engine->engine, out);
}
