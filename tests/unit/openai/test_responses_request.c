#include "openai/responses_request.h"

#include <stdlib.h>
#include <string.h>

#include "openai/chat_request.h"
#include "support/support.h"

static const struct api_limits limits = API_LIMITS_DEFAULT;
static const struct api_context context = {.limits = &limits, .n_vocab = 512};

static enum quern_status parse(const char *text, struct response_store *store,
                               struct responses_request *r, struct api_error *err) {
    json_t *root;
    const struct responses_source source = {.store = store, .owner = "me", .max_bytes = 1 << 20};
    assert_int_equal(json_parse(text, strlen(text), "test", &root, NULL), QUERN_OK);
    enum quern_status status = responses_request_parse(root, &source, &context, false, r, err);
    json_decref(root);
    return status;
}

static void expect_equal(const json_t *got, const char *expected) {
    json_t *wanted;
    assert_int_equal(json_parse(expected, strlen(expected), "test", &wanted, NULL), QUERN_OK);
    if (!json_equal(got, wanted)) {
        char *text = json_dumps(got, 0);
        print_message("%s\n", text);
        free(text);
    }
    assert_true(json_equal(got, wanted));
    json_decref(wanted);
}

static void expect_chat(const char *text, const char *expected) {
    struct responses_request r;
    struct chat_request chat;
    struct api_error err;
    assert_int_equal(parse(text, NULL, &r, &err), QUERN_OK);
    expect_equal(r.chat, expected);
    assert_int_equal(chat_request_parse(r.chat, &context, &chat, &err), QUERN_OK);
    chat_request_release(&chat);
    responses_request_release(&r);
}

static void a_text_is_the_users_message(void **state) {
    (void)state;
    expect_chat("{\"input\":\"u\",\"instructions\":\"s\",\"max_output_tokens\":5,\"temperature\":0.5,"
                "\"seed\":3,\"store\":true,\"user\":\"x\",\"reasoning\":{\"effort\":\"max\"}}",
                "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\","
                "\"content\":\"u\"}],\"max_completion_tokens\":5,\"temperature\":0.5,\"seed\":3,"
                "\"reasoning_effort\":\"xhigh\"}");
}

static void what_the_assistant_did_in_one_go_is_one_message(void **state) {
    (void)state;
    expect_chat(
        "{\"input\":[{\"role\":\"user\",\"content\":\"u\"},"
        "{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"t\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\"}]},"
        "{\"type\":\"function_call\",\"call_id\":\"1\",\"name\":\"f\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call\",\"call_id\":\"2\",\"name\":\"g\",\"arguments\":\"{}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"1\",\"output\":\"r\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"2\",\"output\":\"q\"},"
        "{\"type\":\"reasoning\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"v\"}]},"
        "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"c\"}]}",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"a\","
        "\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{"
        "\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"2\",\"type\":\"function\",\"function\":{\"name\":"
        "\"g\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"1\"},"
        "{\"role\":\"tool\",\"content\":\"q\",\"tool_call_id\":\"2\"},{\"role\":\"assistant\",\"content\":"
        "\"b\",\"reasoning_content\":\"v\"},{\"role\":\"assistant\",\"content\":\"c\"}]}");
}

static void tools_and_forms_go_one_level_down(void **state) {
    (void)state;
    expect_chat("{\"input\":\"u\",\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{"
                "\"type\":\"object\"},\"strict\":true,\"description\":null}],\"tool_choice\":{\"type\":"
                "\"function\",\"name\":\"f\"},\"parallel_tool_calls\":false,\"text\":{\"format\":{\"type\":"
                "\"json_schema\",\"name\":\"n\",\"schema\":{},\"strict\":true}},\"top_logprobs\":2}",
                "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"}],\"parallel_tool_calls\":false,"
                "\"logprobs\":true,\"top_logprobs\":2,\"tools\":[{\"type\":\"function\",\"function\":{"
                "\"name\":\"f\",\"parameters\":{\"type\":\"object\"},\"strict\":true}}],\"tool_choice\":{"
                "\"type\":\"function\",\"name\":\"f\"},\"response_format\":{\"type\":\"json_schema\","
                "\"json_schema\":{\"name\":\"answer\",\"schema\":{}}}}");
}

