#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/loaded_model.h"
#include "base/os.h"
#include "support/support.h"
#include "support/tiny_checkpoint.h"

/* A checkpoint with as many rows as the fixture's tokenizer has tokens. */
static struct tiny_shape shape(void) {
    struct tiny_shape s = TINY_QWEN3;
    s.vocab = 512;
    return s;
}

static const char *path_in(const char *dir, const char *name) {
    static char path[4096];
    assert_int_equal(os_path_join(path, sizeof path, dir, name, NULL), QUERN_OK);
    return path;
}

static void copy_tokenizer(const char *dir) {
    size_t size = 0;
    char *json = support_read_file(support_fixture("fixtures/qwen3-tiny/tokenizer.json"), &size);
    support_write_file(path_in(dir, "tokenizer.json"), json, size);
    free(json);
}

static const char *write_model(const char *name) {
    const struct tiny_shape s = shape();
    const char *dir = tiny_model_write(&s, name, 3);
    copy_tokenizer(dir);
    return dir;
}

static void write_text(const char *dir, const char *name, const char *text) {
    support_write_file(path_in(dir, name), text, strlen(text));
}

static void open_fails(const char *dir, bool tokenizer_only, enum quern_status status,
                       const char *text) {
    const struct quern_model_options options = {.n_threads = 1, .tokenizer_only = tokenizer_only};
    quern_model *model = NULL;
    struct quern_error err = {0};
    assert_int_equal(quern_model_open(dir, &options, &model, &err), status);
    assert_int_equal(err.code, status);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.message);
    assert_null(model);
    assert_int_equal(quern_model_open(dir, &options, &model, NULL), status);
}

static quern_model *open_model(const char *dir, bool tokenizer_only) {
    const struct quern_model_options options = {.n_threads = 1, .tokenizer_only = tokenizer_only};
    quern_model *model = NULL;
    struct quern_error err = {0};
    if (quern_model_open(dir, &options, &model, &err))
        fail_msg("%s", err.message);
    assert_int_equal(err.code, QUERN_OK);
    return model;
}

/* ---- opening --------------------------------------------------------------------- */

static void what_is_no_model_directory_is_named(void **state) {
    (void)state;
    open_fails(support_temp_path("nowhere"), false, QUERN_ERR_IO, "there is no such directory");
    const char *file = support_temp_path("file");
    support_write_file(file, "x", 1);
    open_fails(file, false, QUERN_ERR_IO, "is a file");
    const char *empty = support_temp_path("empty");
    assert_int_equal(os_make_dir(empty, NULL), QUERN_OK);
    open_fails(empty, false, QUERN_ERR_IO, "holds no model");
    open_fails(empty, true, QUERN_ERR_IO, "holds no model");
    open_fails("", false, QUERN_ERR_ARG, "dir");
    assert_int_equal(quern_model_open(NULL, NULL, NULL, NULL), QUERN_ERR_ARG);
}

static void a_missing_part_is_named(void **state) {
    (void)state;
    static const char *const parts[][2] = {
        {"config.json", "config.json is missing"},
        {"tokenizer.json", "tokenizer.json is missing"},
        {"model.safetensors", "the weights are missing"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "part%zu", i);
        const char *dir = write_model(name);
        assert_int_equal(remove(path_in(dir, parts[i][0])), 0);
        open_fails(dir, false, QUERN_ERR_IO, parts[i][1]);
    }
}

static void a_vocabulary_that_does_not_hold_all_tokens_is_an_error(void **state) {
    (void)state;
    struct tiny_shape s = shape();
    s.vocab = 511;
    const char *dir = tiny_model_write(&s, "narrow", 3);
    copy_tokenizer(dir);
    open_fails(dir, false, QUERN_ERR_FORMAT, "vocab_size is 511");
    open_fails(dir, false, QUERN_ERR_FORMAT, "512 tokens");
}

static void the_facts_are_those_of_the_files(void **state) {
    (void)state;
    quern_model *model = open_model(write_model("facts"), false);
    struct quern_model_info info;
    quern_model_get_info(model, &info);
    assert_string_equal(info.architecture, "Qwen3ForCausalLM");
    assert_int_equal(info.n_vocab, 512);
    assert_int_equal(info.n_tokens, 512);
    assert_int_equal(info.n_layers, 3);
    assert_int_equal(info.hidden_size, 48);
    assert_int_equal(info.max_context, 1024);
    assert_true(info.n_params > 0);
    assert_false(info.has_chat_template);
    assert_false(info.can_think);
    quern_model_close(model);
    quern_model_close(NULL);
}

