#include "openai/answer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static struct tokenizer *tokenizer;

static int open_tokenizer(void **state) {
    (void)state;
    struct quern_error err = {0};
    return tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, &err) != QUERN_OK;
}

static int close_tokenizer(void **state) {
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

/* What came, as one text: "R(thinking)C(content)T(name arguments)". Neighbours of a kind are
 * joined. */
struct record {
    struct buffer text;
    int last;
};

/* For the tests of calls that a grammar keeps in form. */
static const json_t *tool_list;
static bool calls_keep_form;
static size_t n_pieces; /* of arguments */

static void on_delta(void *user, const struct answer_delta *delta) {
    struct record *r = user;
    static const char letters[] = "CRT";
    if (delta->part == PART_CALL_END) {
        r->last = PART_CALL_END;
        return;
    }
    n_pieces += delta->part == PART_ARGUMENTS;
    if (delta->part == PART_ARGUMENTS)
        assert_true(r->last == PART_TOOL_CALL || r->last == PART_ARGUMENTS);
    if ((r->last == (int)delta->part && delta->part != PART_TOOL_CALL) ||
        delta->part == PART_ARGUMENTS)
        r->text.len--; /* the bracket */
    else
        buffer_printf(&r->text, "%c(", letters[delta->part]);
    if (delta->part == PART_TOOL_CALL) {
        assert_non_null(delta->call);
        assert_int_equal(strncmp(delta->call->id, "call_", 5), 0);
        buffer_append_str(&r->text, delta->call->name);
        buffer_putc(&r->text, ' ');
    } else {
        buffer_append_str(&r->text, delta->text);
    }
    buffer_putc(&r->text, ')');
    r->last = (int)delta->part;
}

enum { BY_TOKEN = 0, LATE = 1, BY_BYTE = 2 };


/* Text may come later than its token, and in pieces: `how` tries these. */
static void run(const char *answer, bool thinking, bool tools, size_t max_calls, int how,
                struct record *r) {
    struct answer_parts_setup setup = {
        .tokenizer = tokenizer,
        .markers = {tokenizer_added_id(tokenizer, STR_LIT("<think>")),
                    tokenizer_added_id(tokenizer, STR_LIT("</think>")),
                    tokenizer_added_id(tokenizer, STR_LIT("<tool_call>")),
                    tokenizer_added_id(tokenizer, STR_LIT("</tool_call>")), -1, -1, -1},
        .thinking = thinking,
        .tools = tools,
        .tool_list = tool_list,
        .calls_keep_form = calls_keep_form,
        .max_calls = max_calls,
        .on_delta = on_delta,
        .user = r,
    };
    struct answer_parts parts;
    struct token_ids ids = {0};
    struct encode_options options = {.parse_special = true};
    struct token_stream stream;
    struct buffer held;
    buffer_init(&r->text, SIZE_MAX / 4);
    buffer_init(&held, SIZE_MAX / 4);
    r->last = -1;
    answer_parts_init(&parts, &setup);
    token_stream_init(&stream, tokenizer, true);
    assert_int_equal(tokenizer_encode(tokenizer, str_from(answer), options, &ids, NULL), QUERN_OK);
    for (size_t i = 0; i < ids.n; i++) {
        assert_int_equal(token_stream_push(&stream, ids.ids[i], &held), QUERN_OK);
        struct quern_event e = {.token = ids.ids[i], .text = held.data, .text_len = held.len};
        if (how == LATE && i % 3 != 2)
            e.text_len = 0;
        if (how == BY_BYTE)
            e.text_len = held.len ? 1 : 0;
        size_t taken = e.text_len;
        assert_int_equal(answer_parts_push(&parts, &e), QUERN_OK);
        for (e.token = -1; how == BY_BYTE && taken < held.len; taken++) {
            e.text = held.data + taken;
            assert_int_equal(answer_parts_push(&parts, &e), QUERN_OK);
        }
        if (taken)
            buffer_clear(&held);
    }
    struct quern_event last = {.token = -1, .text = held.data, .text_len = held.len};
    assert_int_equal(answer_parts_push(&parts, &last), QUERN_OK);
    assert_int_equal(answer_parts_finish(&parts), QUERN_OK);
    answer_parts_release(&parts);
    token_ids_release(&ids);
    buffer_release(&held);
}

static void expect_calls(const char *answer, bool thinking, bool tools, size_t max_calls,
                         const char *expected) {
    for (int how = BY_TOKEN; how <= BY_BYTE; how++) {
        struct record r;
        run(answer, thinking, tools, max_calls, how, &r);
        assert_string_equal(r.text.data ? r.text.data : "", expected);
        buffer_release(&r.text);
    }
}

static void expect(const char *answer, bool thinking, bool tools, const char *expected) {
    expect_calls(answer, thinking, tools, SIZE_MAX, expected);
}

static void thinking_and_content_are_told_apart(void **state) {
    (void)state;
    expect("<think>\nhm\n\nso\n</think>\n\nyes\n", false, false, "R(hm\n\nso)C(yes\n)");
    expect("hm</think>yes", true, false, "R(hm)C(yes)");
    expect("plain", false, false, "C(plain)");
    expect("<think>\n\n</think>\n\nyes", false, false, "C(yes)");
    expect("cut off while th", true, false, "R(cut off while th)");
    expect("", true, false, "");
}

static void a_think_marker_further_on_is_text(void **state) {
    (void)state;
    expect("a <think> b", false, false, "C(a <think> b)");
    expect("x <think> y</think>z", true, false, "R(x <think> y)C(z)");
}

static void calls_are_found_after_content_and_after_each_other(void **state) {
    (void)state;
    expect("well\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
           "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>",
           false, true, "C(well)T(f {\"a\": 1})T(g {})");
    expect("<think>use it</think>\n\n<tool_call>{\"name\":\"f\"}</tool_call>", false, true,
           "R(use it)T(f {})");
}

static void a_closing_marker_inside_an_argument_is_part_of_it(void **state) {
    (void)state;
    expect("<tool_call>{\"name\":\"f\",\"arguments\":{\"t\":\"a</tool_call>\\\"b}\"}}</tool_call>",
           false, true, "T(f {\"t\":\"a</tool_call>\\\"b}\"})");
    expect("<tool_call>{\"name\":\"f\",\"arguments\":{\"t\":\"<think></think><tool_call>\"}}</"
           "tool_call>",
           false, true, "T(f {\"t\":\"<think></think><tool_call>\"})");
}

static void a_quote_in_coders_form_opens_no_string(void **state) {
    (void)state;
    expect("<tool_call>\n<function=f>\n<parameter=a>\nsay "
           "\"hi\n</parameter>\n</function>\n</tool_call>done",
           false, true, "T(f {\"a\": \"say \\\"hi\"})C(done)");
}

static void calls_in_the_thinking_are_thoughts(void **state) {
    (void)state;
    expect("<tool_call>{}</tool_call></think>done", true, true,
           "R(<tool_call>{}</tool_call>)C(done)");
}

static void without_tools_a_call_is_text(void **state) {
    (void)state;
    expect("<tool_call>{\"name\":\"f\"}</tool_call>", false, false,
           "C(<tool_call>{\"name\":\"f\"}</tool_call>)");
}

static void what_is_no_call_is_kept_as_text(void **state) {
    (void)state;
    expect("<tool_call>oh</tool_call> no", false, true, "C(<tool_call>oh</tool_call> no)");
    expect("<tool_call>{\"name\": ", false, true, "C(<tool_call>{\"name\": )");
    expect("<tool_call>{\"name\":\"f\"}", false, true, "T(f {})");
}

static void further_calls_can_be_dropped(void **state) {
    (void)state;
    expect_calls("<tool_call>{\"name\":\"f\"}</tool_call><tool_call>{\"name\":\"g\"}</tool_call>",
                 false, true, 1, "T(f {})");
}

/* ---- one call ---------------------------------------------------------------------------- */

static void expect_call(const char *text, const char *name, const char *arguments) {
    struct buffer storage;
    struct tool_call call = {0};
    buffer_init(&storage, SIZE_MAX / 4);
    bool found = tool_call_parse(str_from(text), NULL, &storage, &call);
    assert_int_equal(found, name != NULL);
    if (name) {
        assert_true(str_is(call.name, name));
        assert_true(str_is(call.arguments, arguments));
    }
    buffer_release(&storage);
}

static void arguments_are_kept_byte_for_byte(void **state) {
    (void)state;
    expect_call(" {\"name\":\"f\",\"arguments\": { \"a\" : [1,  2] } } ", "f",
                "{ \"a\" : [1,  2] }");
    expect_call("{\"arguments\":{},\"name\":\"f\\u00e4\"}", "f\xc3\xa4", "{}");
    expect_call("{\"name\":\"f\",\"parameters\":{\"x\":\"}\"}}", "f", "{\"x\":\"}\"}");
    expect_call("{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 1}\"}", "f", "{\"a\": 1}");
}

static void coders_form_becomes_json(void **state) {
    (void)state;
    expect_call(
        "<function=write>\n<parameter=path>\na "
        "\"b\"\n</parameter>\n<parameter=n>\n3\n</parameter>\n"
        "<parameter=l>\n[1, {\"x\": null}]\n</parameter>\n<parameter=s>\n1, "
        "2\n</parameter>\n</function>",
        "write",
        "{\"path\": \"a \\\"b\\\"\", \"n\": 3, \"l\": [1, {\"x\": null}], \"s\": \"1, 2\"}");
    expect_call("<function=now></function>", "now", "{}");
}

static void broken_calls_are_none(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        "f",
        "{",
        "{}",
        "{\"name\":3}",
        "{\"name\":\"f\"",
        "{\"name\":\"f\"} x",
        "[\"f\"]",
        "{\"name\":\"\"}",
        "<function=f>",
        "<function=>x</function>",
        "<function=f><parameter=a>b</function>",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_call(cases[i], NULL, NULL);
}

/* ---- calls that keep their form ----------------------------------------------------------- */

static const char TOOLS[] =
    "[{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {"
    "\"s\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"},"
    "\"b\": {\"type\": [\"boolean\", \"null\"]}, \"e\": {\"enum\": [\"1\", \"x\"]},"
    "\"l\": {\"anyOf\": [{\"type\": \"array\"}, {\"$ref\": \"#/$defs/t\"}]},"
    "\"m\": {\"type\": [\"string\", \"integer\"]}}, \"$defs\": {\"t\": {\"const\": \"t\"}}}}}]";

