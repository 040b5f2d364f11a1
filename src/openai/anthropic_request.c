#include "openai/anthropic_request.h"

#include <stdio.h>
#include <string.h>

struct raw_messages {
    const char *model;
    const json_t *messages, *system, *stop_sequences, *tools, *tool_choice, *thinking;
    const json_t *output_config, *output_format;
    int32_t max_tokens, top_k;
    float temperature, top_p;
    bool stream;
};

static const struct field_spec messages_specs[] = {
    FIELD_OF(FIELD_STRING, "model", struct raw_messages, model),
    FIELD_OF(FIELD_ARRAY, "messages", struct raw_messages, messages),
    FIELD_OF(FIELD_ANY, "system", struct raw_messages, system),
    FIELD_NUMBER(FIELD_INT, "max_tokens", struct raw_messages, max_tokens, 1, INT32_MAX),
    FIELD_OF(FIELD_ARRAY, "stop_sequences", struct raw_messages, stop_sequences),
    FIELD_NUMBER(FIELD_FLOAT, "temperature", struct raw_messages, temperature, 0, 1),
    FIELD_NUMBER(FIELD_FLOAT, "top_p", struct raw_messages, top_p, 0, 1),
    FIELD_NUMBER(FIELD_INT, "top_k", struct raw_messages, top_k, 0, INT32_MAX),
    FIELD_OF(FIELD_BOOL, "stream", struct raw_messages, stream),
    FIELD_OF(FIELD_ARRAY, "tools", struct raw_messages, tools),
    FIELD_OF(FIELD_OBJECT, "tool_choice", struct raw_messages, tool_choice),
    FIELD_OF(FIELD_OBJECT, "thinking", struct raw_messages, thinking),
    FIELD_IGNORED("metadata"),
    FIELD_IGNORED("service_tier"),
    FIELD_IGNORED("cache_control"),
    FIELD_IGNORED("context_management"),
    FIELD_OF(FIELD_OBJECT, "output_config", struct raw_messages, output_config),
    /* Where betas of structured output had it. */
    FIELD_OF(FIELD_OBJECT, "output_format", struct raw_messages, output_format),
    FIELD_IGNORED("betas"),
    FIELD_IGNORED("container"),
    FIELD_IGNORED("diagnostics"),
    FIELD_IGNORED("inference_geo"),
    FIELD_IGNORED("speed"),
    FIELD_IGNORED("user_profile_id"),
    FIELD_IGNORED("workspace_id"),
    FIELD_LAST,
};

/* ---- texts -------------------------------------------------------------------------- */

static enum quern_status bad_block(const char *param, const char *type, struct api_error *err) {
    return api_fail(err, API_UNSUPPORTED, param, "%s: content of type '%s' is not supported.",
                    param, type ? type : "(none)");
}

/* A string, or an array of text blocks, as one string. NULL is "". */
static enum quern_status text_of(const json_t *value, const char *param, struct buffer *out,
                                 struct api_error *err) {
    if (json_is_string(value)) {
        buffer_append(out, json_string_value(value), json_string_length(value));
        return QUERN_OK;
    }
    if (value && !json_is_array(value))
        return api_fail(err, API_TYPE, param, "%s: expected a string or an array of blocks.",
                        param);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *block = json_array_get(value, i), *text = json_object_get(block, "text");
        const char *type = json_string_value(json_object_get(block, "type"));
        if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
            return bad_block(param, type, err);
        buffer_append(out, json_string_value(text), json_string_length(text));
    }
    return QUERN_OK;
}

static json_t *string_of(const struct buffer *text) {
    return text->failed ? NULL : json_stringn_nocheck(text->data ? text->data : "", text->len);
}

/* Appends {"role": role, "content": text}; the message, borrowed, or NULL. */
static json_t *add_message(json_t *messages, const char *role, const struct buffer *text) {
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", string_of(text));
    return json_array_append_new(messages, message) ? NULL : message;
}

/* ---- a message ------------------------------------------------------------------------ */

/* What the blocks of one message come to. */
struct message_parts {
    struct buffer text, thinking;
    json_t *calls; /* array, or NULL */
};

