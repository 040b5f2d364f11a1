#include <math.h>
#include <string.h>

#include "api/loaded_model.h"
#include "base/os.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

static quern_model *open_model(const struct tiny_shape *shape, const char *name) {
    const struct quern_model_options options = {.n_threads = 1, .weights_only = true};
    quern_model *model = NULL;
    struct quern_error err = {0};
    if (quern_model_open(tiny_model_write(shape, name, 3), &options, &model, &err))
        fail_msg("%s", err.message);
    return model;
}

/* 256 positions, 1,024 with YaRN; max_position_embeddings stays 1024. */
static quern_model *open_yarn_model(void) {
    struct tiny_shape s = TINY_QWEN3;
    s.extra_config = "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
                     "\"original_max_position_embeddings\": 256}, ";
    return open_model(&s, "yarn");
}

static quern_session *open_session(quern_model *model, struct quern_session_options options) {
    quern_session *session = NULL;
    struct quern_error err = {0};
    if (quern_session_create(model, &options, &session, &err))
        fail_msg("%s", err.message);
    return session;
}

static bool is_scaled(const quern_session *session) {
    return session->session->rope.attention_scaling != 1.0f;
}

static void a_session_feeds_and_gives_logits(void **state) {
    (void)state;
    const struct tiny_shape shape = TINY_QWEN3;
    quern_model *model = open_model(&shape, "plain");
    struct quern_model_info info;
    quern_model_get_info(model, &info);
    assert_int_equal(info.n_vocab, 97);
    assert_int_equal(info.n_tokens, 97);
    assert_int_equal(info.max_context, 1024);
    quern_session *session = NULL;
    assert_int_equal(quern_session_create(model, NULL, &session, NULL), QUERN_OK);
    assert_int_equal(quern_session_context(session), 1024);
    assert_null(quern_session_logits(session));
    const int32_t ids[] = {5, 6, 7, 8};
    size_t n = 99, reused = 99;
    quern_session_tokens(session, &n);
    assert_int_equal(n, 0);
    assert_int_equal(quern_session_feed(session, ids, 2, NULL), QUERN_OK);
    float rows[2][97];
    assert_int_equal(quern_session_feed_logits(session, ids + 2, 2, rows[0], NULL), QUERN_OK);
    assert_memory_equal(quern_session_logits(session), rows[1], sizeof rows[1]);
    assert_memory_equal(quern_session_tokens(session, &n), ids, sizeof ids);
    assert_int_equal(n, 4);
    assert_int_equal(quern_session_truncate(session, 3, NULL), QUERN_OK);
    assert_null(quern_session_logits(session));
    assert_int_equal(quern_session_sync(session, ids, 4, &reused, NULL), QUERN_OK);
    assert_int_equal(reused, 3);
    assert_memory_equal(quern_session_logits(session), rows[1], sizeof rows[1]);
    quern_session_destroy(session);
    quern_session_destroy(NULL);
    quern_model_close(model);
}

