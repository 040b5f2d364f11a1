/* chat_messages.c - messages and tools of a chat: checked, and brought to the form templates know.
 */
#include <stdio.h>
#include <string.h>

#include "openai/chat_request.h"

enum { PATH_BYTES = 64 };

struct place {
    char text[PATH_BYTES];
};

static struct place place_of(const char *array, size_t i, const char *member) {
    struct place p;
    snprintf(p.text, sizeof p.text, "%s[%zu]%s", array, i, member);
    return p;
}

static enum quern_status must_be(const json_t *value, bool holds, const char *param,
                                 const char *expected, struct api_error *err) {
    if (holds)
        return QUERN_OK;
    if (!value || json_is_null(value))
        return api_fail(err, API_MISSING, param, "Missing required parameter: '%s'.", param);
    return api_fail(err, API_TYPE, param, "Invalid type for '%s': expected %s, but got %s.", param,
                    expected, json_type_name(value));
}

/* ---- content -------------------------------------------------------------------- */

static enum quern_status append_part(const json_t *part, const char *param, struct buffer *text,
                                     struct api_error *err) {
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *value = NULL;
    if (type && (strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
                 strcmp(type, "output_text") == 0))
        value = json_object_get(part, "text");
    else if (type && strcmp(type, "refusal") == 0)
        value = json_object_get(part, "refusal");
    else
        return api_fail(err, API_UNSUPPORTED, param,
                        "Invalid value for '%s': this server takes content parts of type 'text', "
                        "not '%s'.",
                        param, type ? type : "(none)");
    if (!json_is_string(value))
        return must_be(value, false, param, "a part with a string", err);
    buffer_append(text, json_string_value(value), json_string_length(value));
    return QUERN_OK;
}

/* A string stays, parts are joined to one. */
static enum quern_status flatten(const json_t *content, const char *param, json_t **out,
                                 struct api_error *err) {
    if (json_is_string(content)) {
        *out = json_deep_copy(content);
        return *out ? QUERN_OK : api_nomem(err);
    }
    enum quern_status status =
        must_be(content, json_is_array(content), param, "a string or an array of parts", err);
    if (status)
        return status;
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    for (size_t i = 0; !status && i < json_array_size(content); i++)
        status = append_part(json_array_get(content, i), param, &text, err);
    if (!status && text.failed)
        status = api_nomem(err);
    if (!status) {
        *out = json_stringn_nocheck(text.data ? text.data : "", text.len);
        if (!*out)
            status = api_nomem(err);
    }
    buffer_release(&text);
    return status;
}

/* ---- a message -------------------------------------------------------------------- */

static enum quern_status check_role(const json_t *value, const char *param, const char **role,
                                    struct api_error *err) {
    static const char *const roles[] = {"system",    "developer", "user",
                                        "assistant", "tool",      "function"};
    enum quern_status status = must_be(value, json_is_string(value), param, "a string", err);
    if (status)
        return status;
    *role = json_string_value(value);
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(*role, roles[i]) == 0)
            return QUERN_OK;
    return api_fail(err, API_VALUE, param,
                    "Invalid value for '%s': \"%s\" is not one of system, developer, user, "
                    "assistant, tool, function.",
                    param, *role);
}

static enum quern_status check_tool_calls(const json_t *calls, const char *param,
                                          struct api_error *err) {
    enum quern_status status = must_be(calls, json_is_array(calls), param, "an array", err);
    for (size_t i = 0; !status && i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json_object_get(call, "function");
        const json_t *arguments = json_object_get(function, "arguments");
        status = must_be(function, json_is_object(function), param, "calls with a function", err);
        if (!status)
            status = must_be(json_object_get(function, "name"),
                             json_is_string(json_object_get(function, "name")), param,
                             "calls of a function with a name", err);
        if (!status && arguments && !json_is_null(arguments))
            status = must_be(arguments, json_is_string(arguments) || json_is_object(arguments),
                             param, "arguments as a string", err);
    }
    return status;
}

static bool set_copy(json_t *to, const char *key, const json_t *value) {
    return json_object_set_new(to, key, json_deep_copy(value)) == 0;
}

/* The members besides role and content that templates look at. */
static enum quern_status copy_rest(const json_t *from, size_t index, json_t *to,
                                   struct api_error *err) {
    static const char *const plain[] = {"name", "tool_call_id"};
    bool ok = true;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        const json_t *value = json_object_get(from, plain[i]);
        if (json_is_string(value))
            ok = ok && set_copy(to, plain[i], value);
    }
    const json_t *reasoning = json_object_get(from, "reasoning_content");
    if (!json_is_string(reasoning))
        reasoning = json_object_get(from, "reasoning");
    if (json_is_string(reasoning))
        ok = ok && set_copy(to, "reasoning_content", reasoning);
    const json_t *calls = json_object_get(from, "tool_calls");
    if (calls && !json_is_null(calls)) {
        enum quern_status status =
            check_tool_calls(calls, place_of("messages", index, ".tool_calls").text, err);
        if (status)
            return status;
        if (json_array_size(calls))
            ok = ok && set_copy(to, "tool_calls", calls);
    }
    return ok ? QUERN_OK : api_nomem(err);
}

