#include "openai/responses_fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What other servers keep for their users, and this one does not; in the order of `unsupported`. */
static const char *const not_here[] = {"conversation", "prompt", "moderation", "context_management",
                                       "background_options"};

static const struct field_spec responses_specs[] = {
    FIELD_OF(FIELD_STRING, "model", struct raw_responses, model),
    FIELD_OF(FIELD_ANY, "input", struct raw_responses, input),
    FIELD_OF(FIELD_STRING, "instructions", struct raw_responses, instructions),
    FIELD_OF(FIELD_STRING, "previous_response_id", struct raw_responses, previous),
    FIELD_OF(FIELD_ARRAY, "tools", struct raw_responses, tools),
    FIELD_OF(FIELD_ANY, "tool_choice", struct raw_responses, tool_choice),
    FIELD_OF(FIELD_BOOL, "parallel_tool_calls", struct raw_responses, parallel),
    FIELD_OF(FIELD_OBJECT, "text", struct raw_responses, text),
    FIELD_OF(FIELD_OBJECT, "reasoning", struct raw_responses, reasoning),
    FIELD_OF(FIELD_ARRAY, "include", struct raw_responses, include),
    FIELD_OF(FIELD_OBJECT, "metadata", struct raw_responses, metadata),
    FIELD_NUMBER(FIELD_INT64, "max_output_tokens", struct raw_responses, max_output_tokens, 1,
                 INT32_MAX),
    FIELD_NUMBER(FIELD_INT64, "max_tool_calls", struct raw_responses, max_tool_calls, 0, INT32_MAX),
    FIELD_NUMBER(FIELD_INT, "top_logprobs", struct raw_responses, top_logprobs, 0,
                 API_TOP_LOGPROBS_MAX),
    FIELD_NUMBER(FIELD_FLOAT, "temperature", struct raw_responses, temperature, 0, 2),
    FIELD_NUMBER(FIELD_FLOAT, "top_p", struct raw_responses, top_p, 0, 1),
    FIELD_OF(FIELD_STRING, "truncation", struct raw_responses, truncation),
    FIELD_OF(FIELD_STRING, "safety_identifier", struct raw_responses, safety_identifier),
    FIELD_OF(FIELD_STRING, "user", struct raw_responses, user),
    FIELD_OF(FIELD_STRING, "prompt_cache_key", struct raw_responses, cache_key),
    FIELD_OF(FIELD_BOOL, "store", struct raw_responses, store),
    FIELD_OF(FIELD_BOOL, "stream", struct raw_responses, stream),
    FIELD_OF(FIELD_BOOL, "background", struct raw_responses, background),
    FIELD_OF(FIELD_ANY, "conversation", struct raw_responses, unsupported[0]),
    FIELD_OF(FIELD_ANY, "prompt", struct raw_responses, unsupported[1]),
    FIELD_OF(FIELD_ANY, "moderation", struct raw_responses, unsupported[2]),
    FIELD_OF(FIELD_ANY, "context_management", struct raw_responses, unsupported[3]),
    FIELD_OF(FIELD_ANY, "background_options", struct raw_responses, unsupported[4]),
    FIELD_IGNORED("access_programs"),
    FIELD_IGNORED("image"),
    FIELD_IGNORED("prompt_cache_options"),
    FIELD_IGNORED("prompt_cache_retention"),
    FIELD_IGNORED("service_tier"),
    FIELD_IGNORED("stream_options"),
    /* Read by the chat this becomes, under the same names. */
    FIELD_IGNORED("top_k"),
    FIELD_IGNORED("min_p"),
    FIELD_IGNORED("typical_p"),
    FIELD_IGNORED("repetition_penalty"),
    FIELD_IGNORED("presence_penalty"),
    FIELD_IGNORED("frequency_penalty"),
    FIELD_IGNORED("penalty_window"),
    FIELD_IGNORED("dry_multiplier"),
    FIELD_IGNORED("dry_base"),
    FIELD_IGNORED("dry_allowed_length"),
    FIELD_IGNORED("dry_window"),
    FIELD_IGNORED("top_n_sigma"),
    FIELD_IGNORED("xtc_probability"),
    FIELD_IGNORED("xtc_threshold"),
    FIELD_IGNORED("seed"),
    FIELD_IGNORED("stop"),
    FIELD_IGNORED("stop_token_ids"),
    FIELD_IGNORED("logit_bias"),
    FIELD_IGNORED("ignore_eos"),
    FIELD_IGNORED("chat_template_kwargs"),
    FIELD_IGNORED("max_thinking_tokens"),
    FIELD_IGNORED("thinking"),
    FIELD_IGNORED("structured_outputs"),
    FIELD_LAST,
};

