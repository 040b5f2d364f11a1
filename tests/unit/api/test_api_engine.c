/* quern_engine_*: what the public functions check, and one request through them. */
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "quern.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

enum { VOCAB = 512 };

static const char *dir;
static quern_model *model;

static int open_model(void **state) {
    (void)state;
    struct tiny_shape s = TINY_QWEN3;
    char path[4096];
    size_t size = 0;
    s.vocab = VOCAB;
    dir = tiny_model_write(&s, "engine", 3);
    char *json = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    assert_int_equal(os_path_join(path, sizeof path, dir, "tokenizer.json", NULL), QUERN_OK);
    support_write_file(path, json, size);
    free(json);
    const struct quern_model_options options = {.n_threads = 1};
    struct quern_error err;
    if (quern_model_open(dir, &options, &model, &err))
        fail_msg("%s", err.message);
    return 0;
}

static int close_model(void **state) {
    (void)state;
    quern_model_close(model);
    return 0;
}

static quern_engine *open_engine(const struct quern_engine_options *options) {
    quern_engine *e = NULL;
    struct quern_error err;
    if (quern_engine_create(model, options, &e, &err))
        fail_msg("%s", err.message);
    return e;
}

static void test_a_request_comes_back_with_text_tokens_and_usage(void **state) {
    (void)state;
    const int32_t prompt[] = {5, 6, 7, 8};
    quern_engine *e = open_engine(NULL);
    struct quern_request r = {.prompt = prompt, .n_prompt = 4};
    quern_sampling_defaults(model, &r.generate.sampling);
    r.generate.max_tokens = 6;
    r.generate.ignore_eos = true;
    r.generate.n_top_logprobs = 3;
    quern_ticket *t = NULL;
    assert_int_equal(quern_engine_submit(e, &r, &t, NULL), QUERN_OK);
    struct quern_request_result result;
    struct quern_event event;
    size_t n = 0;
    for (enum quern_next next; (next = quern_ticket_next(t, &event)) != QUERN_NEXT_END;) {
        if (next == QUERN_NEXT_NOTHING) {
            assert_true(quern_ticket_wait(t, 10000));
            continue;
        }
        if (event.token < 0)
            continue;
        n++;
        assert_int_equal(event.n_top, 3);
        assert_true(event.top[0].logprob >= event.top[1].logprob);
        /* Greedy: the token is the best one. */
        assert_int_equal(event.top[0].token, event.token);
    }
    assert_int_equal(quern_ticket_result(t, &result, NULL), QUERN_OK);
    assert_int_equal(n, 6);
    assert_int_equal(result.finish, QUERN_FINISH_LENGTH);
    assert_int_equal(result.usage.prompt_tokens, 4);
    assert_int_equal(result.usage.completion_tokens, 6);
    assert_true(result.usage.total_ms >= result.usage.queue_ms + result.usage.prefill_ms);
    quern_ticket_destroy(t);
    assert_true(quern_engine_drain(e, 1000));
    quern_engine_destroy(e);
}

