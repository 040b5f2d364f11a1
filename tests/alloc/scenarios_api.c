#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/scenarios.h"
#include "base/error.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

static void copy_tokenizer(const char *dir) {
    size_t size = 0;
    char path[4096];
    char *json = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    support_write_file(path, json, size);
    snprintf(path, sizeof path, "%s/chat_template.jinja", dir);
    static const char template[] = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
                                   "{{ m.content }}<|im_end|>\n{% endfor %}";
    support_write_file(path, template, sizeof template - 1);
    free(json);
}

/* Written by the first run, in which nothing fails. */
static const char *model_dir(void) {
    static const char *dir;
    if (!dir) {
        struct tiny_shape s = TINY_QWEN3;
        s.vocab = 512;
        s.layers = 1;
        dir = tiny_model_write(&s, "api", 3);
        copy_tokenizer(dir);
    }
    return dir;
}

static bool count(void *user, const struct quern_event *event) {
    *(size_t *)user += event->token >= 0;
    return true;
}

static enum quern_status answer(quern_model *model, quern_session *session,
                                struct quern_error *err) {
    const char *messages = "[{\"role\": \"user\", \"content\": \"Hi\"}]";
    const struct quern_render_options render = {.enable_thinking = -1};
    size_t n_ids = 0, len = 0, n_events = 0;
    int32_t *ids = NULL;
    char *prompt = NULL, *text = NULL;
    struct quern_generate_options options = {
        .max_tokens = 3, .ignore_eos = true, .on_event = count, .user = &n_events};
    quern_sampling_defaults(model, &options.sampling);
    options.sampling.repetition_penalty = 1.1f;
    const char *const stops[] = {"never said"};
    options.stop_strings = stops;
    options.n_stop_strings = 1;
    enum quern_status status = quern_render_chat(model, messages, &render, &prompt, &len, err);
    if (!status)
        status = quern_tokenize(model, prompt, len, false, true, &ids, &n_ids, err);
    if (!status)
        status = quern_session_sync(session, ids, n_ids, NULL, err);
    if (!status)
        status = quern_generate(session, &options, NULL, err);
    if (!status)
        status = quern_detokenize(model, ids, n_ids, false, &text, &len, err);
    if (!status && (n_events != 3 || strcmp(text, prompt) != 0))
        status = error_set(err, QUERN_ERR_STATE, "wrong result");
    quern_free(prompt);
    quern_free(text);
    quern_free(ids);
    return status;
}

static enum quern_status open_a_directory_and_answer(struct quern_error *err) {
    const struct quern_model_options options = {.n_threads = 1};
    const struct quern_session_options o = {.n_context = 64, .prefill_chunk = 8};
    quern_model *model = NULL;
    quern_session *session = NULL;
    enum quern_status status = quern_model_open(model_dir(), &options, &model, err);
    if (!status)
        status = quern_session_create(model, &o, &session, err);
    if (!status)
        status = answer(model, session, err);
    quern_session_destroy(session);
    quern_model_close(model);
    return status;
}

static enum quern_status open_the_tokenizer_alone(struct quern_error *err) {
    const struct quern_model_options options = {.tokenizer_only = true};
    quern_model *model = NULL;
    enum quern_status status = quern_model_open(model_dir(), &options, &model, err);
    struct quern_model_info info = {0};
    if (!status)
        quern_model_get_info(model, &info);
    if (!status && (info.n_vocab != 512 || !info.has_chat_template || info.n_layers != 1))
        status = error_set(err, QUERN_ERR_STATE, "wrong result");
    quern_model_close(model);
    return status;
}

static enum quern_status open_a_gguf_file(struct quern_error *err) {
    static const char *path;
    const struct quern_model_options options = {.n_threads = 1};
    quern_model *model = NULL;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (!path) /* by the first run, in which nothing fails */
        path = support_fixture("golden/gguf/llama.gguf");
    enum quern_status status = quern_model_open(path, &options, &model, err);
    if (!status)
        status = quern_tokenize(model, "ab", 2, true, true, &ids, &n_ids, err);
    struct quern_model_info info = {0};
    if (!status)
        quern_model_get_info(model, &info);
    if (!status && (n_ids != 2 || info.n_vocab != 8 || !info.has_chat_template))
        status = error_set(err, QUERN_ERR_STATE, "wrong result");
    quern_free(ids);
    quern_model_close(model);
    return status;
}

/* After a failure in the middle nothing is appended, and the sessions are fine. */
static enum quern_status feed_a_padded_batch(struct quern_error *err) {
    enum { ROWS = 2, LENGTH = 4, VOCAB = 512 };
    static const int32_t ids[ROWS][LENGTH] = {{0, 0, 7, 8}, {1, 2, 3, 4}};
    static const uint8_t mask[ROWS][LENGTH] = {{0, 0, 1, 1}, {1, 1, 1, 1}};
    static float logits[ROWS][VOCAB];
    const struct quern_model_options options = {.n_threads = 1};
    const struct quern_session_options o = {.n_context = 64, .prefill_chunk = 8};
    quern_model *model = NULL;
    quern_session *sessions[ROWS] = {NULL, NULL};
    enum quern_status status = quern_model_open(model_dir(), &options, &model, err);
    for (size_t i = 0; i < ROWS && !status; i++)
        status = quern_session_create(model, &o, &sessions[i], err);
    if (!status) {
        status = quern_sessions_feed_padded(sessions, ROWS, ids[0], mask[0], LENGTH, logits[0], err);
        const size_t want[ROWS] = {status ? 0 : 2, status ? 0 : 4};
        for (size_t i = 0; i < ROWS; i++) {
            size_t n = 0;
            (void)quern_session_tokens(sessions[i], &n);
            if (n != want[i])
                status = error_set(err, QUERN_ERR_STATE, "row %zu holds %zu tokens", i, n);
        }
    }
    for (size_t i = 0; i < ROWS; i++)
        quern_session_destroy(sessions[i]);
    quern_model_close(model);
    return status;
}

const struct scenario api_scenarios[] = {
    {"open_a_gguf_file", open_a_gguf_file},
    {"open_a_directory_and_answer", open_a_directory_and_answer},
    {"feed_a_padded_batch", feed_a_padded_batch},
    {"open_the_tokenizer_alone", open_the_tokenizer_alone},
    {NULL, NULL},
};
