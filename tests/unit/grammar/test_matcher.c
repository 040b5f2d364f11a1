#include "grammar/ending.h"
#include "grammar/matcher.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

/* ---- a naive recogniser: what the engine is compared with ---- */

enum { MAX_NODES = 24, MAX_LEN = 6, N_RULES = 4, MAX_RHS = 3, N_PRODUCTIONS = 9 };

enum op { OP_LITERAL, OP_SET, OP_CONCAT, OP_OR, OP_AND, OP_NOT, OP_REPEAT, N_OPS };

struct node {
    enum op op;
    int a, b;
    uint32_t min, max;
    char text[3];
};

struct naive {
    struct node nodes[MAX_NODES];
    int n_nodes;
    int terminals[3]; /* nodes */
    struct {
        int rule, n, rhs[MAX_RHS]; /* 0..2 terminals, 3.. rules */
    } productions[N_PRODUCTIONS];
    const char *text;
    signed char known[MAX_NODES][MAX_LEN + 1][MAX_LEN + 1];
    bool table[3 + N_RULES][MAX_LEN + 1][MAX_LEN + 1];
};

static bool matches(struct naive *v, int x, int i, int j);

static bool matches_repeat(struct naive *v, const struct node *n, int i, int j, uint32_t count) {
    if (i == j && (count >= n->min || matches(v, n->a, i, i)))
        return true;
    if (count >= n->max || i == j)
        return false;
    for (int k = i + 1; k <= j; k++)
        if (matches(v, n->a, i, k) && matches_repeat(v, n, k, j, count + 1))
            return true;
    /* Empty copies make up what is missing to the minimum. */
    return matches(v, n->a, i, i) && count < n->min && matches_repeat(v, n, i, j, count + 1);
}

static bool matches_now(struct naive *v, const struct node *n, int i, int j) {
    switch (n->op) {
    case OP_LITERAL:
        return (size_t)(j - i) == strlen(n->text) &&
               memcmp(v->text + i, n->text, (size_t)(j - i)) == 0;
    case OP_SET:
        return j == i + 1 && strchr(n->text, v->text[i]);
    case OP_CONCAT:
        for (int k = i; k <= j; k++)
            if (matches(v, n->a, i, k) && matches(v, n->b, k, j))
                return true;
        return false;
    case OP_OR:
        return matches(v, n->a, i, j) || matches(v, n->b, i, j);
    case OP_AND:
        return matches(v, n->a, i, j) && matches(v, n->b, i, j);
    case OP_NOT:
        return !matches(v, n->a, i, j);
    default:
        return matches_repeat(v, n, i, j, 0);
    }
}

static bool matches(struct naive *v, int x, int i, int j) {
    signed char *known = &v->known[x][i][j];
    if (*known < 0)
        *known = matches_now(v, &v->nodes[x], i, j);
    return *known;
}

static bool sequence_matches(struct naive *v, const int *rhs, int n, int i, int j) {
    if (n == 0)
        return i == j;
    for (int k = i; k <= j; k++)
        if (v->table[rhs[0]][i][k] && sequence_matches(v, rhs + 1, n - 1, k, j))
            return true;
    return false;
}

static bool derives(struct naive *v, const char *text) {
    int len = (int)strlen(text);
    v->text = text;
    memset(v->known, -1, sizeof v->known);
    memset(v->table, 0, sizeof v->table);
    for (int t = 0; t < 3; t++)
        for (int i = 0; i <= len; i++)
            for (int j = i; j <= len; j++)
                v->table[t][i][j] = matches(v, v->terminals[t], i, j);
    for (bool changed = true; changed;) {
        changed = false;
        for (int p = 0; p < N_PRODUCTIONS; p++)
            for (int i = 0; i <= len; i++)
                for (int j = i; j <= len; j++) {
                    bool *cell = &v->table[v->productions[p].rule][i][j];
                    if (*cell ||
                        !sequence_matches(v, v->productions[p].rhs, v->productions[p].n, i, j))
                        continue;
                    *cell = changed = true;
                }
    }
    return v->table[3][0][len];
}

/* ---- random grammars, for both ---- */

struct rng {
    uint64_t state;
};

static void rng_init(struct rng *r, uint64_t seed) {
    r->state = seed;
}

static uint32_t below(struct rng *r, uint32_t n) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->state >> 33) % n;
}

