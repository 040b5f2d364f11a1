/* chat_constraint.c - response_format, vLLM's structured outputs, tools and tool_choice as rules of
 * an answer. */
#include "openai/chat_constraint.h"

#include <stdlib.h>

#include "api/loaded_model.h"
#include "text/json.h"

enum { TOOLS_MAX = 128, CHOICES_MAX = 1024, SCHEMA_BYTES_MAX = 1 << 20 };

/* What the rules point to while the guard is made. */
struct rule_texts {
    struct buffer text;
    struct answer_tool tools[TOOLS_MAX];
    struct buffer parameters[TOOLS_MAX];
    struct str choices[CHOICES_MAX];
};

static enum quern_status write_value(const json_t *value, const char *param, struct buffer *out,
                                     struct api_error *err) {
    buffer_init(out, SCHEMA_BYTES_MAX);
    if (json_write_python(value, -1, out))
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': it is too large.", param);
    return QUERN_OK;
}

static enum quern_status schema_format(const json_t *format, struct answer_rules *rules,
                                       struct rule_texts *t, struct api_error *err) {
    const json_t *outer = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(outer, "schema");
    if (!schema && json_is_object(outer) && !json_object_get(outer, "name"))
        schema = outer; /* the schema itself, as some clients send it */
    if (!schema)
        schema = json_object_get(format, "schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return api_fail(err, API_MISSING, "response_format.json_schema.schema",
                        "Missing required parameter: 'response_format.json_schema.schema'.");
    rules->form = ANSWER_SCHEMA;
    enum quern_status st = write_value(schema, "response_format.json_schema.schema", &t->text, err);
    rules->text = buffer_str(&t->text);
    return st;
}

static enum quern_status response_format(const json_t *format, struct answer_rules *rules,
                                         struct rule_texts *t, struct api_error *err) {
    const char *type = json_string_value(json_object_get(format, "type"));
    const json_t *text = json_object_get(format, "grammar");
    if (type && strcmp(type, "json_schema") == 0)
        return schema_format(format, rules, t, err);
    if (type && strcmp(type, "json_object") == 0) {
        rules->form = json_object_get(format, "schema") ? ANSWER_SCHEMA : ANSWER_JSON_OBJECT;
        return rules->form == ANSWER_SCHEMA ? schema_format(format, rules, t, err) : QUERN_OK;
    }
    if (type && strcmp(type, "regex") == 0) {
        rules->form = ANSWER_REGEX;
        text = json_object_get(format, "pattern");
    } else if (type && strcmp(type, "grammar") == 0) {
        rules->form = ANSWER_GBNF;
    } else {
        return api_fail(err, API_VALUE, "response_format.type",
                        "Invalid value for 'response_format.type': expected 'text', 'json_object', "
                        "'json_schema', 'regex' (with 'pattern') or 'grammar' (with 'grammar').");
    }
    if (!json_is_string(text))
        return api_fail(err, API_MISSING, "response_format",
                        "Missing required parameter: 'response_format.%s'.",
                        rules->form == ANSWER_REGEX ? "pattern" : "grammar");
    rules->text = (struct str){json_string_value(text), json_string_length(text)};
    return QUERN_OK;
}

static enum quern_status choices(const json_t *list, struct answer_rules *rules,
                                 struct rule_texts *t, struct api_error *err) {
    const size_t n = json_array_size(list);
    if (n == 0 || n > CHOICES_MAX)
        return api_fail(err, API_VALUE, "structured_outputs.choice",
                        "Invalid value for 'structured_outputs.choice': expected 1 to %d texts.",
                        CHOICES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        if (!json_is_string(one))
            return api_fail(err, API_TYPE, "structured_outputs.choice",
                            "Invalid type for 'structured_outputs.choice[%zu]': expected a string.",
                            i);
        t->choices[i] = (struct str){json_string_value(one), json_string_length(one)};
    }
    rules->form = ANSWER_CHOICE;
    rules->choices = t->choices;
    rules->n_choices = n;
    return QUERN_OK;
}

/* vLLM's: {"json": ...} or {"regex": ...}, {"choice": [...]}, {"grammar": ...}, {"json_object":
 * true} */
static enum quern_status structured_outputs(const json_t *from, struct answer_rules *rules,
                                            struct rule_texts *t, struct api_error *err) {
    const json_t *json = json_object_get(from, "json"), *list = json_object_get(from, "choice");
    const char *regex = json_string_value(json_object_get(from, "regex"));
    const char *grammar = json_string_value(json_object_get(from, "grammar"));
    if (!!json + !!list + !!regex + !!grammar +
            json_is_true(json_object_get(from, "json_object")) !=
        1)
        return api_fail(err, API_VALUE, "structured_outputs",
                        "Invalid value for 'structured_outputs': expected one of 'json', "
                        "'json_object', 'regex', 'choice' and 'grammar'.");
    if (list)
        return choices(list, rules, t, err);
    rules->form = json      ? ANSWER_SCHEMA
                  : regex   ? ANSWER_REGEX
                  : grammar ? ANSWER_GBNF
                            : ANSWER_JSON_OBJECT;
    rules->text = str_from(regex ? regex : grammar);
    if (json_is_string(json)) {
        rules->text = (struct str){json_string_value(json), json_string_length(json)};
    } else if (json) {
        enum quern_status st = write_value(json, "structured_outputs.json", &t->text, err);
        rules->text = buffer_str(&t->text);
        return st;
    }
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
    struct answer_rules rules = {.form = ANSWER_FREE};
    struct answer_guard *guard;
    struct quern_error cause = {0};
    enum quern_status st = QUERN_OK;
    if (r->response_format)
        st = response_format(r->response_format, &rules, t, err);
    else if (r->structured_outputs)
        st = structured_outputs(r->structured_outputs, &rules, t, err);
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
    buffer_release(&t->text);
    for (size_t i = 0; i < TOOLS_MAX; i++)
        buffer_release(&t->parameters[i]);
    free(t);
    return st;
}
