#include "base/error.h"

#include <string.h>

#include "support/support.h"

static void a_set_error_carries_code_and_message(void **state) {
    (void)state;
    struct quern_error err = {0};
    assert_int_equal(error_set(&err, QUERN_ERR_IO, "%s: %d", "file", 3), QUERN_ERR_IO);
    assert_int_equal(err.code, QUERN_ERR_IO);
    assert_string_equal(err.message, "file: 3");
    assert_int_equal(error_set(NULL, QUERN_ERR_ARG, "nobody listens"), QUERN_ERR_ARG);
    assert_int_equal(error_nomem(&err), QUERN_ERR_NOMEM);
    assert_string_equal(err.message, "out of memory");
}

static void long_messages_are_cut(void **state) {
    (void)state;
    struct quern_error err = {0};
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&err, QUERN_ERR_FORMAT, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    error_prefix(&err, QUERN_ERR_FORMAT, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void nothing_a_terminal_would_act_on_gets_into_a_message(void **state) {
    (void)state;
    struct quern_error err = {0};
    error_set(&err, QUERN_ERR_FORMAT,
              "a\x1b[2J\x7f\nb\xC2\x9B"
              "1m, \xC2\xA0\xC3\xA9\xF0\x9F\x98\x80");
    assert_string_equal(err.message, "a?[2J??b??1m, \xC2\xA0\xC3\xA9\xF0\x9F\x98\x80");
    error_prefix(&err, QUERN_ERR_FORMAT, "\x9B\xFF\xE2\x82");
    assert_string_equal(err.message, "????: a?[2J??b??1m, \xC2\xA0\xC3\xA9\xF0\x9F\x98\x80");
}

static void a_cut_message_ends_with_a_whole_character(void **state) {
    (void)state;
    struct quern_error err = {0};
    char text[1200];
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xE2\x82\xAC", 4);
    error_set(&err, QUERN_ERR_FORMAT, "%s", text);
    const size_t n = sizeof err.message - 1;
    assert_int_equal(strlen(err.message), n);
    assert_memory_equal(err.message, text, n / 3 * 3);
    for (size_t i = n / 3 * 3; i < n; i++)
        assert_int_equal(err.message[i], '?');
}

static void a_message_may_be_built_from_itself(void **state) {
    (void)state;
    struct quern_error err = {0};
    error_set(&err, QUERN_ERR_FORMAT, "inner");
    error_set(&err, QUERN_ERR_FORMAT, "outer: %s", err.message);
    assert_string_equal(err.message, "outer: inner");
}

static void a_prefix_keeps_the_code_of_the_error(void **state) {
    (void)state;
    struct quern_error err = {0};
    error_set(&err, QUERN_ERR_LIMIT, "key \"a\"");
    assert_int_equal(error_prefix(&err, QUERN_ERR_FORMAT, "config.json"), QUERN_ERR_LIMIT);
    assert_int_equal(err.code, QUERN_ERR_LIMIT);
    assert_string_equal(err.message, "config.json: key \"a\"");
    assert_int_equal(error_prefix(NULL, QUERN_ERR_FORMAT, "x"), QUERN_ERR_FORMAT);
}

static void every_status_has_a_name(void **state) {
    (void)state;
    for (int s = QUERN_OK; s <= QUERN_ERR_TEMPLATE; s++)
        assert_string_not_equal(quern_status_name((enum quern_status)s), "unknown status");
    assert_string_equal(quern_status_name((enum quern_status)1000), "unknown status");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_error_carries_code_and_message),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(nothing_a_terminal_would_act_on_gets_into_a_message),
        cmocka_unit_test(a_cut_message_ends_with_a_whole_character),
        cmocka_unit_test(a_message_may_be_built_from_itself),
        cmocka_unit_test(a_prefix_keeps_the_code_of_the_error),
        cmocka_unit_test(every_status_has_a_name),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
