#include "sampler/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "support/support.h"

enum { V = 8 };

static struct quern_sampling neutral(void) {
    return (struct quern_sampling){
        .temperature = 1, .top_p = 1, .typical_p = 1, .repetition_penalty = 1, .seed = 1};
}

static struct sampler *make(struct quern_sampling p, int32_t n_vocab, int32_t n_tokens) {
    struct sampler *s;
    struct quern_error err;
    if (sampler_create(&p, n_vocab, n_tokens, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

/* log p of each token relative to the best; -INFINITY for those out of the draw. */
static void log_ratios(struct sampler *s, const float *logits, struct constraint *c, double *out,
                       size_t n) {
    int32_t ids[64];
    double probs[64];
    size_t left;
    struct quern_error err;
    if (sampler_distribution(s, logits, c, ids, probs, 64, &left, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++)
        out[i] = -INFINITY;
    for (size_t i = 0; i < left; i++)
        out[ids[i]] = log(probs[i] / probs[0]);
}

static void assert_close(double found, double expected) {
    /* Weights carry 44 bits below the best one; the logits here differ by less than 6. */
    if (fabs(found - expected) > 1e-9)
        fail_msg("%.12g, expected %.12g", found, expected);
}

/* ---- parameters ---------------------------------------------------------------- */

static void assert_refused(struct quern_sampling p, const char *words) {
    struct sampler *s = NULL;
    struct quern_error err = {0};
    assert_int_equal(sampler_create(&p, V, V, &s, &err), QUERN_ERR_ARG);
    assert_null(s);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" does not contain \"%s\"", err.message, words);
}

#define REFUSE(field, value, words)           \
    do {                                      \
        struct quern_sampling p_ = neutral(); \
        p_.dry_base = 1.75f;                  \
        p_.dry_allowed_length = 2;            \
        p_.field = (value);                   \
        assert_refused(p_, words);            \
    } while (0)

static void test_every_field_out_of_range_is_named_with_its_value_and_range(void **state) {
    (void)state;
    REFUSE(temperature, -0.5f, "temperature is -0.5, expected 0 to 10000");
    REFUSE(temperature, NAN, "temperature is");
    REFUSE(temperature, INFINITY, "temperature is inf");
    REFUSE(top_k, -1, "top_k is -1, expected 0 to");
    REFUSE(top_p, 1.5f, "top_p is 1.5, expected 0 to 1");
    REFUSE(top_p, NAN, "top_p");
    REFUSE(min_p, -0.1f, "min_p is -0.1");
    REFUSE(typical_p, 2, "typical_p is 2");
    REFUSE(repetition_penalty, 0, "repetition_penalty is 0, expected 0.001 to 1000");
    REFUSE(presence_penalty, NAN, "presence_penalty");
    REFUSE(frequency_penalty, 1e9f, "frequency_penalty is 1e+09");
    REFUSE(penalty_window, -3, "penalty_window is -3");
    REFUSE(dry_multiplier, -1, "dry_multiplier is -1");
    REFUSE(top_n_sigma, NAN, "top_n_sigma");
    REFUSE(xtc_probability, 1.5f, "xtc_probability is 1.5, expected 0 to 1");
    REFUSE(xtc_threshold, -0.5f, "xtc_threshold is -0.5, expected 0 to 1");
    struct quern_sampling p = neutral();
    p.dry_multiplier = 1;
    assert_refused(p, "dry_base is 0, expected 1 to 100");
    p.dry_base = 2;
    p.dry_allowed_length = -1;
    assert_refused(p, "dry_allowed_length is -1, expected 0 to");
    p.dry_allowed_length = 2;
    p.dry_window = -1;
    assert_refused(p, "dry_window is -1");
}

static void test_a_logit_bias_out_of_range_is_named_by_index(void **state) {
    (void)state;
    struct quern_logit_bias bias[] = {{0, 1}, {V, 1}};
    struct quern_sampling p = neutral();
    p.logit_bias = bias;
    p.n_logit_bias = 2;
    assert_refused(p, "logit_bias[1].token is 8, expected 0 to 7");
    bias[1] = (struct quern_logit_bias){2, NAN};
    assert_refused(p, "logit_bias[1].bias is");
    bias[1].bias = INFINITY;
    assert_refused(p, "logit_bias[1].bias is inf");
    p.logit_bias = NULL;
    assert_refused(p, "logit_bias is NULL");
}

static void test_a_vocabulary_out_of_range_is_refused(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    struct sampler *s;
    struct quern_error err;
    assert_int_equal(sampler_create(&p, 0, 1, &s, &err), QUERN_ERR_LIMIT);
    assert_int_equal(sampler_create(&p, 1 << 20, 1, &s, &err), QUERN_ERR_LIMIT);
    assert_int_equal(sampler_create(&p, 5, 0, &s, &err), QUERN_ERR_ARG);
    sampler_destroy(NULL);
}

/* ---- single rules ---------------------------------------------------------------- */

static void test_greedy_takes_the_best_token_and_the_smaller_id_among_equals(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.temperature = 0;
    struct sampler *s = make(p, V, V);
    const float logits[V] = {1, 3, -2, 3, 0, 3, -INFINITY, 2};
    for (uint64_t i = 0; i < 50; i++) {
        int32_t token;
        assert_int_equal(sampler_sample(s, logits, i, NULL, &token, NULL), QUERN_OK);
        assert_int_equal(token, 1);
    }
    sampler_destroy(s);
}

static void test_padding_ids_are_never_sampled(void **state) {
    (void)state;
    struct sampler *s = make(neutral(), V, 3);
    const float logits[V] = {0, 0, 0, 90, 90, NAN, 90, INFINITY};
    for (uint64_t i = 0; i < 200; i++) {
        int32_t token;
        assert_int_equal(sampler_sample(s, logits, i, NULL, &token, NULL), QUERN_OK);
        assert_in_range(token, 0, 2);
    }
    sampler_destroy(s);
}

static void test_nan_infinity_and_a_forbidden_row_are_errors(void **state) {
    (void)state;
    const int32_t top_ks[] = {0, 3};
    for (int i = 0; i < 4; i++) {
        struct quern_sampling p = neutral();
        p.temperature = i < 2 ? 1 : 0;
        p.top_k = top_ks[i & 1];
        struct sampler *s = make(p, V, V);
        float logits[V] = {0, 1, 2, 3, 4, 5, 6, NAN};
        struct quern_error err;
        int32_t token = 77;
        assert_int_equal(sampler_sample(s, logits, 0, NULL, &token, &err), QUERN_ERR_STATE);
        assert_string_equal(
            err.message, "sampler: the logit of token 7 is NaN, expected a number below infinity");
        logits[7] = INFINITY;
        assert_int_equal(sampler_sample(s, logits, 0, NULL, &token, &err), QUERN_ERR_STATE);
        assert_non_null(strstr(err.message, "token 7 is +infinity"));
        for (int j = 0; j < V; j++)
            logits[j] = -INFINITY;
        assert_int_equal(sampler_sample(s, logits, 0, NULL, &token, &err), QUERN_ERR_STATE);
        assert_non_null(strstr(err.message, "every token is forbidden"));
        assert_int_equal(token, 77);
        sampler_destroy(s);
    }
}

static void test_logit_bias_is_added_and_minus_infinity_forbids(void **state) {
    (void)state;
    const struct quern_logit_bias bias[] = {{2, 1.5f}, {2, 0.5f}, {4, -INFINITY}, {0, -1}};
    struct quern_sampling p = neutral();
    p.logit_bias = bias;
    p.n_logit_bias = 4;
    struct sampler *s = make(p, V, V);
    const float logits[V] = {0};
    double r[V];
    log_ratios(s, logits, NULL, r, V);
    assert_close(r[2], 0);
    assert_close(r[1], -2);
    assert_close(r[0], -3);
    assert_true(isinf(r[4]));
    assert_true(logits[2] == 0); /* the caller's row is untouched */
    sampler_destroy(s);
}

static void test_presence_and_frequency_count_generated_tokens_only(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.presence_penalty = 0.5f;
    p.frequency_penalty = 0.25f;
    struct sampler *s = make(p, V, V);
    const int32_t prompt[] = {1, 1, 2}, generated[] = {2, 3, 3, 3};
    assert_int_equal(sampler_accept(s, prompt, 3, false, NULL), QUERN_OK);
    assert_int_equal(sampler_accept(s, generated, 4, true, NULL), QUERN_OK);
    const float logits[V] = {0};
    double r[V];
    log_ratios(s, logits, NULL, r, V);
    assert_close(r[1], 0);
    assert_close(r[2], -0.75);
    assert_close(r[3], -1.25);
    sampler_destroy(s);
}

static void test_the_repetition_penalty_forgets_what_left_its_window(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.repetition_penalty = 2;
    p.penalty_window = 3;
    struct sampler *s = make(p, V, V);
    const int32_t ids[] = {1, 1, 2, 3, 4}; /* the last three: 2, 3, 4 */
    assert_int_equal(sampler_accept(s, ids, 5, false, NULL), QUERN_OK);
    const float logits[V] = {2, 2, 2, -1, 0, 2, 2, 2};
    double r[V];
    log_ratios(s, logits, NULL, r, V);
    assert_close(r[1], 0);
    assert_close(r[2], -1); /* 2 / 2 */
    assert_close(r[3], -4); /* -1 * 2, against 2 */
    assert_close(r[4], -2);
    sampler_destroy(s);
}

static void test_an_id_out_of_range_is_refused_and_changes_nothing(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.presence_penalty = 1;
    struct sampler *s = make(p, V, V);
    const int32_t ids[] = {1, V};
    struct quern_error err;
    assert_int_equal(sampler_accept(s, ids, 2, true, &err), QUERN_ERR_ARG);
    assert_string_equal(err.message, "sampler: token id 8 at index 1, expected 0 to 7");
    const float logits[V] = {0};
    double r[V];
    log_ratios(s, logits, NULL, r, V);
    assert_close(r[1], 0);
    sampler_destroy(s);
}

/* ---- DRY -------------------------------------------------------------------------- */

static void test_dry_penalizes_what_would_lengthen_a_repetition(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.dry_multiplier = 0.5f;
    p.dry_base = 1.5f;
    p.dry_allowed_length = 2;
    struct sampler *s = make(p, V, V);
    /* The end "1 2 3" stood before 4; of it "2 3" stood before 5; "3" alone before 6. */
    const int32_t ids[] = {1, 2, 3, 4, 0, 2, 3, 5, 3, 6, 1, 2, 3};
    assert_int_equal(sampler_accept(s, ids, 13, false, NULL), QUERN_OK);
    const float logits[V] = {0};
    for (int again = 0; again < 2; again++) {
        double r[V];
        log_ratios(s, logits, NULL, r, V);
        assert_close(r[4], -0.75); /* 0.5 * 1.5^(3-2) */
        assert_close(r[5], -0.5);
        assert_close(r[6], 0);
        assert_close(r[1], 0);
    }
    sampler_destroy(s);
}

/* The published code, as it stands there. */
static int published_dry_length(const int32_t *ids, int n, int32_t token) {
    int best = 0;
    for (int i = 0; i < n - 1; i++) {
        if (ids[i] != ids[n - 1] || ids[i + 1] != token)
            continue;
        int length = 1;
        while (length < 50 && i - length >= 0 && ids[i - length] == ids[n - 1 - length])
            length++;
        best = length > best ? length : best;
    }
    return best;
}

static void test_dry_equals_the_published_code_on_random_sequences(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 60; round++) {
        struct quern_sampling p = neutral();
        p.dry_multiplier = 0.125f;
        p.dry_base = 1.25f;
        p.dry_allowed_length = (int32_t)(round % 5);
        p.dry_window = round % 3 == 0 ? 40 : 0;
        struct sampler *s = make(p, V, V);
        int32_t ids[200];
        int n = (int)(round * 3) + 1;
        for (int i = 0; i < n; i++)
            ids[i] = (int32_t)(rng_uniform(7, round, (uint64_t)i) * (round % 5 ? 3 : 1.2));
        assert_int_equal(sampler_accept(s, ids, (size_t)n, round & 1, NULL), QUERN_OK);
        const float logits[V] = {0};
        double r[V];
        log_ratios(s, logits, NULL, r, V);
        int first = p.dry_window && n > p.dry_window ? n - p.dry_window : 0;
        for (int32_t t = 0; t < V; t++) {
            int length = published_dry_length(ids + first, n - first, t);
            double want = length > 0 && length >= p.dry_allowed_length
                              ? 0.125 * pow(1.25, length - p.dry_allowed_length)
                              : 0;
            if (want < 20) /* beyond it weights have few bits left */
                assert_true(fabs(r[t] + want) < 1e-4);
            else
                assert_true(r[t] < -19);
        }
        sampler_destroy(s);
    }
}

static void test_dry_with_a_huge_base_leaves_finite_scores(void **state) {
    (void)state;
    struct quern_sampling p = neutral();
    p.dry_multiplier = 100;
    p.dry_base = 100;
    p.dry_allowed_length = 0;
    struct sampler *s = make(p, 1, 1); /* the penalized token is the only one */
    const int32_t ids[60] = {0};
    assert_int_equal(sampler_accept(s, ids, 60, false, NULL), QUERN_OK);
    const float logits[1] = {0};
    int32_t token;
    assert_int_equal(sampler_sample(s, logits, 0, NULL, &token, NULL), QUERN_OK);
    assert_int_equal(token, 0);
    sampler_destroy(s);
}

/* ---- constraints -------------------------------------------------------------------- */

static enum quern_status mask_even(void *state, uint32_t *mask, int32_t n_vocab,
                                   struct quern_error *err) {
    if (*(int *)state)
        return error_set(err, QUERN_ERR_LIMIT, "too much");
    for (int32_t i = 0; i < (n_vocab + 31) / 32; i++)
        mask[i] = i == 1 ? UINT32_MAX : 0x55555555;
    return QUERN_OK;
}

static void test_a_constraint_forbids_what_its_mask_clears(void **state) {
    (void)state;
    int fail = 0;
    const struct constraint_ops ops = {mask_even, NULL, NULL, NULL};
    struct constraint c = {&ops, &fail};
    struct quern_sampling p = neutral();
    struct sampler *s = make(p, 100, 70);
    float logits[100] = {0};
    double r[100];
    log_ratios(s, logits, &c, r, 100);
    for (int i = 0; i < 100; i++) {
        bool allowed = i < 70 && (i % 2 == 0 || (i >= 32 && i < 64));
        assert_int_equal(!isinf(r[i]), allowed);
    }
    fail = 1;
    int32_t token;
    struct quern_error err;
    assert_int_equal(sampler_sample(s, logits, 0, &c, &token, &err), QUERN_ERR_LIMIT);
    assert_string_equal(err.message, "too much");
    sampler_destroy(s);
}

/* ---- the draw ----------------------------------------------------------------------- */

static void test_a_draw_depends_on_seed_and_position_alone(void **state) {
    (void)state;
    enum { N = 300 };
    float logits[N];
    for (int i = 0; i < N; i++)
        logits[i] = rng_normal(3, 0, (uint64_t)i) * 2;
    struct quern_sampling p = neutral();
    struct sampler *a = make(p, N, N), *b = make(p, N, N);
    p.seed = 2;
    struct sampler *other = make(p, N, N);
    int32_t forward[64], backward[64];
    int differ = 0;
    for (uint64_t i = 0; i < 64; i++) {
        int32_t token;
        assert_int_equal(sampler_sample(a, logits, i, NULL, &forward[i], NULL), QUERN_OK);
        assert_int_equal(sampler_sample(b, logits, 63 - i, NULL, &backward[63 - i], NULL),
                         QUERN_OK);
        assert_int_equal(sampler_sample(other, logits, i, NULL, &token, NULL), QUERN_OK);
        differ += token != forward[i];
    }
    assert_memory_equal(forward, backward, sizeof forward);
    assert_true(differ > 32);
    sampler_destroy(a);
    sampler_destroy(b);
    sampler_destroy(other);
}

static void test_draws_follow_the_distribution(void **state) {
    (void)state;
    enum { N = 40, DRAWS = 200000 };
    float logits[N];
    for (int i = 0; i < N; i++)
        logits[i] = rng_normal(5, 0, (uint64_t)i);
    struct quern_sampling p = neutral();
    p.temperature = 0.8f;
    p.top_p = 0.97f;
    struct sampler *s = make(p, N, N);
    int32_t ids[N];
    double probs[N];
    size_t left, counts[N] = {0};
    assert_int_equal(sampler_distribution(s, logits, NULL, ids, probs, N, &left, NULL), QUERN_OK);
    assert_in_range(left, 20, N - 1);
    for (uint64_t i = 0; i < DRAWS; i++) {
        int32_t token;
        assert_int_equal(sampler_sample(s, logits, i, NULL, &token, NULL), QUERN_OK);
        counts[token]++;
    }
    double chi2 = 0;
    size_t counted = 0;
    for (size_t i = 0; i < left; i++) {
        double expected = probs[i] * DRAWS, d = (double)counts[ids[i]] - expected;
        chi2 += d * d / expected;
        counted += counts[ids[i]];
    }
    assert_int_equal(counted, DRAWS); /* nothing outside the distribution */
    /* With left-1 (20..38) degrees of freedom, 70 is beyond the 99.9th percentile (38: 70.7);
     * the seed is fixed, so this cannot fail by chance. */
    if (chi2 > 70)
        fail_msg("chi-square %.1f with %zu tokens", chi2, left);
    sampler_destroy(s);
}

/* A straightforward sort of everything, on a vocabulary of Qwen3's size. */
static int compare_best_first(const void *a, const void *b) {
    const struct quern_top_logprob *x = a, *y = b;
    if (x->logprob != y->logprob)
        return x->logprob < y->logprob ? 1 : -1;
    return x->token - y->token;
}

static void test_top_k_of_a_large_row_equals_a_full_sort(void **state) {
    (void)state;
    enum { N = 151936, KNOWN = 151669 };
    float *logits = malloc(N * sizeof *logits);
    struct quern_top_logprob *sorted = malloc(N * sizeof *sorted);
    int32_t *ids = malloc(N * sizeof *ids);
    double *probs = malloc(N * sizeof *probs);
    assert_true(logits && sorted && ids && probs);
    const int32_t ks[] = {1, 20, 1000, 40000};
    for (int form = 0; form < 4; form++) {
        for (int i = 0; i < N; i++) {
            float x = rng_normal(9, (uint64_t)form, (uint64_t)i);
            logits[i] = form == 0   ? x
                        : form == 1 ? roundf(x * 4) / 4
                        : form == 2 ? 0.5f
                                    : (float)i * 1e-5f;
            sorted[i] = (struct quern_top_logprob){i, logits[i]};
        }
        qsort(sorted, KNOWN, sizeof *sorted, compare_best_first);
        for (size_t j = 0; j < sizeof ks / sizeof ks[0]; j++) {
            struct quern_sampling p = neutral();
            p.top_k = ks[j];
            struct sampler *s = make(p, N, KNOWN);
            size_t left;
            assert_int_equal(sampler_distribution(s, logits, NULL, ids, probs, N, &left, NULL),
                             QUERN_OK);
            assert_int_equal(left, ks[j]);
            for (size_t i = 0; i < left; i++)
                assert_int_equal(ids[i], sorted[i].token);
            sampler_destroy(s);
        }
    }
    free(logits);
    free(sorted);
    free(ids);
    free(probs);
}

static void test_xtc_leaves_out_the_best_as_often_as_it_is_told(void **state) {
    (void)state;
    const float logits[V] = {0, 2, -1, 1.5f, 1, -3, -4, -5};
    struct quern_sampling p = neutral();
    p.xtc_probability = 0.25f;
    p.xtc_threshold = 0.1f; /* tokens 1, 3 and 4 are at least so likely */
    struct sampler *with = make(p, V, V);
    p.xtc_probability = 0;
    struct sampler *without = make(p, V, V);
    int n_changed = 0, n_best = 0;
    const int n = 20000;
    for (int i = 0; i < n; i++) {
        int32_t a, b;
        assert_int_equal(sampler_sample(with, logits, (uint64_t)i, NULL, &a, NULL), QUERN_OK);
        assert_int_equal(sampler_sample(without, logits, (uint64_t)i, NULL, &b, NULL), QUERN_OK);
        n_best += b == 1 || b == 3;
        n_changed += (b == 1 || b == 3) && a != b;
        assert_true(a == b || (a != 1 && a != 3));
    }
    /* Binomial: 0.25 of some 15,000, five standard deviations of 0.0035 each way. */
    assert_in_range(n_best, n / 2, n);
    assert_in_range(n_changed * 1000 / n_best, 232, 268);
    sampler_destroy(with);
    sampler_destroy(without);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_out_of_range_is_named_with_its_value_and_range),
        cmocka_unit_test(test_a_logit_bias_out_of_range_is_named_by_index),
        cmocka_unit_test(test_a_vocabulary_out_of_range_is_refused),
        cmocka_unit_test(test_greedy_takes_the_best_token_and_the_smaller_id_among_equals),
        cmocka_unit_test(test_padding_ids_are_never_sampled),
        cmocka_unit_test(test_nan_infinity_and_a_forbidden_row_are_errors),
        cmocka_unit_test(test_logit_bias_is_added_and_minus_infinity_forbids),
        cmocka_unit_test(test_presence_and_frequency_count_generated_tokens_only),
        cmocka_unit_test(test_the_repetition_penalty_forgets_what_left_its_window),
        cmocka_unit_test(test_an_id_out_of_range_is_refused_and_changes_nothing),
        cmocka_unit_test(test_dry_penalizes_what_would_lengthen_a_repetition),
        cmocka_unit_test(test_dry_equals_the_published_code_on_random_sequences),
        cmocka_unit_test(test_dry_with_a_huge_base_leaves_finite_scores),
        cmocka_unit_test(test_a_constraint_forbids_what_its_mask_clears),
        cmocka_unit_test(test_a_draw_depends_on_seed_and_position_alone),
        cmocka_unit_test(test_draws_follow_the_distribution),
        cmocka_unit_test(test_xtc_leaves_out_the_best_as_often_as_it_is_told),
        cmocka_unit_test(test_top_k_of_a_large_row_equals_a_full_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
