/* What is left in the draw, against transformers (tests/golden/make_sampler.py). */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sampler/sampler.h"
#include "support/support.h"
#include "text/json.h"

enum { ROW_MAX = 128 };

/* Weights are rounded down to 2^-44 of the best token's, so a probability is off by at most the
 * number of tokens times that: 128 * 5.7e-14. */
static const double TOLERANCE = 7.3e-12;

static float number(const json_t *settings, const char *key, double otherwise) {
    const json_t *v = json_object_get(settings, key);
    return (float)(v ? json_number_value(v) : otherwise);
}

static struct quern_sampling params_of(const json_t *settings) {
    return (struct quern_sampling){.temperature = number(settings, "temperature", 1),
                                   .top_k = (int32_t)number(settings, "top_k", 0),
                                   .top_p = number(settings, "top_p", 1),
                                   .min_p = number(settings, "min_p", 0),
                                   .typical_p = number(settings, "typical_p", 1),
                                   .repetition_penalty = number(settings, "repetition_penalty", 1),
                                   .top_n_sigma = number(settings, "top_n_sigma", 0),
                                   .xtc_probability = number(settings, "xtc_probability", 0),
                                   .xtc_threshold = number(settings, "xtc_threshold", 0.1)};
}

static int32_t read_row(const json_t *row, float *logits) {
    size_t n = json_array_size(row);
    assert_in_range(n, 1, ROW_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(row, i);
        logits[i] = json_is_null(v) ? -INFINITY : (float)json_number_value(v);
    }
    return (int32_t)n;
}

static void check_case(const json_t *c, const float *logits, int32_t n_vocab, const char *name) {
    struct quern_sampling p = params_of(json_object_get(c, "settings"));
    struct sampler *s;
    assert_int_equal(sampler_create(&p, n_vocab, n_vocab, &s, NULL), QUERN_OK);
    const int32_t seen[] = {0, n_vocab / 2, n_vocab - 1, n_vocab / 2, n_vocab / 3};
    assert_int_equal(sampler_accept(s, seen, 5, false, NULL), QUERN_OK);

    int32_t ids[ROW_MAX];
    double probs[ROW_MAX];
    size_t n;
    assert_int_equal(sampler_distribution(s, logits, NULL, ids, probs, ROW_MAX, &n, NULL),
                     QUERN_OK);
    const json_t *want_ids = json_object_get(c, "ids"), *want_probs = json_object_get(c, "probs");
    if (n != json_array_size(want_ids))
        fail_msg("%s: %zu tokens are left, expected %zu", name, n, json_array_size(want_ids));
    for (size_t i = 0; i < n; i++) {
        int64_t id = json_integer_value(json_array_get(want_ids, i));
        double prob = json_number_value(json_array_get(want_probs, i));
        if (ids[i] != id || fabs(probs[i] - prob) > TOLERANCE)
            fail_msg("%s: rank %zu is id %d with %.15g, expected id %d with %.15g", name, i,
                     (int)ids[i], probs[i], (int)id, prob);
    }
    sampler_destroy(s);
}

static json_t *load_golden(const char *name) {
    json_t *doc;
    struct quern_error err;
    if (json_load_path(support_fixture(name), 1 << 22, &doc, &err))
        fail_msg("%s", err.message);
    return doc;
}

/* "normal {"top_k":5}" */
static void case_name(const json_t *c, char *out, size_t size) {
    char *settings =
        json_dumps(json_object_get(c, "settings"), JSON_COMPACT | JSON_REAL_PRECISION(6));
    snprintf(out, size, "%s %s", json_string_value(json_object_get(c, "row")), settings);
    free(settings);
}

static int32_t case_row(const json_t *rows, const json_t *c, float *logits) {
    return read_row(json_object_get(rows, json_string_value(json_object_get(c, "row"))), logits);
}

static void test_what_survives_equals_transformers(void **state) {
    (void)state;
    json_t *doc = load_golden("golden/sampler/distributions.json");
    const json_t *cases = json_object_get(doc, "cases");
    assert_true(json_array_size(cases) > 300);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        float logits[ROW_MAX];
        int32_t n = case_row(json_object_get(doc, "rows"), c, logits);
        char name[256];
        case_name(c, name, sizeof name);
        check_case(c, logits, n, name);
    }
    json_decref(doc);
}

/* Held to exact arithmetic, so every machine, compiler and instruction set agrees. */
static void test_fixed_seeds_draw_the_committed_tokens(void **state) {
    (void)state;
    json_t *doc = load_golden("golden/sampler/distributions.json");
    json_t *draws = load_golden("golden/sampler/draws.json");
    assert_true(json_array_size(draws) > 50);
    for (size_t i = 0; i < json_array_size(draws); i++) {
        const json_t *c = json_array_get(draws, i), *tokens = json_object_get(c, "tokens");
        float logits[ROW_MAX];
        int32_t n = case_row(json_object_get(doc, "rows"), c, logits);
        char name[256];
        case_name(c, name, sizeof name);
        struct quern_sampling p = params_of(json_object_get(c, "settings"));
        p.seed = strtoull(json_string_value(json_object_get(c, "seed")), NULL, 10);
        struct sampler *s;
        assert_int_equal(sampler_create(&p, n, n, &s, NULL), QUERN_OK);
        for (size_t at = 0; at < json_array_size(tokens); at++) {
            int32_t token;
            assert_int_equal(sampler_sample(s, logits, at, NULL, &token, NULL), QUERN_OK);
            int64_t want = json_integer_value(json_array_get(tokens, at));
            if (token != want)
                fail_msg("%s, position %zu: drew %d, expected %d", name, at, (int)token, (int)want);
        }
        sampler_destroy(s);
    }
    json_decref(draws);
    json_decref(doc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_survives_equals_transformers),
        cmocka_unit_test(test_fixed_seeds_draw_the_committed_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
