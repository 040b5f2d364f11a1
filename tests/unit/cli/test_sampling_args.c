#include "cli/sampling_args.h"

#include <math.h>
#include <string.h>

#include "support/support.h"

static enum quern_status set(struct quern_sampling *s, const char *name, const char *value,
                             struct quern_error *err) {
    const struct sampling_param *p = sampling_param_find(name);
    assert_non_null(p);
    return sampling_param_set(p, s, value, err);
}

static void a_parameter_has_the_name_of_its_field_and_of_its_option(void **state) {
    (void)state;
    const struct sampling_param *p = sampling_param_find("temperature");
    assert_non_null(p);
    assert_ptr_equal(sampling_param_find("temp"), p);
    assert_ptr_equal(sampling_param_find("top-k"), sampling_param_find("top_k"));
    assert_null(sampling_param_find("tem"));
    assert_null(sampling_param_find("top_kk"));
    assert_null(sampling_param_find(""));
}

static void values_reach_their_fields_and_come_back_as_text(void **state) {
    (void)state;
    struct quern_sampling s = {0};
    assert_int_equal(set(&s, "temperature", "0.25", NULL), QUERN_OK);
    assert_int_equal(set(&s, "top_k", "40", NULL), QUERN_OK);
    assert_int_equal(set(&s, "dry-window", "2147483647", NULL), QUERN_OK);
    assert_int_equal(set(&s, "presence_penalty", "-1.5", NULL), QUERN_OK);
    assert_true(s.temperature == 0.25f && s.top_k == 40 && s.dry_window == INT32_MAX);
    assert_true(s.presence_penalty == -1.5f);
    char text[40];
    sampling_param_format(sampling_param_find("temp"), &s, text, sizeof text);
    assert_string_equal(text, "0.25");
    sampling_param_format(sampling_param_find("top_k"), &s, text, sizeof text);
    assert_string_equal(text, "40");
}

static void what_is_no_number_or_out_of_range_is_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"temp", "hot"},
        {"temp", ""},
        {"temp", "-1"},
        {"temp", "nan"},
        {"temp", "inf"},
        {"temp", "1x"},
        {"temp", " 1"},
        {"top_p", "2"},
        {"top_k", "1.5"},
        {"top_k", "-1"},
        {"top_k", "1 "},
        {"min_p", "1e9"},
        {"top_k", "99999999999999999999999999"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quern_sampling s = {.temperature = 0.5f, .top_k = 5, .top_p = 0.5f};
        const struct quern_sampling before = s;
        struct quern_error err = {0};
        assert_int_equal(set(&s, cases[i][0], cases[i][1], &err), QUERN_ERR_ARG);
        assert_non_null(strstr(err.message, sampling_param_find(cases[i][0])->name));
        assert_memory_equal(&s, &before, sizeof s);
    }
}

struct args {
    struct cli_sampling_args sampling;
};

static void every_parameter_is_an_option_with_the_same_range(void **state) {
    (void)state;
    static const struct option_spec specs[] = {CLI_SAMPLING_OPTIONS(struct args, sampling),
                                               OPT_END};
    for (size_t i = 0; sampling_param_at(i); i++) {
        const struct sampling_param *p = sampling_param_at(i);
        assert_string_equal(specs[i].name, p->option);
        assert_true(specs[i].min == p->min && specs[i].max == p->max);
        assert_int_equal(specs[i].kind == OPTION_FLOAT, p->is_float);
    }
    struct args args;
    cli_sampling_args_init(&args.sampling);
    assert_true(isnan(args.sampling.temperature) && args.sampling.seed == INT64_MIN);
    char name[] = "x", option[] = "--temp", value[] = "0.5";
    char *argv[] = {name, option, value, NULL};
    int words = 0;
    bool help = false;
    assert_int_equal(options_parse(specs, 3, argv, &args, &words, &help, NULL), QUERN_OK);
    assert_true(args.sampling.temperature == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parameter_has_the_name_of_its_field_and_of_its_option),
        cmocka_unit_test(values_reach_their_fields_and_come_back_as_text),
        cmocka_unit_test(what_is_no_number_or_out_of_range_is_refused),
        cmocka_unit_test(every_parameter_is_an_option_with_the_same_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
