#include "grammar/regex/regex_syntax.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/regex/regex_emit.h"
#include "support/support.h"
#include "text/json.h"

static struct quern_error error;

static bool matches(struct grammar_builder *b, expr_id x, const char *text) {
    bool yes = false;
    assert_int_equal(expr_matches(b, x, str_from(text), &yes, &error), QUERN_OK);
    return yes;
}

/* `accepted` and `refused` are lists of texts separated by '|'. */
static void check_list(struct grammar_builder *b, expr_id x, const char *pattern, const char *list,
                       bool expected) {
    char text[200];
    for (const char *at = list; at;) {
        const char *bar = strchr(at, '|');
        size_t n = bar ? (size_t)(bar - at) : strlen(at);
        assert_true(n < sizeof text);
        memcpy(text, at, n);
        text[n] = '\0';
        if (matches(b, x, text) != expected)
            fail_msg("/%s/ %s \"%s\"", pattern, expected ? "refuses" : "accepts", text);
        at = bar ? bar + 1 : NULL;
    }
}

static void expect(unsigned flags, const char *pattern, const char *accepted, const char *refused) {
    struct grammar_builder *b = NULL;
    expr_id x = GRAMMAR_NONE;
    assert_int_equal(grammar_builder_create(NULL, &b, &error), QUERN_OK);
    if (expr_regex(b, str_from(pattern), flags, &x, &error))
        fail_msg("/%s/: %s", pattern, error.message);
    if (accepted)
        check_list(b, x, pattern, accepted, true);
    if (refused)
        check_list(b, x, pattern, refused, false);
    grammar_builder_destroy(b);
}

static void expect_refusal(unsigned flags, const char *pattern, enum quern_status code,
                           const char *part) {
    struct grammar_builder *b = NULL;
    expr_id x = GRAMMAR_NONE;
    memset(&error, 0, sizeof error);
    assert_int_equal(grammar_builder_create(NULL, &b, &error), QUERN_OK);
    enum quern_status status = expr_regex(b, str_from(pattern), flags, &x, &error);
    if (status != code || !strstr(error.message, part))
        fail_msg("/%s/: %s \"%s\" lacks \"%s\"", pattern, quern_status_name(status), error.message,
                 part);
    assert_false(grammar_builder_failed(b));
    grammar_builder_destroy(b);
}

static void patterns_match_whole_texts_as_python_does_and_search_as_python_does(void **state) {
    (void)state;
    json_t *cases = NULL, *one;
    size_t i, k, n_checked = 0;
    assert_int_equal(
        json_load_path(support_fixture("golden/grammar/regex.json"), 1 << 24, &cases, &error),
        QUERN_OK);
    json_array_foreach(cases, i, one) {
        const char *pattern = json_string_value(json_object_get(one, "pattern"));
        json_t *texts = json_object_get(one, "texts"), *text;
        struct grammar_builder *b = NULL;
        expr_id whole = GRAMMAR_NONE, search = GRAMMAR_NONE;
        assert_int_equal(grammar_builder_create(NULL, &b, &error), QUERN_OK);
        if (expr_regex(b, str_from(pattern), REGEX_PCRE, &whole, &error) ||
            expr_regex(b, str_from(pattern), REGEX_PCRE | REGEX_SEARCH, &search, &error))
            fail_msg("/%s/: %s", pattern, error.message);
        json_array_foreach(texts, k, text) {
            const char *t = json_string_value(json_array_get(text, 0));
            bool full = json_integer_value(json_array_get(text, 1)) != 0;
            bool found = json_integer_value(json_array_get(text, 2)) != 0;
            if (matches(b, whole, t) != full)
                fail_msg("/%s/ on \"%s\": expected whole match %d", pattern, t, full);
            if (matches(b, search, t) != found)
                fail_msg("/%s/ in \"%s\": expected a match %d", pattern, t, found);
            n_checked += 2;
        }
        grammar_builder_destroy(b);
    }
    json_decref(cases);
    print_message("%zu verdicts\n", n_checked);
    assert_true(n_checked > 10000);
}

