#include "server/api_keys.h"

#include <string.h>

#include "support/support.h"

static void keys_and_their_names_are_read(void **state) {
    (void)state;
    struct api_keys k;
    assert_int_equal(
        api_keys_parse(&k, STR_LIT("# c\n\n  sk-1  \r\nbob\tsk-2 # c\nsk-3 # c"), "f", NULL),
        QUERN_OK);
    assert_int_equal(k.n, 3);
    assert_string_equal(api_keys_find(&k, STR_LIT("sk-1"))->name, "key1");
    assert_string_equal(api_keys_find(&k, STR_LIT("sk-2"))->name, "bob");
    assert_string_equal(api_keys_find(&k, STR_LIT("sk-3"))->name, "key3");
    api_keys_release(&k);
}

static void only_a_whole_key_is_one(void **state) {
    (void)state;
    struct api_keys k;
    char longest[API_KEY_BYTES];
    assert_int_equal(api_keys_parse(&k, STR_LIT("abc\nabcd\n"), "f", NULL), QUERN_OK);
    static const char *const wrong[] = {"", "a", "ab", "abC", "abcde", "bc", " abc", "abc "};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_null(api_keys_find(&k, str_from(wrong[i])));
    assert_null(api_keys_find(&k, (struct str){"abc\0", 5}));
    memset(longest, 'a', sizeof longest);
    assert_null(api_keys_find(&k, (struct str){longest, sizeof longest}));
    assert_non_null(api_keys_find(&k, STR_LIT("abcd")));
    api_keys_release(&k);
}

static void a_file_without_keys_or_with_a_long_one_is_refused(void **state) {
    (void)state;
    struct api_keys k;
    struct quern_error err = {0};
    char text[600];
    assert_int_equal(api_keys_parse(&k, STR_LIT("# nothing\n"), "f", &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "f holds no key"));
    memset(text, 'k', sizeof text);
    assert_int_equal(api_keys_parse(&k, (struct str){text, API_KEY_BYTES}, "f", &err),
                     QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "line 1"));
    assert_null(k.keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_their_names_are_read),
        cmocka_unit_test(only_a_whole_key_is_one),
        cmocka_unit_test(a_file_without_keys_or_with_a_long_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
