/* Masks taken from caches, from loops, from fixed texts and from grammars that threads share: the same as masks made
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

/* `what` names them: a grammar twice. */
static void walk(struct grammar *g, struct grammar *plain, uint64_t seed, const char *what) {
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
            fail_msg("%s: %s", what, err.message);
        if (memcmp(mask, expected, mask_bytes()) != 0)
            fail_msg("%s: the mask before token %d differs", what, i);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const int32_t t = pick(mask, seed >> 33);
        if (matcher_accept_token(&m, t, &err) != QUERN_OK ||
            matcher_accept_token(&p, t, &err) != QUERN_OK)
            fail_msg("%s: token %d: %s", what, (int)t, err.message);
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
            walk(compile(schemas[i], seed & 1), compile(schemas[i], seed & 1), seed, schemas[i]);
}

/* ---- fixed texts, at random ------------------------------------------------------------ */

static uint32_t below(uint64_t *seed, uint32_t n) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % n;
}

/* Texts that begin alike, as the tokens do. */
static expr_id random_literal(struct grammar_builder *b, uint64_t *seed) {
    static const char *const heads[] = {"the", "on", "}", " a", "\xc3\xa9", "", "."},
                             *const tails[] = {"", "", "n", "re", "er and a text of more than its pieces", "\"", "e"};
    return expr_concat(b, expr_text(b, heads[below(seed, 7)]), expr_text(b, tails[below(seed, 7)]));
}

static expr_id random_literals(struct grammar_builder *b, uint64_t *seed) {
    expr_id x = random_literal(b, seed);
    for (uint32_t n = below(seed, 5); n > 0; n--)
        x = expr_or(b, x, random_literal(b, seed));
    return x;
}

static expr_id random_string(struct grammar_builder *b, uint64_t *seed) {
    const uint32_t min = below(seed, 3), max = below(seed, 2) ? GRAMMAR_INF : min + 4;
    const expr_id any = expr_repeat(b, expr_char_any(b), min, max);
    const expr_id some = random_literals(b, seed);
    switch (below(seed, 4)) {
    case 0:
        return expr_json_usual(b, some);
    case 1:
        return expr_json_escaped(b, expr_and(b, any, expr_not(b, some)));
    case 2:
        return expr_json_usual(b, expr_concat(b, some, any));
    default:
        return expr_json_usual(b, expr_and(b, any, expr_not(b, some)));
    }
}

static expr_id random_terminal(struct grammar_builder *b, uint64_t *seed) {
    const expr_id run = expr_repeat(b, expr_text(b, below(seed, 2) ? " " : "a"), below(seed, 2), 1 + below(seed, 9));
    const expr_id line = expr_or(b, expr_optional(b, expr_text(b, " ")), expr_concat(b, expr_text(b, "\n"), run));
    const expr_id quote = expr_text(b, "\"");
    switch (below(seed, 5)) {
    case 0: /* the tokenizer has "} and a line break" as one token, but no key between quotes */
        return expr_concat(b, expr_text(b, " "), expr_concat(b, random_string(b, seed), expr_text(b, "\n")));
    case 1:
        return expr_concat(b, random_literals(b, seed), below(seed, 2) ? line : run);
    case 2:
        return expr_or(b, random_literals(b, seed), expr_concat(b, line, expr_text(b, "}")));
    default:
        return expr_concat(b, quote, expr_concat(b, random_string(b, seed),
                                                  below(seed, 2) ? expr_concat(b, quote, line) : expr_text(b, "\":")));
    }
}

static struct grammar *random_grammar(uint64_t seed) {
    struct grammar_builder *b;
    struct grammar *g;
    struct quern_error err;
    assert_int_equal(grammar_builder_create(NULL, &b, &err), QUERN_OK);
    const symbol_id start = grammar_rule(b, "start"), rest = grammar_rule(b, "rest");
    grammar_produce(b, rest, NULL, 0);
    for (int i = 0; i < 3; i++) {
        const symbol_id x = grammar_terminal(b, random_terminal(b, &seed), "x");
        const symbol_id y = grammar_terminal(b, random_terminal(b, &seed), "y");
        grammar_produce2(b, start, x, rest);
        grammar_produce2(b, rest, y, below(&seed, 2) ? start : rest);
    }
    grammar_start(b, start);
    if (grammar_compile(b, &g, &err) != QUERN_OK)
        fail_msg("%s", err.message);
    grammar_builder_destroy(b);
    return g;
}

static void test_masks_of_random_fixed_texts_are_the_same_with_and_without_caches(void **state) {
    (void)state;
    char what[40];
    for (uint64_t seed = 1; seed <= 100; seed++) {
        snprintf(what, sizeof what, "grammar %d", (int)seed);
        walk(random_grammar(seed), random_grammar(seed), seed, what);
    }
}

/* ---- sharing ------------------------------------------------------------------------- */

static struct answer_guard *guard_of(const char *schema, struct quern_error *err) {
    const struct answer_rules rules = {
        .form = ANSWER_SCHEMA, .text = str_from(schema), .close_in_time = true};
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

/* A digest of all masks, forced tokens and closings of a random text. */
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
            int32_t t = pick(mask, seed >> 33), forced[4];
            const size_t n_left = 40 - (size_t)k, n = c->ops->forced(c->state, forced, 4, n_left);
            w->digest = (w->digest ^ n ^ (n ? (uint64_t)forced[0] : 0)) * 0x100000001b3u;
            t = c->ops->settle(c->state, n ? forced[0] : t, n_left);
            w->digest = (w->digest ^ (uint64_t)t) * 0x100000001b3u;
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
        cmocka_unit_test(test_masks_of_random_fixed_texts_are_the_same_with_and_without_caches),
        cmocka_unit_test(test_threads_that_share_grammars_get_the_masks_of_one_alone),
        cmocka_unit_test(test_equal_rules_share_one_grammar_and_few_are_kept),
        cmocka_unit_test(test_what_takes_too_long_to_compile_is_refused_in_time),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
