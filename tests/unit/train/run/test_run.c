/* Runs around a core without a model: what they keep, where they go on, what they refuse. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "support/fake_trainer.h"
#include "train/run/run.h"
#include "train/run/run_checkpoint.h"

static struct quern_error err;
static char notes[4096];
static size_t steps_seen, stop_at;

static void on_note(void *user, const char *text) {
    (void)user;
    snprintf(notes + strlen(notes), sizeof notes - strlen(notes), "%s\n", text);
}

static void on_step(void *user, const struct run_progress *p) {
    (void)user;
    steps_seen++;
    if (stop_at && p->step >= stop_at)
        *(bool *)user = true;
}

static bool is_cancelled(void *user) {
    return *(bool *)user;
}

static const char *data_file(void) {
    static const char *path;
    if (path)
        return path;
    path = support_temp_path("data.jsonl");
    struct buffer b;
    buffer_init(&b, 1 << 20);
    for (int i = 0; i < 200; i++)
        buffer_printf(&b, "{\"prompt\":\"question %d\",\"completion\":\"answer number %d\"}\n", i, i * 7 % 31);
    support_write_file(path, b.data, b.len);
    buffer_release(&b);
    return path;
}

/* `more`: further keys, each with a comma before it. */
static json_t *settings(const char *name, const char *more) {
    char text[8192];
    json_t *value = NULL;
    snprintf(text, sizeof text,
             "{\"model_name_or_path\":\"%s\",\"output_dir\":\"%s\",\"data\":\"%s\","
             "\"gradient_accumulation_steps\":4,\"max_length\":128,\"num_train_epochs\":2,"
             "\"save_steps\":3,\"threads\":2%s}",
             support_fixture("fixtures/qwen3-tiny"), support_temp_path(name), data_file(), more);
    if (json_parse(text, strlen(text), "test", &value, &err))
        fail_msg("%s", err.message);
    return value;
}

static enum quern_status go(const char *name, const char *more, enum run_start start, size_t stop,
                            enum run_end *end) {
    struct run_config config;
    struct run *run = NULL;
    struct data_problem problem;
    bool cancelled = false;
    const struct run_events events = {
        .on_step = on_step, .on_note = on_note, .is_cancelled = is_cancelled, .user = &cancelled};
    notes[0] = '\0';
    steps_seen = 0;
    stop_at = stop;
    enum quern_status status = run_config_parse(settings(name, more), "test", &config, &err);
    if (status)
        return status;
    status = run_open(&config, &fake_trainer_ops, &events, true, &run, &problem, &err);
    if (!status)
        status = run_execute(run, start, end, &err);
    run_close(run);
    run_config_release(&config);
    return status;
}

static void must(enum quern_status status) {
    if (status)
        fail_msg("%s", err.message);
}

static char *read_output(const char *name, const char *file, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", support_temp_path(name), file);
    return support_read_file(path, size);
}

