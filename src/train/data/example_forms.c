#include "train/data/example_forms.h"

#include <string.h>

void example_form_release(struct example_form *f) {
    json_decref(f->messages);
    json_decref(f->tools);
    json_decref(f->kwargs);
    *f = (struct example_form){0};
}

static struct str string_of(const json_t *value) {
    return (struct str){json_string_value(value), json_string_length(value)};
}

static enum quern_status add_message(json_t *messages, const char *role, const json_t *content,
                                     struct quern_error *err) {
    json_t *message = json_object();
    bool ok = message && json_object_set_new(message, "role", json_string(role)) == 0 &&
              json_object_set_new(message, "content", json_incref((json_t *)content)) == 0 &&
              json_array_append(messages, message) == 0;
    json_decref(message);
    return ok ? QUERN_OK : error_nomem(err);
}

static enum quern_status expect_string(const json_t *record, const char *key, const json_t **out,
                                       struct quern_error *err) {
    *out = json_object_get(record, key);
    if (*out && !json_is_string(*out))
        return error_set(err, QUERN_ERR_FORMAT, "\"%s\" is %s, expected string", key,
                         json_type_name(*out));
    return QUERN_OK;
}

/* ---- messages -------------------------------------------------------------------------- */

static enum quern_status check_message(const json_t *message, size_t i, struct quern_error *err) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content");
    bool known = false;
    if (!json_is_object(message))
        return error_set(err, QUERN_ERR_FORMAT, "messages[%zu] is %s, expected object", i,
                         json_type_name(message));
    for (size_t r = 0; role && r < sizeof roles / sizeof *roles; r++)
        known = known || strcmp(role, roles[r]) == 0;
    if (!known)
        return error_set(err, QUERN_ERR_FORMAT,
                         "messages[%zu]: role is %s%s%s, expected system, user, assistant or tool",
                         i, role ? "\"" : "", role ? role : "missing", role ? "\"" : "");
    if (content && !json_is_string(content) && !json_is_array(content) && !json_is_null(content))
        return error_set(err, QUERN_ERR_FORMAT, "messages[%zu]: content is %s, expected string", i,
                         json_type_name(content));
    return QUERN_OK;
}

static enum quern_status check_messages(const json_t *messages, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    if (!json_array_size(messages))
        return error_set(err, QUERN_ERR_FORMAT, "there are no messages");
    for (size_t i = 0; i < json_array_size(messages) && !status; i++)
        status = check_message(json_array_get(messages, i), i, err);
    return status;
}

/* Some data sets keep JSON as a string within JSON. */
static enum quern_status take_tools(const json_t *record, struct example_form *out,
                                    struct quern_error *err) {
    json_t *tools = json_object_get(record, "tools");
    if (json_is_string(tools)) {
        if (!json_string_length(tools))
            return QUERN_OK;
        enum quern_status status = json_parse(json_string_value(tools), json_string_length(tools),
                                              "tools", &out->tools, err);
        if (status)
            return status;
    } else if (tools && !json_is_null(tools)) {
        out->tools = json_incref(tools);
    }
    if (out->tools && !json_is_array(out->tools))
        return error_set(err, QUERN_ERR_FORMAT, "tools is %s, expected array",
                         json_type_name(out->tools));
    if (out->tools && !json_array_size(out->tools)) {
        json_decref(out->tools);
        out->tools = NULL;
    }
    return QUERN_OK;
}

static enum quern_status take_options(const json_t *record, struct example_form *out,
                                      struct quern_error *err) {
    static const char *const keys[] = {"enable_thinking", "thinking"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(record, keys[i]);
        if (json_is_boolean(value))
            out->enable_thinking = json_is_true(value);
    }
    json_t *kwargs = json_object_get(record, "chat_template_kwargs");
    if (kwargs && !json_is_object(kwargs))
        return error_set(err, QUERN_ERR_FORMAT, "chat_template_kwargs is %s, expected object",
                         json_type_name(kwargs));
    out->kwargs = json_incref(kwargs);
    return take_tools(record, out, err);
}

/* ---- the other forms ---------------------------------------------------------------------- */

static enum quern_status from_prompt(const json_t *record, bool raw, struct example_form *out,
                                     struct quern_error *err) {
    json_t *prompt = json_object_get(record, "prompt");
    json_t *completion = json_object_get(record, "completion");
    enum quern_status status = QUERN_OK;
    if (json_is_array(prompt) && json_is_array(completion)) {
        out->first_trained = json_array_size(prompt);
        if (json_array_extend(out->messages, prompt) || json_array_extend(out->messages, completion))
            return error_nomem(err);
        return QUERN_OK;
    }
    if (!json_is_string(prompt) || !json_is_string(completion))
        return error_set(err, QUERN_ERR_FORMAT,
                         "prompt is %s and completion is %s, expected two strings or two arrays",
                         json_type_name(prompt), json_type_name(completion));
    if (raw) {
        out->is_text = true;
        out->given = string_of(prompt);
        out->target = string_of(completion);
        return QUERN_OK;
    }
    status = add_message(out->messages, "user", prompt, err);
    return status ? status : add_message(out->messages, "assistant", completion, err);
}

