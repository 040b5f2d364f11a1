/* api_form.c - forms of answers: from the public struct to a guard on the tokens. */
#include "api/loaded_model.h"
#include "grammar/answer_tools.h"

enum { CHOICES_MAX = 4096 };

enum quern_status loaded_model_image(struct quern_model *m, const struct token_image **out,
                                     struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    if (!m->tokenizer)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its weights only: it has no tokenizer");
    mutex_lock(&m->lock);
    if (!m->image)
        st = token_image_create(m->tokenizer, &m->image, err);
    if (st == QUERN_OK)
        *out = m->image;
    mutex_unlock(&m->lock);
    return st;
}

enum quern_status loaded_model_guard(struct quern_model *m, struct answer_rules *rules,
                                     const int32_t *ids, size_t n_ids, bool may_think,
                                     struct buffer *report, struct answer_guard **out,
                                     struct quern_error *err) {
    const struct token_image *image;
    enum quern_status st = loaded_model_image(m, &image, err);
    if (st != QUERN_OK)
        return st;
    answer_markers_find(m->tokenizer, &rules->markers);
    rules->style = m->chat && chat_template_has_coder_calls(m->chat) ? CALL_CODER : CALL_JSON;
    rules->thinking = answer_thinking_of(m->tokenizer, &rules->markers, ids, n_ids, may_think);
    return answer_guard_create(image, m->generation.eos_token_ids, (size_t)m->generation.n_eos,
                               rules, report, out, err);
}

enum quern_status form_of_fields(const struct quern_form *f, enum answer_form *form,
                                 struct str *text, struct quern_error *err) {
    const struct {
        bool set;
        enum answer_form form;
        const char *text;
    } fields[] = {
        {f->json_schema != NULL, ANSWER_SCHEMA, f->json_schema},
        {f->json_object, ANSWER_JSON_OBJECT, NULL},
        {f->regex != NULL, ANSWER_REGEX, f->regex},
        {f->gbnf != NULL, ANSWER_GBNF, f->gbnf},
        {f->lark != NULL, ANSWER_LARK, f->lark},
        {f->structural_tag != NULL, ANSWER_TAGS, f->structural_tag},
        {f->code != NULL, ANSWER_CODE, f->code},
        {f->yaml_schema != NULL, ANSWER_YAML, f->yaml_schema},
        {f->xml_dtd != NULL, ANSWER_XML, f->xml_dtd},
        {f->xml_names != NULL, ANSWER_XML_NAMES, f->xml_names},
        {f->n_choices > 0, ANSWER_CHOICE, NULL},
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (!fields[i].set)
            continue;
        n++;
        *form = fields[i].form;
        *text = str_from(fields[i].text);
    }
    if (n > 1)
        return error_set(err, QUERN_ERR_ARG, "form: %zu forms are set, expected one", n);
    if (f->n_choices > CHOICES_MAX || (f->n_choices && !f->choices))
        return error_set(err, QUERN_ERR_ARG, "form: %zu choices, expected at most %d", f->n_choices,
                         CHOICES_MAX);
    return QUERN_OK;
}

static enum quern_status read_choices(const struct quern_form *form, struct answer_rules *rules,
                                      struct arena *arena, struct quern_error *err) {
    struct str *choices = arena_calloc(arena, form->n_choices, sizeof *choices);
    if (!choices)
        return error_nomem(err);
    for (size_t i = 0; i < form->n_choices; i++)
        choices[i] = str_from(form->choices[i]);
    rules->choices = choices;
    rules->n_choices = form->n_choices;
    return QUERN_OK;
}

/* *list is to be kept as long as the rules. */
static enum quern_status read_tools(const struct quern_form *form, struct answer_rules *rules,
                                    json_t **list, struct arena *arena, struct quern_error *err) {
    struct answer_tool *tools = NULL;
    enum quern_status st = json_parse(form->tools_json, strlen(form->tools_json), "tools", list, err);
    if (st == QUERN_OK && !json_array_size(*list))
        st = error_set(err, QUERN_ERR_FORMAT, "tools: expected an array of tools");
    if (st == QUERN_OK)
        st = answer_tools_read(*list, NULL, NULL, arena, &tools, &rules->n_tools, err);
    rules->tools = tools;
    rules->parallel = !form->one_call;
    rules->calls = form->tool_use == QUERN_TOOLS_REQUIRED ? CALLS_REQUIRED
                   : form->tool_use == QUERN_TOOLS_NONE   ? CALLS_NONE
                                                          : CALLS_AUTO;
    return st;
}

enum quern_status loaded_model_form(struct quern_model *m, const struct quern_form *form,
                                    const int32_t *ids, size_t n_ids, struct answer_guard **out,
                                    struct quern_error *err) {
    struct answer_rules rules = {.form = ANSWER_FREE};
    struct arena arena = ARENA_INIT(0);
    json_t *list = NULL;
    *out = NULL;
    enum quern_status st = form ? form_of_fields(form, &rules.form, &rules.text, err) : QUERN_OK;
    if (st != QUERN_OK || !form || (rules.form == ANSWER_FREE && !form->tools_json))
        return st;
    if (form->close_after < 0)
        return error_set(err, QUERN_ERR_ARG, "form: close_after is negative");
    rules.close_after = (uint32_t)form->close_after;
    rules.close_in_time = form->close_in_time;
    if (rules.form == ANSWER_CHOICE)
        st = read_choices(form, &rules, &arena, err);
    if (st == QUERN_OK && form->tools_json)
        st = read_tools(form, &rules, &list, &arena, err);
    if (st == QUERN_OK)
        st = loaded_model_guard(m, &rules, ids, n_ids, form->may_think, NULL, out, err);
    json_decref(list);
    arena_release(&arena);
    return st;
}
