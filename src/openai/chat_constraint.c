/* chat_constraint.c - response_format, vLLM's structured outputs, tools and tool_choice as rules of
 * an answer. */
#include "openai/chat_constraint.h"

#include <stdlib.h>

#include "api/loaded_model.h"
#include "openai/form_request.h"
#include "text/json.h"

enum { TOOLS_MAX = 128, SCHEMA_BYTES_MAX = 1 << 20 };

/* What the rules point to while the guard is made. */
struct rule_texts {
    struct form_texts form;
    struct answer_tool tools[TOOLS_MAX];
    struct buffer parameters[TOOLS_MAX];
};

static enum quern_status write_value(const json_t *value, const char *param, struct buffer *out,
                                     struct api_error *err) {
    buffer_init(out, SCHEMA_BYTES_MAX);
    if (json_write_python(value, -1, out))
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': it is too large.", param);
    return QUERN_OK;
}

/* Arguments are an object, whether the schema says so or not. */
static enum quern_status write_parameters(const json_t *parameters, const char *name,
                                          struct buffer *out, struct api_error *err) {
    const json_t *type = json_object_get(parameters, "type");
    if (json_is_string(type) && strcmp(json_string_value(type), "object") != 0)
        return api_fail(err, API_VALUE, "tools",
                        "Invalid value for 'tools': the parameters of \"%s\" have the type \"%s\", "
                        "expected \"object\".",
                        name, json_string_value(type));
    if (json_is_string(type))
        return write_value(parameters, "tools", out, err);
    json_t *typed = json_copy((json_t *)(uintptr_t)parameters);
    enum quern_status st = json_object_set_new(typed, "type", json_string("object"))
                               ? api_nomem(err)
                               : write_value(typed, "tools", out, err);
    json_decref(typed);
    return st;
}

static enum quern_status add_tool(const json_t *function, struct answer_rules *rules,
                                  struct rule_texts *t, struct api_error *err) {
    const json_t *name = json_object_get(function, "name");
    const json_t *parameters = json_object_get(function, "parameters");
    enum quern_status st = QUERN_OK;
    if (rules->n_tools == TOOLS_MAX)
        return api_fail(err, API_VALUE, "tools", "Invalid value for 'tools': more than %d.",
                        TOOLS_MAX);
    struct buffer *text = &t->parameters[rules->n_tools];
    struct answer_tool *tool = &t->tools[rules->n_tools++];
    tool->name = (struct str){json_string_value(name), json_string_length(name)};
    tool->strict = json_is_true(json_object_get(function, "strict"));
    if (json_is_object(parameters) && json_object_size(parameters))
        st = write_parameters(parameters, json_string_value(name), text, err);
    tool->parameters = buffer_str(text);
    return st;
}

static enum quern_status tools(const struct chat_request *r, struct answer_rules *rules,
                               struct rule_texts *t, struct api_error *err) {
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
        if (!chat_request_may_call(r, json_string_value(json_object_get(function, "name"))))
            continue;
        enum quern_status st = add_tool(function, rules, t, err);
        if (st)
            return st;
    }
    rules->tools = t->tools;
    rules->parallel = r->parallel_tool_calls;
    rules->calls = r->tool_choice == TOOL_CHOICE_AUTO ? CALLS_AUTO : CALLS_REQUIRED;
    return QUERN_OK;
}

/* Calls are constrained unless a tool says "strict": false and the model has the choice. */
bool chat_constraint_covers_calls(const struct served_model *m, const struct chat_request *r) {
    if (!r->tools || m->markers.tool_begin < 0)
        return false;
    if (r->tool_choice != TOOL_CHOICE_AUTO || r->allowed_tools)
        return true;
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        const json_t *function = json_object_get(json_array_get(r->tools, i), "function");
        if (json_is_false(json_object_get(function, "strict")))
            return false;
    }
    return true;
}

static void release(void *guard) {
    answer_guard_destroy(guard);
}

static enum quern_status make_guard(const struct served_model *m, const struct chat_request *r,
                                    const int32_t *ids, size_t n_ids, struct rule_texts *t,
                                    struct answer_constraint *out, struct api_error *err) {
    struct form_source source = {.form = ANSWER_FREE};
    struct answer_rules rules = {0};
    struct answer_guard *guard;
    struct quern_error cause = {0};
    enum quern_status st = QUERN_OK;
    if (r->response_format)
        st = form_from_response_format(r->response_format, &t->form, &source, err);
    else if (r->structured_outputs)
        st = form_from_structured_outputs(r->structured_outputs, &t->form, &source, err);
    rules.form = source.form;
    rules.text = source.text;
    rules.choices = source.choices;
    rules.n_choices = source.n_choices;
    if (!st && chat_constraint_covers_calls(m, r))
        st = tools(r, &rules, t, err);
    if (st)
        return st;
    st = loaded_model_guard(m->model, &rules, ids, n_ids, r->thinking.enabled != 0, NULL, &guard,
                            &cause);
    if (st)
        return api_fail_from(err, API_VALUE, r->response_format ? "response_format" : "tools",
                             &cause);
    *out = (struct answer_constraint){answer_guard_constraint(guard), release, guard};
    return QUERN_OK;
}

enum quern_status chat_constraint_create(const struct served_model *m, const struct chat_request *r,
                                         const int32_t *ids, size_t n_ids,
                                         struct answer_constraint *out, struct api_error *err) {
    *out = (struct answer_constraint){0};
    const bool form = r->response_format || r->structured_outputs;
    if (!form && !chat_constraint_covers_calls(m, r))
        return QUERN_OK;
    struct rule_texts *t = calloc(1, sizeof *t);
    if (!t)
        return api_nomem(err);
    enum quern_status st = make_guard(m, r, ids, n_ids, t, out, err);
    form_texts_release(&t->form);
    for (size_t i = 0; i < TOOLS_MAX; i++)
        buffer_release(&t->parameters[i]);
    free(t);
    return st;
}
