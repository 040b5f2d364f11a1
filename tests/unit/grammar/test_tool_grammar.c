/* Calls of real functions: the schemas of BFCL become grammars in both ways of writing calls. */
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "grammar/answer_guard.h"
#include "grammar/schema/value_types.h"
#include "support/support.h"
#include "text/json.h"

static struct tokenizer *tokenizer;
static struct token_image *image;

static int set_up(void **state) {
    (void)state;
    return tokenizer_open(support_fixture("fixtures/qwen3-tiny"), &tokenizer, NULL) != QUERN_OK ||
           token_image_create(tokenizer, &image, NULL) != QUERN_OK;
}

static int tear_down(void **state) {
    (void)state;
    token_image_destroy(image);
    tokenizer_close(tokenizer);
    return 0;
}

/* BFCL's types are Python's and others; its own harness maps them so. */
static void map_types(json_t *schema) {
    static const char *const names[][2] = {{"dict", "object"}, {"float", "number"}, {"tuple", "array"},
                                           {"list", "array"},  {"bool", "boolean"}, {"any", "string"}};
    const char *key;
    json_t *value;
    size_t i;
    const char *type = json_string_value(json_object_get(schema, "type"));
    for (size_t k = 0; type && k < sizeof names / sizeof names[0]; k++)
        if (strcmp(type, names[k][0]) == 0) {
            json_object_set_new(schema, "type", json_string(names[k][1]));
            break;
        }
    if (json_is_object(schema))
        json_object_foreach(schema, key, value) map_types(value);
    json_array_foreach(schema, i, value) map_types(value);
}

static enum quern_status compile(const struct answer_tool *tools, size_t n, enum call_style style,
                                 struct quern_error *err) {
    struct answer_rules rules = {
        .calls = CALLS_AUTO, .style = style, .tools = tools, .n_tools = n, .parallel = true};
    struct answer_guard *guard;
    const int32_t end = 488;
    answer_markers_find(tokenizer, &rules.markers);
    enum quern_status st = answer_guard_create(image, &end, 1, &rules, NULL, &guard, err);
    if (st == QUERN_OK) {
        uint32_t mask[16];
        const struct constraint *c = answer_guard_constraint(guard);
        st = c->ops->mask(c->state, mask, 512, err);
        answer_guard_destroy(guard);
    }
    return st;
}

static void compile_function(const json_t *function, size_t *n) {
    struct buffer text;
    struct quern_error err = {0};
    const json_t *name = json_object_get(function, "name");
    buffer_init(&text, 1 << 20);
    json_t *parameters = json_deep_copy(json_object_get(function, "parameters"));
    map_types(parameters);
    json_write_python(parameters, -1, &text);
    json_decref(parameters);
    const struct answer_tool tool = {
        .name = {json_string_value(name), json_string_length(name)}, .parameters = buffer_str(&text)};
    for (int style = CALL_JSON; style <= CALL_CODER; style++)
        if (compile(&tool, 1, (enum call_style)style, &err) != QUERN_OK)
            fail_msg("%s: %s\n%s", json_string_value(name), err.message, text.data);
    buffer_release(&text);
    ++*n;
}

static void compile_file(const char *path, size_t *n) {
    size_t size;
    char *text = support_read_file(path, &size);
    for (char *line = text; line && *line;) {
        size_t len = strcspn(line, "\n");
        json_t *entry = NULL, *function;
        size_t i;
        assert_int_equal(json_parse(line, len, path, &entry, NULL), QUERN_OK);
        json_array_foreach(json_object_get(entry, "function"), i, function)
            compile_function(function, n);
        json_decref(entry);
        line += len + (line[len] == '\n');
    }
    free(text);
}

static void every_function_of_bfcl_becomes_a_grammar(void **state) {
    (void)state;
    static const char *const files[] = {
        "irrelevance", "live_parallel", "live_simple", "multiple",
        "parallel",    "simple_python", "parallel_multiple"};
    const char *directory;
    size_t n = 0;
    char path[1024];
    SHARED_OR_SKIP(directory, "data/finetune/bfcl");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/BFCL_v4_%s.json", directory, files[i]);
        compile_file(path, &n);
    }
    printf("%zu functions\n", n);
    assert_true(n > 2000);
}