static enum quern_status from_alpaca(const json_t *record, struct example_form *out,
                                     struct quern_error *err) {
    const json_t *system, *instruction, *input, *output;
    enum quern_status status = expect_string(record, "system", &system, err);
    if (!status)
        status = expect_string(record, "instruction", &instruction, err);
    if (!status)
        status = expect_string(record, "input", &input, err);
    if (!status)
        status = expect_string(record, "output", &output, err);
    if (!status && !output)
        status = error_set(err, QUERN_ERR_FORMAT, "\"instruction\" without \"output\"");
    if (!status && json_string_length(system))
        status = add_message(out->messages, "system", system, err);
    if (status)
        return status;
    if (!json_string_length(input)) {
        status = add_message(out->messages, "user", instruction, err);
    } else {
        json_t *both = json_sprintf("%s\n\n%s", json_string_value(instruction),
                                    json_string_value(input));
        status = both ? add_message(out->messages, "user", both, err) : error_nomem(err);
        json_decref(both);
    }
    return status ? status : add_message(out->messages, "assistant", output, err);
}

/* "function_call": one call or several, as JSON in the text. */
static enum quern_status add_calls(json_t *messages, const json_t *value, struct quern_error *err) {
    json_t *calls = NULL;
    enum quern_status status = json_parse(json_string_value(value), json_string_length(value),
                                          "function_call", &calls, err);
    if (status)
        return status;
    json_t *list = json_is_array(calls) ? json_incref(calls) : json_array();
    json_t *message = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    bool ok = list && message && (list == calls || json_array_append(list, calls) == 0) &&
              json_object_set(message, "tool_calls", list) == 0 &&
              json_array_append(messages, message) == 0;
    json_decref(message);
    json_decref(list);
    json_decref(calls);
    return ok ? QUERN_OK : error_nomem(err);
}

static enum quern_status from_sharegpt(const json_t *record, struct example_form *out,
                                       struct quern_error *err) {
    static const struct {
        const char *from, *role;
    } names[] = {{"human", "user"},      {"user", "user"},      {"gpt", "assistant"},
                 {"chatgpt", "assistant"}, {"assistant", "assistant"}, {"model", "assistant"},
                 {"system", "system"},   {"observation", "tool"}, {"tool", "tool"},
                 {"function_call", NULL}};
    enum { N_NAMES = sizeof names / sizeof *names };
    const json_t *list = json_object_get(record, "conversations"), *system;
    enum quern_status status = expect_string(record, "system", &system, err);
    if (!status && json_string_length(system))
        status = add_message(out->messages, "system", system, err);
    for (size_t i = 0; i < json_array_size(list) && !status; i++) {
        const json_t *turn = json_array_get(list, i), *value = json_object_get(turn, "value");
        const char *from = json_string_value(json_object_get(turn, "from"));
        size_t k = 0;
        while (k < N_NAMES && (!from || strcmp(from, names[k].from) != 0))
            k++;
        if (k == N_NAMES || !json_is_string(value))
            return error_set(err, QUERN_ERR_FORMAT,
                             "conversations[%zu]: from is %s%s%s and value %s, expected such as "
                             "human or gpt, and a string",
                             i, from ? "\"" : "", from ? from : "missing", from ? "\"" : "",
                             json_type_name(value));
        status = names[k].role ? add_message(out->messages, names[k].role, value, err)
                               : add_calls(out->messages, value, err);
    }
    return status;
}

static enum quern_status from_text(const json_t *record, struct example_form *out,
                                   struct quern_error *err) {
    const json_t *text, *target;
    enum quern_status status = expect_string(record, "text", &text, err);
    if (!status)
        status = expect_string(record, "target", &target, err);
    if (status)
        return status;
    out->is_text = true;
    out->given = target ? string_of(text) : STR_LIT("");
    out->target = target ? string_of(target) : string_of(text);
    return QUERN_OK;
}

static bool has(const json_t *record, const char *key) {
    const json_t *value = json_object_get(record, key);
    return value && !json_is_null(value);
}

enum quern_status example_form_read(const json_t *record, bool raw, struct example_form *out,
                                    struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    *out = (struct example_form){.enable_thinking = -1};
    if (!json_is_object(record))
        return error_set(err, QUERN_ERR_FORMAT, "found %s, expected an object",
                         json_type_name(record));
    if (has(record, "messages"))
        out->messages = json_incref(json_object_get(record, "messages"));
    else
        out->messages = json_array();
    if (!out->messages)
        return error_nomem(err);
    if (has(record, "messages"))
        status = QUERN_OK;
    else if (has(record, "prompt") && has(record, "completion"))
        status = from_prompt(record, raw, out, err);
    else if (has(record, "conversations"))
        status = from_sharegpt(record, out, err);
    else if (has(record, "instruction"))
        status = from_alpaca(record, out, err);
    else if (has(record, "text"))
        return from_text(record, out, err);
    else
        return error_set(err, QUERN_ERR_FORMAT,
                         "found none of messages, prompt and completion, text, instruction and "
                         "output, conversations");
    if (!status && !out->is_text)
        status = check_messages(out->messages, err);
    return status ? status : take_options(record, out, err);
}
