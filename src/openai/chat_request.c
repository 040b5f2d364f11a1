#include "openai/chat_request.h"

#include <stdlib.h>
#include <string.h>

/* The request as its table of fields fills it. */
struct raw_chat {
    struct chat_request r;
    const json_t *messages, *tools, *tool_choice, *kwargs, *thinking, *modalities;
    const char *reasoning_effort;
    int32_t max_completion_tokens, max_tokens;
};

static const struct field_spec chat_specs[] = {
    GENERATION_FIELDS(struct raw_chat, r.generation),
    FIELD_OF(FIELD_ARRAY, "messages", struct raw_chat, messages),
    FIELD_NUMBER(FIELD_INT, "max_tokens", struct raw_chat, max_tokens, 1, INT32_MAX),
    FIELD_NUMBER(FIELD_INT, "max_completion_tokens", struct raw_chat, max_completion_tokens, 1,
                 INT32_MAX),
    FIELD_OF(FIELD_ARRAY, "tools", struct raw_chat, tools),
    FIELD_OF(FIELD_ANY, "tool_choice", struct raw_chat, tool_choice),
    FIELD_OF(FIELD_BOOL, "parallel_tool_calls", struct raw_chat, r.parallel_tool_calls),
    FIELD_OF(FIELD_OBJECT, "chat_template_kwargs", struct raw_chat, kwargs),
    FIELD_OF(FIELD_STRING, "reasoning_effort", struct raw_chat, reasoning_effort),
    FIELD_NUMBER(FIELD_INT, "max_thinking_tokens", struct raw_chat, r.thinking.budget, 0,
                 INT32_MAX),
    FIELD_OF(FIELD_OBJECT, "thinking", struct raw_chat, thinking),
    FIELD_OF(FIELD_OBJECT, "response_format", struct raw_chat, r.response_format),
    FIELD_OF(FIELD_OBJECT, "structured_outputs", struct raw_chat, r.structured_outputs),
    FIELD_OF(FIELD_BOOL, "logprobs", struct raw_chat, r.logprobs),
    FIELD_NUMBER(FIELD_INT, "top_logprobs", struct raw_chat, r.generation.top_logprobs, 0,
                 API_TOP_LOGPROBS_MAX),
    FIELD_OF(FIELD_BOOL, "add_generation_prompt", struct raw_chat, r.add_generation_prompt),
    FIELD_OF(FIELD_BOOL, "continue_final_message", struct raw_chat, r.continue_final_message),
    FIELD_OF(FIELD_ARRAY, "modalities", struct raw_chat, modalities),
    FIELD_IGNORED("prediction"),
    FIELD_LAST,
};

/* ---- tools ----------------------------------------------------------------------- */

