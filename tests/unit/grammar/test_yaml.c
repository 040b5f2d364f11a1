#include "support/form_check.h"
#include "support/support.h"

static void judges(const char *schema, const char *const *accepted, const char *const *refused) {
    form_judges(ANSWER_YAML, schema, accepted, refused);
}

static void mappings_and_sequences_are_indented(void **state) {
    (void)state;
    judges(
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"object\", \"properties\": "
        "{\"b\": "
        "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}, \"c\": {\"const\": null}}, "
        "\"additionalProperties\": false}, \"d\": {\"type\": \"boolean\"}}, \"required\": [\"d\"], "
        "\"additionalProperties\": false}",
        ACCEPTED("d: true", "d: true\n", "a:\n  b:\n    - 1\n    - -2\n  c: null\nd: false\n",
                 "a: {}\nd: true", "a:\n  b: []\nd: true", "\"a\":\n  \"c\": null\n\"d\": true"),
        REFUSED("", "a: {}", "{}", "d: yes", "d:true", "d:  true", "a:\n b: []\nd: true",
                "a:\n  b:\n  - 1\nd: true", "a:\nd: true", "d: true\na: {}", "d: true\n\n"));
}

static void sequences_hold_collections_in_the_compact_way(void **state) {
    (void)state;
    judges(
        "{\"type\": \"array\", \"items\": {\"anyOf\": [{\"type\": \"array\", \"items\": {\"type\": "
        "\"integer\"}, \"maxItems\": 2}, {\"type\": \"object\", \"properties\": {\"x\": {\"type\": "
        "\"integer\"}, \"z\": {\"type\": \"integer\"}}, \"required\": [\"x\"], "
        "\"additionalProperties\": false}]}, \"minItems\": 1}",
        ACCEPTED("- - 1\n  - 2\n- []\n- x: 1\n  z: 2\n", "- x: 3"),
        REFUSED("[]", "- - 1\n- - 2\n  - 3\n  - 4", "- x: 1\n z: 2", "- {}", "- z: 1", "-  x: 1"));
}

static void strings_are_plain_only_when_nobody_takes_them_for_else(void **state) {
    (void)state;
    judges("{\"type\": \"string\"}",
           ACCEPTED("abc", "two words, here", "\"no\"", "\"\"", "\"a\\nb\"", "\"\\u00e9\"",
                    "\"\xf0\x9f\x98\x80\"", "\xc3\xa9t\xc3\xa9", "\"1\"", "\"a: b # c\"", "nope",
                    "yesterday"),
           REFUSED("no", "Yes", "ON", "off", "y", "N", "true", "FALSE", "null", "NaN", "inf", "~",
                   "", "1", "2024-01-01", "a: b", "a #b", "a ", " a", "- a", "'a'", "a  b", "<<",
                   "=", "\"\\ud83d\\ude00\"", "\"\x7f\"", "\"\xe2\x80\xa8\"", "\"\xc2\x85\"",
                   "a\nb", "\"a\nb\"", "&a", "*a", "!a", "%a", "@a", "`a", "|", ">", "?", "[a",
                   "{a"));
    judges("{\"enum\": [\"yes\", \"ok\", \"a\\\"b\", 5]}",
           ACCEPTED("\"yes\"", "ok", "\"ok\"", "\"a\\\"b\"", "5"), REFUSED("yes", "\"5\"", "a\"b"));
    judges("{\"type\": \"string\", \"pattern\": \"^[a-z]{2}$\"}",
           ACCEPTED("ab", "\"no\"", "\"ab\""), REFUSED("no", "on", "abc"));
}

static void numbers_are_spelled_so_that_yaml_1_1_takes_them_for_numbers(void **state) {
    (void)state;
    judges("{\"type\": \"number\"}", ACCEPTED("0", "-1", "1.5", "1.5e+3", "2.0E-7"),
           REFUSED("1e3", "1.5e3", "01", "+1", ".5", "1.", "0x1", "1:30", "1_0", "\"1\""));
    judges("{\"type\": \"integer\", \"minimum\": -2, \"maximum\": 11}", ACCEPTED("-2", "11", "0"),
           REFUSED("-3", "12"));
}

static void recursion_ends_in_flow_style(void **state) {
    (void)state;
    const char *schema =
        "{\"$defs\": {\"t\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/t\"}}}, "
        "\"$ref\": \"#/$defs/t\"}";
    judges(schema,
           ACCEPTED("[]", "- []", "- - - - []\n      - []\n  - []",
                    "- - - - - - - - - - - - - [[], [[]]]"),
           REFUSED("[[]]", "- [[]]", "- - - - - - - - - - - - - - []"));
}

static void keys_that_others_mistake_are_quoted(void **state) {
    (void)state;
    judges("{\"type\": \"object\", \"properties\": {\"on\": {\"type\": \"integer\"}}, "
           "\"patternProperties\": {\"^[0-9]+$\": {\"type\": \"integer\"}}, "
           "\"additionalProperties\": false}",
           ACCEPTED("\"on\": 1", "\"12\": 3", "{}"), REFUSED("on: 1", "12: 3", "\"x\": 1"));
}

static void refusals_are_those_of_the_schema(void **state) {
    (void)state;
    form_refused(ANSWER_YAML, STR_LIT("{\"type\": \"nonsense\"}"), "nonsense");
    form_refused(ANSWER_YAML, STR_LIT("{"), "it: ");
    form_refused(ANSWER_YAML, STR_LIT("false"), "nothing matches");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_and_sequences_are_indented),
        cmocka_unit_test(sequences_hold_collections_in_the_compact_way),
        cmocka_unit_test(strings_are_plain_only_when_nobody_takes_them_for_else),
        cmocka_unit_test(numbers_are_spelled_so_that_yaml_1_1_takes_them_for_numbers),
        cmocka_unit_test(recursion_ends_in_flow_style),
        cmocka_unit_test(keys_that_others_mistake_are_quoted),
        cmocka_unit_test(refusals_are_those_of_the_schema),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
