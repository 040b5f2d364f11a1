#include "text/json.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static struct quern_error error;

static json_t *parse(const char *text) {
    json_t *value = NULL;
    assert_int_equal(json_parse(text, strlen(text), "f.json", &value, &error), QUERN_OK);
    assert_non_null(value);
    return value;
}

static void expect_error(const char *text, size_t len, enum quern_status code, const char *part) {
    json_t *value = NULL;
    memset(&error, 0, sizeof error);
    assert_int_equal(json_parse(text, len, "f.json", &value, &error), code);
    assert_null(value);
    if (!strstr(error.message, part))
        fail_msg("\"%s\" does not contain \"%s\"", error.message, part);
}

static void expect_written(const char *text, int indent, const char *expected) {
    json_t *value = parse(text);
    struct buffer out;
    buffer_init(&out, 1 << 20);
    assert_int_equal(json_write_python(value, indent, &out), QUERN_OK);
    assert_string_equal(out.data, expected);
    buffer_release(&out);
    json_decref(value);
}

static void malformed_texts_are_refused_with_their_place(void **state) {
    (void)state;
    expect_error("{\"a\": 1,\n \"b\": tru}", 19, QUERN_ERR_FORMAT, "f.json: line 2, column");
    expect_error("", 0, QUERN_ERR_FORMAT, "f.json: line 1");
    expect_error("[1] x", 5, QUERN_ERR_FORMAT,
                 "line 1, column 5: nothing was expected after the value");
    expect_error("{\"a\":1,\"a\":2}", 13, QUERN_ERR_FORMAT, "duplicate object key");
    expect_error("[NaN]", 5, QUERN_ERR_FORMAT, "line 1");
    expect_error("[Infinity]", 10, QUERN_ERR_FORMAT, "line 1");
    expect_error("[1e999]", 7, QUERN_ERR_FORMAT, "overflow");
    expect_error("[9223372036854775808]", 21, QUERN_ERR_FORMAT, "64 bits");
    expect_error("\"\xff\"", 3, QUERN_ERR_FORMAT, "line 1, column 2: bytes that are no UTF-8");
    expect_error("{\"a\\u0000b\":1}", 14, QUERN_ERR_FORMAT, "a NUL character in a key");
    expect_error("\"\\ud800\"", 8, QUERN_ERR_FORMAT, "line 1");
}

static void nesting_is_limited_before_parsing(void **state) {
    (void)state;
    char text[4 * JSON_DEPTH_MAX];
    size_t n = JSON_DEPTH_MAX;
    memset(text, '[', n);
    memset(text + n, ']', n);
    json_t *value = NULL;
    assert_int_equal(json_parse(text, 2 * n, "f.json", &value, &error), QUERN_OK);
    json_decref(value);
    memset(text, '[', n + 1);
    memset(text + n + 1, ']', n + 1);
    expect_error(text, 2 * n + 2, QUERN_ERR_LIMIT, "line 1, column 65: nested more than 64 deep");
    memset(text, '[', sizeof text);
    text[0] = '"';
    text[sizeof text - 1] = '"'; /* brackets inside a string do not count */
    assert_int_equal(json_parse(text, sizeof text, "f.json", &value, &error), QUERN_OK);
    json_decref(value);
}

static void members_of_the_right_type_are_read(void **state) {
    (void)state;
    json_t *o = parse("{\"i\":-5,\"w\":3.0,\"f\":0.5,\"b\":true,\"s\":\"x\",\"a\":[1],\"n\":null}");
    int64_t i = 0;
    double d = 0;
    bool b = false;
    const char *s = NULL;
    json_t *a = NULL;
    assert_int_equal(json_get_int(o, "f", "i", -9, 9, 1, &i, &error), QUERN_OK);
    assert_int_equal(i, -5);
    assert_int_equal(json_get_int(o, "f", "w", -9, 9, 1, &i, &error), QUERN_OK);
    assert_int_equal(i, 3);
    assert_int_equal(json_get_int(o, "f", "n", -9, 9, 1, &i, &error), QUERN_OK);
    assert_int_equal(i, 1);
    assert_int_equal(json_get_float(o, "f", "f", 0, 1, 0, &d, &error), QUERN_OK);
    assert_true(d == 0.5);
    assert_int_equal(json_get_float(o, "f", "w", 0, 9, 0, &d, &error), QUERN_OK);
    assert_true(d == 3.0);
    assert_int_equal(json_get_bool(o, "f", "b", false, &b, &error), QUERN_OK);
    assert_true(b);
    assert_int_equal(json_get_string(o, "f", "s", NULL, &s, &error), QUERN_OK);
    assert_string_equal(s, "x");
    assert_int_equal(json_get_string(o, "f", "missing", "d", &s, &error), QUERN_OK);
    assert_string_equal(s, "d");
    assert_int_equal(json_get_container(o, "f", "a", JSON_ARRAY, &a, &error), QUERN_OK);
    assert_int_equal(json_array_size(a), 1);
    assert_int_equal(json_get_container(o, "f", "n", JSON_ARRAY, &a, &error), QUERN_OK);
    assert_null(a);
    json_decref(o);
}

