#include "openai/form_request.h"

#include <stdio.h>
#include <string.h>

#include "text/json.h"

enum { TEXT_BYTES_MAX = 1 << 20, CLOSE_MAX = 1 << 24 };

void form_texts_release(struct form_texts *t) {
    buffer_release(&t->text);
}

/* A text as it is; anything else as JSON. */
static enum quern_status take_text(const json_t *value, const char *param, struct form_texts *t,
                                   struct form_source *out, struct api_error *err) {
    if (json_is_string(value)) {
        out->text = (struct str){json_string_value(value), json_string_length(value)};
        return QUERN_OK;
    }
    buffer_init(&t->text, TEXT_BYTES_MAX);
    if (json_write_python(value, -1, &t->text))
        return api_fail(err, API_VALUE, param, "Invalid value for '%s': it is too large.", param);
    out->text = buffer_str(&t->text);
    return QUERN_OK;
}

static enum quern_status schema_format(const json_t *format, struct form_texts *t,
                                       struct form_source *out, struct api_error *err) {
    const json_t *outer = json_object_get(format, "json_schema");
    const json_t *schema = json_object_get(outer, "schema");
    if (!schema && json_is_object(outer) && !json_object_get(outer, "name"))
        schema = outer; /* the schema itself, as some clients send it */
    if (!schema)
        schema = json_object_get(format, "schema");
    if (!json_is_object(schema) && !json_is_boolean(schema))
        return api_fail(err, API_MISSING, "response_format.json_schema.schema",
                        "Missing required parameter: 'response_format.json_schema.schema'.");
    out->form = ANSWER_SCHEMA;
    return take_text(schema, "response_format.json_schema.schema", t, out, err);
}

/* vLLM takes either dialect in one field. A rule of GBNF has ::=, one of Lark has not. */
static enum answer_form dialect(struct str grammar, const json_t *syntax) {
    const char *said = json_string_value(syntax);
    if (said)
        return strcmp(said, "lark") == 0 ? ANSWER_LARK : ANSWER_GBNF;
    for (size_t i = 0; i + 3 <= grammar.len; i++)
        if (memcmp(grammar.ptr + i, "::=", 3) == 0)
            return ANSWER_GBNF;
    return ANSWER_LARK;
}

/* A word, the form it means, the field its text stands in, whether that may be an object. */
struct form_word {
    const char *type, *field;
    enum answer_form form;
    bool object;
};

static const struct form_word words[] = {
    {"regex", "pattern", ANSWER_REGEX, false},
    {"grammar", "grammar", ANSWER_GBNF, false},
    {"lark", "grammar", ANSWER_LARK, false},
    {"xml", "dtd", ANSWER_XML, false},
    {"code", "language", ANSWER_CODE, false},
    {"structural_tag", NULL, ANSWER_TAGS, true}, /* the object itself */
    {"yaml", "schema", ANSWER_YAML, true},
    {"xml_names", "names", ANSWER_XML_NAMES, false},
};

enum quern_status form_from_response_format(const json_t *format, struct form_texts *t,
                                            struct form_source *out, struct api_error *err) {
    const char *type = json_string_value(json_object_get(format, "type"));
    if (type && strcmp(type, "json_schema") == 0)
        return schema_format(format, t, out, err);
    if (type && strcmp(type, "json_object") == 0) {
        out->form = ANSWER_JSON_OBJECT;
        return json_object_get(format, "schema") ? schema_format(format, t, out, err) : QUERN_OK;
    }
    for (size_t i = 0; type && i < sizeof words / sizeof *words; i++) {
        const struct form_word *w = &words[i];
        if (strcmp(type, w->type) != 0)
            continue;
        const json_t *text = w->field ? json_object_get(format, w->field) : format;
        char param[64];
        snprintf(param, sizeof param, "response_format.%s", w->field ? w->field : w->type);
        if (!json_is_string(text) && !(w->object && json_is_object(text)))
            return api_fail(err, API_MISSING, param, "Missing required parameter: '%s'.", param);
        enum quern_status st = take_text(text, param, t, out, err);
        out->form = strcmp(type, "grammar") == 0
                        ? dialect(out->text, json_object_get(format, "syntax"))
                        : w->form;
        return st;
    }
    return api_fail(
        err, API_VALUE, "response_format.type",
        "Invalid value for 'response_format.type': expected 'text', 'json_object', "
        "'json_schema', 'structural_tag', 'regex' (with 'pattern'), 'grammar' or 'lark' "
        "(with 'grammar'), 'xml' ('dtd'), 'xml_names' ('names'), 'yaml' ('schema') or "
        "'code' ('language').");
}

