#include <string.h>

#include "alloc/alloc_fail.h"
#include "alloc/scenarios.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 600, CONTEXT = 64, N_TOKENS = 40 };

static struct session *session;
static struct tokenizer *tokenizer;

/* Called by the first run, in which nothing fails; everything serves all later ones. */
static enum quern_status open_once(struct quern_error *err) {
    static struct device *device;
    static struct model *model;
    if (session)
        return QUERN_OK;
    struct tiny_shape shape = TINY_QWEN3;
    shape.vocab = VOCAB;
    enum quern_status status =
        tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, err);
    if (!status)
        status = device_cpu_create(1, NULL, &device, err);
    if (!status)
        status = model_open(tiny_model_write(&shape, "answer", 3), NULL, device, NULL, NULL, &model,
                            err);
    const struct session_options o = {
        .n_context = CONTEXT, .prefill_chunk = 8, .n_tokens_known = tokenizer_n_tokens(tokenizer)};
    return status ? status : session_create(model, &o, &session, err);
}

struct steps {
    size_t requests; /* at the first token */
    bool allocated;
};

static bool count_requests(void *user, const struct quern_event *event) {
    struct steps *steps = user;
    (void)event;
    if (steps->requests == 0)
        steps->requests = alloc_fail_requests();
    steps->allocated = steps->allocated || alloc_fail_requests() != steps->requests;
    return true;
}

/* Once the first token is there, the steps allocate nothing. */
static enum quern_status make_an_answer(struct quern_error *err) {
    static const int32_t prompt[] = {1, 2, 3, 4, 5};
    static const char *const stops[] = {"a stop string", "another"};
    struct steps steps = {0};
    const struct quern_generate_options options = {.sampling = {.temperature = 1,
                                                                .top_k = 50,
                                                                .top_p = 0.9f,
                                                                .min_p = 0.01f,
                                                                .typical_p = 0.9f,
                                                                .repetition_penalty = 1.1f,
                                                                .frequency_penalty = 0.1f,
                                                                .penalty_window = 20,
                                                                .dry_multiplier = 0.8f,
                                                                .dry_base = 1.75f,
                                                                .dry_allowed_length = 2},
                                                   .max_tokens = N_TOKENS,
                                                   .stop_strings = stops,
                                                   .n_stop_strings = 2,
                                                   .n_top_logprobs = 5,
                                                   .on_event = count_requests,
                                                   .user = &steps};
    struct quern_generate_result result = {0};
    enum quern_status status = open_once(err);
    if (!status)
        status = session_sync(session, prompt, 5, NULL, err);
    const struct generate_context ctx = {.session = session, .tokenizer = tokenizer};
    if (!status)
        status = generate(&ctx, &options, &result, err);
    if (!status && result.n_tokens != N_TOKENS)
        status = error_set(err, QUERN_ERR_STATE, "%zu tokens", result.n_tokens);
    if (!status && steps.allocated)
        status = error_set(err, QUERN_ERR_STATE, "a step allocated memory");
    return status;
}

/* What an answer lost to want of memory says; anything else is a fault. */
static enum quern_status read_answer(quern_ticket *t, struct quern_error *err) {
    struct quern_event event;
    struct quern_request_result result;
    for (;;) {
        const enum quern_next next = quern_ticket_next(t, &event);
        if (next == QUERN_NEXT_END)
            break;
        if (next == QUERN_NEXT_NOTHING)
            quern_ticket_wait(t, 1000);
    }
    enum quern_status status = quern_ticket_result(t, &result, err);
    if (status)
        return status;
    if (result.finish == QUERN_FINISH_ERROR)
        return error_set(err, result.status, "%s", result.message);
    if (result.finish != QUERN_FINISH_LENGTH)
        return error_set(err, QUERN_ERR_STATE, "finish %d", (int)result.finish);
    return QUERN_OK;
}

/* The second one from the prefix cache, if that had memory to remember the first; the third one with
 * log-probabilities of its prompt. */
static enum quern_status serve_three_requests(struct quern_error *err) {
    static const int32_t prompt[40] = {1, 2, 3, 4, 5};
    const struct quern_engine_options options = {0};
    enum quern_status status = open_once(err);
    if (status)
        return status;
    const struct engine_setup setup = {.model = session->model,
                                       .tokenizer = tokenizer,
                                       .n_tokens_known = tokenizer_n_tokens(tokenizer),
                                       .n_context = CONTEXT,
                                       .options = &options};
    struct quern_request request = {
        .prompt = prompt,
        .n_prompt = 40,
        .generate = {.sampling = {.top_p = 1, .typical_p = 1, .repetition_penalty = 1},
                     .max_tokens = 6,
                     .n_top_logprobs = 2}};
    struct engine *e = NULL;
    status = engine_create(&setup, &e, err);
    for (int i = 0; i < 3 && !status; i++) {
        quern_ticket *t = NULL;
        request.prompt_logprobs = i == 2;
        status = engine_submit(e, &request, NULL, &t, err);
        if (!status)
            status = read_answer(t, err);
        quern_ticket_destroy(t);
    }
    engine_destroy(e);
    return status;
}

const struct scenario engine_scenarios[] = {
    {"make_an_answer", make_an_answer},
    {"serve_three_requests", serve_three_requests},
    {NULL, NULL},
};