static const char *const same_in_chat[] = {
    "model", "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty",
    "presence_penalty", "frequency_penalty", "penalty_window", "dry_multiplier", "dry_base",
    "dry_allowed_length", "dry_window", "top_n_sigma", "xtc_probability", "xtc_threshold", "seed",
    "stop", "stop_token_ids", "logit_bias", "ignore_eos", "chat_template_kwargs",
    "max_thinking_tokens", "thinking", "structured_outputs", "parallel_tool_calls", "stream"};

/* ---- reading ----------------------------------------------------------------------------- */

static enum quern_status check_metadata(const json_t *metadata, struct api_error *err) {
    enum { PAIRS = 16, KEY_BYTES = 64 * 4, VALUE_BYTES = 512 * 4 }; /* as OpenAI has them */
    const char *key;
    json_t *value;
    bool ok = json_object_size(metadata) <= PAIRS;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
        ok = ok && strlen(key) <= KEY_BYTES && json_is_string(value) &&
             json_string_length(value) <= VALUE_BYTES;
    if (ok)
        return QUERN_OK;
    return api_fail(err, API_VALUE, "metadata",
                    "Invalid value for 'metadata': expected at most 16 strings of at most 512 "
                    "characters, with names of at most 64.");
}

/* What may be included; only the log-probabilities are anything a model here has. */
static enum quern_status read_include(struct raw_responses *raw, struct api_error *err) {
    static const char *const known[] = {"message.output_text.logprobs",
                                        "reasoning.encrypted_content",
                                        "file_search_call.results",
                                        "web_search_call.results",
                                        "web_search_call.action.sources",
                                        "message.input_image.image_url",
                                        "computer_call_output.output.image_url",
                                        "code_interpreter_call.outputs"};
    for (size_t i = 0; i < json_array_size(raw->include); i++) {
        const char *word = json_string_value(json_array_get(raw->include, i));
        bool found = false;
        for (size_t k = 0; word && k < sizeof known / sizeof *known; k++)
            found = found || strcmp(word, known[k]) == 0;
        if (!found)
            return api_fail(err, API_VALUE, "include",
                            "Invalid value for 'include': '%.60s' is nothing that can be included.",
                            word ? word : json_type_name(json_array_get(raw->include, i)));
        raw->logprobs = raw->logprobs || strcmp(word, known[0]) == 0;
    }
    return QUERN_OK;
}

static enum quern_status read_inner(struct raw_responses *raw, bool ignore_unknown,
                                    struct api_error *err) {
    static const struct field_spec reasoning[] = {
        FIELD_OF(FIELD_STRING, "effort", struct raw_responses, effort),
        FIELD_OF(FIELD_STRING, "summary", struct raw_responses, summary),
        FIELD_OF(FIELD_STRING, "generate_summary", struct raw_responses, generate_summary),
        FIELD_IGNORED("context"),
        FIELD_IGNORED("mode"),
        FIELD_LAST,
    };
    static const struct field_spec text[] = {
        FIELD_OF(FIELD_OBJECT, "format", struct raw_responses, format),
        FIELD_OF(FIELD_STRING, "verbosity", struct raw_responses, verbosity),
        FIELD_LAST,
    };
    enum quern_status status =
        fields_read(raw->reasoning, "reasoning.", reasoning, ignore_unknown, raw, err);
    return status ? status : fields_read(raw->text, "text.", text, ignore_unknown, raw, err);
}

static enum quern_status check_word(const char *word, const char *param, const char *const *words,
                                    struct api_error *err) {
    for (size_t i = 0; word && words[i]; i++)
        if (strcmp(word, words[i]) == 0)
            return QUERN_OK;
    if (!word)
        return QUERN_OK;
    return api_fail(err, API_VALUE, param, "Invalid value for '%s': \"%.60s\" is not one of %s, %s%s%s.",
                    param, word, words[0], words[1], words[2] ? ", " : "", words[2] ? words[2] : "");
}

static enum quern_status check_words(const struct raw_responses *raw, struct api_error *err) {
    static const char *const truncations[] = {"auto", "disabled", NULL};
    static const char *const verbosities[] = {"low", "medium", "high", NULL};
    static const char *const summaries[] = {"auto", "concise", "detailed", NULL};
    enum quern_status status = check_word(raw->truncation, "truncation", truncations, err);
    if (!status)
        status = check_word(raw->verbosity, "text.verbosity", verbosities, err);
    if (!status)
        status = check_word(raw->summary, "reasoning.summary", summaries, err);
    if (!status)
        status = check_word(raw->generate_summary, "reasoning.generate_summary", summaries, err);
    return status;
}