static enum quern_status content_of(const json_t *message, size_t index, const char *role,
                                    json_t **out, struct api_error *err) {
    const json_t *content = json_object_get(message, "content");
    bool may_lack = strcmp(role, "assistant") == 0;
    if (may_lack && (!content || json_is_null(content))) {
        *out = json_string("");
        return *out ? QUERN_OK : api_nomem(err);
    }
    return flatten(content, place_of("messages", index, ".content").text, out, err);
}

static enum quern_status normalize_one(const json_t *message, size_t index, json_t *out,
                                       struct api_error *err) {
    const char *role = NULL;
    json_t *content = NULL;
    enum quern_status status = must_be(message, json_is_object(message),
                                       place_of("messages", index, "").text, "an object", err);
    if (!status)
        status = check_role(json_object_get(message, "role"),
                            place_of("messages", index, ".role").text, &role, err);
    if (!status)
        status = content_of(message, index, role, &content, err);
    if (status)
        return status;
    if (strcmp(role, "developer") == 0)
        role = "system";
    if (strcmp(role, "function") == 0)
        role = "tool";
    bool ok = json_object_set_new(out, "role", json_string(role)) == 0;
    ok = json_object_set_new(out, "content", content) == 0 && ok;
    return ok ? copy_rest(message, index, out, err) : api_nomem(err);
}

enum quern_status chat_messages_normalize(const json_t *messages, const struct api_limits *limits,
                                          json_t **out, struct api_error *err) {
    enum quern_status status =
        must_be(messages, json_is_array(messages), "messages", "an array", err);
    if (status)
        return status;
    size_t n = json_array_size(messages);
    if (!n || n > (size_t)limits->messages)
        return api_fail(err, API_VALUE, "messages",
                        "Invalid value for 'messages': %zu messages, expected 1 to %lld.", n,
                        (long long)limits->messages);
    json_t *copy = json_array();
    if (!copy)
        return api_nomem(err);
    for (size_t i = 0; !status && i < n; i++) {
        json_t *message = json_object();
        if (json_array_append_new(copy, message))
            status = api_nomem(err);
        else
            status = normalize_one(json_array_get(messages, i), i, message, err);
    }
    if (status)
        json_decref(copy);
    else
        *out = copy;
    return status;
}

/* ---- tools ---------------------------------------------------------------------------- */

static enum quern_status check_tool(const json_t *tool, size_t index, struct api_error *err) {
    const json_t *type = json_object_get(tool, "type");
    const json_t *function = json_object_get(tool, "function");
    const json_t *name = json_object_get(function, "name");
    const json_t *parameters = json_object_get(function, "parameters");
    struct place at = place_of("tools", index, ".type");
    enum quern_status status = must_be(type, json_is_string(type), at.text, "a string", err);
    if (!status && strcmp(json_string_value(type), "function") != 0)
        return api_fail(err, API_UNSUPPORTED, at.text,
                        "Invalid value for '%s': this server knows tools of type 'function', not "
                        "'%s'.",
                        at.text, json_string_value(type));
    at = place_of("tools", index, ".function");
    if (!status)
        status = must_be(function, json_is_object(function), at.text, "an object", err);
    at = place_of("tools", index, ".function.name");
    if (!status)
        status = must_be(name, json_is_string(name), at.text, "a string", err);
    if (!status && !json_string_length(name))
        status = api_fail(err, API_VALUE, at.text, "Invalid value for '%s': it is empty.", at.text);
    at = place_of("tools", index, ".function.parameters");
    if (!status && parameters && !json_is_null(parameters))
        status = must_be(parameters, json_is_object(parameters), at.text, "an object", err);
    return status;
}

enum quern_status chat_tools_check(const json_t *tools, const struct api_limits *limits,
                                   struct api_error *err) {
    size_t n = json_array_size(tools);
    if (n > (size_t)limits->tools)
        return api_fail(err, API_VALUE, "tools",
                        "Invalid value for 'tools': %zu tools, at most %lld are allowed.", n,
                        (long long)limits->tools);
    for (size_t i = 0; i < n; i++) {
        enum quern_status status = check_tool(json_array_get(tools, i), i, err);
        if (status)
            return status;
    }
    return QUERN_OK;
}
