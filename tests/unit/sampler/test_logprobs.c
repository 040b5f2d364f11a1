#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "sampler/sampler.h"
#include "support/support.h"

static void test_the_logprob_is_the_log_softmax(void **state) {
    (void)state;
    const float logits[] = {1, 2, 3, 4, -INFINITY, 0.5f};
    const double sum = exp(1) + exp(2) + exp(3) + exp(4) + exp(0.5);
    for (int32_t i = 0; i < 6; i++) {
        double p = sampler_logprob(logits, 6, i), want = (double)logits[i] - log(sum);
        /* Both are sums of five doubles and one logarithm. */
        assert_true(p == want || fabs(p - want) < 4e-15);
    }
}

static void test_a_large_vocabulary_keeps_its_precision(void **state) {
    (void)state;
    enum { N = 150001 };
    float *logits = malloc(N * sizeof *logits);
    assert_non_null(logits);
    double sum = 0;
    for (int i = 0; i < N; i++) {
        logits[i] = rng_normal(1, 0, (uint64_t)i) * 4 + 30;
        sum += exp((double)logits[i] - 30);
    }
    /* 150001 additions of doubles, each off by at most 2^-53 of the sum; errors add like a random
     * walk. */
    assert_true(fabs(sampler_logprob(logits, N, 5) - ((double)logits[5] - 30 - log(sum))) < 1e-12);
    free(logits);
}

static void test_the_best_tokens_come_first_and_ties_go_to_the_smaller_id(void **state) {
    (void)state;
    const float logits[] = {0, 2, 1, 2, -INFINITY, 2, 3};
    struct quern_top_logprob top[5];
    float logprob;
    sampler_logprobs(logits, 7, 2, &logprob, top, 5);
    const int32_t want[] = {6, 1, 3, 5, 2};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(top[i].token, want[i]);
        assert_true(top[i].logprob == (float)sampler_logprob(logits, 7, want[i]));
    }
    assert_true(logprob == top[4].logprob);
}

static void test_padding_counts_neither_in_the_sum_nor_among_the_best(void **state) {
    (void)state;
    const float logits[] = {0, 0, 50, 60};
    struct quern_top_logprob top[3];
    float logprob;
    sampler_logprobs(logits, 2, 1, &logprob, top, 3);
    assert_true(fabs((double)logprob + log(2)) < 1e-7);
    assert_int_equal(top[1].token, 1);
    assert_int_equal(top[2].token, -1);
}

static void test_rows_without_a_distribution_give_no_number(void **state) {
    (void)state;
    float logits[] = {1, NAN, 2};
    assert_true(isnan(sampler_logprob(logits, 3, 0)));
    for (int i = 0; i < 3; i++)
        logits[i] = -INFINITY;
    assert_true(isnan(sampler_logprob(logits, 3, 0)));
    struct quern_top_logprob top[2];
    float logprob;
    sampler_logprobs(logits, 3, 0, &logprob, top, 2);
    assert_int_equal(top[0].token, 0);
}

static void test_argmax_takes_the_first_of_equals_and_ignores_nan(void **state) {
    (void)state;
    const float a[] = {-1, 4, NAN, 4}, b[] = {NAN, -INFINITY}, c[] = {NAN, -5};
    assert_int_equal(sampler_argmax(a, 4), 1);
    assert_int_equal(sampler_argmax(b, 2), 0);
    assert_int_equal(sampler_argmax(c, 2), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_logprob_is_the_log_softmax),
        cmocka_unit_test(test_a_large_vocabulary_keeps_its_precision),
        cmocka_unit_test(test_the_best_tokens_come_first_and_ties_go_to_the_smaller_id),
        cmocka_unit_test(test_padding_counts_neither_in_the_sum_nor_among_the_best),
        cmocka_unit_test(test_rows_without_a_distribution_give_no_number),
        cmocka_unit_test(test_argmax_takes_the_first_of_equals_and_ignores_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
