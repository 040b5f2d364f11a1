#include "cli/term_text.h"

#include "support/support.h"

static void check(const char *text, size_t len, const char *expected) {
    struct buffer out;
    buffer_init(&out, 1000);
    buffer_puts(&out, "");
    assert_int_equal(term_text_append((struct str){text, len}, &out), QUERN_OK);
    assert_string_equal(out.data, expected);
    buffer_release(&out);
}

#define CHECK(text, expected) check(text, sizeof(text) - 1, expected)

static void ordinary_text_is_unchanged(void **state) {
    (void)state;
    CHECK("", "");
    CHECK("a\tb\nc", "a\tb\nc");
    CHECK("sch\xC3\xB6n \xE6\x97\xA5\xF0\x9F\x98\x80 \xC2\xA0",
          "sch\xC3\xB6n \xE6\x97\xA5\xF0\x9F\x98\x80 \xC2\xA0");
}

static void control_characters_are_shown_not_sent(void **state) {
    (void)state;
    CHECK("\033[2J", "^[[2J");
    CHECK("a\rb\a\x7F", "a^Mb^G^?");
    CHECK("\0", "^@");
    CHECK("\xC2\x9B"
          "2J",
          "\xEF\xBF\xBD"
          "2J");
    CHECK("\xC2", "\xC2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_text_is_unchanged),
        cmocka_unit_test(control_characters_are_shown_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