static enum quern_status choices(const json_t *list, struct form_texts *t, struct form_source *out,
                                 struct api_error *err) {
    const size_t n = json_array_size(list);
    if (n == 0 || n > FORM_CHOICES_MAX)
        return api_fail(err, API_VALUE, "structured_outputs.choice",
                        "Invalid value for 'structured_outputs.choice': expected 1 to %d texts.",
                        FORM_CHOICES_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(list, i);
        if (!json_is_string(one))
            return api_fail(err, API_TYPE, "structured_outputs.choice",
                            "Invalid type for 'structured_outputs.choice[%zu]': expected a string.",
                            i);
        t->choices[i] = (struct str){json_string_value(one), json_string_length(one)};
    }
    out->form = ANSWER_CHOICE;
    out->choices = t->choices;
    out->n_choices = n;
    return QUERN_OK;
}

static const struct form_word outputs[] = {
    {"json", NULL, ANSWER_SCHEMA, true},
    {"regex", NULL, ANSWER_REGEX, false},
    {"grammar", NULL, ANSWER_GBNF, false},
    {"lark", NULL, ANSWER_LARK, false},
    {"code", NULL, ANSWER_CODE, false},
    {"structural_tag", NULL, ANSWER_TAGS, true},
    {"yaml", NULL, ANSWER_YAML, true},
    {"xml", NULL, ANSWER_XML, false},
    {"xml_names", NULL, ANSWER_XML_NAMES, false},
};

enum quern_status form_from_structured_outputs(const json_t *from, struct form_texts *t,
                                               struct form_source *out, struct api_error *err) {
    const json_t *list = json_object_get(from, "choice"), *value = NULL;
    const bool any = json_is_true(json_object_get(from, "json_object"));
    const struct form_word *found = NULL;
    char param[64];
    int n = (list != NULL) + any;
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        const json_t *x = json_object_get(from, outputs[i].type);
        if (!x || json_is_null(x))
            continue;
        found = &outputs[i];
        value = x;
        n++;
    }
    if (n != 1)
        return api_fail(err, API_VALUE, "structured_outputs",
                        "Invalid value for 'structured_outputs': expected one of 'json', "
                        "'json_object', 'regex', 'choice', 'grammar', 'lark', 'structural_tag', "
                        "'xml', 'xml_names', 'yaml' and 'code'.");
    if (list)
        return choices(list, t, out, err);
    if (!found) {
        out->form = ANSWER_JSON_OBJECT;
        return QUERN_OK;
    }
    snprintf(param, sizeof param, "structured_outputs.%s", found->type);
    const bool fits = json_is_string(value) ||
                      (found->object && (json_is_object(value) || json_is_boolean(value)));
    if (!fits)
        return api_fail(err, API_TYPE, param, "Invalid type for '%s': expected a string%s.", param,
                        found->object ? " or an object" : "");
    enum quern_status st = take_text(value, param, t, out, err);
    out->form = strcmp(found->type, "grammar") == 0 ? dialect(out->text, NULL) : found->form;
    return st;
}

enum quern_status form_close_after(const json_t *from, uint32_t *out, struct api_error *err) {
    const json_t *n = json_object_get(from, "close_after");
    if (!n || json_is_null(n))
        return QUERN_OK;
    if (!json_is_integer(n) || json_integer_value(n) < 0 || json_integer_value(n) > CLOSE_MAX)
        return api_fail(err, API_VALUE, "close_after",
                        "Invalid value for 'close_after': expected a whole number from 0 to %d.",
                        CLOSE_MAX);
    *out = (uint32_t)json_integer_value(n);
    return QUERN_OK;
}

enum quern_status form_close_in_time(const json_t *from, bool *out, struct api_error *err) {
    const json_t *flag = json_object_get(from, "close_in_time");
    if (flag && !json_is_null(flag) && !json_is_boolean(flag))
        return api_fail(err, API_TYPE, "close_in_time",
                        "Invalid type for 'close_in_time': expected a boolean.");
    *out = json_is_true(flag);
    return QUERN_OK;
}