static expr_id random_expr(struct naive *v, struct rng *r, struct grammar_builder *b, int depth,
                           int *node) {
    static const char *const texts[] = {"a", "b", "ab", "ba", "aa"}, *const sets[] = {"a", "ab",
                                                                                      "b"};
    expr_id e = GRAMMAR_NONE, f = GRAMMAR_NONE;
    struct node n = {.op = depth <= 0 || v->n_nodes > MAX_NODES - 6 ? (enum op)below(r, 2)
                                                                    : (enum op)below(r, N_OPS)};
    if (n.op >= OP_CONCAT)
        e = random_expr(v, r, b, depth - 1, &n.a);
    if (n.op >= OP_CONCAT && n.op <= OP_AND)
        f = random_expr(v, r, b, depth - 1, &n.b);
    const char *text = n.op == OP_LITERAL ? texts[below(r, 5)] : sets[below(r, 3)];
    memcpy(n.text, text, strlen(text) + 1);
    n.min = below(r, 3);
    n.max = below(r, 2) ? GRAMMAR_INF : n.min + below(r, 3);
    uint64_t set[4] = {0};
    for (const char *c = text; *c; c++)
        set[*c / 64] |= UINT64_C(1) << (*c % 64);
    *node = v->n_nodes;
    v->nodes[v->n_nodes++] = n;
    switch (n.op) {
    case OP_LITERAL:
        return expr_text(b, text);
    case OP_SET:
        return expr_byte_set(b, set);
    case OP_CONCAT:
        return expr_concat(b, e, f);
    case OP_OR:
        return expr_or(b, e, f);
    case OP_AND:
        return expr_and(b, e, f);
    case OP_NOT:
        return expr_not(b, e);
    default:
        return expr_repeat(b, e, n.min, n.max);
    }
}

static struct grammar *random_grammar(struct naive *v, struct rng *r) {
    struct grammar_builder *b;
    struct grammar *g = NULL;
    struct quern_error err;
    assert_int_equal(grammar_builder_create(NULL, &b, &err), QUERN_OK);
    memset(v, 0, sizeof *v);
    symbol_id symbols[3 + N_RULES];
    for (int t = 0; t < 3; t++)
        symbols[t] =
            grammar_terminal(b, random_expr(v, r, b, (int)below(r, 3), &v->terminals[t]), "t");
    for (int k = 0; k < N_RULES; k++)
        symbols[3 + k] = grammar_rule(b, "rule");
    for (int p = 0; p < N_PRODUCTIONS; p++) {
        v->productions[p].rule = 3 + (p < N_RULES ? p : (int)below(r, N_RULES));
        v->productions[p].n = (int)below(r, MAX_RHS + 1);
        symbol_id rhs[MAX_RHS];
        for (int i = 0; i < v->productions[p].n; i++) {
            v->productions[p].rhs[i] = (int)below(r, 3 + N_RULES);
            rhs[i] = symbols[v->productions[p].rhs[i]];
        }
        grammar_produce(b, symbols[v->productions[p].rule], rhs, (size_t)v->productions[p].n);
    }
    grammar_start(b, symbols[3]);
    enum quern_status st = grammar_compile(b, &g, &err);
    if (st != QUERN_OK && !strstr(err.message, "nothing matches"))
        fail_msg("%s", err.message);
    grammar_builder_destroy(b);
    return g;
}

/* Every text over {a, b} up to MAX_LEN: number k with a leading 1 bit. */
static void spell(unsigned k, char *text) {
    int len = 0;
    while (k >> (len + 1))
        len++;
    for (int i = 0; i < len; i++)
        text[i] = k >> (len - 1 - i) & 1 ? 'b' : 'a';
    text[len] = 0;
}

enum { NO_WAY = -1, TOO_FAR = -2, STATES_MAX = 400 };

/* The bytes to the nearest end, breadth first over the states. */
static int way_to_the_end(const struct matcher *start) {
    struct matcher queue[STATES_MAX];
    size_t n = 1;
    queue[0] = *start;
    for (size_t i = 0; i < n; i++) {
        if (matcher_can_end(&queue[i]))
            return (int)(queue[i].state.n_bytes - start->state.n_bytes);
        for (unsigned c = 0; c < 3 && n < STATES_MAX; c++) {
            struct matcher m = queue[i];
            bool seen =
                matcher_accept_bytes(&m, (struct str){&"abz"[c], 1}, NULL, NULL) != QUERN_OK;
            for (size_t k = 0; k < n && !seen; k++)
                seen = queue[k].state.set == m.state.set;
            if (!seen)
                queue[n++] = m;
        }
    }
    return n == STATES_MAX ? TOO_FAR : NO_WAY;
}