static void classes_and_escapes_mean_what_ecma_says(void **state) {
    (void)state;
    expect(0, "\\u0061\\x62\\u{63}\\t", "abc\t", "abc");
    expect(0, "\\ud83d\\ude00", "\xF0\x9F\x98\x80", "a");
    expect(0, "[]", NULL, "|a");
    expect(0, "[^]", "a|\n", "|ab");
    expect(0, ".", "a|\xC3\xA9", "\n|\r|\xE2\x80\xA8|");
    expect(REGEX_DOT_ALL, ".", "a|\n", "|ab");
    expect(0, "\\s", " |\xC2\xA0|\xEF\xBB\xBF", "a|\xC2\x85");
    expect(0, "\\d", "7", "\xD9\xA3|a");
    expect(0, "[\\d-x]+", "1-x", "w");
    expect(0, "[a\\]\\-b]+", "a]-b", "c");
    expect(0, "a{,2}", "a{,2}", "a|aa");
    expect(0, "a{x}|}|]", "a{x}|}|]", "a");
    expect(0, "\\/\\.\\-\\_", "/.-_", "/a-_");
    expect(0, "[\\b]", "\b", "b");
    expect(0, "\\cJ", "\n", "J");
}

static void perl_and_python_spellings_are_read_in_pcre_mode(void **state) {
    (void)state;
    expect(REGEX_PCRE, "[]a]+", "]a]", "b");
    expect(REGEX_PCRE, "a{,2}", "|a|aa", "aaa");
    expect(REGEX_PCRE, "\\Aab\\z", "ab", "a");
    expect(REGEX_PCRE, "(?P<x>a)(?#note)b", "ab", "a");
    expect(REGEX_PCRE, "[[:alpha:]_]+", "aZ_", "1");
    expect(REGEX_PCRE, "[[:^digit:]]", "a|\xC3\xA9", "1");
    expect(REGEX_PCRE, "\\s", " |\t", "\xC2\xA0");
    expect(REGEX_PCRE, "\\x{1F600}", "\xF0\x9F\x98\x80", "a");
}

static void properties_select_code_points(void **state) {
    (void)state;
    expect(0, "\\p{L}+", "a\xC3\xA9\xE4\xB8\xAD", "1|_");
    expect(0, "\\p{Lu}\\p{Ll}", "Aa|\xC3\x89\xC3\xA9", "aA");
    expect(0, "\\P{L}", "1", "a");
    expect(0, "\\p{Script=Greek}", "\xCE\xB1", "a");
    expect(0, "[^\\p{Nd}]", "a", "1|\xD9\xA3");
    expect(0, "\\pL", "a", "1");
    expect(0, "\\p{Letter}|\\p{gc=Sc}", "a|$|\xE2\x82\xAC", "1");
    expect_refusal(0, "a\\p{Nope}", QUERN_ERR_UNSUPPORTED, "unknown property \\p{Nope}");
}

static void case_is_ignored_on_demand(void **state) {
    (void)state;
    expect(REGEX_IGNORE_CASE, "kilo", "KiLo|kilo", "\xE2\x84\xAAilo");
    expect(REGEX_IGNORE_CASE, "\xC3\xA9", "\xC3\x89|\xC3\xA9", "e");
    expect(REGEX_IGNORE_CASE, "[\xCE\xA3]+", "\xCF\x83\xCF\x82\xCE\xA3", "s"); /* sigmas */
    expect(REGEX_IGNORE_CASE, "[^a]", "b", "a|A");
    expect(0, "a(?i)b|c", "ab|aB|C|c", "Ab");
    expect(0, "(?i:a)b", "Ab|ab", "AB");
    expect(0, "(a(?i)b)c", "aBc", "aBC");
}

static void anchors_bind_wherever_they_stand(void **state) {
    (void)state;
    expect(REGEX_SEARCH, "^a|b$", "ax|xb|a|b", "xa|bx|");
    expect(REGEX_SEARCH, "^(a|^b$|c)d?$", "a|b|ad|cd", "bd|xa");
    expect(REGEX_SEARCH, "(^a|b)+c", "ac|bc|abc|xbc", "xac");
    expect(REGEX_SEARCH, "a^b", NULL, "ab|a^b|");
    expect(REGEX_SEARCH, "a$b", NULL, "ab");
    expect(REGEX_SEARCH, "^", "|a", NULL);
    expect(REGEX_SEARCH, "$^", "", "a");
    expect(REGEX_SEARCH, "", "|a", NULL);
    expect(REGEX_SEARCH, "^$", "", "a|\n");
    /* Not Python's: a last line end is an ordinary character. */
    expect(REGEX_SEARCH, "a$", "a", "a\n");
}

