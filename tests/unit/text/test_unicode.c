#include "support/support.h"

#include <string.h>

#include "base/rng.h"
#include "text/unicode.h"

static void every_code_point_survives_utf8(void **state) {
    (void)state;
    for (int32_t c = 0; c < 0x110000; c++) {
        char text[4];
        int32_t back;
        int n = utf8_encode(c, text);
        assert_int_equal(utf8_decode((unsigned char *)text, (unsigned char *)text + n, &back), n);
        assert_int_equal(back, c >= 0xD800 && c <= 0xDFFF ? 0xFFFD : c);
        for (int i = 1; i < n; i++)
            assert_int_equal(utf8_incomplete_tail((struct str){text, (size_t)i}), i);
        assert_int_equal(utf8_incomplete_tail((struct str){text, (size_t)n}), 0);
    }
    char text[4];
    assert_int_equal(utf8_encode(0x110000, text), 3);
    assert_int_equal(utf8_encode(-1, text), 3);
}

static void expect_sanitized(const char *from, const char *to) {
    struct buffer out;
    buffer_init(&out, 1000);
    assert_int_equal(utf8_sanitize(str_from(from), &out), QUERN_OK);
    assert_string_equal(out.data, to);
    assert_int_equal(utf8_valid(str_from(from)), strcmp(from, to) == 0);
    buffer_release(&out);
}

#define R "\xEF\xBF\xBD"

/* Unicode 3.9, tables 3-8 to 3-11, and what Python's decode("utf-8", "replace") gives. */
static void invalid_sequences_are_replaced_by_maximal_subparts(void **state) {
    (void)state;
    expect_sanitized("plain \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80",
                     "plain \xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80");
    expect_sanitized("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", R R R R R R R R "A");
    expect_sanitized("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", R R R R R R R R "A");
    expect_sanitized("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", R R R R R "A" R R "B");
    expect_sanitized("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", R R R R "A");
    expect_sanitized("long enough for words \xE4\xBD", "long enough for words " R);
}

static void incomplete_tails_are_told_from_invalid_ones(void **state) {
    (void)state;
    assert_int_equal(utf8_incomplete_tail(STR_LIT("")), 0);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("a")), 0);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("a\xC3")), 1);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\xE4\xBD")), 2);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\xF0\x9F\x98")), 3);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\xC0")), 0);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\xED\xA0")), 0);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\xF4\x90\x80")), 0);
    assert_int_equal(utf8_incomplete_tail(STR_LIT("\x80\x80")), 0);
    assert_int_equal(utf8_length(STR_LIT("a\xC3\xA9\xF0\x9F\x98\x80")), 3);
}

static void properties_are_those_of_the_tokenizers(void **state) {
    (void)state;
    size_t letters = 0, numbers = 0, spaces = 0;
    for (int32_t c = -1; c < 0x110010; c++) {
        letters += unicode_is_letter(c);
        numbers += unicode_is_number(c);
        spaces += unicode_is_space(c);
    }
    /* Unicode 16 has these many; White_Space has 25. */
    assert_int_equal(letters, 141028);
    assert_int_equal(numbers, 1911);
    assert_int_equal(spaces, 25);
    assert_true(unicode_is_letter(0x17F) && unicode_is_letter(0x4E00) && !unicode_is_letter(0x301));
    assert_true(unicode_is_number(0xBD) && unicode_is_number('7') && !unicode_is_number('x'));
    assert_true(unicode_is_space(0x3000) && !unicode_is_space(0x180E) && !unicode_is_space(0x1C));
    assert_true(unicode_is_word('_') && unicode_is_word(0x301) && !unicode_is_word('-'));
}

static void expect_forms(const char *from, const char *nfc, const char *nfd, const char *nfkc,
                         const char *nfkd) {
    const char *expected[] = {
        [UNICODE_NFC] = nfc, [UNICODE_NFKC] = nfkc, [UNICODE_NFD] = nfd, [UNICODE_NFKD] = nfkd};
    for (int form = 0; form < 4; form++) {
        struct buffer out;
        buffer_init(&out, 10000);
        buffer_puts(&out, "");
        assert_int_equal(unicode_normalize(str_from(from), (enum unicode_form)form, &out),
                         QUERN_OK);
        assert_string_equal(out.data, expected[form]);
        if (unicode_is_normalized_fast(str_from(from), (enum unicode_form)form))
            assert_string_equal(from, expected[form]);
        buffer_release(&out);
    }
}