static void test_wrong_options_are_named(void **state) {
    (void)state;
    const struct {
        struct quern_engine_options options;
        const char *word;
        enum quern_status status;
    } cases[] = {
        {{.n_context = -1}, "-1", QUERN_ERR_ARG},
        {{.n_context = 1 << 30}, "context", QUERN_ERR_ARG},
        {{.max_running = -5}, "max_running", QUERN_ERR_ARG},
        {{.max_running = 100000}, "max_running", QUERN_ERR_ARG},
        {{.queue_events = -1}, "queue_events", QUERN_ERR_ARG},
        {{.kv_type = (enum quern_kv_type)9}, "kv_type", QUERN_ERR_ARG},
        {{.yarn = (enum quern_yarn)9}, "yarn", QUERN_ERR_ARG},
        {{.kv_bytes = SIZE_MAX / 2}, "memory", QUERN_ERR_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quern_engine *e = NULL;
        struct quern_error err = {0};
        assert_int_equal(quern_engine_create(model, &cases[i].options, &e, &err), cases[i].status);
        if (!strstr(err.message, cases[i].word))
            fail_msg("\"%s\" does not name %s", err.message, cases[i].word);
        assert_null(e);
    }
}

static void test_missing_arguments_are_errors_or_nothing(void **state) {
    (void)state;
    quern_engine *e = NULL;
    quern_ticket *t = NULL;
    struct quern_event event;
    struct quern_request_result result;
    const struct quern_request r = {0};
    struct quern_error err;
    assert_int_equal(quern_engine_create(NULL, NULL, &e, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_engine_create(model, NULL, NULL, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_engine_submit(NULL, &r, &t, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_ticket_next(NULL, &event), QUERN_NEXT_NOTHING);
    assert_false(quern_ticket_wait(NULL, 0));
    assert_int_equal(quern_ticket_result(NULL, &result, &err), QUERN_ERR_ARG);
    quern_ticket_cancel(NULL);
    quern_ticket_destroy(NULL);
    quern_engine_destroy(NULL);
    e = open_engine(NULL);
    assert_int_equal(quern_engine_submit(e, NULL, &t, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_engine_submit(e, &r, NULL, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_engine_submit(e, &r, &t, &err), QUERN_ERR_ARG);
    quern_engine_destroy(e);
}

static void test_a_stop_string_that_is_no_utf8_is_refused(void **state) {
    (void)state;
    const char *const stops[] = {"a\xff"};
    const int32_t prompt[] = {5};
    quern_engine *e = open_engine(NULL);
    struct quern_request r = {.prompt = prompt, .n_prompt = 1};
    quern_ticket *t = NULL;
    struct quern_error err;
    quern_sampling_defaults(model, &r.generate.sampling);
    r.generate.stop_strings = stops;
    r.generate.n_stop_strings = 1;
    assert_int_equal(quern_engine_submit(e, &r, &t, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "stop_strings[0]"));
    quern_engine_destroy(e);
}

static void test_a_model_without_weights_has_no_engine(void **state) {
    (void)state;
    const struct quern_model_options options = {.tokenizer_only = true};
    quern_model *m = NULL;
    quern_engine *e = NULL;
    struct quern_error err;
    assert_int_equal(quern_model_open(dir, &options, &m, NULL), QUERN_OK);
    assert_int_equal(quern_engine_create(m, NULL, &e, &err), QUERN_ERR_STATE);
    quern_model_close(m);
}

static void test_a_model_without_tokenizer_scores_but_makes_no_text(void **state) {
    (void)state;
    const struct quern_model_options options = {.weights_only = true};
    const int32_t prompt[] = {5, 6};
    quern_model *m = NULL;
    quern_engine *e = NULL;
    quern_ticket *t = NULL;
    struct quern_error err;
    struct quern_request r = {.prompt = prompt, .n_prompt = 2};
    assert_int_equal(quern_model_open(dir, &options, &m, NULL), QUERN_OK);
    assert_int_equal(quern_engine_create(m, NULL, &e, NULL), QUERN_OK);
    assert_int_equal(quern_engine_submit(e, &r, &t, &err), QUERN_ERR_STATE);
    r.kind = QUERN_REQUEST_SCORE;
    r.score_tokens = prompt;
    r.n_score_tokens = 2;
    assert_int_equal(quern_engine_submit(e, &r, &t, &err), QUERN_OK);
    assert_true(quern_ticket_wait(t, 10000));
    struct quern_request_result result;
    assert_int_equal(quern_ticket_result(t, &result, NULL), QUERN_OK);
    assert_int_equal(result.n_values, 2);
    quern_ticket_destroy(t);
    quern_engine_destroy(e);
    quern_model_close(m);
}

static void test_a_draft_model_must_speak_the_same_tokens(void **state) {
    (void)state;
    const struct quern_model_options weights_only = {.weights_only = true};
    quern_model *m = NULL;
    quern_engine *e = NULL;
    struct quern_error err;
    assert_int_equal(quern_model_open(dir, &weights_only, &m, NULL), QUERN_OK);
    struct quern_engine_options o = {.draft = m};
    assert_int_equal(quern_engine_create(model, &o, &e, &err), QUERN_ERR_STATE);
    quern_model_close(m);
    o.draft = model; /* pointless, and right */
    assert_int_equal(quern_engine_create(model, &o, &e, &err), QUERN_OK);
    quern_engine_destroy(e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_comes_back_with_text_tokens_and_usage),
        cmocka_unit_test(test_wrong_options_are_named),
        cmocka_unit_test(test_missing_arguments_are_errors_or_nothing),
        cmocka_unit_test(test_a_stop_string_that_is_no_utf8_is_refused),
        cmocka_unit_test(test_a_model_without_weights_has_no_engine),
        cmocka_unit_test(test_a_draft_model_must_speak_the_same_tokens),
        cmocka_unit_test(test_a_model_without_tokenizer_scores_but_makes_no_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