static enum quern_status check_support(const struct raw_responses *raw, struct api_error *err) {
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++)
        if (raw->unsupported[i])
            return api_fail(err, API_UNSUPPORTED, not_here[i],
                            "Unsupported parameter: '%s' is not available on this server.",
                            not_here[i]);
    if (raw->background)
        return api_fail(err, API_UNSUPPORTED, "background",
                        "Unsupported value: 'background' cannot be true on this server: an answer "
                        "is made while its client waits, or is streamed.");
    return QUERN_OK;
}

enum quern_status responses_fields_read(const json_t *root, const struct api_context *context,
                                        bool counting, struct raw_responses *out,
                                        struct api_error *err) {
    *out = (struct raw_responses){.max_output_tokens = -1,
                                  .max_tool_calls = -1,
                                  .temperature = -1,
                                  .top_p = -1,
                                  .store = true,
                                  .parallel = true};
    const bool ignore_unknown = context->limits->ignore_unknown;
    enum quern_status status = fields_read(root, "", responses_specs, ignore_unknown, out, err);
    if (!status)
        status = check_support(out, err);
    if (!status)
        status = read_inner(out, ignore_unknown, err);
    if (!status)
        status = check_words(out, err);
    if (!status)
        status = read_include(out, err);
    if (!status)
        status = check_metadata(out->metadata, err);
    if (!status && !out->input && !out->previous)
        status = api_fail(err, API_MISSING, "input", "Missing required parameter: 'input'.");
    if (counting)
        out->stream = out->store = false;
    return status;
}

/* ---- as a chat ----------------------------------------------------------------------------- */

static json_t *borrow(const json_t *value) {
    return json_incref((json_t *)(uintptr_t)value);
}

static enum quern_status wrong_tool(const char *param, const char *type, struct api_error *err) {
    return api_fail(err, API_UNSUPPORTED, param,
                    "Invalid value for '%s': this server runs no tools of its own and knows those of "
                    "type 'function', not '%.60s'.",
                    param, type);
}

/* {"type": "function", "name", ...}: what names the function goes one level down. */
static enum quern_status add_tool(json_t *tools, const json_t *tool, size_t index,
                                  struct api_error *err) {
    static const char *const members[] = {"name", "description", "parameters", "strict"};
    char param[48];
    const char *type = json_string_value(json_object_get(tool, "type"));
    snprintf(param, sizeof param, "tools[%zu].type", index);
    if (!type)
        return api_fail(err, API_MISSING, param, "Missing required parameter: '%s'.", param);
    if (strcmp(type, "function") != 0)
        return wrong_tool(param, type, err);
    const json_t *inner = json_object_get(tool, "function");
    snprintf(param, sizeof param, "tools[%zu].name", index);
    const json_t *name = json_object_get(inner ? inner : tool, "name");
    if (!json_is_string(name) || !json_string_length(name))
        return api_fail(err, name ? API_TYPE : API_MISSING, param,
                        "'%s' must be a string that is not empty.", param);
    json_t *function = json_object();
    bool ok = function != NULL;
    for (size_t i = 0; ok && i < sizeof members / sizeof *members; i++) {
        const json_t *value = json_object_get(inner ? inner : tool, members[i]);
        if (value && !json_is_null(value))
            ok = json_object_set_new(function, members[i], borrow(value)) == 0;
    }
    json_t *made = json_pack("{s:s, s:o}", "type", "function", "function", function);
    return json_array_append_new(tools, made) == 0 && ok ? QUERN_OK : api_nomem(err);
}

static enum quern_status add_tools(const struct raw_responses *raw, json_t *chat,
                                   struct api_error *err) {
    const char *type = json_string_value(json_object_get(raw->tool_choice, "type"));
    if (type && strcmp(type, "function") != 0 && strcmp(type, "allowed_tools") != 0)
        return wrong_tool("tool_choice.type", type, err);
    enum quern_status status = QUERN_OK;
    if (raw->tools) {
        json_t *tools = json_array();
        for (size_t i = 0; !status && i < json_array_size(raw->tools); i++)
            status = add_tool(tools, json_array_get(raw->tools, i), i, err);
        if (json_object_set_new(chat, "tools", tools) && !status)
            status = api_nomem(err);
    }
    if (!status && raw->tool_choice &&
        json_object_set_new(chat, "tool_choice", borrow(raw->tool_choice)))
        status = api_nomem(err);
    return status;
}

/* {"type": "json_schema", "name", "schema", "strict"}: a chat has them one level down. Quern's own
 * forms stand in both as they are. */
