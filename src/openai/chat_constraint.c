/* chat_constraint.c - response_format, vLLM's structured outputs, tools and tool_choice as rules of
 * an answer. */
#include "openai/chat_constraint.h"

#include <stdlib.h>

#include "api/loaded_model.h"
#include "grammar/answer_tools.h"
#include "openai/form_request.h"

/* What the rules point to while the guard is made. */
struct rule_texts {
    struct form_texts form;
    struct arena arena;
};

static bool may_call(const void *request, const char *name) {
    return chat_request_may_call(request, name);
}

static enum quern_status tools(const struct chat_request *r, struct answer_rules *rules,
                               struct rule_texts *t, struct api_error *err) {
    struct quern_error cause = {0};
    struct answer_tool *list = NULL;
    if (answer_tools_read(r->tools, may_call, r, &t->arena, &list, &rules->n_tools, &cause))
        return api_fail_from(err, API_VALUE, "tools", &cause);
    rules->tools = list;
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

/* The field that the rules come from. */
static const char *blamed(const struct chat_request *r) {
    if (r->response_format)
        return "response_format";
    return r->structured_outputs ? "structured_outputs" : "tools";
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
    const json_t *form = r->response_format ? r->response_format : r->structured_outputs;
    if (!st)
        st = form_close_after(form, &rules.close_after, err);
    if (!st)
        st = form_close_in_time(form, &rules.close_in_time, err);
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
        return api_fail_from(err, API_VALUE, blamed(r), &cause);
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
    arena_init(&t->arena, 0);
    enum quern_status st = make_guard(m, r, ids, n_ids, t, out, err);
    form_texts_release(&t->form);
    arena_release(&t->arena);
    free(t);
    return st;
}
