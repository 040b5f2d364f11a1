/* Masks taken from caches, from loops and from grammars that threads share: the same as masks made
 * anew token by token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/sync.h"
#include "grammar/answer_guard.h"
#include "grammar/grammar_cache.h"
#include "grammar/mask.h"
#include "grammar/matcher.h"
#include "support/support.h"

static struct tokenizer *tokenizer;
static struct token_image *image;
static const int32_t end_token = 488;

static int set_up(void **state) {
    (void)state;
    return tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, NULL) != QUERN_OK ||
           token_image_create(tokenizer, &image, NULL) != QUERN_OK;
}

static int tear_down(void **state) {
    (void)state;
    token_image_destroy(image);
    tokenizer_close(tokenizer);
    return 0;
}

static const char *const schemas[] = {
    "{\"type\": \"string\", \"maxLength\": 7}",
    "{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 300}",
    "{\"type\": \"string\", \"minLength\": 100000}",
    "{\"type\": \"string\", \"pattern\": \"^[a-z]{2,9}-[^0-9]*$\", \"maxLength\": 20}",
    "{\"type\": \"string\", \"pattern\": \"[a-f0-9]{4}-\\\\d\"}",
    ("{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}, \"names\": {\"type\": \"integer\"},"
    " \"n\": {\"enum\": [\"x\", \"xy\", 3]}},"
    " \"additionalProperties\": {\"type\": [\"string\", \"null\"], \"maxLength\": 4}}"),
    ("{\"anyOf\": [{\"type\": \"string\", \"format\": \"date\"}, {\"type\": \"string\", \"minLength\": 2},"
    " {\"type\": \"array\", \"items\": {\"type\": \"string\", \"maxLength\": 3}}]}"),
    "{\"type\": \"string\", \"not\": {\"pattern\": \"^a\"}, \"maxLength\": 12}",
    ("{\"type\": \"object\", \"properties\": {"
    "\"a\": {\"enum\": [\"the\", \"then\", \"\", \"\\u00e9t\\u00e9\", null, 12]},"
    " \"an\": {\"const\": \"a text that is longer than the pieces it is kept in, by some\"},"
    " \"another key, which is longer than the pieces it is kept in\": true, \"\\u00e9\": true, \"q\\\"\": true},"
    " \"minProperties\": 1}"),
    ("{\"type\": \"object\", \"properties\": {\"in\": true, \"int\": {\"type\": \"integer\"}, \"on\": false},"
    " \"patternProperties\": {\"^i\": {\"type\": [\"integer\", \"string\"]}},"
    " \"additionalProperties\": {\"enum\": [\"on\"]}, \"propertyNames\": {\"minLength\": 2}}"),
    ("{\"type\": \"object\", \"properties\": {\"re\": {\"$ref\": \"#\"}, \"red\": {\"items\": {\"$ref\": \"#\"}}},"
    " \"additionalProperties\": false}"),
    "{\"type\": \"string\", \"not\": {\"enum\": [\"\", \"on\", \"one\", \"the\"]}}",
    ("{\"type\": \"string\","
    " \"pattern\": \"^(?!.*://)(?=.{1,255}$)((.{1,63}\\\\.){1,127}(?![0-9]*$)[a-z0-9-]+\\\\.?)$\"}"),
    "{}",
};

static struct grammar *compile(const char *schema, bool any_order) {
    const struct schema_options options = {.any_order = any_order, .assert_formats = true};
    struct grammar_builder *b;
    struct grammar *g;
    struct quern_error err;
    symbol_id start;
    assert_int_equal(grammar_builder_create(NULL, &b, &err), QUERN_OK);
    if (json_schema_build(b, str_from(schema), "schema", &options, &start, NULL, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    grammar_start(b, start);
    if (grammar_compile(b, &g, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    grammar_builder_destroy(b);
    return g;
}

static size_t mask_bytes(void) {
    return ((size_t)image->n_tokens + 31) / 32 * sizeof(uint32_t);
}

/* One of the tokens of the mask, by the n of a random number; -1: none. */
static int32_t pick(const uint32_t *mask, uint64_t n) {
    int32_t count = 0;
    for (int32_t t = 0; t < image->n_tokens; t++)
        count += (mask[t / 32] >> (t % 32) & 1) != 0;
    int32_t left = count ? (int32_t)(n % (uint64_t)count) : 0;
    for (int32_t t = 0; t < image->n_tokens; t++)
        if ((mask[t / 32] >> (t % 32) & 1) && left-- == 0)
            return t;
    return -1;
}

static void walk(const char *schema, uint64_t seed) {
    struct grammar *g = compile(schema, seed & 1), *plain = compile(schema, seed & 1);
    struct matcher m, p;
    struct quern_error err = {0};
    uint32_t *mask = malloc(mask_bytes()), *expected = malloc(mask_bytes());
    assert_non_null(mask);
    assert_non_null(expected);
    assert_int_equal(matcher_init(&m, g, image, &end_token, 1, &err), QUERN_OK);
    assert_int_equal(matcher_init(&p, plain, image, &end_token, 1, &err), QUERN_OK);
    mask_cache_turn_off(plain);
    for (int i = 0; i < 40 && !m.state.ended; i++) {
        if (matcher_mask(&m, mask, image->n_tokens, &err) != QUERN_OK ||
            matcher_mask(&p, expected, image->n_tokens, &err) != QUERN_OK)
            fail_msg("%s: %s", schema, err.message);
        if (memcmp(mask, expected, mask_bytes()) != 0)
            fail_msg("%s: the mask before token %d differs", schema, i);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const int32_t t = pick(mask, seed >> 33);
        if (matcher_accept_token(&m, t, &err) != QUERN_OK ||
            matcher_accept_token(&p, t, &err) != QUERN_OK)
            fail_msg("%s: token %d: %s", schema, (int)t, err.message);
    }
    free(mask);
    free(expected);
    grammar_destroy(g);
    grammar_destroy(plain);
}