static void names_that_begin_each_other_and_odd_names(void **state) {
    (void)state;
    struct quern_error err = {0};
    const struct answer_tool tools[] = {{.name = STR_LIT("a")}, {.name = STR_LIT("ab")},
                                        {.name = STR_LIT("a b\"c")}};
    assert_int_equal(compile(tools, 3, CALL_JSON, &err), QUERN_OK);
    assert_int_equal(compile(tools, 3, CALL_CODER, &err), QUERN_OK);
    const struct answer_tool broken = {.name = STR_LIT("a>b")};
    assert_int_equal(compile(&broken, 1, CALL_JSON, &err), QUERN_OK);
    assert_int_equal(compile(&broken, 1, CALL_CODER, &err), QUERN_ERR_UNSUPPORTED);
    const struct answer_tool empty = {.name = STR_LIT("")};
    assert_int_equal(compile(&empty, 1, CALL_JSON, &err), QUERN_ERR_LIMIT);
}

static void what_a_text_is_as_json(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned type;
    } cases[] = {{"null", VALUE_NULL},
                 {"true", VALUE_BOOLEAN},
                 {"12", VALUE_INTEGER | VALUE_NUMBER},
                 {"-0.5e3", VALUE_NUMBER},
                 {"123456789012345678901234567890", VALUE_INTEGER | VALUE_NUMBER},
                 {"[1, {}]", VALUE_ARRAY},
                 {" {\"a\": []} ", VALUE_OBJECT},
                 {"{\"a\": \"\\q\"}", 0},
                 {"\"x\"", 0},
                 {"1 2", 0},
                 {"[1", 0},
                 {"nulls", 0},
                 {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(value_type_of_text(str_from(cases[i].text)), cases[i].type);
}

static void which_types_a_parameter_may_have(void **state) {
    (void)state;
    static const char text[] =
        "{\"properties\": {\"a\": {\"type\": \"string\"}, \"b\": {\"type\": [\"integer\", \"null\"]},"
        "\"c\": {\"enum\": [1, \"x\"]}, \"d\": {\"$ref\": \"#/$defs/d\"}, \"e\": {},"
        "\"f\": {\"anyOf\": [{\"const\": null}, {\"type\": \"array\"}]}, \"g\": true,"
        "\"h\": {\"allOf\": [{\"type\": \"string\"}], \"enum\": [1, \"x\"]}},"
        "\"$defs\": {\"d\": {\"$ref\": \"#/$defs/d\", \"type\": \"boolean\"}}}";
    static const unsigned expected[] = {VALUE_STRING,
                                        VALUE_INTEGER | VALUE_NULL,
                                        VALUE_INTEGER | VALUE_NUMBER | VALUE_STRING,
                                        VALUE_BOOLEAN,
                                        VALUE_ANY,
                                        VALUE_NULL | VALUE_ARRAY,
                                        VALUE_ANY,
                                        VALUE_STRING};
    json_t *schema = NULL;
    assert_int_equal(json_parse(text, sizeof text - 1, "schema", &schema, NULL), QUERN_OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const char key[] = {(char)('a' + (int)i), '\0'};
        assert_int_equal(value_types_of_parameter(schema, str_from(key)), expected[i]);
    }
    assert_int_equal(value_types_of_parameter(schema, STR_LIT("other")), VALUE_ANY);
    assert_int_equal(value_types_of_parameter(NULL, STR_LIT("a")), VALUE_ANY);
    json_decref(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_of_bfcl_becomes_a_grammar),
        cmocka_unit_test(names_that_begin_each_other_and_odd_names),
        cmocka_unit_test(what_a_text_is_as_json),
        cmocka_unit_test(which_types_a_parameter_may_have),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
