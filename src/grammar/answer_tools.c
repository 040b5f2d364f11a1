#include "grammar/answer_tools.h"

enum { PARAMETERS_BYTES_MAX = 1 << 20 };

static enum quern_status write_schema(const json_t *parameters, struct arena *arena,
                                      struct str *out, struct quern_error *err) {
    struct buffer text;
    buffer_init(&text, PARAMETERS_BYTES_MAX);
    json_write_python(parameters, -1, &text);
    enum quern_status st = buffer_status(&text, "the schema of a tool", err);
    if (st == QUERN_OK) {
        *out = (struct str){arena_strndup(arena, text.data, text.len), text.len};
        st = out->ptr ? QUERN_OK : error_nomem(err);
    }
    buffer_release(&text);
    return st;
}

static enum quern_status read_parameters(const json_t *parameters, const char *name,
                                         struct arena *arena, struct str *out,
                                         struct quern_error *err) {
    const json_t *type = json_object_get(parameters, "type");
    if (json_is_string(type) && strcmp(json_string_value(type), "object") == 0)
        return write_schema(parameters, arena, out, err);
    if (json_is_string(type))
        return error_set(err, QUERN_ERR_FORMAT,
                         "the parameters of \"%s\" have the type \"%s\", expected \"object\"", name,
                         json_string_value(type));
    json_t *typed = json_copy((json_t *)(uintptr_t)parameters);
    enum quern_status st = json_object_set_new(typed, "type", json_string("object"))
                               ? error_nomem(err)
                               : write_schema(typed, arena, out, err);
    json_decref(typed);
    return st;
}

static enum quern_status read_tool(const json_t *tool, size_t i, struct arena *arena,
                                   struct answer_tool *out, struct quern_error *err) {
    const json_t *function = json_object_get(tool, "function");
    const json_t *name = json_object_get(function, "name");
    const json_t *parameters = json_object_get(function, "parameters");
    if (!json_is_string(name) || !json_string_length(name))
        return error_set(err, QUERN_ERR_FORMAT,
                         "tool %zu: expected {\"type\": \"function\", \"function\": {\"name\": ...}}",
                         i);
    *out = (struct answer_tool){
        .name = {json_string_value(name), json_string_length(name)},
        .strict = json_is_true(json_object_get(function, "strict")),
    };
    if (!json_is_object(parameters) || !json_object_size(parameters))
        return QUERN_OK;
    return read_parameters(parameters, json_string_value(name), arena, &out->parameters, err);
}

enum quern_status answer_tools_read(const json_t *list,
                                    bool (*may_call)(const void *user, const char *name),
                                    const void *user, struct arena *arena, struct answer_tool **out,
                                    size_t *n, struct quern_error *err) {
    const size_t all = json_array_size(list);
    struct answer_tool *tools = arena_calloc(arena, all ? all : 1, sizeof *tools);
    if (!tools)
        return error_nomem(err);
    *n = 0;
    for (size_t i = 0; i < all; i++) {
        enum quern_status st = read_tool(json_array_get(list, i), i, arena, &tools[*n], err);
        if (st != QUERN_OK)
            return st;
        *n += !may_call || may_call(user, tools[*n].name.ptr);
    }
    *out = tools;
    return QUERN_OK;
}
