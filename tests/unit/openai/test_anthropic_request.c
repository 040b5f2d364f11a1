#include "openai/anthropic_request.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static const struct api_limits limits = API_LIMITS_DEFAULT;

static enum quern_status convert(const char *text, json_t **out, struct api_error *err) {
    json_t *root;
    assert_int_equal(json_parse(text, strlen(text), "test", &root, NULL), QUERN_OK);
    enum quern_status status = anthropic_to_openai(root, false, &limits, out, err);
    json_decref(root);
    return status;
}

static void expect(const char *text, const char *expected) {
    json_t *out = NULL, *wanted;
    struct api_error err;
    assert_int_equal(convert(text, &out, &err), QUERN_OK);
    assert_int_equal(json_parse(expected, strlen(expected), "test", &wanted, NULL), QUERN_OK);
    if (!json_equal(out, wanted)) {
        char *got = json_dumps(out, 0);
        print_message("%s\n", got);
        free(got);
    }
    assert_true(json_equal(out, wanted));
    json_decref(out);
    json_decref(wanted);
}

static void simple_members_change_their_names(void **state) {
    (void)state;
    expect(
        "{\"model\":\"m\",\"max_tokens\":5,\"temperature\":0.5,\"top_k\":3,\"stop_sequences\":["
        "\"x\"],"
        "\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"u\"}],"
        "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9},\"metadata\":{\"user_id\":\"1\"}}",
        "{\"model\":\"m\",\"max_tokens\":5.0,\"temperature\":0.5,\"top_k\":3.0,\"stop\":[\"x\"],"
        "\"stream\":false,\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
        "{\"role\":\"user\",\"content\":\"u\"}],"
        "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":9}}");
}

static void blocks_become_messages_and_calls(void **state) {
    (void)state;
    expect(
        "{\"max_tokens\":1,\"messages\":["
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\"},"
        "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\","
        "\"input\":{\"x\":1}}]},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\","
        "\"content\":"
        "[{\"type\":\"text\",\"text\":\"r\"}]},{\"type\":\"text\",\"text\":\"b\"}]}]}",
        "{\"max_tokens\":1.0,\"stream\":false,\"messages\":["
        "{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_content\":\"t\",\"tool_calls\":[{"
        "\"id\":\"i\","
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"r\",\"tool_call_id\":\"i\"},"
        "{\"role\":\"user\",\"content\":\"b\"}]}");
}

static void tools_and_their_choice_are_converted(void **state) {
    (void)state;
    expect("{\"max_tokens\":1,\"messages\":[],\"tools\":[{\"name\":\"f\",\"description\":\"d\","
           "\"input_schema\":{\"type\":\"object\"}}],"
           "\"tool_choice\":{\"type\":\"tool\",\"name\":\"f\",\"disable_parallel_tool_use\":true}}",
           "{\"max_tokens\":1.0,\"stream\":false,\"messages\":[],\"tools\":[{\"type\":\"function\","
           "\"function\":"
           "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"}}}],"
           "\"parallel_tool_calls\":false,"
           "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}}");
}

static void effort_and_format_are_converted(void **state) {
    (void)state;
    expect("{\"max_tokens\":1,\"messages\":[],\"output_config\":{\"effort\":\"max\",\"format\":"
           "{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}}}",
           "{\"max_tokens\":1.0,\"stream\":false,\"messages\":[],\"reasoning_effort\":\"xhigh\","
           "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
           "\"schema\":"
           "{\"type\":\"object\"}}}}");
}

static void what_cannot_be_served_is_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"messages\":[]}", "max_tokens"},
        {"{\"max_tokens\":1}", "messages"},
        {"{\"max_tokens\":1,\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages.0"},
        {"{\"max_tokens\":1,\"messages\":[{\"role\":\"user\"}]}", "messages.0"},
        {"{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}",
         "messages.0"},
        {"{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[3]}]}", "messages.0"},
        {"{\"max_tokens\":1,\"messages\":[],\"tools\":[{}]}", "tools.0"},
        {"{\"max_tokens\":1,\"messages\":[],\"tool_choice\":{}}", "tool_choice.type"},
        {"{\"max_tokens\":1,\"messages\":[],\"temperature\":1.5}", "temperature"},
        {"{\"max_tokens\":1,\"messages\":[],\"other\":1}", "other"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct api_error err = {0};
        json_t *out = NULL;
        assert_int_not_equal(convert(cases[i][0], &out, &err), QUERN_OK);
        assert_null(out);
        assert_string_equal(err.param, cases[i][1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_members_change_their_names),
        cmocka_unit_test(blocks_become_messages_and_calls),
        cmocka_unit_test(tools_and_their_choice_are_converted),
        cmocka_unit_test(effort_and_format_are_converted),
        cmocka_unit_test(what_cannot_be_served_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
