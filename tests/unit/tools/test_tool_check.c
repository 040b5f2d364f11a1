/* Arguments of calls against the schemas of tools. */
#include "support/support.h"

#include <string.h>

#include "tools/tool_check.h"

static struct quern_error err;

/* The status for these arguments; the text is compared unless it is refused. */
static enum quern_status check(const char *parameters, const char *arguments) {
    json_t *function = json_object(), *value = NULL;
    struct buffer text;
    assert_int_equal(json_parse(arguments, strlen(arguments), "arguments", &value, &err), QUERN_OK);
    if (parameters) {
        json_t *schema = NULL;
        assert_int_equal(json_parse(parameters, strlen(parameters), "schema", &schema, &err),
                         QUERN_OK);
        json_object_set_new(function, "parameters", schema);
    }
    struct tool tool = {.name = (char[]){"f"}, .function = function};
    buffer_init(&text, 1 << 20);
    enum quern_status status = tool_check_arguments(&tool, value, &text, &err);
    if (!status)
        assert_string_equal(text.data, arguments);
    buffer_release(&text);
    json_decref(value);
    json_decref(function);
    return status;
}

#define SCHEMA                                                                                  \
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\", \"minimum\": 3}, "  \
    "\"b\": {\"type\": \"string\", \"maxLength\": 2}, \"c\": {\"type\": \"array\", \"items\": " \
    "{\"enum\": [1, "                                                                           \
    "null]}}}, \"required\": [\"a\"], \"additionalProperties\": false}"

static void valid_arguments_are_taken_in_any_order(void **state) {
    (void)state;
    assert_int_equal(check(SCHEMA, "{\"a\": 3}"), QUERN_OK);
    assert_int_equal(check(SCHEMA, "{\"c\": [1, null], \"b\": \"\xc3\xa9\\n\", \"a\": 99}"),
                     QUERN_OK);
}

static void what_the_schema_forbids_is_refused_and_the_place_is_told(void **state) {
    (void)state;
    assert_int_equal(check(SCHEMA, "{\"b\": \"x\"}"), QUERN_ERR_FORMAT);
    assert_int_equal(check(SCHEMA, "{\"a\": 2}"), QUERN_ERR_FORMAT);
    assert_non_null(strstr(err.message, "\"f\""));
    assert_non_null(strstr(err.message, "after '{\"a\": "));
    assert_int_equal(check(SCHEMA, "{\"a\": 3, \"b\": \"xyz\"}"), QUERN_ERR_FORMAT);
    assert_int_equal(check(SCHEMA, "{\"a\": 3, \"c\": [2]}"), QUERN_ERR_FORMAT);
    assert_int_equal(check(SCHEMA, "{\"a\": 3, \"d\": 1}"), QUERN_ERR_FORMAT);
}

static void arguments_are_an_object_whatever_the_schema_says_or_leaves_out(void **state) {
    (void)state;
    assert_int_equal(check(NULL, "{\"x\": [1, {}]}"), QUERN_OK);
    assert_int_equal(check("{}", "{}"), QUERN_OK);
    assert_int_equal(check("{\"properties\": {\"a\": {\"type\": \"null\"}}}", "{\"a\": null}"),
                     QUERN_OK);
    assert_int_equal(check("{\"properties\": {\"a\": {\"type\": \"null\"}}}", "{\"a\": 1}"),
                     QUERN_ERR_FORMAT);
    assert_int_equal(check(NULL, "[]"), QUERN_ERR_FORMAT);
    assert_int_equal(check("{}", "[]"), QUERN_ERR_FORMAT);
}

static void a_broken_schema_is_an_error_that_names_the_tool(void **state) {
    (void)state;
    assert_int_not_equal(check("{\"type\": \"nonsense\"}", "{}"), QUERN_OK);
    assert_non_null(strstr(err.message, "f"));
    assert_non_null(strstr(err.message, "nonsense"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_arguments_are_taken_in_any_order),
        cmocka_unit_test(what_the_schema_forbids_is_refused_and_the_place_is_told),
        cmocka_unit_test(arguments_are_an_object_whatever_the_schema_says_or_leaves_out),
        cmocka_unit_test(a_broken_schema_is_an_error_that_names_the_tool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