/* The ending found is as short as the shortest, and is one. */
static void check_the_ending(struct matcher m, const char *text, int round) {
    const int length = way_to_the_end(&m);
    struct ending e = {0};
    if (length == NO_WAY)
        fail_msg("round %d: \"%s\" is accepted but leads nowhere", round, text);
    if (!ending_find(&m, &e))
        fail_msg("round %d: no ending after \"%s\"", round, text);
    if (length != TOO_FAR && (int)e.n != length)
        fail_msg("round %d: after \"%s\" an ending of %zu, the shortest has %d", round, text, e.n,
                 length);
    for (size_t i = 0; i < e.n; i++) {
        const char byte = (char)e.steps[i];
        assert_int_equal(matcher_accept_bytes(&m, (struct str){&byte, 1}, NULL, NULL), QUERN_OK);
    }
    assert_true(matcher_can_end(&m));
    ending_release(&e);
}

static void compare_all_texts(struct naive *v, struct grammar *g, int round) {
    enum { N = 2 << MAX_LEN };
    bool in_language[N], prefix[N] = {false};
    char text[MAX_LEN + 1];
    for (unsigned k = 1; k < N; k++) {
        spell(k, text);
        in_language[k] = derives(v, text);
        for (unsigned p = k; in_language[k] && p; p >>= 1)
            prefix[p] = true;
    }
    for (unsigned k = 1; g && k < N; k++) {
        spell(k, text);
        struct matcher m;
        assert_int_equal(matcher_init(&m, g, NULL, NULL, 0, NULL), QUERN_OK);
        struct quern_error err = {0};
        enum quern_status st = matcher_accept_bytes(&m, str_from(text), NULL, &err);
        bool alive = st == QUERN_OK;
        if (!alive && st != QUERN_ERR_FORMAT)
            fail_msg("round %d: %s", round, err.message);
        if ((alive && matcher_can_end(&m)) != in_language[k] || (prefix[k] && !alive))
            fail_msg("round %d, \"%s\": alive %d, can end %d, in the language %d, prefix %d", round,
                     text, alive, alive && matcher_can_end(&m), in_language[k], prefix[k]);
        if (alive && k % 7 == 0)
            check_the_ending(m, text, round);
    }
    for (unsigned k = 1; !g && k < N; k++)
        if (in_language[k])
            fail_msg("round %d: refused, but it matches text %u", round, k);
}

static void test_random_grammars_accept_what_a_naive_recogniser_accepts(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 6);
    static struct naive v;
    for (int round = 0; round < 400; round++) {
        struct grammar *g = random_grammar(&v, &r);
        compare_all_texts(&v, g, round);
        grammar_destroy(g);
    }
}

/* ---- masks ---- */

static struct tokenizer *open_tokenizer(void) {
    struct tokenizer *t;
    struct quern_error err;
    if (tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &t, &err))
        fail_msg("%s", err.message);
    return t;
}

static void compare_mask(struct matcher *m, int32_t n_tokens) {
    int32_t n_vocab = n_tokens + 77; /* logits are wider than the vocabulary */
    uint32_t *mask = malloc(((size_t)n_vocab + 31) / 32 * 4);
    assert_non_null(mask);
    struct quern_error err = {0};
    enum quern_status st = matcher_mask(m, mask, n_vocab, &err);
    if (st != QUERN_OK && st != QUERN_ERR_STATE)
        fail_msg("%s", err.message);
    for (int32_t t = 0; t < n_vocab; t++) {
        struct matcher fork = *m;
        bool expect = matcher_accept_token(&fork, t, NULL) == QUERN_OK;
        bool got = mask[t / 32] >> (t % 32) & 1;
        if (got != expect)
            fail_msg("token %d at byte %d: mask %d, accepted %d", (int)t, (int)m->state.n_bytes,
                     got, expect);
    }
    free(mask);
}

