/* The hand-written scanner against the pattern itself, run by PCRE2, and the engines' differences.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "text/unicode.h"
#include "tokenizer/pcre_splitter.h"
#include "tokenizer/qwen_scanner.h"

enum { RANDOM_CASES = 60000, TEXT_MAX = 64 };

static const char *const patterns[] = {QWEN_PATTERN, LLAMA3_PATTERN};

static struct pcre_splitter *compile(const char *pattern) {
    struct quern_error err;
    struct pcre_splitter *s = NULL;
    if (pcre_splitter_create(str_from(pattern), false, &s, &err))
        fail_msg("%s", err.message);
    return s;
}

static void assert_same_words(const struct pcre_splitter *pcre, struct pcre_scratch *scratch,
                              int max_digits, struct str text) {
    for (size_t at = 0; at < text.len;) {
        struct pcre_match m;
        size_t end = qwen_scanner_next(text, at, max_digits);
        assert_int_equal(pcre_splitter_find(pcre, scratch, text, at, &m, NULL), QUERN_OK);
        if (!m.found || m.begin != at || m.end != end) {
            fprintf(stderr, "in:");
            for (size_t i = 0; i < text.len; i++)
                fprintf(stderr, " %02X", (unsigned char)text.ptr[i]);
            fail_msg("from %zu the scanner ends at %zu, the pattern at %zu", at, end, m.end);
        }
        at = end;
    }
}

/* Mostly characters that the pattern tells apart, sometimes any at all. */
static int32_t random_character(uint32_t a, uint32_t b) {
    static const int32_t chosen[] = {
        ' ',     ' ',     '\n',   '\r',     '\t',   '\'',  '\'',    's',   'S',    0x17F,
        't',     'r',     'e',    'E',      'v',    'm',   'l',     'L',   'd',    'a',
        '1',     '2',     '.',    '!',      0xE9,   0x301, 0x4F60,  0x661, 0xBD,   0xA0,
        0x3000,  0x85,    0x2028, 0x180E,   0x200B, 0x1C,  0x1F600, 0x0B,  0x212A, 0x31350,
        0x1E030, 0x10D40, 0xFFFD, 0x10FFFF, 0,      0x7F};
    enum { N = sizeof chosen / sizeof chosen[0] };
    if (a % 8)
        return chosen[b % N];
    return (int32_t)(b % (a % 3 ? 0x3000 : 0x110000));
}

static size_t random_text(uint64_t seed, char *out) {
    uint32_t r[4];
    size_t len = 0;
    rng_block(seed, 1, 0, r);
    uint32_t n = 1 + r[0] % 14;
    for (uint32_t i = 0; i < n; i++) {
        rng_block(seed, 2, i, r);
        int32_t c = random_character(r[0], r[1]);
        for (uint32_t repeat = r[2] % 4 ? 1 : 1 + r[3] % 3; repeat > 0; repeat--)
            if (len + 4 <= TEXT_MAX)
                len += (size_t)utf8_encode(c, out + len);
    }
    return len;
}

static void the_scanner_is_the_pattern_on_random_text(void **state) {
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct pcre_splitter *pcre = compile(patterns[p]);
        struct pcre_scratch scratch = {0};
        int digits = qwen_scanner_digits(str_from(patterns[p]));
        assert_int_equal(digits, p ? 3 : 1);
        char text[TEXT_MAX];
        for (uint64_t i = 0; i < RANDOM_CASES; i++)
            assert_same_words(pcre, &scratch, digits, (struct str){text, random_text(i, text)});
        pcre_scratch_release(&scratch);
        pcre_splitter_destroy(pcre);
    }
}

/* Every code point beside an apostrophe, letters, digits, spaces and line breaks. */
static void the_scanner_is_the_pattern_for_every_code_point(void **state) {
    (void)state;
    struct pcre_splitter *pcre = compile(QWEN_PATTERN);
    struct pcre_scratch scratch = {0};
    for (int32_t c = 0; c < 0x110000; c++) {
        static const char before[] = "'", between[] = "a1 ", after[] = " !\n";
        char text[32];
        size_t len = 0;
        if (c >= 0xD800 && c <= 0xDFFF)
            continue;
        memcpy(text, before, len = sizeof before - 1);
        len += (size_t)utf8_encode(c, text + len);
        memcpy(text + len, between, sizeof between - 1);
        len += sizeof between - 1;
        len += (size_t)utf8_encode(c, text + len);
        len += (size_t)utf8_encode(c, text + len);
        memcpy(text + len, after, sizeof after - 1);
        len += sizeof after - 1;
        assert_same_words(pcre, &scratch, 1, (struct str){text, len});
    }
    pcre_scratch_release(&scratch);
    pcre_splitter_destroy(pcre);
}