static void test_masks_are_the_same_with_and_without_caches(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
        for (uint64_t seed = 1; seed <= 16; seed++)
            walk(schemas[i], seed);
}

/* ---- sharing ------------------------------------------------------------------------- */

static struct answer_guard *guard_of(const char *schema, struct quern_error *err) {
    const struct answer_rules rules = {.form = ANSWER_SCHEMA, .text = str_from(schema)};
    struct answer_guard *g = NULL;
    if (answer_guard_create(image, &end_token, 1, &rules, NULL, &g, err) != QUERN_OK)
        return NULL;
    return g;
}

struct worker {
    struct thread thread;
    uint64_t seed, digest;
    bool failed;
};

/* A digest of all masks of a random text. */
static void work(void *arg) {
    struct worker *w = arg;
    struct quern_error err;
    uint64_t seed = w->seed;
    uint32_t *mask = malloc(mask_bytes());
    for (size_t i = 0; i < 4 && mask; i++) {
        struct answer_guard *g = guard_of(schemas[(i + w->seed) % 6], &err);
        struct constraint *c = g ? answer_guard_constraint(g) : NULL;
        w->failed = w->failed || !g;
        for (int k = 0; k < 25 && c; k++) {
            if (c->ops->mask(c->state, mask, image->n_tokens, &err) != QUERN_OK)
                break; /* the text has ended */
            for (size_t j = 0; j < mask_bytes() / 4; j++)
                w->digest = (w->digest ^ mask[j]) * 0x100000001b3u;
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            const int32_t t = pick(mask, seed >> 33);
            w->failed = w->failed || c->ops->accept(c->state, t, &err) != QUERN_OK;
        }
        answer_guard_destroy(g);
    }
    free(mask);
}

static void test_threads_that_share_grammars_get_the_masks_of_one_alone(void **state) {
    (void)state;
    enum { N = 6 };
    struct worker alone[N] = {0}, together[N] = {0};
    for (size_t i = 0; i < N; i++) {
        alone[i].seed = together[i].seed = i / 2;
        work(&alone[i]);
    }
    for (size_t i = 0; i < N; i++)
        assert_int_equal(thread_start(&together[i].thread, "masks", work, &together[i], NULL),
                         QUERN_OK);
    for (size_t i = 0; i < N; i++) {
        thread_join(&together[i].thread);
        assert_false(alone[i].failed || together[i].failed);
        assert_true(alone[i].digest == together[i].digest);
    }
}

static void test_equal_rules_share_one_grammar_and_few_are_kept(void **state) {
    (void)state;
    struct quern_error err;
    const size_t before = grammar_cache_count(image->grammars);
    struct answer_guard *a = guard_of("{\"const\": \"shared\"}", &err);
    struct answer_guard *b = guard_of("{\"const\": \"shared\"}", &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(grammar_cache_count(image->grammars), before + 1);
    answer_guard_destroy(a);
    answer_guard_destroy(b);
    for (int i = 0; i < GRAMMAR_CACHE_ENTRIES + 40; i++) {
        char schema[60];
        snprintf(schema, sizeof schema, "{\"const\": %d}", i);
        struct answer_guard *g = guard_of(schema, &err);
        assert_non_null(g);
        answer_guard_destroy(g);
    }
    assert_true(grammar_cache_count(image->grammars) <= GRAMMAR_CACHE_ENTRIES);
}

static void test_what_takes_too_long_to_compile_is_refused_in_time(void **state) {
    (void)state;
    struct grammar_limits limits = grammar_default_limits();
    struct grammar_builder *b;
    struct quern_error err;
    struct grammar *g = NULL;
    limits.compile_ms = 50;
    limits.compile_fuel = UINT64_MAX / 2;
    assert_int_equal(grammar_builder_create(&limits, &b, &err), QUERN_OK);
    /* The 40th byte from the end would be a and b at once: to know that there is no such text, 2^40
     * sets of places are looked at. */
    expr_id any = expr_byte_range(b, 'a', 'b'), rest = expr_repeat(b, any, 39, 39);
    expr_id x = expr_concat(b, expr_star(b, any), expr_concat(b, expr_text(b, "a"), rest));
    expr_id y = expr_concat(b, expr_star(b, any), expr_concat(b, expr_text(b, "b"), rest));
    expr_id z = expr_and(b, x, y);
    grammar_start(b, grammar_terminal(b, z, "a riddle"));
    const uint64_t start = os_now_ns();
    assert_int_equal(grammar_compile(b, &g, &err), QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "longer than is allowed"));
    assert_true(os_now_ns() - start < UINT64_C(20) * 1000000000); /* sanitizers, busy machines */
    grammar_builder_destroy(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_are_the_same_with_and_without_caches),
        cmocka_unit_test(test_threads_that_share_grammars_get_the_masks_of_one_alone),
        cmocka_unit_test(test_equal_rules_share_one_grammar_and_few_are_kept),
        cmocka_unit_test(test_what_takes_too_long_to_compile_is_refused_in_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
