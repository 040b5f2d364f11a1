#include "sampler/stop_filter.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/support.h"

static struct stop_filter *make(const char *const *strings, size_t n) {
    struct stop_filter *f;
    struct quern_error err;
    if (stop_filter_create(strings, n, &f, &err))
        fail_msg("%s", err.message);
    return f;
}

static int32_t push(struct stop_filter *f, const char *text, struct buffer *out) {
    int32_t hit;
    assert_int_equal(stop_filter_push(f, str_from(text), out, &hit, NULL), QUERN_OK);
    return hit;
}

static void test_text_passes_at_once_unless_it_may_become_a_stop_string(void **state) {
    (void)state;
    const char *const strings[] = {"<end>", "stop"};
    struct stop_filter *f = make(strings, 2);
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(push(f, "hello s", &out), -1);
    assert_string_equal(out.data, "hello ");
    assert_int_equal(push(f, "to", &out), -1);
    assert_string_equal(out.data, "hello ");
    assert_int_equal(push(f, "n<en", &out), -1);
    assert_string_equal(out.data, "hello ston");
    assert_int_equal(push(f, "<", &out), -1);
    assert_string_equal(out.data, "hello ston<en");
    assert_int_equal(push(f, "end>more", &out), 0);
    assert_string_equal(out.data, "hello ston<en");
    assert_int_equal(push(f, "ignored", &out), 0);
    assert_int_equal(stop_filter_finish(f, &out), QUERN_OK);
    assert_string_equal(out.data, "hello ston<en");
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_what_was_held_back_comes_at_the_end(void **state) {
    (void)state;
    const char *const strings[] = {"abcd"};
    struct stop_filter *f = make(strings, 1);
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(push(f, "xabc", &out), -1);
    assert_string_equal(out.data, "x");
    assert_int_equal(stop_filter_finish(f, &out), QUERN_OK);
    assert_string_equal(out.data, "xabc");
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_of_strings_that_end_together_the_longest_wins(void **state) {
    (void)state;
    const char *const strings[] = {"d", "bcd", "cd", "bcd"};
    struct stop_filter *f = make(strings, 4);
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(push(f, "abcd", &out), 1);
    assert_string_equal(out.data, "a");
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_the_string_that_ends_first_wins(void **state) {
    (void)state;
    const char *const strings[] = {"abcdef", "cd"};
    struct stop_filter *f = make(strings, 2);
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(push(f, "xabcdef", &out), 1);
    assert_string_equal(out.data, "xab");
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_without_strings_everything_passes(void **state) {
    (void)state;
    struct stop_filter *f = make(NULL, 0);
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(push(f, "any<|text|>", &out), -1);
    assert_int_equal(stop_filter_finish(f, &out), QUERN_OK);
    assert_string_equal(out.data, "any<|text|>");
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_empty_and_too_many_strings_are_refused(void **state) {
    (void)state;
    struct stop_filter *f = NULL;
    struct quern_error err;
    const char *const strings[] = {"ok", ""};
    assert_int_equal(stop_filter_create(strings, 2, &f, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "stop string 1 is empty");
    const char *many[300];
    for (int i = 0; i < 300; i++)
        many[i] = "x";
    assert_int_equal(stop_filter_create(many, 300, &f, &err), QUERN_ERR_LIMIT);
    char *longest = malloc(70000);
    assert_non_null(longest);
    memset(longest, 'a', 69999);
    longest[69999] = '\0';
    many[0] = longest;
    assert_int_equal(stop_filter_create(many, 1, &f, &err), QUERN_ERR_LIMIT);
    free(longest);
    assert_null(f);
    stop_filter_destroy(NULL);
}

static void test_a_full_output_buffer_is_reported(void **state) {
    (void)state;
    const char *const strings[] = {"zz"};
    struct stop_filter *f = make(strings, 1);
    struct buffer out;
    buffer_init(&out, 3);
    int32_t hit;
    struct quern_error err;
    assert_int_equal(stop_filter_push(f, STR_LIT("abcdef"), &out, &hit, &err), QUERN_ERR_LIMIT);
    buffer_release(&out);
    stop_filter_destroy(f);
}

/* The definition, by looking at every end and every string. */
static int32_t by_searching(const char *text, size_t n, const char *const *strings,
                            size_t n_strings, size_t *kept) {
    for (size_t end = 1; end <= n; end++) {
        int32_t best = -1;
        for (size_t i = 0; i < n_strings; i++) {
            size_t len = strlen(strings[i]);
            if (len <= end && memcmp(text + end - len, strings[i], len) == 0 &&
                (best < 0 || len > strlen(strings[best])))
                best = (int32_t)i;
        }
        if (best >= 0) {
            *kept = end - strlen(strings[best]);
            return best;
        }
    }
    *kept = n;
    return -1;
}

/* Nothing may be held that cannot become a stop string any more. */
static void assert_holds_back_no_more_than_needed(const char *text, size_t pushed, size_t released,
                                                  const char *const *strings, size_t n_strings) {
    size_t held = pushed - released;
    bool needed = held == 0;
    for (size_t i = 0; i < n_strings; i++)
        needed =
            needed || (held < strlen(strings[i]) && memcmp(text + released, strings[i], held) == 0);
    assert_true(needed);
}

static void check_cut(const char *text, size_t n, unsigned cuts, const char *const *strings,
                      size_t n_strings) {
    size_t kept;
    int32_t want = by_searching(text, n, strings, n_strings, &kept), hit = -1;
    struct stop_filter *f = make(strings, n_strings);
    struct buffer out;
    buffer_init(&out, 100);
    for (size_t begin = 0, i = 1; i <= n; i++) {
        if (i < n && !(cuts >> (i - 1) & 1))
            continue;
        assert_int_equal(
            stop_filter_push(f, (struct str){text + begin, i - begin}, &out, &hit, NULL), QUERN_OK);
        if (hit < 0)
            assert_holds_back_no_more_than_needed(text, i, out.len, strings, n_strings);
        begin = i;
    }
    assert_int_equal(hit, want);
    assert_int_equal(stop_filter_finish(f, &out), QUERN_OK);
    assert_int_equal(out.len, kept);
    if (kept)
        assert_memory_equal(out.data, text, kept);
    buffer_release(&out);
    stop_filter_destroy(f);
}

static void test_the_output_is_the_same_however_the_text_is_cut(void **state) {
    (void)state;
    enum { N = 9 };
    for (uint64_t round = 0; round < 300; round++) {
        char words[3][6], text[N + 1];
        const char *strings[3] = {words[0], words[1], words[2]};
        for (uint64_t w = 0; w < 3; w++) {
            size_t len = 1 + (size_t)(rng_uniform(1, round, w) * 4.999);
            for (size_t i = 0; i < len; i++)
                words[w][i] = (char)('a' + (int)(rng_uniform(2, round * 3 + w, i) * 2));
            words[w][len] = '\0';
        }
        for (uint64_t i = 0; i < N; i++)
            text[i] = (char)('a' + (int)(rng_uniform(3, round, i) * 2.3));
        text[N] = '\0';
        for (unsigned cuts = 0; cuts < 1u << (N - 1); cuts++)
            check_cut(text, N, cuts, strings, 1 + round % 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_passes_at_once_unless_it_may_become_a_stop_string),
        cmocka_unit_test(test_what_was_held_back_comes_at_the_end),
        cmocka_unit_test(test_of_strings_that_end_together_the_longest_wins),
        cmocka_unit_test(test_the_string_that_ends_first_wins),
        cmocka_unit_test(test_without_strings_everything_passes),
        cmocka_unit_test(test_empty_and_too_many_strings_are_refused),
        cmocka_unit_test(test_a_full_output_buffer_is_reported),
        cmocka_unit_test(test_the_output_is_the_same_however_the_text_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