static enum quern_status add_call(struct message_parts *parts, const json_t *block,
                                  const char *param, struct api_error *err) {
    const json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name");
    const json_t *input = json_object_get(block, "input");
    if (!json_is_string(name) || !json_is_string(id))
        return api_fail(err, API_MISSING, param, "%s: a tool_use block needs 'id' and 'name'.",
                        param);
    struct buffer arguments;
    buffer_init(&arguments, SIZE_MAX / 4);
    if (json_is_object(input))
        json_write_python(input, -1, &arguments);
    else
        buffer_puts(&arguments, "{}");
    if (!parts->calls)
        parts->calls = json_array();
    json_t *call = json_pack("{s:O, s:s, s:{s:O, s:o}}", "id", id, "type", "function", "function",
                             "name", name, "arguments", string_of(&arguments));
    buffer_release(&arguments);
    return json_array_append_new(parts->calls, call) ? api_nomem(err) : QUERN_OK;
}

/* A tool's result is a message of its own, before what else the user says. */
static enum quern_status add_result(json_t *messages, const json_t *block, const char *param,
                                    struct api_error *err) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    enum quern_status status = text_of(json_object_get(block, "content"), param, &text, err);
    json_t *message = status ? NULL : add_message(messages, "tool", &text);
    const json_t *id = json_object_get(block, "tool_use_id");
    if (!status && !message)
        status = api_nomem(err);
    if (message && json_is_string(id) &&
        json_object_set(message, "tool_call_id", (json_t *)(uintptr_t)id))
        status = api_nomem(err);
    buffer_release(&text);
    return status;
}

static enum quern_status take_block(json_t *messages, struct message_parts *parts,
                                    const json_t *block, const char *param, struct api_error *err) {
    const char *type = json_string_value(json_object_get(block, "type"));
    const json_t *value = NULL;
    if (!type)
        return bad_block(param, type, err);
    if (strcmp(type, "tool_use") == 0)
        return add_call(parts, block, param, err);
    if (strcmp(type, "tool_result") == 0)
        return add_result(messages, block, param, err);
    if (strcmp(type, "redacted_thinking") == 0)
        return QUERN_OK;
    bool thinking = strcmp(type, "thinking") == 0;
    if (!thinking && strcmp(type, "text") != 0)
        return bad_block(param, type, err);
    value = json_object_get(block, type);
    if (!json_is_string(value))
        return api_fail(err, API_TYPE, param, "%s: '%s' must be a string.", param, type);
    buffer_append(thinking ? &parts->thinking : &parts->text, json_string_value(value),
                  json_string_length(value));
    return QUERN_OK;
}

static enum quern_status finish_message(json_t *messages, const char *role,
                                        struct message_parts *parts, bool has_results,
                                        struct api_error *err) {
    /* A user's message of nothing but results has been said with them. */
    if (has_results && !parts->text.len)
        return QUERN_OK;
    json_t *message = add_message(messages, role, &parts->text);
    bool ok = message != NULL;
    if (ok && parts->thinking.len)
        ok = json_object_set_new(message, "reasoning_content", string_of(&parts->thinking)) == 0;
    if (ok && parts->calls)
        ok = json_object_set(message, "tool_calls", parts->calls) == 0;
    return ok ? QUERN_OK : api_nomem(err);
}

static enum quern_status convert_message(json_t *messages, const json_t *message, size_t index,
                                         struct api_error *err) {
    char param[64];
    snprintf(param, sizeof param, "messages.%zu", index);
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    if (!role || (strcmp(role, "user") != 0 && strcmp(role, "assistant") != 0 &&
                  strcmp(role, "system") != 0))
        return api_fail(err, API_VALUE, param, "%s.role: expected 'user' or 'assistant'.", param);
    if (!json_is_string(content) && !json_is_array(content))
        return api_fail(err, content ? API_TYPE : API_MISSING, param,
                        "%s.content: expected a string or an array of blocks.", param);
    struct message_parts parts = {0};
    buffer_init(&parts.text, SIZE_MAX / 4);
    buffer_init(&parts.thinking, SIZE_MAX / 4);
    const size_t before = json_array_size(messages);
    enum quern_status status = QUERN_OK;
    if (json_is_string(content))
        status = text_of(content, param, &parts.text, err);
    else
        for (size_t i = 0; !status && i < json_array_size(content); i++)
            status = take_block(messages, &parts, json_array_get(content, i), param, err);
    if (!status)
        status = finish_message(messages, role, &parts, json_array_size(messages) > before, err);
    buffer_release(&parts.text);
    buffer_release(&parts.thinking);
    json_decref(parts.calls);
    return status;
}