static void yarn_applies_only_beyond_the_original_context(void **state) {
    (void)state;
    quern_model *model = open_yarn_model();
    static const struct {
        struct quern_session_options options;
        bool scaled;
    } cases[] = {
        {{.n_context = 256}, false},
        {{.n_context = 257}, true},
        {{.n_context = 0}, true}, /* all 1,024 */
        {{.n_context = 1024, .yarn_expected_tokens = 200}, false},
        {{.n_context = 1024, .yarn_expected_tokens = 300}, true},
        {{.n_context = 64, .yarn = QUERN_YARN_ALWAYS}, true},
        {{.n_context = 1024, .yarn = QUERN_YARN_NEVER}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        quern_session *session = open_session(model, cases[i].options);
        assert_int_equal(is_scaled(session), cases[i].scaled);
        quern_session_destroy(session);
    }
    quern_model_close(model);
}

static void options_out_of_range_are_refused(void **state) {
    (void)state;
    quern_model *model = open_yarn_model();
    quern_session *session = NULL;
    struct quern_error err = {0};
    struct quern_session_options o = {.n_context = 1025};
    assert_int_equal(quern_session_create(model, &o, &session, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message,
                        "a context of 1025 tokens was asked for, the model takes 1 to 1024");
    o.n_context = -1;
    assert_int_equal(quern_session_create(model, &o, &session, &err), QUERN_ERR_ARG);
    o = (struct quern_session_options){.prefill_chunk = -1};
    assert_int_equal(quern_session_create(model, &o, &session, &err), QUERN_ERR_ARG);
    o = (struct quern_session_options){.yarn = (enum quern_yarn)3};
    assert_int_equal(quern_session_create(model, &o, &session, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "yarn is 3, expected 0 to 2");
    assert_null(session);
    session = open_session(model, (struct quern_session_options){.n_context = 16});
    assert_int_equal(quern_session_feed_logits(session, NULL, 0, NULL, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_session_feed(session, NULL, 3, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_session_sync(session, NULL, 3, NULL, &err), QUERN_ERR_ARG);
    quern_session_destroy(session);
    quern_model_close(model);
}

static void a_missing_session_is_named(void **state) {
    (void)state;
    const struct quern_generate_options options = {.max_tokens = 1};
    const int32_t id = 1;
    float logits[97];
    struct quern_error err = {0};
    assert_int_equal(quern_session_feed(NULL, &id, 1, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "session"));
    assert_int_equal(quern_session_feed_logits(NULL, &id, 1, logits, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_session_sync(NULL, &id, 1, NULL, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_session_truncate(NULL, 0, &err), QUERN_ERR_ARG);
    assert_int_equal(quern_generate(NULL, &options, NULL, &err), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "session"));
}

static void a_model_without_weights_has_no_sessions(void **state) {
    (void)state;
    quern_model model = {0};
    quern_session *session = NULL;
    struct quern_error err = {0};
    assert_int_equal(quern_session_create(&model, NULL, &session, &err), QUERN_ERR_STATE);
    assert_non_null(strstr(err.message, "tokenizer only"));
    assert_null(session);
}

static void a_model_without_a_tokenizer_reads_no_text(void **state) {
    (void)state;
    const struct tiny_shape shape = TINY_QWEN3;
    quern_model *model = open_model(&shape, "plain");
    int32_t *ids = NULL;
    char *text = NULL;
    size_t n;
    assert_int_equal(quern_tokenize(model, "a", 1, true, true, &ids, &n, NULL), QUERN_ERR_STATE);
    assert_int_equal(quern_detokenize(model, (const int32_t[]){1}, 1, true, &text, &n, NULL),
                     QUERN_ERR_STATE);
    quern_session *session = open_session(model, (struct quern_session_options){.n_context = 16});
    const struct quern_generate_options options = {.max_tokens = 1};
    assert_int_equal(quern_session_feed(session, (const int32_t[]){1}, 1, NULL), QUERN_OK);
    assert_int_equal(quern_generate(session, &options, NULL, NULL), QUERN_ERR_STATE);
    quern_session_destroy(session);
    quern_model_close(model);
}

static void a_context_beyond_the_memory_is_refused_with_numbers(void **state) {
    (void)state;
    struct tiny_shape s = TINY_QWEN3;
    s.extra_config = "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 1e6}, ";
    quern_model *model = open_model(&s, "long");
    quern_session *session = NULL;
    struct quern_error err = {0};
    /* 3 layers x K and V x 2 heads x 16 floats: 768 bytes a token */
    struct quern_session_options o = {.n_context = 1000000000};
    assert_int_equal(quern_session_create(model, &o, &session, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "a context of 1000000000 tokens needs 732421 MiB"));
    assert_null(session);
    /* The room to compute in counts as well. */
    o = (struct quern_session_options){.n_context = 10000000, .prefill_chunk = 10000000};
    const size_t chunk_bytes = (size_t)10000000 * (3 * 48 + 4 * 64 + 2 * 80) * sizeof(float);
    if (chunk_bytes + (size_t)7680000000 > os_memory_bytes())
        assert_int_equal(quern_session_create(model, &o, &session, NULL), QUERN_ERR_LIMIT);
    o = (struct quern_session_options){.n_context = 2000};
    assert_int_equal(quern_session_create(model, &o, &session, NULL), QUERN_OK);
    quern_session_destroy(session);
    quern_model_close(model);
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":false}"

static void ids_no_token_has_are_never_sampled(void **state) {
    (void)state;
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":[],"
        "\"pre_tokenizer\":" BYTE_LEVEL ",\"decoder\":" BYTE_LEVEL ","
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":90},\"merges\":[]}}";
    const struct tiny_shape shape = TINY_QWEN3;
    const char *dir = tiny_model_write(&shape, "gaps", 3);
    char path[4096];
    assert_int_equal(os_path_join(path, sizeof path, dir, "tokenizer.json", NULL), QUERN_OK);
    support_write_file(path, json, sizeof json - 1);
    const struct quern_model_options options = {.n_threads = 1};
    quern_model *model = NULL;
    struct quern_error err = {0};
    if (quern_model_open(dir, &options, &model, &err))
        fail_msg("%s", err.message);
    quern_session *session = open_session(model, (struct quern_session_options){0});
    const int32_t id = 0;
    float rows[97];
    assert_int_equal(quern_session_feed_logits(session, &id, 1, rows, NULL), QUERN_OK);
    const float *logits = quern_session_logits(session);
    for (int i = 0; i < 97; i++)
        assert_true(i < 2 || i == 90 ? logits[i] == rows[i] : logits[i] == -INFINITY);
    quern_session_destroy(session);
    quern_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_feeds_and_gives_logits),
        cmocka_unit_test(yarn_applies_only_beyond_the_original_context),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(a_missing_session_is_named),
        cmocka_unit_test(a_model_without_weights_has_no_sessions),
        cmocka_unit_test(a_model_without_a_tokenizer_reads_no_text),
        cmocka_unit_test(a_context_beyond_the_memory_is_refused_with_numbers),
        cmocka_unit_test(ids_no_token_has_are_never_sampled),
    };
    return cmocka_run_group_tests_name("api_session", tests, NULL, NULL);
}