static bool has_tool(const json_t *tools, const char *name) {
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        const char *other = json_string_value(json_object_get(function, "name"));
        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* The name in {"type": "function", "function": {"name": NAME}}, also where the function is left
 * out; NULL: there is none. */
static const char *chosen_name(const json_t *choice) {
    const json_t *function = json_object_get(choice, "function");
    return json_string_value(json_object_get(function ? function : choice, "name"));
}

static enum quern_status check_name(const struct raw_chat *raw, const char *name,
                                    struct api_error *err) {
    if (name && has_tool(raw->tools, name))
        return QUERN_OK;
    if (name)
        return api_fail(err, API_VALUE, "tool_choice",
                        "Invalid value for 'tool_choice': no function \"%s\" is in 'tools'.", name);
    return api_fail(err, API_VALUE, "tool_choice",
                    "Invalid value for 'tool_choice': expected 'none', 'auto', 'required', "
                    "{\"type\": \"function\", \"function\": {\"name\": ...}} or "
                    "{\"type\": \"allowed_tools\", \"allowed_tools\": {\"mode\": ..., \"tools\": "
                    "[...]}}.");
}

/* {"mode": "auto" or "required", "tools": [...]}: all tools stay in the prompt, some may be called. */
static enum quern_status read_allowed_tools(const struct raw_chat *raw, struct chat_request *r,
                                            struct api_error *err) {
    const json_t *allowed = json_object_get(raw->tool_choice, "allowed_tools");
    if (!allowed)
        allowed = raw->tool_choice;
    const char *mode = json_string_value(json_object_get(allowed, "mode"));
    const json_t *list = json_object_get(allowed, "tools");
    const bool required = mode && strcmp(mode, "required") == 0;
    if (!required && (!mode || strcmp(mode, "auto") != 0))
        return api_fail(err, API_VALUE, "tool_choice.allowed_tools.mode",
                        "Invalid value for 'tool_choice.allowed_tools.mode': expected 'auto' or "
                        "'required'.");
    if (!json_array_size(list))
        return api_fail(err, API_VALUE, "tool_choice.allowed_tools.tools",
                        "Invalid value for 'tool_choice.allowed_tools.tools': expected some of "
                        "'tools'.");
    for (size_t i = 0; i < json_array_size(list); i++) {
        enum quern_status status = check_name(raw, chosen_name(json_array_get(list, i)), err);
        if (status)
            return status;
    }
    r->tool_choice = required ? TOOL_CHOICE_REQUIRED : TOOL_CHOICE_AUTO;
    r->allowed_tools = list;
    return QUERN_OK;
}

static enum quern_status read_object_choice(const struct raw_chat *raw, struct chat_request *r,
                                            struct api_error *err) {
    const char *type = json_string_value(json_object_get(raw->tool_choice, "type"));
    if (type && strcmp(type, "allowed_tools") == 0)
        return read_allowed_tools(raw, r, err);
    const char *name = chosen_name(raw->tool_choice);
    enum quern_status status = check_name(raw, name, err);
    if (status)
        return status;
    r->tool_choice = TOOL_CHOICE_NAMED;
    r->tool_name = name;
    return QUERN_OK;
}

bool chat_request_may_call(const struct chat_request *r, const char *name) {
    if (r->tool_choice == TOOL_CHOICE_NAMED)
        return strcmp(name, r->tool_name) == 0;
    for (size_t i = 0; i < json_array_size(r->allowed_tools); i++)
        if (strcmp(name, chosen_name(json_array_get(r->allowed_tools, i))) == 0)
            return true;
    return !r->allowed_tools && r->tool_choice != TOOL_CHOICE_NONE;
}

static enum quern_status read_tools(const struct raw_chat *raw, struct chat_request *r,
                                    const struct api_limits *limits, struct api_error *err) {
    const char *word = json_string_value(raw->tool_choice);
    enum quern_status status = chat_tools_check(raw->tools, limits, err);
    if (status)
        return status;
    r->tools = json_array_size(raw->tools) ? raw->tools : NULL;
    if (!raw->tool_choice)
        return QUERN_OK;
    if (!word)
        return read_object_choice(raw, r, err);
    if (strcmp(word, "none") == 0)
        r->tool_choice = TOOL_CHOICE_NONE;
    else if (strcmp(word, "required") == 0)
        r->tool_choice = TOOL_CHOICE_REQUIRED;
    else if (strcmp(word, "auto") != 0)
        return check_name(raw, NULL, err);
    if (r->tool_choice == TOOL_CHOICE_NONE)
        r->tools = NULL;
    if (r->tool_choice == TOOL_CHOICE_REQUIRED && !r->tools)
        return api_fail(err, API_VALUE, "tool_choice",
                        "Invalid value for 'tool_choice': 'required' needs 'tools'.");
    return QUERN_OK;
}

/* ---- thinking ---------------------------------------------------------------------- */

/* What an effort means where a model knows only on and off: a budget of thinking. */
static const struct {
    const char *name;
    int enabled;
    int32_t budget;
} efforts[] = {{"none", 0, -1},     {"minimal", 1, 128}, {"low", 1, 1024},
               {"medium", 1, 4096}, {"high", 1, -1},     {"xhigh", 1, -1}};

static enum quern_status apply_effort(const char *effort, struct chat_request *r,
                                      struct api_error *err) {
    if (!effort)
        return QUERN_OK;
    for (size_t i = 0; i < sizeof efforts / sizeof efforts[0]; i++) {
        if (strcmp(effort, efforts[i].name) != 0)
            continue;
        r->thinking.enabled = efforts[i].enabled;
        if (r->thinking.budget < 0)
            r->thinking.budget = efforts[i].budget;
        return QUERN_OK;
    }
    return api_fail(err, API_VALUE, "reasoning_effort",
                    "Invalid value for 'reasoning_effort': \"%s\" is not one of none, minimal, "
                    "low, medium, high, xhigh.",
                    effort);
}

/* "thinking": {"type": "enabled", "budget_tokens": N} */
static enum quern_status apply_thinking(const json_t *thinking, struct chat_request *r,
                                        struct api_error *err) {
    struct raw_thinking {
        const char *type;
        int32_t budget;
    } raw = {NULL, r->thinking.budget};
    static const struct field_spec specs[] = {
        FIELD_OF(FIELD_STRING, "type", struct raw_thinking, type),
        FIELD_NUMBER(FIELD_INT, "budget_tokens", struct raw_thinking, budget, 0, INT32_MAX),
        FIELD_IGNORED("display"),
        FIELD_LAST,
    };
    if (!thinking)
        return QUERN_OK;
    enum quern_status status = fields_read(thinking, "thinking.", specs, false, &raw, err);
    if (status)
        return status;
    if (raw.type && strcmp(raw.type, "disabled") == 0)
        r->thinking.enabled = 0;
    else if (raw.type && strcmp(raw.type, "enabled") == 0)
        r->thinking.enabled = 1;
    else if (!raw.type || strcmp(raw.type, "adaptive") != 0)
        return api_fail(err, API_VALUE, "thinking.type",
                        "Invalid value for 'thinking.type': expected 'enabled', 'disabled' or "
                        "'adaptive'.");
    r->thinking.budget = raw.budget;
    return QUERN_OK;
}

/* Variables of the request that reach the template. Others are refused: a template may give any
 * name a meaning, and this one comes from whoever made the model. */
static enum quern_status read_kwargs(const json_t *kwargs, struct chat_request *r,
                                     struct api_error *err) {
    static const char *const allowed[] = {"preserve_thinking", "documents", "add_vision_id",
                                          "reasoning_effort", "thinking_budget"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)kwargs, key, value) {
        if (strcmp(key, "enable_thinking") == 0 || strcmp(key, "thinking") == 0) {
            if (!json_is_boolean(value))
                return api_fail(err, API_TYPE, "chat_template_kwargs",
                                "Invalid type for 'chat_template_kwargs.%s': expected a boolean.",
                                key);
            r->thinking.enabled = json_is_true(value);
            continue;
        }
        bool known = false;
        for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
            known = known || strcmp(key, allowed[i]) == 0;
        if (!known)
            return api_fail(err, API_UNSUPPORTED, "chat_template_kwargs",
                            "'chat_template_kwargs.%s' is not one of the variables this server "
                            "passes on: enable_thinking, preserve_thinking, documents, "
                            "add_vision_id, reasoning_effort, thinking_budget.",
                            key);
        if (!r->kwargs && !(r->kwargs = json_object()))
            return api_nomem(err);
        if (json_object_set_new(r->kwargs, key, json_deep_copy(value)))
            return api_nomem(err);
    }
    return QUERN_OK;
}