static void lookaheads_and_word_edges_are_intersections(void **state) {
    (void)state;
    expect(REGEX_SEARCH, "^(?=.*[A-Z])(?=.*\\d)[A-Za-z\\d]{4,}$", "Abc1|1AAA", "abc1|ABCD|A1");
    expect(REGEX_SEARCH, "^(?!foo$|bar)\\w+$", "food|fo|ba", "foo|bar|barn");
    expect(REGEX_SEARCH, "\\bcat\\b", "cat|a cat.|cat-x", "cats|concat|_cat");
    expect(REGEX_SEARCH, "\\B", "| ", "a");
    expect(REGEX_SEARCH, "\\Bcat", "concat", "cat|a cat");
    expect(REGEX_SEARCH, "^(?!.*--)[a-z-]+(?!-)$", "a-b", "a--b");
    expect(REGEX_SEARCH, "^(\\bab ?\\b){1,3}$", "ab|ab ab", "abab");
}

static void what_cannot_be_expressed_is_named_with_its_place(void **state) {
    (void)state;
    expect_refusal(0, "ab(?<=b)c", QUERN_ERR_UNSUPPORTED, "character 3: the lookbehind (?<=");
    expect_refusal(0, "a(?<!b)", QUERN_ERR_UNSUPPORTED, "character 2: the lookbehind (?<!");
    expect_refusal(0, "\xC3\xA9(a)\\1", QUERN_ERR_UNSUPPORTED,
                   "character 5: the backreference \\1");
    expect_refusal(0, "(?<n>a)\\k<n>", QUERN_ERR_UNSUPPORTED, "backreference \\k");
    expect_refusal(0, "(?>a)", QUERN_ERR_UNSUPPORTED, "atomic group");
    expect_refusal(REGEX_PCRE, "a++", QUERN_ERR_UNSUPPORTED, "possessive");
    expect_refusal(0, "(?:(?!b).)*c", QUERN_ERR_UNSUPPORTED, "repeated without a bound");
    expect_refusal(0, "(?m:^a)", QUERN_ERR_UNSUPPORTED, "(?m");
    expect_refusal(0, "\\012", QUERN_ERR_UNSUPPORTED, "octal");
}

static void malformed_patterns_are_refused_with_their_place(void **state) {
    (void)state;
    expect_refusal(0, "a**", QUERN_ERR_FORMAT, "character 3: nothing to repeat");
    expect_refusal(0, "^*", QUERN_ERR_FORMAT, "nothing to repeat");
    expect_refusal(0, "(a", QUERN_ERR_FORMAT, "character 1: ( without )");
    expect_refusal(0, "a)", QUERN_ERR_FORMAT, "character 2: ) without (");
    expect_refusal(0, "[a", QUERN_ERR_FORMAT, "character 1: [ without ]");
    expect_refusal(0, "[z-a]", QUERN_ERR_FORMAT, "backwards");
    expect_refusal(0, "a{3,2}", QUERN_ERR_FORMAT, "out of order");
    expect_refusal(0, "a\\", QUERN_ERR_FORMAT, "backslash at the end");
    expect_refusal(0, "\\a", QUERN_ERR_FORMAT, "unknown escape \\a");
    expect_refusal(0, "\\Z", QUERN_ERR_FORMAT, "unknown escape \\Z");
    expect_refusal(0, "\\u12", QUERN_ERR_FORMAT, "four hexadecimal digits");
    expect_refusal(0, "\\u{110000}", QUERN_ERR_FORMAT, "above 10FFFF");
    expect_refusal(0, "\xFF", QUERN_ERR_FORMAT, "UTF-8");
}

static void bombs_end_at_a_limit(void **state) {
    (void)state;
    size_t n = 100000;
    char *text = malloc(n + 1);
    assert_non_null(text);
    memset(text, '(', n);
    text[n] = '\0';
    expect_refusal(0, text, QUERN_ERR_LIMIT, "expected at most 65536");
    text[60000] = '\0';
    expect_refusal(0, text, QUERN_ERR_LIMIT, "nested deeper");
    free(text);
    expect_refusal(0, "a{100001}", QUERN_ERR_LIMIT, "a repetition above");
    expect_refusal(0, "((((^a?){64}){64}){64}){64}", QUERN_ERR_LIMIT, "too large");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_texts_as_python_does_and_search_as_python_does),
        cmocka_unit_test(classes_and_escapes_mean_what_ecma_says),
        cmocka_unit_test(perl_and_python_spellings_are_read_in_pcre_mode),
        cmocka_unit_test(properties_select_code_points),
        cmocka_unit_test(case_is_ignored_on_demand),
        cmocka_unit_test(anchors_bind_wherever_they_stand),
        cmocka_unit_test(lookaheads_and_word_edges_are_intersections),
        cmocka_unit_test(what_cannot_be_expressed_is_named_with_its_place),
        cmocka_unit_test(malformed_patterns_are_refused_with_their_place),
        cmocka_unit_test(bombs_end_at_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