static void expect_kept(const char *answer, const char *expected) {
    json_t *list = NULL;
    assert_int_equal(json_parse(TOOLS, sizeof TOOLS - 1, "tools", &list, NULL), QUERN_OK);
    tool_list = list;
    calls_keep_form = true;
    expect(answer, false, true, expected);
    calls_keep_form = false;
    tool_list = NULL;
    json_decref(list);
}

static void arguments_come_as_they_are_written(void **state) {
    (void)state;
    n_pieces = 0;
    expect_kept("well\n<tool_call>\n{\"name\": \"f\\u0067\", \"arguments\": {\"a\": [1, {\"b\": "
                "\"}]</tool_call>\\\"{\"}], \"c\": \"日\"}}\n</tool_call>\n<tool_call>\n{\"name\": "
                "\"now\", \"arguments\": {}}\n</tool_call>",
                "C(well)T(fg {\"a\": [1, {\"b\": \"}]</tool_call>\\\"{\"}], \"c\": \"日\"})T(now {})");
    assert_true(n_pieces > 60);
}

static void a_cut_call_is_told_from_its_name_on(void **state) {
    (void)state;
    expect_kept("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"so",
                "T(f {\"a\": \"so)");
    expect_kept("<tool_call>\n{\"name\": \"f\", \"argum", "T(f )");
    expect_kept("<tool_call>\n{\"name\": \"f", "C(<tool_call>\n{\"name\": \"f)");
}