/* ---- the whole ------------------------------------------------------------------------ */

static enum quern_status check_simple(const struct raw_chat *raw, struct chat_request *r,
                                      const struct api_limits *limits, struct api_error *err) {
    const char *format = json_string_value(json_object_get(r->response_format, "type"));
    if (format && strcmp(format, "text") == 0)
        r->response_format = NULL;
    for (size_t i = 0; i < json_array_size(raw->modalities); i++) {
        const char *modality = json_string_value(json_array_get(raw->modalities, i));
        if (!modality || strcmp(modality, "text") != 0)
            return api_fail(err, API_UNSUPPORTED, "modalities",
                            "Invalid value for 'modalities': this server answers in text only.");
    }
    if (r->generation.top_logprobs > 0 && !r->logprobs)
        return api_fail(err, API_VALUE, "top_logprobs",
                        "Invalid value for 'top_logprobs': 'logprobs' must be true.");
    if (r->generation.top_logprobs > limits->top_logprobs)
        return api_fail(err, API_VALUE, "top_logprobs",
                        "Invalid value for 'top_logprobs': %d is more than this server's limit of "
                        "%lld.",
                        r->generation.top_logprobs, (long long)limits->top_logprobs);
    if (raw->max_completion_tokens > 0)
        r->generation.max_tokens = raw->max_completion_tokens;
    else if (raw->max_tokens > 0)
        r->generation.max_tokens = raw->max_tokens;
    if (r->continue_final_message)
        r->add_generation_prompt = false;
    return QUERN_OK;
}

static void limit_thinking(struct chat_request *r, const struct api_limits *limits) {
    int64_t most = limits->thinking_tokens;
    if (most > 0 && (r->thinking.budget < 0 || r->thinking.budget > most))
        r->thinking.budget = (int32_t)(most < INT32_MAX ? most : INT32_MAX);
}

static enum quern_status finish(struct raw_chat *raw, const struct api_context *context,
                                struct api_error *err) {
    struct chat_request *r = &raw->r;
    enum quern_status status = generation_params_finish(&r->generation, context, err);
    if (!status)
        status = chat_messages_normalize(raw->messages, context->limits, &r->messages, err);
    if (!status)
        status = read_tools(raw, r, context->limits, err);
    if (!status)
        status = apply_effort(raw->reasoning_effort, r, err);
    if (!status)
        status = apply_thinking(raw->thinking, r, err);
    if (!status)
        status = read_kwargs(raw->kwargs, r, err);
    if (!status)
        status = check_simple(raw, r, context->limits, err);
    if (!status)
        limit_thinking(r, context->limits);
    return status;
}

enum quern_status chat_request_parse(const json_t *root, const struct api_context *context,
                                     struct chat_request *out, struct api_error *err) {
    struct raw_chat raw = {0};
    generation_params_init(&raw.r.generation, context);
    raw.r.thinking = (struct thinking_params){-1, -1};
    raw.r.parallel_tool_calls = true;
    raw.r.add_generation_prompt = true;
    enum quern_status status =
        fields_read(root, "", chat_specs, context->limits->ignore_unknown, &raw, err);
    if (!status)
        status = finish(&raw, context, err);
    if (status)
        chat_request_release(&raw.r);
    else
        *out = raw.r;
    return status;
}

void chat_request_release(struct chat_request *r) {
    generation_params_release(&r->generation);
    json_decref(r->messages);
    json_decref(r->kwargs);
    *r = (struct chat_request){0};
}