static void expect_same_output(const char *a, const char *b) {
    size_t n, m;
    char *x = read_output(a, "output.bin", &n), *y = read_output(b, "output.bin", &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static size_t count_lines(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void a_stopped_run_goes_on_to_the_same_bits(void **state) {
    enum run_end end;
    (void)state;
    must(go("straight", "", RUN_FRESH, 0, &end));
    assert_int_equal(end, RUN_COMPLETE);
    const size_t n = steps_seen;
    assert_true(n > 8);
    for (size_t stop = 1; stop < n; stop += 2) {
        char name[32];
        snprintf(name, sizeof name, "stopped-%zu", stop);
        must(go(name, "", RUN_FRESH, stop, &end));
        assert_int_equal(end, RUN_INTERRUPTED);
        must(go(name, "", RUN_RESUME, 0, &end));
        assert_int_equal(steps_seen, n - stop);
        assert_non_null(strstr(notes, "going on from"));
        expect_same_output("straight", name);
        char *a = read_output("straight", "metrics.jsonl", NULL);
        char *b = read_output(name, "metrics.jsonl", NULL);
        assert_int_equal(count_lines(a), count_lines(b));
        free(a);
        free(b);
    }
}

static void a_damaged_checkpoint_is_passed_over(void **state) {
    enum run_end end;
    char path[4096];
    (void)state;
    must(go("damaged", "", RUN_FRESH, 7, &end));
    snprintf(path, sizeof path, "%s/checkpoints/step-000000007/state.bin", support_temp_path("damaged"));
    char *bytes = support_read_file(path, NULL);
    bytes[100] ^= 1;
    support_write_file(path, bytes, 4096 * sizeof(double));
    free(bytes);
    must(go("damaged", "", RUN_RESUME, 0, &end));
    assert_non_null(strstr(notes, "step-000000007 is damaged; going on from"));
    assert_non_null(strstr(notes, "step-000000006"));
    must(go("whole", "", RUN_FRESH, 0, &end));
    expect_same_output("whole", "damaged");
}

static void a_full_disk_leaves_the_checkpoint_before(void **state) {
    enum run_end end;
    char path[RUN_PATH_BYTES], bad[RUN_PATH_BYTES];
    (void)state;
    must(go("full", "", RUN_FRESH, 3, &end));
    fake_trainer_failing_saves = 100;
    assert_int_equal(go("full", "", RUN_RESUME, 7, &end), QUERN_ERR_IO);
    fake_trainer_failing_saves = 0;
    assert_non_null(strstr(notes, "No space left"));
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/checkpoints", support_temp_path("full"));
    must(run_checkpoint_find(dir, path, bad, &err));
    assert_non_null(strstr(path, "step-000000003"));
    assert_string_equal(bad, "");
}

static void two_checkpoints_are_kept(void **state) {
    enum run_end end;
    char path[4096];
    (void)state;
    must(go("two", "", RUN_FRESH, 0, &end));
    const size_t n = steps_seen;
    snprintf(path, sizeof path, "%s/checkpoints/step-%09zu", support_temp_path("two"), n);
    assert_true(os_is_dir(path));
    snprintf(path, sizeof path, "%s/checkpoints/step-%09zu", support_temp_path("two"), (n - 1) / 3 * 3);
    assert_true(os_is_dir(path));
    snprintf(path, sizeof path, "%s/checkpoints/step-%09u", support_temp_path("two"), 3u);
    assert_false(os_is_dir(path));
}

static void other_settings_or_data_are_refused_when_going_on(void **state) {
    enum run_end end;
    (void)state;
    must(go("other", "", RUN_FRESH, 4, &end));
    assert_int_equal(go("other", "", RUN_FRESH, 0, &end), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "--resume"));
    assert_int_equal(go("other", ",\"learning_rate\":0.5", RUN_RESUME, 0, &end), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "another learning_rate"));
    assert_int_equal(go("other", ",\"thinking\":\"keep\"", RUN_RESUME, 0, &end), QUERN_ERR_ARG);
    must(go("other", ",\"learning_rate\":0.5", RUN_AGAIN, 0, &end));
}

static void it_stops_when_the_evaluation_gets_no_better_and_keeps_the_best(void **state) {
    static const double losses[] = {3, 2, 2.5, 2.6, 0};
    const char *path = support_temp_path("eval.jsonl");
    const char *text = "{\"prompt\":\"q\",\"completion\":\"a\"}\n"; /* one row: one loss a time */
    const char *constant = ",\"lr_scheduler_type\":\"constant\",\"warmup_ratio\":0";
    enum run_end end;
    char more[8192];
    (void)state;
    support_write_file(path, text, strlen(text));
    snprintf(more, sizeof more,
             "%s,\"eval_data\":\"%s\",\"eval_steps\":2,\"early_stopping_patience\":2,"
             "\"load_best_model_at_end\":true",
             constant, path);
    fake_trainer_eval_losses = losses;
    must(go("early", more, RUN_FRESH, 0, &end));
    fake_trainer_eval_losses = NULL;
    assert_int_equal(end, RUN_STOPPED_EARLY);
    assert_int_equal(steps_seen, 8);
    snprintf(more, sizeof more, "%s,\"max_steps\":4", constant);
    must(go("four", more, RUN_FRESH, 0, &end));
    expect_same_output("four", "early");
}

static void stages_follow_each_other_with_their_own_steps(void **state) {
    enum run_end end;
    char more[8192];
    (void)state;
    snprintf(more, sizeof more,
             ",\"prompt_weight\":[[0,0],[2,0.5]],\"emphasized_words\":[\"a\",\"e\"],"
             "\"emphasized_after\":\"b\",\"emphasis_weight\":[[0,1],[3,4]],\"order\":\"windows\",\"packing_window\":64,"
             "\"stages\":[{\"max_steps\":5},{\"data\":\"%s\",\"max_steps\":4,\"seed\":9,"
             "\"learning_rate_scale\":0.5}]",
             data_file());
    must(go("stages", more, RUN_FRESH, 0, &end));
    assert_int_equal(steps_seen, 9);
    must(go("stages-stopped", more, RUN_FRESH, 6, &end));
    must(go("stages-stopped", more, RUN_RESUME, 0, &end));
    assert_int_equal(steps_seen, 3);
    expect_same_output("stages", "stages-stopped");
}

static void a_run_goes_on_into_a_stage_that_was_added(void **state) {
    enum run_end end;
    const char *first = ",\"stages\":[{\"max_steps\":5,\"seed\":3}]";
    const char *both = ",\"stages\":[{\"max_steps\":5,\"seed\":3},{\"max_steps\":4,\"seed\":9}]";
    const char *other = ",\"stages\":[{\"max_steps\":5,\"seed\":4},{\"max_steps\":4,\"seed\":9}]";
    (void)state;
    must(go("two-stages", both, RUN_FRESH, 0, &end));
    must(go("stage-added", first, RUN_FRESH, 0, &end));
    assert_int_equal(steps_seen, 5);
    assert_int_equal(go("stage-added", other, RUN_RESUME, 0, &end), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "another stages"));
    must(go("stage-added", both, RUN_RESUME, 0, &end));
    assert_int_equal(steps_seen, 4);
    expect_same_output("two-stages", "stage-added");
}

