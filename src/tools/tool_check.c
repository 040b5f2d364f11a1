#include "tools/tool_check.h"

#include "grammar/matcher.h"
#include "grammar/schema/json_schema.h"

/* The schema says "object", whether the tool's author wrote it or not. */
static json_t *schema_of(const struct tool *tool) {
    const json_t *parameters = json_object_get(tool->function, "parameters");
    if (!json_is_object(parameters))
        return json_pack("{s:s}", "type", "object");
    json_t *schema = json_copy((json_t *)(uintptr_t)parameters);
    if (!json_object_get(schema, "type") &&
        json_object_set_new(schema, "type", json_string("object"))) {
        json_decref(schema);
        return NULL;
    }
    return schema;
}

static enum quern_status compile(const struct tool *tool, struct str schema, struct grammar **out,
                                 struct quern_error *err) {
    const struct schema_options options = {
        .spacing = SCHEMA_PYTHON, .any_order = true, .assert_formats = true, .all_spellings = true};
    struct grammar_builder *b = NULL;
    symbol_id start = GRAMMAR_NONE;
    enum quern_status status = grammar_builder_create(NULL, &b, err);
    if (!status)
        status = json_schema_build(b, schema, tool->name, &options, &start, NULL, err);
    if (!status) {
        grammar_start(b, start);
        status = grammar_compile(b, out, err);
    }
    grammar_builder_destroy(b);
    return status;
}

static enum quern_status match(struct grammar *g, const char *name, struct str text,
                               struct quern_error *err) {
    struct matcher m;
    char expected[200];
    size_t n = 0;
    enum quern_status status = matcher_init(&m, g, NULL, NULL, 0, err);
    if (status)
        return status;
    status = matcher_accept_bytes(&m, text, &n, NULL);
    if (!status && matcher_can_end(&m))
        return QUERN_OK;
    if (status && status != QUERN_ERR_FORMAT)
        return error_set(err, status, "the arguments of \"%s\" take too long to check", name);
    if (status)
        matcher_accept_bytes(&m, (struct str){text.ptr, n}, NULL, NULL);
    matcher_expected(&m, expected, sizeof expected);
    const size_t shown = n < 60 ? n : 60;
    return error_set(
        err, QUERN_ERR_FORMAT,
        "the arguments of \"%s\" are not valid by its schema: after '%s%.*s' expected %s", name,
        shown < n ? "..." : "", (int)shown, text.ptr + n - shown, expected);
}

enum quern_status tool_check_arguments(const struct tool *tool, const json_t *arguments,
                                       struct buffer *text, struct quern_error *err) {
    struct grammar *g = NULL;
    struct buffer schema;
    buffer_init(&schema, SIZE_MAX / 4);
    json_t *value = schema_of(tool);
    if (value)
        json_write_python(value, -1, &schema);
    json_write_python(arguments, -1, text);
    enum quern_status status = value ? buffer_status(&schema, "the schema", err) : error_nomem(err);
    if (!status)
        status = buffer_status(text, "the arguments", err);
    if (!status)
        status = compile(tool, buffer_str(&schema), &g, err);
    if (!status)
        status = match(g, tool->name, buffer_str(text), err);
    grammar_destroy(g);
    json_decref(value);
    buffer_release(&schema);
    return status;
}
