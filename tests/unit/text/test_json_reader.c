#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "text/json_reader.h"

/* The tokens of a text as letters, values after them: {k"a"n1}. Ends with '!' at an error. */
static void read_all(struct str text, struct buffer *out, struct quern_error *err) {
    static const char letters[] = ".!{}[]k\"0tfn";
    struct arena arena = ARENA_INIT(0);
    struct json_reader r;
    json_reader_init(&r, text, &arena);
    enum json_token token;
    do {
        token = json_reader_next(&r);
        buffer_putc(out, letters[token]);
        if (token == JSON_TOKEN_KEY || token == JSON_TOKEN_STRING || token == JSON_TOKEN_NUMBER)
            buffer_append_str(out, r.value);
    } while (token > JSON_TOKEN_ERROR);
    if (token == JSON_TOKEN_ERROR) {
        assert_int_equal(json_reader_error(&r, "f.json", err), QUERN_ERR_FORMAT);
        /* It stays there. */
        assert_int_equal(json_reader_next(&r), JSON_TOKEN_ERROR);
    }
    arena_release(&arena);
}

static void expect(const char *text, const char *tokens) {
    struct buffer out;
    struct quern_error err;
    buffer_init(&out, 1 << 16);
    read_all(str_from(text), &out, &err);
    assert_string_equal(out.data, tokens);
    buffer_release(&out);
}

static void expect_error(struct str text, const char *message) {
    struct buffer out;
    struct quern_error err = {0};
    buffer_init(&out, 1 << 16);
    read_all(text, &out, &err);
    if (!strstr(err.message, message))
        fail_msg("%.*s: \"%s\" does not contain \"%s\"", STR_FMT(text), err.message, message);
    buffer_release(&out);
}

static void values_of_every_kind_are_read(void **state) {
    (void)state;
    expect("null", "n.");
    expect(" true ", "t.");
    expect("{}", "{}.");
    expect("[]", "[].");
    expect("[1, -0.5e+3, 0, 12E-2]", "[01"
                                     "0-0.5e+3"
                                     "00"
                                     "012E-2].");
    expect("{\"a\": {\"b\": [true, false, null]}, \"\": \"x\"}", "{ka{kb[tfn]}k\"x}.");
    expect("\t\r\n\n                    [\n        \"a\"\n  ,1]", "[\"a01].");
}

static void strings_are_unescaped(void **state) {
    (void)state;
    expect("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "\"a\"\\/\b\f\n\r\tz.");
    expect("\"\\u0041\\u00e9\\u4F60\\uD83D\\uDE00\"", "\"A\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80.");
    expect("\"\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80 plain text, long enough for words\"",
           "\"\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80 plain text, long enough for words.");
    expect("{\"\\u0061\": 1}", "{ka01}.");
}

static void every_fault_is_an_error_with_its_place(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1, column 1: the text ends too early"},
        {"[1, 2", "line 1, column 6: the text ends too early"},
        {"[1,", "too early"},
        {"{\"a\" 1}", "line 1, column 6: ':' was expected"},
        {"{\"a\": 1,}", "a key in quotes"},
        {"{1: 2}", "a key in quotes"},
        {"[1 2]", "',' or ']'"},
        {"{\"a\": 1]", "',' or '}'"},
        {"[1}", "',' or ']'"},
        {"[,1]", "a value was expected"},
        {"[1,]", "a value was expected"},
        {"]", "a value was expected"},
        {"nul", "a value was expected"},
        {"1 2", "nothing was expected after the value"},
        {"[]]", "nothing was expected after the value"},
        {"01", "not a number"},
        {"-", "not a number"},
        {"1.", "after the point"},
        {"1e", "exponent"},
        {"1e+", "exponent"},
        {".5", "a value was expected"},
        {"NaN", "a value was expected"},
        {"\"abc", "without its closing quote"},
        {"\"abc\\\"", "without its closing quote"},
        {"\"a\nb\"", "line 1, column 3: a control character"},
        {"[\n\n  \"\xC3\xA9\x01\"]", "line 3, column 5: a control character"},
        {"\"\\x\"", "an escape"},
        {"\"\\u12G4\"", "an escape"},
        {"\"\\uD83D\"", "an escape"},
        {"\"\\uD83Dx\"", "an escape"},
        {"\"\\uD83D\\u0041\"", "an escape"},
        {"\"\\uDE00\"", "an escape"},
        {"\"\xFF\"", "no UTF-8"},
        {"\"\xC3\"", "no UTF-8"},
        {"\"\xED\xA0\x80\"", "no UTF-8"},
        {"'a'", "a value was expected"},
        {"\xEF\xBB\xBF{}", "a value was expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(str_from(cases[i].text), cases[i].message);
    expect_error((struct str){"[\0]", 3}, "a value was expected");
    expect_error((struct str){"\"\\\0\"", 4}, "an escape");
}

static void nesting_has_an_end(void **state) {
    (void)state;
    char text[2 * JSON_READER_DEPTH_MAX + 4];
    memset(text, '[', JSON_READER_DEPTH_MAX);
    memset(text + JSON_READER_DEPTH_MAX, ']', JSON_READER_DEPTH_MAX);
    struct buffer out;
    struct quern_error err = {0};
    buffer_init(&out, 1000);
    read_all((struct str){text, 2 * JSON_READER_DEPTH_MAX}, &out, &err);
    assert_int_equal(out.data[out.len - 1], '.');
    buffer_release(&out);
    memset(text, '[', JSON_READER_DEPTH_MAX + 1);
    expect_error((struct str){text, JSON_READER_DEPTH_MAX + 1}, "nested too deeply");
}

static void skipping_gives_the_text_of_a_value(void **state) {
    (void)state;
    struct arena arena = ARENA_INIT(0);
    struct json_reader r;
    struct str text;
    json_reader_init(
        &r, STR_LIT("{\"a\" : [1, {\"b\": 2}] , \"c\":  \"x\\n\", \"d\": {\"e\": []}}"), &arena);
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_OBJECT);
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_KEY);
    assert_true(json_reader_skip(&r, &text));
    assert_true(str_is(text, "[1, {\"b\": 2}]"));
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_KEY);
    assert_true(json_reader_skip(&r, &text));
    assert_true(str_is(text, "\"x\\n\""));
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_KEY);
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_OBJECT);
    assert_true(json_reader_skip(&r, &text));
    assert_true(str_is(text, "{\"e\": []}"));
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_OBJECT_END);
    assert_int_equal(json_reader_next(&r), JSON_TOKEN_END);
    json_reader_init(&r, STR_LIT("[[1, 2"), &arena);
    json_reader_next(&r);
    assert_false(json_reader_skip(&r, &text));
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind_are_read),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(every_fault_is_an_error_with_its_place),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(skipping_gives_the_text_of_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
