#include "tokenizer/json_members.h"

#include "support/support.h"

static bool member_is(const char *object, const char *key, const char *want) {
    struct str value;
    return json_member(str_from(object), key, &value) && str_is(value, want);
}

static void a_member_is_found_by_its_name_however_spelled(void **state) {
    (void)state;
    assert_true(member_is("{\"a\": 1, \"type\": \"x\\n\", \"b\": [2]}", "type", "\"x\\n\""));
    assert_true(member_is("{\"t\\u0079pe\": 3}", "type", "3"));
    assert_true(member_is("{\"<\\ud83d\\ude00\\\\\\u00e9>\": [1, {\"a\": 2}]}",
                          "<\xf0\x9f\x98\x80\\\xc3\xa9>", "[1, {\"a\": 2}]"));
    assert_true(member_is("{\"a\": 1, \"a\": 2}", "a", "2"));
    assert_true(member_is("{\"\": {}}", "", "{}"));
}

static void other_names_are_not_taken_for_it(void **state) {
    (void)state;
    struct str value;
    const struct str object = STR_LIT("{\"typ\": 1, \"types\": 2, \"ty\\u0070\": 3, \"type\\\\\": 4}");
    assert_false(json_member(object, "type", &value));
    assert_false(json_member(STR_LIT("[\"type\"]"), "type", &value));
    assert_false(json_member(STR_LIT(""), "type", &value));
}

static void elements_come_one_after_another(void **state) {
    (void)state;
    static const char *const want[] = {"1", "\"a]\\\"\"", "[2, [3]]", "{\"b\": \"}\"}", "null"};
    const struct str array = STR_LIT("[1, \"a]\\\"\",[2, [3]] ,{\"b\": \"}\"}\n, null ]");
    struct str value;
    size_t at = 0;
    for (size_t i = 0; i < 5; i++) {
        assert_true(json_element(array, &at, &value));
        assert_true(str_is(value, want[i]));
    }
    assert_false(json_element(array, &at, &value));
    at = 0;
    assert_false(json_element(STR_LIT("[ ]"), &at, &value));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_found_by_its_name_however_spelled),
        cmocka_unit_test(other_names_are_not_taken_for_it),
        cmocka_unit_test(elements_come_one_after_another),
    };
    return cmocka_run_group_tests_name("json_members", tests, NULL, NULL);
}
