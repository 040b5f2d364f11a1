#include "grammar/ebnf/lark.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/form_check.h"
#include "support/support.h"

static void judges(const char *grammar, const char *const *accepted, const char *const *refused) {
    form_judges(ANSWER_LARK, grammar, accepted, refused);
}

static void rules_alternatives_and_groups(void **state) {
    (void)state;
    judges("start: \"a\" (b | \"c\" \"d\")* [\"e\"]\nb: \"b\"\n   | \"B\" -> other // comment\n",
           ACCEPTED("a", "ab", "aBcde", "abcdB", "ae"), REFUSED("", "b", "ac", "aee", "abdc"));
}

static void modifiers_before_names_change_no_language(void **state) {
    (void)state;
    judges("?start: x | _y\n!x: \"1\"\n_y: \"2\"\n", ACCEPTED("1", "2"), REFUSED("3"));
}

static void recursion(void **state) {
    (void)state;
    judges("start: e\n?e: e \"+\" t -> add | t\n?t: \"x\" | \"(\" e \")\"\n",
           ACCEPTED("x", "x+x", "(x+x)+x", "((x))"), REFUSED("", "x+", "(x", "+x"));
}

static void repetition(void **state) {
    (void)state;
    judges("start: \"a\"~2 \"b\"~1..2 \"c\"{2} \"d\"{1,2} \"e\"{1,} \"f\"? \"g\"+\n",
           ACCEPTED("aabccdeg", "aabbccddeeefgg"),
           REFUSED("abccdeg", "aabbbccdeg", "aabccdddeg", "aabccdg", "aabccde"));
}

static void literals(void **state) {
    (void)state;
    judges("start: \"Sel\"i A \"\\\"\\n\\x41\\u00e9\"\nA: \"a\"..\"c\" | \"0\"..\"9\"\n",
           ACCEPTED("SELb\"\nA\xc3\xa9", "sel5\"\nA\xc3\xa9", "sEla\"\nA\xc3\xa9"),
           REFUSED("selb\"\na\xc3\xa9", "seld\"\nA\xc3\xa9", "selB\"\nA\xc3\xa9"));
}

static void patterns_with_flags(void **state) {
    (void)state;
    judges("start: /a.c\\/[x-z]+/ B\nB: /q.r/is\n", ACCEPTED("abc/xyq1r", "abc/zQ\nR"),
           REFUSED("ABC/xq1r", "a\nc/xq1r", "abc/q1r"));
}

static void ignored_text_stands_between_terminals_but_not_within(void **state) {
    (void)state;
    judges("start: \"let\" NAME \"=\" INT\nNAME: LETTER (LETTER | DIGIT)*\n"
           "%import common (LETTER, DIGIT)\n%import common.INT\n%import common.WS -> SPACE\n"
           "%ignore SPACE\n%ignore /#[^\\n]*/\n",
           ACCEPTED("let x=1", "  let\n ab1 = 22 # end", "letx=1", "let # a\n x = 1\n"),
           REFUSED("l et x=1", "let x=", "let a b=1", "let x=1 2"));
}

static void ignored_text_beside_what_may_be_empty(void **state) {
    (void)state;
    judges("start: A B? \"c\"\nA: /a*/\nB: \"b\"\n%ignore \" \"\n",
           ACCEPTED("c", " a b c ", "aac", "  c"), REFUSED("a", "a a c", "bb c"));
}

static void terminals_of_common(void **state) {
    (void)state;
    judges("%import common.SIGNED_NUMBER\n%import common.ESCAPED_STRING\n%import common.C_COMMENT\n"
           "start: SIGNED_NUMBER ESCAPED_STRING C_COMMENT?\n",
           ACCEPTED("-1.5e3\"a\\\"b\"", "1\"\"/* * **/", ".5\"x\"/**/"),
           REFUSED("-\"\"", "1\"a\"b\"", "1\"\\\"", "1\"\"/* */ */"));
}