static void items_are_kept_in_the_form_they_are_listed_in(void **state) {
    (void)state;
    struct responses_request r;
    struct api_error err;
    assert_int_equal(parse("{\"input\":[{\"role\":\"user\",\"content\":\"u\",\"id\":\"msg_1\"},{\"type\":"
                           "\"function_call\",\"id\":\"fc_1\",\"call_id\":\"1\",\"name\":\"f\","
                           "\"arguments\":\"{}\"}]}",
                           NULL, &r, &err),
                     QUERN_OK);
    expect_equal(r.items, "[{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":"
                          "\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"u\"}]},{\"id\":"
                          "\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"1\","
                          "\"name\":\"f\",\"arguments\":\"{}\"}]");
    assert_true(r.keep);
    responses_request_release(&r);
}

static void a_kept_answer_is_continued_and_its_items_can_be_named(void **state) {
    (void)state;
    struct response_store store;
    struct responses_request r;
    struct api_error err;
    assert_int_equal(response_store_init(&store, 4, 1 << 20, NULL), QUERN_OK);
    const struct response_to_store what = {
        .id = "resp_0123456789abcdef01234567",
        .owner = "me",
        .answer = STR_LIT("{}"),
        .input = STR_LIT("{\"type\":\"message\",\"role\":\"user\",\"content\":\"a\"}"),
        .output = STR_LIT("{\"type\":\"message\",\"id\":\"msg_0123456789abcdef01234567_0\",\"role\":"
                          "\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"b\"}]}")};
    assert_true(response_store_put(&store, &what));
    assert_int_equal(parse("{\"input\":\"c\",\"previous_response_id\":\"resp_0123456789abcdef01234567\"}",
                           &store, &r, &err),
                     QUERN_OK);
    expect_equal(json_object_get(r.chat, "messages"),
                 "[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},"
                 "{\"role\":\"user\",\"content\":\"c\"}]");
    assert_int_equal(json_array_size(r.items), 1);
    responses_request_release(&r);
    assert_int_equal(parse("{\"input\":[{\"type\":\"item_reference\",\"id\":"
                           "\"msg_0123456789abcdef01234567_0\"}]}",
                           &store, &r, &err),
                     QUERN_OK);
    expect_equal(json_object_get(r.chat, "messages"),
                 "[{\"role\":\"assistant\",\"content\":\"b\"}]");
    responses_request_release(&r);
    response_store_release(&store);
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *param;
    } cases[] = {
        {"{}", "input"},
        {"{\"input\":[]}", "input"},
        {"{\"input\":[{}]}", "input[0].id"},
        {"{\"input\":[[]]}", "input[0]"},
        {"{\"input\":[{\"type\":1}]}", "input[0].type"},
        {"{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_file\"}]}]}", "input[0].content"},
        {"{\"input\":[{\"type\":\"function_call\",\"call_id\":\"\",\"name\":\"f\",\"arguments\":\"\"}]}",
         "input[0].call_id"},
        {"{\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"1\",\"output\":\"\"}]}",
         "input[0].call_id"},
        {"{\"input\":\"u\",\"background\":true}", "background"},
        {"{\"input\":\"u\",\"tools\":[{\"type\":\"mcp\"}]}", "tools[0].type"},
        {"{\"input\":\"u\",\"tools\":[5]}", "tools[0].type"},
        {"{\"input\":\"u\",\"tools\":[{\"type\":\"function\",\"name\":\"\"}]}", "tools[0].name"},
        {"{\"input\":\"u\",\"text\":{\"format\":{\"type\":\"json_schema\"}}}", "text.format.schema"},
        {"{\"input\":\"u\",\"text\":{\"color\":1}}", "text.color"},
        {"{\"input\":\"u\",\"nothing\":1}", "nothing"},
        {"{\"input\":\"u\",\"previous_response_id\":\"resp_1\"}", "previous_response_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct responses_request r;
        struct api_error err;
        assert_int_not_equal(parse(cases[i].text, NULL, &r, &err), QUERN_OK);
        assert_string_equal(err.param, cases[i].param);
    }
}

static void errors_about_the_chat_are_told_in_the_words_of_this_interface(void **state) {
    (void)state;
    struct api_error err;
    api_fail(&err, API_VALUE, "response_format.json_schema.schema", "Bad 'response_format.json_schema.schema'; "
                                                                     "response_format and messages too.");
    responses_rename_error(&err);
    assert_string_equal(err.param, "text.format.schema");
    assert_string_equal(err.message, "Bad 'text.format.schema'; text.format and input too.");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_the_users_message),
        cmocka_unit_test(what_the_assistant_did_in_one_go_is_one_message),
        cmocka_unit_test(tools_and_forms_go_one_level_down),
        cmocka_unit_test(items_are_kept_in_the_form_they_are_listed_in),
        cmocka_unit_test(a_kept_answer_is_continued_and_its_items_can_be_named),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(errors_about_the_chat_are_told_in_the_words_of_this_interface),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