static void test_masks_agree_with_accepting_token_by_token(void **state) {
    (void)state;
    struct rng r;
    rng_init(&r, 7);
    static struct naive v;
    struct tokenizer *t = open_tokenizer();
    struct token_image *image;
    assert_int_equal(token_image_create(t, &image, NULL), QUERN_OK);
    int32_t end = tokenizer_n_tokens(t) - 1;
    for (int round = 0; round < 40; round++) {
        struct grammar *g = random_grammar(&v, &r);
        if (!g)
            continue;
        for (unsigned k = 1; k < 64; k += 1 + below(&r, 12)) {
            char text[MAX_LEN + 1];
            spell(k, text);
            struct matcher m;
            assert_int_equal(matcher_init(&m, g, image, &end, 1, NULL), QUERN_OK);
            if (matcher_accept_bytes(&m, str_from(text), NULL, NULL) == QUERN_OK)
                compare_mask(&m, tokenizer_n_tokens(t));
        }
        grammar_destroy(g);
    }
    token_image_destroy(image);
    tokenizer_close(t);
}

/* ---- by hand ---- */

static struct grammar *compile(struct grammar_builder *b) {
    struct grammar *g = NULL;
    struct quern_error err;
    if (grammar_compile(b, &g, &err))
        fail_msg("%s", err.message);
    grammar_builder_destroy(b);
    return g;
}

static struct grammar_builder *builder(void) {
    struct grammar_builder *b;
    assert_int_equal(grammar_builder_create(NULL, &b, NULL), QUERN_OK);
    return b;
}

static bool accepts(struct grammar *g, const char *text) {
    struct matcher m;
    assert_int_equal(matcher_init(&m, g, NULL, NULL, 0, NULL), QUERN_OK);
    return matcher_accept_bytes(&m, str_from(text), NULL, NULL) == QUERN_OK && matcher_can_end(&m);
}

static void test_json_escapes_are_matched_as_the_characters_they_spell(void **state) {
    (void)state;
    struct grammar_builder *b = builder();
    expr_id name = expr_repeat(b, expr_char_any(b), 2, 3);
    expr_id not_ab = expr_and(b, name, expr_not(b, expr_text(b, "ab")));
    symbol_id x = grammar_terminal(b, expr_json_escaped(b, not_ab), "x");
    grammar_start(b, x);
    struct grammar *g = compile(b);
    assert_true(accepts(g, "abc"));
    assert_true(accepts(g, "a\\u0063"));
    assert_true(accepts(g, "\\\"\\n"));
    assert_true(accepts(g, "\\uD83D\\uDE00b"));
    assert_true(accepts(g, "\xF0\x9F\x98\x80"
                           "b"));
    assert_false(accepts(g, "ab"));
    assert_false(accepts(g, "a\\u0062"));
    assert_false(accepts(g, "\\uD83D\\uDE00"));
    assert_false(accepts(g, "\\uD83Dxx"));
    assert_false(accepts(g, "a\"b"));
    assert_false(accepts(g, "abcd"));
    grammar_destroy(g);
}

static void test_counts_of_repetitions_are_exact(void **state) {
    (void)state;
    for (uint32_t min = 0; min < 9; min += 2)
        for (uint32_t max = min; max < 20; max += 3) {
            struct grammar_builder *b = builder();
            grammar_start(b, grammar_repeat(b, grammar_literal(b, "x"), min, max));
            struct grammar *g = compile(b);
            for (uint32_t n = 0; n < 24; n++) {
                char text[32] = {0};
                memset(text, 'x', n);
                assert_int_equal(accepts(g, text), n >= min && n <= max);
            }
            grammar_destroy(g);
        }
}

static void test_multiples_are_told_from_other_numbers(void **state) {
    (void)state;
    struct grammar_builder *b = builder();
    grammar_start(b, grammar_terminal(b, expr_multiple_of(b, 7, 0), "n"));
    struct grammar *g = compile(b);
    assert_true(accepts(g, "0") && accepts(g, "49") && accepts(g, "700000000000000000000000"));
    assert_false(accepts(g, "50") || accepts(g, "7000000000000000000000001"));
    grammar_destroy(g);
}

static void test_long_right_and_left_recursion_stay_within_the_fuel(void **state) {
    (void)state;
    for (int left = 0; left < 2; left++) {
        struct grammar_builder *b = builder();
        symbol_id r = grammar_rule(b, "list"), x = grammar_literal(b, "x");
        grammar_produce2(b, r, left ? r : x, left ? x : r);
        grammar_produce1(b, r, x);
        grammar_start(b, r);
        struct grammar *g = compile(b);
        char *text = calloc(1, 20001);
        assert_non_null(text);
        memset(text, 'x', 20000);
        assert_true(accepts(g, text));
        free(text);
        grammar_destroy(g);
    }
}