static void schemas_within_rules(void **state) {
    (void)state;
    judges("start: \"<\" %json {\"type\": \"object\", \"properties\": {\"a}\": {\"const\": "
           "\"\\\"{\"}},"
           "\n \"required\": [\"a}\"], \"additionalProperties\": false} \">\"\n",
           ACCEPTED("<{\"a}\":\"\\\"{\"}>"), REFUSED("<{}>", "<{\"a}\":\"\"}>"));
}

static void refusals_name_the_line_and_the_cause(void **state) {
    (void)state;
    const struct {
        const char *grammar, *part;
    } cases[] = {
        {"start: \"a\"\nB.2: \"b\"\n", "it: line 2: the priority of \"B\""},
        {"start.1: \"a\"\n", "priority"},
        {"start: x{\"a\"}\n", "templates"},
        {"x{a}: a\nstart: \"a\"\n", "templates"},
        {"start[capture]: \"a\"\n", "attributes"},
        {"%declare A\nstart: A\n", "%declare is not supported"},
        {"start: A\n%import python.NAME\n", "line 2: only the terminals of \"common\""},
        {"%import common.NOPE\nstart: \"a\"\n", "line 1: common has no terminal \"NOPE\""},
        {"start: b\n", "line 1: the rule \"b\" is not defined"},
        {"x: \"a\"\n", "\"start\""},
        {"start: \"a\n", "not closed"},
        {"start: (\"a\"\nb: \"c\"\n", "not closed"},
        {"start: \"a\"\nstart: \"b\"\n", "line 2: \"start\" is defined twice"},
        {"start: /a/m\n", "the flag 'm'"},
        {"start: /(?<!a)b/\n", "line 1: regex"},
        {"start: /(/\n", "regex"},
        {"start: \"a\"~5..2\n", "below its minimum"},
        {"start: \"a\"~99999\n", "more than"},
        {"start: \"ab\"..\"z\"\n", "single characters"},
        {"start: \"\\q\"\n", "escape"},
        {"start: A\nA: b\nb: \"x\"\n", "stands within a terminal"},
        {"start: A\nA: \"x\" A | \"y\"\n%ignore \" \"\n", "recursive"},
        {"start \"a\"\n", "expected ':'"},
        {"start: \"a\" )\n", "found ')'"},
        {"%json {}\n", "unknown statement"},
        {"start: %json {\"type\": \"nonsense\"}\n", "nonsense"},
        {"start: %json {\n", "not closed"},
        {"start: <|im_end|>\n", "<[NUMBER]>"},
        {"%ignore B\nstart: \"a\"\n", "%ignore"},
        {"start: start\n", "nothing matches"},
        {"", "\"start\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        form_refused(ANSWER_LARK, str_from(cases[i].grammar), cases[i].part);
}

static void bombs_end_with_a_message(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N + 64);
    assert_non_null(text);
    memset(text, '(', N);
    memcpy(text, "start: ", 7);
    form_refused(ANSWER_LARK, (struct str){text, 5000}, "nested more than");
    form_refused(ANSWER_LARK, (struct str){text, N + 1}, "bytes, more than");
    /* Doubling: 2^60 letters, were it written out. */
    size_t n = (size_t)snprintf(text, N, "start: A60\nA0: \"a\"\n");
    for (int i = 1; i <= 60; i++)
        n += (size_t)snprintf(text + n, N - n, "A%d: A%d A%d\n", i, i - 1, i - 1);
    form_refused(ANSWER_LARK, str_from(text), "too many expressions");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_alternatives_and_groups),
        cmocka_unit_test(modifiers_before_names_change_no_language),
        cmocka_unit_test(recursion),
        cmocka_unit_test(repetition),
        cmocka_unit_test(literals),
        cmocka_unit_test(patterns_with_flags),
        cmocka_unit_test(ignored_text_stands_between_terminals_but_not_within),
        cmocka_unit_test(ignored_text_beside_what_may_be_empty),
        cmocka_unit_test(terminals_of_common),
        cmocka_unit_test(schemas_within_rules),
        cmocka_unit_test(refusals_name_the_line_and_the_cause),
        cmocka_unit_test(bombs_end_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