static void coders_values_have_the_types_of_the_schema(void **state) {
    (void)state;
    expect_kept("<tool_call>\n<function=f>\n<parameter=s>\n12\n\n</parameter>\n<parameter=n>\n12\n"
                "</parameter>\n<parameter=b>\nnull\n</parameter>\n<parameter=e>\n1\n</parameter>\n"
                "<parameter=l>\n[\"</par\", 1]\n</parameter>\n<parameter=m>\n1.5\n</parameter>\n"
                "</function>\n</tool_call>",
                "T(f {\"s\": \"12\\n\", \"n\": 12, \"b\": null, \"e\": \"1\", \"l\": [\"</par\", 1], "
                "\"m\": \"1.5\"})");
    expect_kept("<tool_call>\n<function=f>\n<parameter=s>\n\n</paramet\n\n</parameter>\n<parameter=l>\nt\n"
                "</parameter>\n<parameter=m>\n15\n</parameter>\n</function>\n</tool_call>",
                "T(f {\"s\": \"\\n</paramet\\n\", \"l\": \"t\", \"m\": 15})");
    expect_kept("<tool_call>\n<function=now>\n</function>\n</tool_call>", "T(now {})");
    expect_kept("<tool_call>\n<function=f>\n<parameter=s>\n\"a\\</tool_call>b\n</parameter>\n</function>\n",
                "T(f {\"s\": \"\\\"a\\\\)C(b\n</parameter>\n</function>\n)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thinking_and_content_are_told_apart),
        cmocka_unit_test(a_think_marker_further_on_is_text),
        cmocka_unit_test(calls_are_found_after_content_and_after_each_other),
        cmocka_unit_test(a_closing_marker_inside_an_argument_is_part_of_it),
        cmocka_unit_test(a_quote_in_coders_form_opens_no_string),
        cmocka_unit_test(calls_in_the_thinking_are_thoughts),
        cmocka_unit_test(without_tools_a_call_is_text),
        cmocka_unit_test(what_is_no_call_is_kept_as_text),
        cmocka_unit_test(further_calls_can_be_dropped),
        cmocka_unit_test(arguments_are_kept_byte_for_byte),
        cmocka_unit_test(coders_form_becomes_json),
        cmocka_unit_test(broken_calls_are_none),
        cmocka_unit_test(arguments_come_as_they_are_written),
        cmocka_unit_test(a_cut_call_is_told_from_its_name_on),
        cmocka_unit_test(coders_values_have_the_types_of_the_schema),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
