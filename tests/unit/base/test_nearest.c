#include "base/nearest.h"

#include "support/support.h"

static size_t distance(const char *a, const char *b) {
    return nearest_distance(str_from(a), str_from(b));
}

static void the_distance_counts_single_edits_and_swaps(void **state) {
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("temp", "temp"), 0);
    assert_int_equal(distance("temp", "tmp"), 1);
    assert_int_equal(distance("temp", "tempo"), 1);
    assert_int_equal(distance("temp", "team"), 2);
    assert_int_equal(distance("temp", "tmep"), 1);
    assert_int_equal(distance("ab", "ba"), 1);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("kitten", "sitting"), 3);
}

static void a_word_beyond_the_limit_is_near_to_nothing(void **state) {
    (void)state;
    char word[NEAREST_WORD_MAX + 2];
    memset(word, 'a', sizeof word);
    struct str longest = {word, NEAREST_WORD_MAX}, too_long = {word, sizeof word};
    assert_int_equal(nearest_distance(longest, longest), 0);
    assert_true(nearest_distance(too_long, too_long) == SIZE_MAX);
}

static const char *name_at(const void *names, size_t i) {
    return ((const char *const *)names)[i];
}

static void the_nearest_name_is_found_or_none(void **state) {
    (void)state;
    static const char *const names[] = {"chat", "run", "tokenize", "detokenize", NULL};
    static const char *const cases[][2] = {
        {"chta", "chat"},
        {"rnu", "run"},
        {"tokenise", "tokenize"},
        {"detoken", "detokenize"},
        {"tok", "tokenize"},
        {"xyzzy", NULL},
        {"", NULL},
        {"r", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found = nearest_name(str_from(cases[i][0]), name_at, names);
        if (cases[i][1])
            assert_string_equal(found, cases[i][1]);
        else
            assert_null(found);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_distance_counts_single_edits_and_swaps),
        cmocka_unit_test(a_word_beyond_the_limit_is_near_to_nothing),
        cmocka_unit_test(the_nearest_name_is_found_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
