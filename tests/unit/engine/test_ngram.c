/* Prompt lookup: what followed the last three tokens when they occurred before. */
#include "engine/ngram.h"

#include "base/rng.h"
#include "support/support.h"

static void test_guesses_what_followed_the_last_occurrence(void **state) {
    (void)state;
    struct ngram_index x;
    assert_int_equal(ngram_init(&x, 64, NULL), QUERN_OK);
    const int32_t t[] = {1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 9, 1, 2, 3};
    size_t n;
    const int32_t *g = ngram_guess(&x, t, 15, 4, &n);
    assert_int_equal(n, 4);
    assert_ptr_equal(g, t + 9);
    g = ngram_guess(&x, t, 15, 2, &n);
    assert_int_equal(n, 2);
    assert_ptr_equal(g, t + 9);
    ngram_release(&x);
}

static void test_nothing_is_guessed_from_what_never_occurred(void **state) {
    (void)state;
    struct ngram_index x;
    assert_int_equal(ngram_init(&x, 64, NULL), QUERN_OK);
    const int32_t t[] = {1, 2, 3, 4, 5, 6, 7, 8};
    size_t n = 9;
    for (size_t len = 0; len <= 8; len++) {
        assert_null(ngram_guess(&x, t, len, 4, &n));
        assert_int_equal(n, 0);
    }
    ngram_release(&x);
}

/* Growing by one token a call or by many gives the same: the occurrence nearest to the end, which
 * a search from the back finds too. */
static void test_agrees_with_a_search_while_the_sequence_grows(void **state) {
    (void)state;
    enum { N = 400 };
    int32_t t[N];
    for (size_t i = 0; i < N; i++) {
        uint32_t r[4];
        rng_block(7, 0, i, r);
        t[i] = (int32_t)(r[0] % 4);
    }
    struct ngram_index x;
    assert_int_equal(ngram_init(&x, N, NULL), QUERN_OK);
    for (size_t len = 1; len <= N; len += 1 + len % 3) {
        size_t n, want = 0;
        const int32_t *g = ngram_guess(&x, t, len, 5, &n);
        for (size_t end = len - 1; len > NGRAM_TOKENS && end >= NGRAM_TOKENS && !want; end--)
            if (t[end - 1] == t[len - 1] && t[end - 2] == t[len - 2] && t[end - 3] == t[len - 3])
                want = end;
        if (!want) {
            assert_int_equal(n, 0);
            continue;
        }
        /* Two n-grams may share a slot: then the later one is remembered, and nothing is guessed. */
        if (n == 0)
            continue;
        assert_ptr_equal(g, t + want);
        assert_int_equal(n, len - want < 5 ? len - want : 5);
    }
    ngram_release(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guesses_what_followed_the_last_occurrence),
        cmocka_unit_test(test_nothing_is_guessed_from_what_never_occurred),
        cmocka_unit_test(test_agrees_with_a_search_while_the_sequence_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