/* Examples are made while it trains; where a run stops has no part in what it does. */
static void streamed_data_give_the_same_bits_wherever_it_stops(void **state) {
    enum run_end end;
    char path[4096];
    const char *more = ",\"dataset_streaming\":true,\"packing_window\":48,\"max_steps\":20";
    (void)state;
    must(go("streamed", more, RUN_FRESH, 0, &end));
    assert_int_equal(steps_seen, 20);
    for (size_t stop = 1; stop < 20; stop += 3) {
        char name[32];
        snprintf(name, sizeof name, "streamed-%zu", stop);
        must(go(name, more, RUN_FRESH, stop, &end));
        if (stop % 2) { /* tokenized again from the start */
            snprintf(path, sizeof path, "%s/cache", support_temp_path(name));
            os_remove_dir(path);
        }
        must(go(name, more, RUN_RESUME, 0, &end));
        assert_int_equal(steps_seen, 20 - stop);
        expect_same_output("streamed", name);
    }
    assert_int_equal(go("endless", ",\"dataset_streaming\":true", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "without max_steps"));
}

static void settings_that_are_none_are_named(void **state) {
    enum run_end end;
    (void)state;
    assert_int_equal(go("bad", ",\"lerning_rate\":1", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "did you mean \"learning_rate\""));
    assert_int_equal(go("bad", ",\"optim\":\"sgd\"", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "optim is \"sgd\", expected adamw|"));
    assert_int_equal(go("bad", ",\"r\":0", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
    assert_int_equal(go("bad", ",\"early_stopping_patience\":1", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
    assert_int_equal(go("bad", ",\"emphasized_words\":\"a\",\"emphasized_after\":\"b\"", RUN_FRESH, 0,
                        &end),
                     QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "emphasized_words without emphasis_weight"));
    const char *many = ",\"emphasized_words\":\"a\",\"emphasized_after\":\"a b c d\","
                       "\"emphasis_weight\":2";
    assert_int_equal(go("bad", many, RUN_FRESH, 0, &end), QUERN_ERR_ARG);
    assert_non_null(strstr(err.message, "emphasized_after is"));
    assert_int_equal(go("bad", ",\"stages\":[{\"lr\":1}]", RUN_FRESH, 0, &end), QUERN_ERR_FORMAT);
}

static enum quern_status open_data(const char *text, struct data_problem *problem) {
    struct run_config config;
    struct run *run = NULL;
    const struct run_events none = {0};
    char more[8192];
    const char *path = support_temp_path("own.jsonl");
    support_write_file(path, text, strlen(text));
    snprintf(more, sizeof more, ",\"stages\":[{\"data\":\"%s\"}]", path);
    must(run_config_parse(settings("data", more), "test", &config, &err));
    enum quern_status status =
        run_open(&config, &fake_trainer_ops, &none, false, &run, problem, &err);
    run_close(run);
    run_config_release(&config);
    return status;
}

static void a_bad_line_is_named_by_file_and_number(void **state) {
    struct data_problem problem;
    const char *good = "{\"text\":\"a b c\"}\n\n";
    char text[256];
    (void)state;
    snprintf(text, sizeof text, "%s{\"text\": }\n", good);
    assert_int_equal(open_data(text, &problem), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "own.jsonl:3: "));
    snprintf(text, sizeof text, "%s%s{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", good, good);
    assert_int_equal(open_data(text, &problem), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "own.jsonl:5: no token of this example is trained"));
    assert_true(problem.is_untrained);
    assert_int_equal(problem.line, 5);
    assert_int_equal(open_data("\n \n", &problem), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "there are no examples"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bits),
        cmocka_unit_test(a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(a_full_disk_leaves_the_checkpoint_before),
        cmocka_unit_test(two_checkpoints_are_kept),
        cmocka_unit_test(other_settings_or_data_are_refused_when_going_on),
        cmocka_unit_test(it_stops_when_the_evaluation_gets_no_better_and_keeps_the_best),
        cmocka_unit_test(stages_follow_each_other_with_their_own_steps),
        cmocka_unit_test(a_run_goes_on_into_a_stage_that_was_added),
        cmocka_unit_test(streamed_data_give_the_same_bits_wherever_it_stops),
        cmocka_unit_test(settings_that_are_none_are_named),
        cmocka_unit_test(a_bad_line_is_named_by_file_and_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