static enum quern_status add_format(const struct raw_responses *raw, json_t *chat,
                                    struct api_error *err) {
    const char *type = json_string_value(json_object_get(raw->format, "type"));
    if (!raw->format)
        return QUERN_OK;
    json_t *format = NULL;
    if (type && strcmp(type, "json_schema") == 0 && !json_object_get(raw->format, "json_schema")) {
        json_t *schema = json_object_get(raw->format, "schema");
        if (!json_is_object(schema) && !json_is_boolean(schema))
            return api_fail(err, schema ? API_TYPE : API_MISSING, "text.format.schema",
                            "Missing required parameter: 'text.format.schema', a JSON Schema.");
        json_t *after = json_object_get(raw->format, "close_after");
        format = json_pack("{s:s, s:{s:s, s:O}, s:O*}", "type", "json_schema", "json_schema", "name",
                           "answer", "schema", schema, "close_after", after);
    } else {
        format = borrow(raw->format);
    }
    return json_object_set_new(chat, "response_format", format) ? api_nomem(err) : QUERN_OK;
}

enum quern_status responses_fields_to_chat(const struct raw_responses *raw, const json_t *root,
                                           json_t *chat, struct api_error *err) {
    bool ok = true;
    for (size_t i = 0; i < sizeof same_in_chat / sizeof *same_in_chat; i++) {
        const json_t *value = json_object_get(root, same_in_chat[i]);
        if (value && !json_is_null(value))
            ok = json_object_set_new(chat, same_in_chat[i], borrow(value)) == 0 && ok;
    }
    if (raw->max_output_tokens > 0)
        ok = json_object_set_new(chat, "max_completion_tokens",
                                 json_integer(raw->max_output_tokens)) == 0 && ok;
    if (raw->effort) {
        const bool max = strcmp(raw->effort, "max") == 0;
        ok = json_object_set_new(chat, "reasoning_effort", json_string(max ? "xhigh" : raw->effort)) ==
                 0 && ok;
    }
    if (raw->logprobs || raw->top_logprobs > 0) {
        ok = json_object_set_new(chat, "logprobs", json_true()) == 0 && ok;
        ok = json_object_set_new(chat, "top_logprobs", json_integer(raw->top_logprobs)) == 0 && ok;
    }
    if (!ok)
        return api_nomem(err);
    enum quern_status status = add_tools(raw, chat, err);
    return status ? status : add_format(raw, chat, err);
}

/* ---- in the answer ----------------------------------------------------------------------------- */


static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *number_or_null(int64_t value) {
    return value >= 0 ? json_integer(value) : json_null();
}

/* 0.7, not what a float makes of it. */
static json_t *sampling_number(float given, float fallback) {
    return json_real(round(1e6 * (double)(given >= 0 ? given : fallback)) / 1e6);
}

static json_t *echo_text(const struct raw_responses *raw) {
    json_t *format = raw->format ? json_copy((json_t *)(uintptr_t)raw->format)
                                 : json_pack("{s:s}", "type", "text");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type && strcmp(type, "json_schema") == 0 && !json_object_get(format, "name") &&
        json_object_set_new(format, "name", json_string("answer"))) {
        json_decref(format);
        return NULL;
    }
    return json_pack("{s:o, s:s}", "format", format, "verbosity",
                     raw->verbosity ? raw->verbosity : "medium");
}

enum quern_status responses_fields_echo(const struct raw_responses *raw,
                                        const struct api_context *context, json_t *echo,
                                        struct api_error *err) {
    const char *summary = raw->summary ? raw->summary : raw->generate_summary;
    const struct {
        const char *name;
        json_t *value;
    } members[] = {
        {"background", json_false()},
        {"instructions", text_or_null(raw->instructions)},
        {"max_output_tokens", number_or_null(raw->max_output_tokens)},
        {"max_tool_calls", number_or_null(raw->max_tool_calls)},
        {"metadata", raw->metadata ? borrow(raw->metadata) : json_object()},
        {"parallel_tool_calls", json_boolean(raw->parallel)},
        {"previous_response_id", text_or_null(raw->previous)},
        {"prompt_cache_key", text_or_null(raw->cache_key)},
        {"reasoning", json_pack("{s:o, s:o}", "effort", text_or_null(raw->effort), "summary",
                                text_or_null(summary))},
        {"safety_identifier", text_or_null(raw->safety_identifier)},
        {"service_tier", json_string("default")},
        {"store", json_boolean(raw->store)},
        {"temperature", sampling_number(raw->temperature, context->defaults.temperature)},
        {"text", echo_text(raw)},
        {"tool_choice", raw->tool_choice ? borrow(raw->tool_choice) : json_string("auto")},
        {"tools", raw->tools ? borrow(raw->tools) : json_array()},
        {"top_logprobs", json_integer(raw->top_logprobs)},
        {"top_p", sampling_number(raw->top_p, context->defaults.top_p)},
        {"truncation", json_string("disabled")}, /* nothing is ever cut off */
        {"user", text_or_null(raw->user)},
    };
    bool ok = true;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        ok = json_object_set_new(echo, members[i].name, members[i].value) == 0 && ok;
    return ok ? QUERN_OK : api_nomem(err);
}