static void wrong_members_name_key_found_and_expected(void **state) {
    (void)state;
    json_t *o = parse("{\"i\":12,\"h\":1.5,\"s\":\"abc\",\"z\":\"a\\u0000b\",\"o\":{},"
                      "\"e\":\"\\u001b[31m\\u009b\"}");
    int64_t i = 77;
    double d;
    bool b;
    const char *s;
    json_t *a;
    assert_int_equal(json_get_int(o, "c.json", "i", 0, 9, 1, &i, &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message, "c.json: i: found 12, expected an integer from 0 to 9");
    assert_int_equal(i, 77);
    assert_int_equal(json_get_int(o, "c.json", "h", 0, 9, 1, &i, &error), QUERN_ERR_FORMAT);
    assert_int_equal(json_get_int(o, "c.json", "s", 0, 9, 1, &i, &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message,
                        "c.json: s: found string \"abc\", expected an integer from 0 to 9");
    assert_int_equal(json_get_float(o, "c.json", "h", 0, 1, 1, &d, &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message, "c.json: h: found 1.5, expected a number from 0.0 to 1.0");
    assert_int_equal(json_get_bool(o, "c.json", "o", 0, &b, &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message, "c.json: o: found object, expected true or false");
    assert_int_equal(json_get_bool(o, "c.json", "e", 0, &b, &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message,
                        "c.json: e: found string \"?[31m??\", expected true or false");
    assert_int_equal(json_get_string(o, "c.json", "z", NULL, &s, &error), QUERN_ERR_FORMAT);
    assert_int_equal(json_get_container(o, "c.json", "o", JSON_ARRAY, &a, &error),
                     QUERN_ERR_FORMAT);
    assert_int_equal(json_require(o, "c.json", "i", &error), QUERN_OK);
    assert_int_equal(json_require(o, "c.json", "nope", &error), QUERN_ERR_FORMAT);
    assert_string_equal(error.message, "c.json: nope is missing");
    json_decref(o);
}

static void values_are_written_as_python_writes_them(void **state) {
    (void)state;
    expect_written("{\"b\":[1,2.50,true,false,null],\"a\":{},\"e\":[]}", -1,
                   "{\"b\": [1, 2.5, true, false, null], \"a\": {}, \"e\": []}");
    expect_written("{\"b\":[1,{\"c\":\"d\"}],\"e\":[]}", 2,
                   "{\n  \"b\": [\n    1,\n    {\n      \"c\": \"d\"\n    }\n  ],\n  \"e\": []\n}");
    expect_written("[1]", 0, "[\n1\n]");
    expect_written("\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\\u007f<>&'é你😀\"", -1,
                   "\"\\u0000\\u001f\\b\\t\\n\\f\\r\\\"\\\\/\x7f<>&'é你😀\"");
    expect_written("[-0, -0.0, 9223372036854775807, -9223372036854775808]", -1,
                   "[0, -0.0, 9223372036854775807, -9223372036854775808]");
}

static void writing_stops_at_the_buffer_limit(void **state) {
    (void)state;
    json_t *value = parse("[1,2,3,4,5,6,7,8,9]");
    struct buffer out;
    buffer_init(&out, 8);
    assert_int_equal(json_write_python(value, -1, &out), QUERN_ERR_LIMIT);
    buffer_release(&out);
    json_decref(value);
}

static void floats_have_the_shortest_spelling(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {1e-5, "1e-05"},
        {1e16, "1e+16"},
        {1e15, "1000000000000000.0"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {0.0001, "0.0001"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {100.0, "100.0"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {1.0 / 3.0, "0.3333333333333333"},
        {2.5e-8, "2.5e-08"},
        {0x1p-1017, "7.120236347223045e-307"},
        {9007199254740993.0, "9007199254740992.0"},
        {1e22, "1e+22"},
        {1e100, "1e+100"},
        {0.30000000000000004, "0.30000000000000004"},
        {HUGE_VAL, "inf"},
        {-HUGE_VAL, "-inf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[40];
        json_format_float(cases[i].value, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void numbers_do_not_depend_on_the_locale(void **state) {
    (void)state;
    if (!support_use_foreign_point())
        skip();
    json_t *value = NULL;
    char text[40];
    assert_int_equal(json_parse("[1.25]", 6, "here", &value, NULL), QUERN_OK);
    assert_true(json_real_value(json_array_get(value, 0)) == 1.25);
    json_decref(value);
    json_format_float(0x1p-1017, text);
    setlocale(LC_ALL, "C");
    assert_string_equal(text, "7.120236347223045e-307");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_texts_are_refused_with_their_place),
        cmocka_unit_test(nesting_is_limited_before_parsing),
        cmocka_unit_test(members_of_the_right_type_are_read),
        cmocka_unit_test(wrong_members_name_key_found_and_expected),
        cmocka_unit_test(values_are_written_as_python_writes_them),
        cmocka_unit_test(writing_stops_at_the_buffer_limit),
        cmocka_unit_test(floats_have_the_shortest_spelling),
        cmocka_unit_test(numbers_do_not_depend_on_the_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