static void normal_forms_join_part_and_order(void **state) {
    (void)state;
    expect_forms("plain", "plain", "plain", "plain", "plain");
    expect_forms("cafe\xCC\x81", "caf\xC3\xA9", "cafe\xCC\x81", "caf\xC3\xA9", "cafe\xCC\x81");
    /* q, dot above, dot below: the lower class comes first. */
    expect_forms("q\xCC\x87\xCC\xA3z", "q\xCC\xA3\xCC\x87z", "q\xCC\xA3\xCC\x87z",
                 "q\xCC\xA3\xCC\x87z", "q\xCC\xA3\xCC\x87z");
    expect_forms("\xE2\x84\xAB", "\xC3\x85", "A\xCC\x8A", "\xC3\x85",
                 "A\xCC\x8A");                                                /* angstrom sign */
    expect_forms("\xEF\xAC\x81", "\xEF\xAC\x81", "\xEF\xAC\x81", "fi", "fi"); /* fi ligature */
    expect_forms("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C",
                 "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C",
                 "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"); /* han */
    expect_forms("\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC", "\xE0\xA4\x95\xE0\xA4\xBC",
                 "\xE0\xA4\x95\xE0\xA4\xBC",
                 "\xE0\xA4\x95\xE0\xA4\xBC"); /* excluded from composition */
    expect_forms("", "", "", "", "");
}

/* Cutting the work into regions must not show: text with stable letters between gives the same as
 * each part. */
static void a_million_marks_take_linear_time(void **state) {
    (void)state;
    struct buffer text, out;
    buffer_init(&text, 8 << 20);
    buffer_init(&out, 8 << 20);
    buffer_putc(&text, 'e');
    for (int i = 0; i < 500000; i++)
        buffer_puts(&text, i % 2 ? "\xCC\x81" : "\xCC\xA3");
    assert_int_equal(unicode_normalize(buffer_str(&text), UNICODE_NFC, &out), QUERN_OK);
    /* e and the first dot below join; the other dots below come before the acutes. */
    assert_memory_equal(out.data, "\xE1\xBA\xB9\xCC\xA3\xCC\xA3", 7);
    assert_int_equal(out.len, text.len - 1 - 2 + 3);
    assert_memory_equal(out.data + out.len - 2, "\xCC\x81", 2);
    buffer_release(&text);
    buffer_release(&out);
}

static void normalizing_twice_changes_nothing(void **state) {
    (void)state;
    static const int32_t pool[] = {'a',    'e',    0xE9,   0x301,  0x323,  0x307,  0x327, 0x1100,
                                   0x1161, 0x11A8, 0xAC00, 0xAC01, 0x212B, 0xFB01, 0x958, 0x93C,
                                   0x344,  0xF73,  0xF71,  0x1E9B, 0x3099, 0x304B};
    for (uint64_t i = 0; i < 20000; i++) {
        struct buffer text, once, twice;
        buffer_init(&text, 1000);
        buffer_init(&once, 1000);
        buffer_init(&twice, 1000);
        for (uint64_t k = 0; k < 1 + i % 9; k++) {
            uint32_t r[4];
            char c[4];
            rng_block(i, 3, k, r);
            buffer_append(&text, c,
                          (size_t)utf8_encode(pool[r[0] % (sizeof pool / sizeof pool[0])], c));
        }
        enum unicode_form form = (enum unicode_form)(i % 4);
        assert_int_equal(unicode_normalize(buffer_str(&text), form, &once), QUERN_OK);
        assert_int_equal(unicode_normalize(buffer_str(&once), form, &twice), QUERN_OK);
        assert_true(str_eq(buffer_str(&once), buffer_str(&twice)));
        buffer_release(&text);
        buffer_release(&once);
        buffer_release(&twice);
    }
}

static void a_full_buffer_is_reported(void **state) {
    (void)state;
    struct buffer out;
    buffer_init(&out, 4);
    assert_int_equal(unicode_normalize(STR_LIT("e\xCC\x81 too long"), UNICODE_NFD, &out),
                     QUERN_ERR_LIMIT);
    buffer_release(&out);
    buffer_init(&out, 4);
    assert_int_equal(utf8_sanitize(STR_LIT("ab\xFF\xFF"), &out), QUERN_ERR_LIMIT);
    buffer_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_survives_utf8),
        cmocka_unit_test(invalid_sequences_are_replaced_by_maximal_subparts),
        cmocka_unit_test(incomplete_tails_are_told_from_invalid_ones),
        cmocka_unit_test(properties_are_those_of_the_tokenizers),
        cmocka_unit_test(normal_forms_join_part_and_order),
        cmocka_unit_test(a_million_marks_take_linear_time),
        cmocka_unit_test(normalizing_twice_changes_nothing),
        cmocka_unit_test(a_full_buffer_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