static void the_tokenizer_alone_needs_nothing_else(void **state) {
    (void)state;
    const char *dir = support_temp_path("alone");
    assert_int_equal(os_make_dir(dir, NULL), QUERN_OK);
    copy_tokenizer(dir);
    for (int round = 0; round < 2; round++) {
        quern_model *model = open_model(dir, true);
        struct quern_model_info info;
        quern_model_get_info(model, &info);
        assert_int_equal(info.n_tokens, 512);
        assert_int_equal(info.n_vocab, 512);
        assert_string_equal(info.architecture, "");
        quern_session *session = NULL;
        assert_int_equal(quern_session_create(model, NULL, &session, NULL), QUERN_ERR_STATE);
        quern_model_close(model);
        /* The second round: a config that Quern cannot run. */
        write_text(dir, "config.json", "{\"architectures\": [\"MambaForCausalLM\"]}");
    }
}

/* Its settings are for sampling, which needs both tokenizer and weights. */
static void a_bad_generation_config_matters_only_where_it_is_used(void **state) {
    (void)state;
    const char *dir = write_model("generation");
    write_text(dir, "generation_config.json", "{\"do_sample\": true, \"top_p\": 7}");
    open_fails(dir, false, QUERN_ERR_FORMAT, "generation_config.json: top_p");
    for (int round = 0; round < 2; round++) {
        const struct quern_model_options options = {
            .n_threads = 1, .tokenizer_only = round == 0, .weights_only = round == 1};
        quern_model *model = NULL;
        struct quern_error err = {0};
        assert_int_equal(quern_model_open(dir, &options, &model, &err), QUERN_OK);
        assert_int_equal(err.code, QUERN_OK);
        struct quern_sampling sampling;
        quern_sampling_defaults(model, &sampling);
        assert_true(sampling.top_p == 1 && sampling.temperature == 0);
        struct quern_model_info info;
        quern_model_get_info(model, &info);
        assert_string_equal(info.architecture, "Qwen3ForCausalLM");
        quern_model_close(model);
    }
}

static void a_template_that_cannot_be_used_is_reported_when_it_is(void **state) {
    (void)state;
    const char *dir = write_model("template");
    write_text(dir, "chat_template.jinja", "{% if %}");
    quern_model *model = open_model(dir, false);
    struct quern_model_info info;
    quern_model_get_info(model, &info);
    assert_false(info.has_chat_template);
    const struct quern_render_options options = {.enable_thinking = -1};
    char *text = NULL;
    size_t len = 0;
    struct quern_error err = {0};
    assert_int_not_equal(quern_render_chat(model, "[]", &options, &text, &len, &err), QUERN_OK);
    assert_non_null(strstr(err.message, "chat_template.jinja"));
    quern_model_close(model);
}

static void progress_ends_at_the_whole(void *user, double fraction) {
    double *last = user;
    assert_true(fraction >= *last && fraction <= 1);
    *last = fraction;
}

static void progress_rises_to_one(void **state) {
    (void)state;
    double last = 0;
    const struct quern_model_options options = {
        .n_threads = 1, .on_progress = progress_ends_at_the_whole, .user = &last};
    quern_model *model = NULL;
    assert_int_equal(quern_model_open(write_model("progress"), &options, &model, NULL), QUERN_OK);
    assert_true(last == 1);
    quern_model_close(model);
}

/* ---- text and tokens --------------------------------------------------------------- */

static void text_becomes_ids_and_text_again(void **state) {
    (void)state;
    quern_model *model = open_model(support_fixture("fixtures/qwen3-tiny"), true);
    static const char text[] = "na\xC3\xAFve <|im_end|>\0!";
    int32_t *ids = NULL;
    size_t n = 0, len = 0;
    char *back = NULL;
    assert_int_equal(quern_tokenize(model, text, sizeof text - 1, false, true, &ids, &n, NULL),
                     QUERN_OK);
    assert_int_equal(quern_detokenize(model, ids, n, false, &back, &len, NULL), QUERN_OK);
    assert_int_equal(len, sizeof text - 1);
    assert_memory_equal(back, text, sizeof text); /* the NUL after it too */
    quern_free(back);
    assert_int_equal(quern_detokenize(model, ids, n, true, &back, NULL, NULL), QUERN_OK);
    assert_string_equal(back, "na\xC3\xAFve ");
    quern_free(back);
    quern_free(ids);
    quern_model_close(model);
}

static void nothing_is_nothing_and_can_be_freed(void **state) {
    (void)state;
    quern_model *model = open_model(support_fixture("fixtures/qwen3-tiny"), true);
    int32_t *ids = NULL;
    size_t n = 9, len = 9;
    char *text = NULL;
    assert_int_equal(quern_tokenize(model, NULL, 0, true, true, &ids, &n, NULL), QUERN_OK);
    assert_int_equal(n, 0);
    assert_non_null(ids);
    assert_int_equal(quern_detokenize(model, NULL, 0, false, &text, &len, NULL), QUERN_OK);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
    quern_free(ids);
    quern_free(text);
    quern_free(NULL);
    quern_model_close(model);
}