static enum quern_status convert_messages(const struct raw_messages *raw, json_t *out,
                                          const struct api_limits *limits, struct api_error *err) {
    json_t *messages = json_array();
    if (!raw->messages) {
        json_decref(messages);
        return api_fail(err, API_MISSING, "messages", "messages: Field required");
    }
    enum quern_status status = QUERN_OK;
    if (json_array_size(raw->messages) > (size_t)limits->messages)
        status = api_fail(err, API_VALUE, "messages", "messages: more than %lld messages.",
                          (long long)limits->messages);
    if (!status && raw->system) {
        struct buffer text;
        buffer_init(&text, SIZE_MAX / 4);
        status = text_of(raw->system, "system", &text, err);
        if (!status && !add_message(messages, "system", &text))
            status = api_nomem(err);
        buffer_release(&text);
    }
    for (size_t i = 0; !status && i < json_array_size(raw->messages); i++)
        status = convert_message(messages, json_array_get(raw->messages, i), i, err);
    if (json_object_set_new(out, "messages", messages) && !status)
        status = api_nomem(err);
    return status;
}

/* ---- tools ------------------------------------------------------------------------------ */

static enum quern_status convert_tool(json_t *tools, const json_t *tool, size_t index,
                                      struct api_error *err) {
    char param[64];
    snprintf(param, sizeof param, "tools.%zu", index);
    const json_t *name = json_object_get(tool, "name");
    const json_t *description = json_object_get(tool, "description");
    const json_t *schema = json_object_get(tool, "input_schema");
    const char *type = json_string_value(json_object_get(tool, "type"));
    if (type && strcmp(type, "custom") != 0)
        return api_fail(err, API_UNSUPPORTED, param,
                        "%s.type: this server runs no tools of its own, such as '%.60s'; it knows "
                        "those with 'name' and 'input_schema'.",
                        param, type);
    if (!json_is_string(name) || !json_is_object(schema))
        return api_fail(err, API_MISSING, param, "%s: 'name' and 'input_schema' are required.",
                        param);
    json_t *function = json_object();
    bool ok = json_object_set(function, "name", (json_t *)(uintptr_t)name) == 0;
    if (json_is_string(description))
        ok = json_object_set(function, "description", (json_t *)(uintptr_t)description) == 0 && ok;
    ok = json_object_set(function, "parameters", (json_t *)(uintptr_t)schema) == 0 && ok;
    if (json_is_boolean(json_object_get(tool, "strict")))
        ok = json_object_set(function, "strict", json_object_get(tool, "strict")) == 0 && ok;
    json_t *converted = json_pack("{s:s, s:o}", "type", "function", "function", function);
    ok = json_array_append_new(tools, converted) == 0 && ok;
    return ok ? QUERN_OK : api_nomem(err);
}

static enum quern_status convert_choice(const json_t *choice, json_t *out, struct api_error *err) {
    const char *type = json_string_value(json_object_get(choice, "type"));
    const json_t *parallel = json_object_get(choice, "disable_parallel_tool_use");
    if (json_is_true(parallel) &&
        json_object_set_new(out, "parallel_tool_calls", json_false()))
        return api_nomem(err);
    json_t *value = NULL;
    if (type && (strcmp(type, "auto") == 0 || strcmp(type, "none") == 0))
        value = json_string(type);
    else if (type && strcmp(type, "any") == 0)
        value = json_string("required");
    else if (type && strcmp(type, "tool") == 0)
        value = json_pack("{s:s, s:{s:O*}}", "type", "function", "function", "name",
                          json_object_get(choice, "name"));
    else
        return api_fail(err, API_VALUE, "tool_choice.type",
                        "tool_choice.type: expected 'auto', 'any', 'tool' or 'none'.");
    return json_object_set_new(out, "tool_choice", value) ? api_nomem(err) : QUERN_OK;
}

