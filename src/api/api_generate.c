/* api_generate.c - sampling defaults of a checkpoint, and generation on a session. */
#include "api/context_options.h"
#include "engine/generate.h"

void quern_sampling_defaults(const quern_model *model, struct quern_sampling *out) {
    *out = (struct quern_sampling){
        .top_p = 1,
        .typical_p = 1,
        .repetition_penalty = 1,
        .dry_base = 1.75f,
        .dry_allowed_length = 2,
        .xtc_threshold = 0.1f,
    };
    if (!model->has_generation)
        return;
    const struct generation_config *g = &model->generation;
    out->temperature = g->do_sample ? g->temperature : 0;
    out->top_k = g->top_k;
    out->top_p = g->top_p;
    out->min_p = g->min_p;
    out->typical_p = g->typical_p;
    out->repetition_penalty = g->repetition_penalty;
}

enum quern_status quern_generate(quern_session *session,
                                 const struct quern_generate_options *options,
                                 struct quern_generate_result *result, struct quern_error *err) {
    if (!session || !options)
        return error_set(err, QUERN_ERR_ARG, "quern_generate: %s is NULL",
                         session ? "options" : "session");
    enum quern_status status = check_stop_strings(options, err);
    if (status)
        return status;
    if (!session->model->tokenizer)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its weights only: it has no tokenizer to make "
                         "text with");
    struct answer_guard *guard;
    const struct session *held = session->session;
    status = loaded_model_form(session->model, options->form, held->tokens, held->kv.n_tokens,
                               &guard, err);
    if (status)
        return status;
    const struct generate_context ctx = {
        .session = session->session,
        .tokenizer = session->model->tokenizer,
        .eos = session->model->generation.eos_token_ids,
        .n_eos = (size_t)session->model->generation.n_eos,
        .constraint = guard ? answer_guard_constraint(guard) : NULL,
    };
    status = generate(&ctx, options, result, err);
    answer_guard_destroy(guard);
    return status;
}
