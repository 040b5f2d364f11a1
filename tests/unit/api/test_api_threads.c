/* One model under several threads, each with sessions of its own: what quern.h allows. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "quern.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { CALLERS = 4, ROUNDS = 6, PROMPT = 40, ANSWER = 8, VOCAB = 512 };

struct caller {
    quern_model *model;
    const float *logits;    /* [VOCAB] after the prompt, computed alone */
    const int32_t *answer;  /* [ANSWER] made alone */
    int32_t first_context;  /* contexts differ, so that scratch grows while others compute */
    int wrong;
};

static void write_into(const char *dir, const char *name, const char *text, size_t size) {
    char path[4096];
    assert_int_equal(os_path_join(path, sizeof path, dir, name, NULL), QUERN_OK);
    support_write_file(path, text, size);
}

static quern_model *open_model(void) {
    static const char template[] =
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content|trim }}{{ m|tojson }}"
        "<|im_end|>\n{% endfor %}";
    struct tiny_shape s = TINY_QWEN3;
    s.vocab = VOCAB;
    const char *dir = tiny_model_write(&s, "shared", 3);
    size_t size = 0;
    char *json = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    write_into(dir, "tokenizer.json", json, size);
    write_into(dir, "chat_template.jinja", template, sizeof template - 1);
    free(json);
    const struct quern_model_options options = {.n_threads = 2};
    quern_model *model = NULL;
    struct quern_error err = {0};
    if (quern_model_open(dir, &options, &model, &err))
        fail_msg("%s", err.message);
    return model;
}

/* Prompt and answer in a session of n_context. False when a call failed. */
static bool answer_once(quern_model *model, int32_t n_context, float *logits, int32_t *answer) {
    int32_t prompt[PROMPT];
    for (int32_t i = 0; i < PROMPT; i++)
        prompt[i] = (i * i * 7 + i) % VOCAB;
    struct quern_generate_options options = {.max_tokens = ANSWER, .ignore_eos = true};
    quern_sampling_defaults(model, &options.sampling);
    options.sampling.temperature = 1;
    const struct quern_session_options so = {.n_context = n_context, .prefill_chunk = 16};
    quern_session *session = NULL;
    if (quern_session_create(model, &so, &session, NULL))
        return false;
    bool ok = !quern_session_feed(session, prompt, PROMPT, NULL);
    if (ok)
        memcpy(logits, quern_session_logits(session), VOCAB * sizeof *logits);
    ok = ok && !quern_generate(session, &options, NULL, NULL);
    size_t n = 0;
    const int32_t *tokens = quern_session_tokens(session, &n);
    ok = ok && n == PROMPT + ANSWER;
    if (ok)
        memcpy(answer, tokens + PROMPT, ANSWER * sizeof *answer);
    quern_session_destroy(session);
    return ok;
}

static void *answer_often(void *arg) {
    struct caller *c = arg;
    for (int32_t i = 0; i < ROUNDS; i++) {
        float logits[VOCAB];
        int32_t answer[ANSWER];
        if (!answer_once(c->model, c->first_context + 100 * i, logits, answer) ||
            memcmp(logits, c->logits, sizeof logits) != 0 ||
            memcmp(answer, c->answer, sizeof answer) != 0)
            c->wrong++;
    }
    return NULL;
}

static void sessions_on_several_threads_compute_what_one_does_alone(void **state) {
    (void)state;
    quern_model *model = open_model();
    float logits[VOCAB];
    int32_t answer[ANSWER];
    assert_true(answer_once(model, 64, logits, answer));
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int32_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){
            .model = model, .logits = logits, .answer = answer, .first_context = 64 + 10 * i};
        assert_int_equal(pthread_create(&threads[i], NULL, answer_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    quern_model_close(model);
}

/* Rendered, tokenized and back. False when a call failed or the text is not the rendered one. */
static bool text_comes_back(const quern_model *model) {
    static const char messages[] =
        "[{\"role\": \"user\", \"content\": \" na\\u00efve \\ud83d\\ude00 1234 don't\\n\\n\"}]";
    char *text = NULL, *back = NULL;
    int32_t *ids = NULL;
    size_t len = 0, n = 0, back_len = 0;
    bool ok = !quern_render_chat(model, messages, NULL, &text, &len, NULL) &&
              !quern_tokenize(model, text, len, false, true, &ids, &n, NULL) &&
              !quern_detokenize(model, ids, n, false, &back, &back_len, NULL) && back_len == len &&
              memcmp(back, text, len) == 0;
    quern_free(text);
    quern_free(ids);
    quern_free(back);
    return ok;
}

static void *render_often(void *arg) {
    struct caller *c = arg;
    for (int i = 0; i < 50; i++)
        if (!text_comes_back(c->model))
            c->wrong++;
    return NULL;
}

static void text_functions_of_one_model_run_on_several_threads(void **state) {
    (void)state;
    quern_model *model = open_model();
    struct caller callers[CALLERS];
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.model = model};
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(callers[i].wrong, 0);
    }
    quern_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_on_several_threads_compute_what_one_does_alone),
        cmocka_unit_test(text_functions_of_one_model_run_on_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