static void an_id_out_of_range_is_an_error_and_nothing_is_returned(void **state) {
    (void)state;
    quern_model *model = open_model(support_fixture("fixtures/qwen3-tiny"), true);
    static const int32_t cases[][2] = {{1, -1}, {1, 512}, {INT32_MAX, 1}};
    for (size_t i = 0; i < 3; i++) {
        char *text = NULL;
        size_t len = 9;
        struct quern_error err = {0};
        assert_int_equal(quern_detokenize(model, cases[i], 2, false, &text, &len, &err),
                         QUERN_ERR_ARG);
        assert_null(text);
        assert_int_equal(len, 9);
        assert_true(err.message[0] != '\0');
    }
    quern_model_close(model);
}

static void the_version_is_that_of_the_header(void **state) {
    (void)state;
    char expected[32];
    snprintf(expected, sizeof expected, "%d.%d.%d", QUERN_VERSION_MAJOR, QUERN_VERSION_MINOR,
             QUERN_VERSION_PATCH);
    assert_string_equal(quern_version(), expected);
}

struct heard {
    int n;
    char message[200];
};

static void hear(void *user, int level, const char *message) {
    struct heard *h = user;
    assert_int_equal(level, QUERN_LOG_WARNING);
    h->n++;
    snprintf(h->message, sizeof h->message, "%s", message);
}

static void warnings_go_to_the_function_set(void **state) {
    (void)state;
    struct heard heard = {0};
    const struct tiny_shape s = shape();
    static struct tiny_checkpoint checkpoint;
    tiny_checkpoint_fill(&checkpoint, &s);
    tiny_checkpoint_add(&checkpoint, "model.extra.weight", 1, 8, 0, 0);
    const char *dir = tiny_checkpoint_write(&checkpoint, &s, "surplus", 3);
    const struct quern_model_options options = {.n_threads = 1, .weights_only = true};
    quern_model *m = NULL;
    quern_set_log(hear, &heard);
    assert_int_equal(quern_model_open(dir, &options, &m, NULL), QUERN_OK);
    quern_model_close(m);
    assert_int_equal(heard.n, 1);
    assert_non_null(strstr(heard.message, "model.extra.weight"));
    quern_set_log(NULL, NULL);
    assert_int_equal(quern_model_open(dir, &options, &m, NULL), QUERN_OK);
    quern_model_close(m);
    assert_int_equal(heard.n, 1);
}

/* Whoever opens a pipe for reading waits for a writer; the alarm ends the test then. */
static void pipes_in_a_model_directory_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                        "model.safetensors", "model.safetensors.index.json"};
    alarm(20);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "pipe%zu", i);
        const char *dir = write_model(name);
        remove(path_in(dir, names[i]));
        if (strstr(names[i], "index"))
            remove(path_in(dir, "model.safetensors"));
        assert_int_equal(mkfifo(path_in(dir, names[i]), 0600), 0);
        open_fails(dir, false, QUERN_ERR_IO, "is not a regular file");
        open_fails(dir, false, QUERN_ERR_IO, names[i]);
    }
    /* A template is no reason to refuse the model. */
    const char *dir = write_model("pipe_template");
    assert_int_equal(mkfifo(path_in(dir, "chat_template.jinja"), 0600), 0);
    quern_model *model = open_model(dir, false);
    struct quern_error err = {0};
    char *text = NULL;
    assert_int_equal(quern_render_chat(model, "[]", NULL, &text, NULL, &err), QUERN_ERR_IO);
    assert_non_null(strstr(err.message, "chat_template.jinja: is not a regular file"));
    quern_model_close(model);
    alarm(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_model_directory_is_named),
        cmocka_unit_test(a_missing_part_is_named),
        cmocka_unit_test(a_vocabulary_that_does_not_hold_all_tokens_is_an_error),
        cmocka_unit_test(the_facts_are_those_of_the_files),
        cmocka_unit_test(the_tokenizer_alone_needs_nothing_else),
        cmocka_unit_test(a_bad_generation_config_matters_only_where_it_is_used),
        cmocka_unit_test(a_template_that_cannot_be_used_is_reported_when_it_is),
        cmocka_unit_test(progress_rises_to_one),
        cmocka_unit_test(text_becomes_ids_and_text_again),
        cmocka_unit_test(nothing_is_nothing_and_can_be_freed),
        cmocka_unit_test(an_id_out_of_range_is_an_error_and_nothing_is_returned),
        cmocka_unit_test(the_version_is_that_of_the_header),
        cmocka_unit_test(warnings_go_to_the_function_set),
        cmocka_unit_test(pipes_in_a_model_directory_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