static void other_patterns_are_not_taken_for_qwens(void **state) {
    (void)state;
    assert_int_equal(qwen_scanner_digits(STR_LIT("\\p{L}+")), 0);
    assert_int_equal(qwen_scanner_digits((struct str){QWEN_PATTERN, strlen(QWEN_PATTERN) - 1}), 0);
}

static void expect_translation(const char *pattern, const char *expected) {
    struct buffer out;
    struct quern_error err;
    buffer_init(&out, 1 << 16);
    if (pcre_translate(str_from(pattern), &out, &err))
        fail_msg("%s: %s", pattern, err.message);
    assert_string_equal(out.data, expected);
    buffer_release(&out);
}

static void what_engines_read_alike_is_kept(void **state) {
    (void)state;
    static const char *const same[] = {"a|b?+c*?d{2}e{2,}f{2,3}?",
                                       "(?i:x)(?=y)(?!z)(?<=a)(?<!b)(?>c)(d)",
                                       "[^a-z\\]]\\d\\t\\x41",
                                       "\\p{Lu}\\P{M}[\\p{Ll}]",
                                       "a{b",
                                       "{",
                                       "[]a]",
                                       "[^]a]",
                                       "\\.\\[\\-",
                                       "",
                                       "^a$"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        expect_translation(same[i], same[i]);
    expect_translation("a{,3}\\v\\u00e9", "a{0,3}\\x{0B}\\x{00e9}");
    expect_translation("\\p{^Lu}", "\\P{Lu}");
}

static void what_engines_read_differently_is_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "\\h",    "\\R",    "\\X",   "\\K",    "\\G",     "\\b",     "\\1",  "\\k<a>", "\\Qa\\E",
        "[a[b]]", "[a&&b]", "(?~a)", "(?m:a)", "(*FAIL)", "(?<n>a)", "(?R)", "a{2}+",  "a{2,3}+",
        "a{2}?",  "\\",     "\\p",   "\\pL",   "\\p{L",   "\\u12",   "[\\A]"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct buffer out;
        struct quern_error err = {0};
        buffer_init(&out, 1 << 16);
        if (pcre_translate(str_from(refused[i]), &out, &err) != QUERN_ERR_UNSUPPORTED)
            fail_msg("%s was taken", refused[i]);
        assert_non_null(strstr(err.message, "at byte"));
        buffer_release(&out);
    }
}

static void letters_newer_than_pcre2_are_letters(void **state) {
    (void)state;
    /* U+31350 is a letter since Unicode 15; U+180E was a space until 6.3. */
    static const struct {
        const char *pattern, *text;
        size_t begin, end;
    } cases[] = {{"\\p{L}+", "1\xF0\xB1\x8D\x90z", 1, 6}, {"[^\\p{L}]+", "\xF0\xB1\x8D\x90+", 4, 5},
                 {"\\P{L}+", "\xF0\xB1\x8D\x90+", 4, 5},  {"\\s+", "\xE1\xA0\x8E ", 3, 4},
                 {"\\S+", " \xE1\xA0\x8E ", 1, 4},        {"\\w+", "-e\xCC\x81_-", 1, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pcre_splitter *s = compile(cases[i].pattern);
        struct pcre_scratch scratch = {0};
        struct pcre_match m;
        assert_int_equal(pcre_splitter_find(s, &scratch, str_from(cases[i].text), 0, &m, NULL),
                         QUERN_OK);
        assert_true(m.found);
        assert_int_equal(m.begin, cases[i].begin);
        assert_int_equal(m.end, cases[i].end);
        pcre_scratch_release(&scratch);
        pcre_splitter_destroy(s);
    }
}

static void a_pattern_that_runs_away_ends_in_an_error(void **state) {
    (void)state;
    struct pcre_splitter *s = compile("(?:a+)+(?:c|d)");
    struct pcre_scratch scratch = {0};
    struct pcre_match m;
    struct quern_error err = {0};
    assert_int_equal(pcre_splitter_find(s, &scratch,
                                        STR_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"), 0,
                                        &m, &err),
                     QUERN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "gave up"));
    pcre_scratch_release(&scratch);
    pcre_splitter_destroy(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scanner_is_the_pattern_on_random_text),
        cmocka_unit_test(the_scanner_is_the_pattern_for_every_code_point),
        cmocka_unit_test(other_patterns_are_not_taken_for_qwens),
        cmocka_unit_test(what_engines_read_alike_is_kept),
        cmocka_unit_test(what_engines_read_differently_is_refused),
        cmocka_unit_test(letters_newer_than_pcre2_are_letters),
        cmocka_unit_test(a_pattern_that_runs_away_ends_in_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
