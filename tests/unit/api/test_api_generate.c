#include "api/loaded_model.h"

#include <string.h>

#include "sampler/sampler.h"
#include "support/support.h"

static struct quern_model model_with(const char *generation_config) {
    struct quern_model m = {.has_generation = true};
    const struct hf_config config = {.vocab_size = 1000, .bos_token_id = -1};
    struct quern_error err;
    if (generation_config_parse(generation_config, strlen(generation_config), "test", &config,
                                &m.generation, &err))
        fail_msg("%s", err.message);
    return m;
}

/* Defaults must be settings that the sampler takes. */
static void assert_usable(const struct quern_sampling *p) {
    struct sampler *s;
    assert_int_equal(sampler_create(p, 10, 10, &s, NULL), QUERN_OK);
    sampler_destroy(s);
}

static void test_the_checkpoints_settings_are_the_defaults(void **state) {
    (void)state;
    struct quern_model m =
        model_with("{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.95, "
                   "\"top_k\": 20, \"min_p\": 0.25, \"typical_p\": 0.5, "
                   "\"repetition_penalty\": 1.5}");
    struct quern_sampling p;
    quern_sampling_defaults(&m, &p);
    assert_true(p.temperature == 0.6f && p.top_p == 0.95f && p.top_k == 20);
    assert_true(p.min_p == 0.25f && p.typical_p == 0.5f && p.repetition_penalty == 1.5f);
    assert_true(p.presence_penalty == 0 && p.frequency_penalty == 0 && p.dry_multiplier == 0);
    assert_true(p.dry_base == 1.75f && p.dry_allowed_length == 2 && p.n_logit_bias == 0);
    assert_usable(&p);
}

static void test_a_checkpoint_that_does_not_sample_is_greedy(void **state) {
    (void)state;
    const char *const files[] = {"{}",
                                 "{\"do_sample\": false, \"temperature\": 0.6, \"top_k\": 20}"};
    for (int i = 0; i < 2; i++) {
        struct quern_model m = model_with(files[i]);
        struct quern_sampling p;
        quern_sampling_defaults(&m, &p);
        assert_true(p.temperature == 0);
        assert_usable(&p);
    }
}

static void test_without_a_configuration_everything_is_off(void **state) {
    (void)state;
    const struct quern_model m = {.has_generation = false};
    struct quern_sampling p;
    quern_sampling_defaults(&m, &p);
    assert_true(p.temperature == 0 && p.top_k == 0 && p.top_p == 1 && p.repetition_penalty == 1);
    assert_usable(&p);
}

static void test_generation_needs_options(void **state) {
    (void)state;
    struct quern_session session = {0};
    struct quern_error err;
    assert_int_equal(quern_generate(&session, NULL, NULL, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "quern_generate: options is NULL");
}

/* Half a character as a stop string would cut the text in the middle of one. */
static void test_a_stop_string_must_be_utf8(void **state) {
    (void)state;
    struct quern_session session = {0};
    const char *const strings[] = {"\xc3\xa9", "\xa9"};
    const struct quern_generate_options options = {.stop_strings = strings, .n_stop_strings = 2};
    struct quern_error err;
    assert_int_equal(quern_generate(&session, &options, NULL, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "stop_strings[1] is not valid UTF-8");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_checkpoints_settings_are_the_defaults),
        cmocka_unit_test(test_a_checkpoint_that_does_not_sample_is_greedy),
        cmocka_unit_test(test_without_a_configuration_everything_is_off),
        cmocka_unit_test(test_generation_needs_options),
        cmocka_unit_test(test_a_stop_string_must_be_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