static void test_spellings_of_a_token_do_not_match_it_and_it_matches_no_text(void **state) {
    (void)state;
    struct tokenizer *t = open_tokenizer();
    struct token_image *image;
    assert_int_equal(token_image_create(t, &image, NULL), QUERN_OK);
    int32_t id = tokenizer_added_id(t, STR_LIT("</think>"));
    if (id == TOKENIZER_NONE)
        id = tokenizer_added_id(t, STR_LIT("<|im_end|>"));
    assert_true(id >= 0);
    struct grammar_builder *b = builder();
    symbol_id text = grammar_terminal(b, expr_chars_any(b), "text");
    grammar_start(
        b, grammar_sequence3(b, text, grammar_token(b, id, "close"), grammar_literal(b, "ok")));
    struct grammar *g = compile(b);
    struct matcher m;
    assert_int_equal(matcher_init(&m, g, image, NULL, 0, NULL), QUERN_OK);
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("</think>"), NULL, NULL), QUERN_OK);
    compare_mask(&m, tokenizer_n_tokens(t));
    struct matcher_state saved = m.state;
    assert_int_equal(matcher_accept_token(&m, id, NULL), QUERN_OK);
    compare_mask(&m, tokenizer_n_tokens(t));
    struct buffer forced;
    buffer_init(&forced, 100);
    assert_int_equal(matcher_forced_bytes(&m, 100, &forced, NULL), QUERN_OK);
    assert_string_equal(forced.data, "ok");
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("ok"), NULL, NULL), QUERN_OK);
    assert_true(matcher_can_end(&m));
    m.state = saved;
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("more text"), NULL, NULL), QUERN_OK);
    buffer_release(&forced);
    grammar_destroy(g);
    token_image_destroy(image);
    tokenizer_close(t);
}

static void test_what_cannot_be_compiled_is_refused_by_name(void **state) {
    (void)state;
    struct quern_error err;
    struct grammar *g = NULL;
    struct grammar_builder *b = builder();
    symbol_id r = grammar_rule(b, "orphan");
    grammar_start(b, r);
    assert_int_equal(grammar_compile(b, &g, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "orphan"));
    grammar_produce2(b, r, r, grammar_literal(b, "x"));
    assert_int_equal(grammar_compile(b, &g, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "orphan"));
    grammar_builder_destroy(b);
}

static void test_a_refused_byte_is_reported_with_its_place_and_what_was_expected(void **state) {
    (void)state;
    struct grammar_builder *b = builder();
    symbol_id digits = grammar_terminal(b, expr_plus(b, expr_byte_range(b, '0', '9')), "a number");
    grammar_start(b, grammar_separated(b, digits, grammar_literal(b, "; "), 1, GRAMMAR_INF));
    struct grammar *g = compile(b);
    struct matcher m;
    struct quern_error err;
    size_t fine = 0;
    assert_int_equal(matcher_init(&m, g, NULL, NULL, 0, NULL), QUERN_OK);
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("12; x"), &fine, &err), QUERN_ERR_FORMAT);
    assert_int_equal(fine, 4);
    assert_non_null(strstr(err.message, "byte 4"));
    assert_non_null(strstr(err.message, "a number"));
    assert_int_equal(m.state.n_bytes, 0); /* nothing was taken */
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("12; 3"), &fine, &err), QUERN_OK);
    assert_int_equal(matcher_accept_bytes(&m, STR_LIT("x"), &fine, &err), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "; "));
    assert_non_null(strstr(err.message, "the end"));
    grammar_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_grammars_accept_what_a_naive_recogniser_accepts),
        cmocka_unit_test(test_masks_agree_with_accepting_token_by_token),
        cmocka_unit_test(test_json_escapes_are_matched_as_the_characters_they_spell),
        cmocka_unit_test(test_counts_of_repetitions_are_exact),
        cmocka_unit_test(test_multiples_are_told_from_other_numbers),
        cmocka_unit_test(test_long_right_and_left_recursion_stay_within_the_fuel),
        cmocka_unit_test(test_spellings_of_a_token_do_not_match_it_and_it_matches_no_text),
        cmocka_unit_test(test_a_refused_byte_is_reported_with_its_place_and_what_was_expected),
        cmocka_unit_test(test_what_cannot_be_compiled_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
