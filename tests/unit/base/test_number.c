#include "base/number.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"

static void check_point(void) {
    char *end, text[40];
    assert_true(number_parse("-1.5e2x", &end) == -150.0);
    assert_string_equal(end, "x");
    assert_int_equal(number_print(text, sizeof text, "%.*f %s", 2, 0.125, "ab"), 7);
    assert_string_equal(text, "0.12 ab");
}

static void numbers_have_a_point(void **state) {
    (void)state;
    check_point();
}

static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    if (!support_use_foreign_point())
        skip();
    char text[40];
    check_point();
    /* The caller's locale is still the caller's. */
    snprintf(text, sizeof text, "%g", 1.5);
    assert_string_equal(text, "1\xD9\xAB"
                              "5");
    setlocale(LC_ALL, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_a_point),
        cmocka_unit_test(numbers_have_a_point_in_every_locale),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
