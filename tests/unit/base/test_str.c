#include "base/checked.h"
#include "base/str.h"

#include "support/support.h"

static void views_compare_by_bytes(void **state) {
    (void)state;
    struct str nothing = {NULL, 0};
    assert_true(str_eq(nothing, STR_LIT("")));
    assert_true(str_eq(str_from(NULL), nothing));
    assert_true(str_is(STR_LIT("ab"), "ab"));
    assert_false(str_is(STR_LIT("ab"), "abc"));
    assert_false(str_eq((struct str){"a\0b", 3}, (struct str){"a\0c", 3}));
}

static void prefixes_and_suffixes_are_found(void **state) {
    (void)state;
    struct str s = STR_LIT("abcd"), nothing = {NULL, 0};
    assert_true(str_starts_with(s, STR_LIT("ab")) && str_ends_with(s, STR_LIT("cd")));
    assert_true(str_starts_with(s, s) && str_ends_with(s, s));
    assert_true(str_starts_with(s, nothing) && str_ends_with(nothing, nothing));
    assert_false(str_starts_with(s, STR_LIT("abcde")) || str_ends_with(s, STR_LIT("xabcd")));
    assert_false(str_starts_with(s, STR_LIT("b")) || str_ends_with(s, STR_LIT("c")));
}

static void overflow_is_noticed_and_leaves_the_result_alone(void **state) {
    (void)state;
    size_t r = 5;
    assert_false(checked_add(SIZE_MAX, 1, &r));
    assert_false(checked_mul(SIZE_MAX / 2 + 1, 2, &r));
    assert_int_equal(r, 5);
    assert_true(checked_add(SIZE_MAX - 1, 1, &r) && r == SIZE_MAX);
    assert_true(checked_mul(SIZE_MAX / 2, 2, &r) && r == SIZE_MAX - 1);
    assert_true(checked_mul(SIZE_MAX, 0, &r) && r == 0);
    assert_true(checked_mul(0, SIZE_MAX, &r) && r == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare_by_bytes),
        cmocka_unit_test(prefixes_and_suffixes_are_found),
        cmocka_unit_test(overflow_is_noticed_and_leaves_the_result_alone),
    };
    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