static enum quern_status convert_tools(const struct raw_messages *raw, json_t *out,
                                       struct api_error *err) {
    enum quern_status status = QUERN_OK;
    if (raw->tools) {
        json_t *tools = json_array();
        for (size_t i = 0; !status && i < json_array_size(raw->tools); i++)
            status = convert_tool(tools, json_array_get(raw->tools, i), i, err);
        if (json_object_set_new(out, "tools", tools) && !status)
            status = api_nomem(err);
    }
    if (!status && raw->tool_choice)
        status = convert_choice(raw->tool_choice, out, err);
    return status;
}

/* {"effort": "low", "format": {"type": "json_schema", "schema": {...}}} */
static enum quern_status convert_output_config(const struct raw_messages *raw, json_t *out,
                                               struct api_error *err) {
    json_t *effort = json_object_get(raw->output_config, "effort");
    const json_t *format = json_object_get(raw->output_config, "format");
    if (!format || json_is_null(format))
        format = raw->output_format;
    json_t *schema = json_object_get(format, "schema");
    const char *type = json_string_value(json_object_get(format, "type"));
    bool ok = true;
    if (format && (!schema || (type && strcmp(type, "json_schema") != 0)))
        return api_fail(err, API_VALUE, "output_config.format",
                        "output_config.format: expected {\"type\": \"json_schema\", \"schema\": {...}}.");
    if (json_is_string(effort)) {
        bool max = strcmp(json_string_value(effort), "max") == 0;
        ok = json_object_set_new(out, "reasoning_effort",
                                 max ? json_string("xhigh") : json_incref(effort)) == 0;
    }
    if (json_is_object(format)) {
        json_t *form = json_pack("{s:s, s:{s:s, s:O*}}", "type", "json_schema", "json_schema",
                                 "name", "answer", "schema", schema);
        ok = json_object_set_new(out, "response_format", form) == 0 && ok;
    }
    return ok ? QUERN_OK : api_nomem(err);
}

/* ---- the whole ---------------------------------------------------------------------------- */

static bool set_number(json_t *out, const char *key, double value) {
    return !(value >= 0) || json_object_set_new(out, key, json_real(value)) == 0;
}

static bool set_simple(const struct raw_messages *raw, json_t *out) {
    bool ok = set_number(out, "temperature", (double)raw->temperature);
    ok = set_number(out, "top_p", (double)raw->top_p) && ok;
    ok = set_number(out, "top_k", raw->top_k) && ok;
    if (raw->max_tokens > 0)
        ok = set_number(out, "max_tokens", raw->max_tokens) && ok;
    if (raw->model)
        ok = json_object_set_new(out, "model", json_string(raw->model)) == 0 && ok;
    if (raw->stop_sequences)
        ok = json_object_set(out, "stop", (json_t *)(uintptr_t)raw->stop_sequences) == 0 && ok;
    if (raw->thinking)
        ok = json_object_set(out, "thinking", (json_t *)(uintptr_t)raw->thinking) == 0 && ok;
    return json_object_set_new(out, "stream", json_boolean(raw->stream)) == 0 && ok;
}

enum quern_status anthropic_to_openai(const json_t *root, bool counting,
                                      const struct api_limits *limits, json_t **out,
                                      struct api_error *err) {
    struct raw_messages raw = {.max_tokens = 0, .top_k = -1, .temperature = -1, .top_p = -1};
    enum quern_status status =
        fields_read(root, "", messages_specs, limits->ignore_unknown, &raw, err);
    if (status)
        return status;
    if (!counting && !raw.max_tokens)
        return api_fail(err, API_MISSING, "max_tokens", "max_tokens: Field required");
    json_t *converted = json_object();
    status = converted && set_simple(&raw, converted) ? QUERN_OK : api_nomem(err);
    if (!status)
        status = convert_messages(&raw, converted, limits, err);
    if (!status)
        status = convert_tools(&raw, converted, err);
    if (!status)
        status = convert_output_config(&raw, converted, err);
    if (status)
        json_decref(converted);
    else
        *out = converted;
    return status;
}
