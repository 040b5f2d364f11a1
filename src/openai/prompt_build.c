#include "openai/prompt_build.h"

#include <stdlib.h>
#include <string.h>

#include "api/loaded_model.h"

/* ---- chat --------------------------------------------------------------------- */

/* Some templates (Qwen3-Coder's) walk through the arguments of earlier calls, which OpenAI's form
 * has as text. */
static bool arguments_to_objects(json_t *messages) {
    bool changed = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            json_t *function = json_object_get(json_array_get(calls, k), "function");
            const json_t *text = json_object_get(function, "arguments");
            json_t *object = NULL;
            if (!json_is_string(text) ||
                json_parse(json_string_value(text), json_string_length(text), "arguments", &object,
                           NULL))
                continue;
            if (json_is_object(object))
                changed = json_object_set(function, "arguments", object) == 0;
            json_decref(object);
        }
    }
    return changed;
}

/* "strict" is said to the server; models have not learned to read it. The caller's; NULL: no memory. */
static json_t *tools_for_model(const json_t *tools) {
    json_t *shown = json_deep_copy(tools);
    for (size_t i = 0; i < json_array_size(shown); i++)
        json_object_del(json_object_get(json_array_get(shown, i), "function"), "strict");
    return shown;
}

static enum quern_status render(const struct chat_template *chat, const json_t *messages,
                                const struct chat_request *r, struct buffer *out,
                                struct quern_error *err) {
    json_t *tools = r->tools ? tools_for_model(r->tools) : NULL;
    struct chat_render_options options = {
        .tools = tools,
        .kwargs = r->kwargs,
        .enable_thinking = r->thinking.enabled,
        .add_generation_prompt = r->add_generation_prompt,
        .continue_final_message = r->continue_final_message,
    };
    enum quern_status status = r->tools && !tools
                                   ? error_nomem(err)
                                   : chat_template_render(chat, messages, &options, out, err);
    json_decref(tools);
    return status;
}

static enum quern_status render_again(const struct chat_template *chat,
                                      const struct chat_request *r, size_t keep, struct buffer *out,
                                      enum quern_status failed, struct quern_error *err) {
    json_t *messages = json_deep_copy(r->messages);
    if (messages && arguments_to_objects(messages)) {
        if (out->len > keep) {
            out->len = keep;
            out->data[keep] = '\0';
        }
        out->failed = QUERN_OK;
        failed = render(chat, messages, r, out, err);
    }
    json_decref(messages);
    return failed;
}

enum quern_status prompt_render_chat(const struct served_model *m, const struct chat_request *r,
                                     struct buffer *out, struct api_error *err) {
    const quern_model *model = m->model;
    if (!model->chat && model->chat_error.code)
        return api_fail_from(err, API_TEMPLATE, "messages", &model->chat_error);
    if (!model->chat)
        return api_fail(err, API_UNSUPPORTED, "messages",
                        "The model '%s' has no chat template: use /v1/completions.", m->name);
    struct quern_error cause = {0};
    const size_t keep = out->len;
    enum quern_status status = render(model->chat, r->messages, r, out, &cause);
    if (status == QUERN_ERR_TEMPLATE)
        status = render_again(model->chat, r, keep, out, status, &cause);
    return status ? api_fail_from(err, API_TEMPLATE, "messages", &cause) : QUERN_OK;
}

static enum quern_status encode(const struct served_model *m, struct str text, bool parse_special,
                                bool add_special, struct token_ids *out, const char *param,
                                struct api_error *err) {
    struct quern_error cause = {0};
    struct encode_options options = {.parse_special = parse_special, .add_special = add_special};
    if (tokenizer_encode(m->model->tokenizer, text, options, out, &cause))
        return api_fail_from(err, API_VALUE, param, &cause);
    return QUERN_OK;
}

enum quern_status prompt_build_chat(const struct served_model *m, const struct chat_request *r,
                                    int32_t **ids, size_t *n, struct api_error *err) {
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    struct token_ids tokens = {0};
    enum quern_status status = prompt_render_chat(m, r, &text, err);
    if (!status)
        status = encode(m, buffer_str(&text), true, false, &tokens, "messages", err);
    if (!status)
        status = prompt_check_room(m, tokens.n, "messages", err);
    buffer_release(&text);
    if (status) {
        token_ids_release(&tokens);
        return status;
    }
    *ids = tokens.ids;
    *n = tokens.n;
    return QUERN_OK;
}

/* ---- text --------------------------------------------------------------------- */

static bool push(struct token_ids *t, int32_t id) {
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        int32_t *ids = realloc(t->ids, capacity * sizeof *ids);
        if (!ids)
            return false;
        t->ids = ids;
        t->capacity = capacity;
    }
    t->ids[t->n++] = id;
    return true;
}

static enum quern_status build_middle(const struct served_model *m, struct str prefix,
                                      const char *suffix, struct token_ids *out,
                                      struct api_error *err) {
    const struct marker_tokens *k = &m->markers;
    if (k->fim_prefix < 0 || k->fim_suffix < 0 || k->fim_middle < 0)
        return api_fail(err, API_UNSUPPORTED, "suffix",
                        "The model '%s' has no fill-in-the-middle tokens (<|fim_prefix|>, "
                        "<|fim_suffix|>, <|fim_middle|>).",
                        m->name);
    if (!push(out, k->fim_prefix))
        return api_nomem(err);
    enum quern_status status = encode(m, prefix, false, false, out, "prompt", err);
    if (!status && !push(out, k->fim_suffix))
        status = api_nomem(err);
    if (!status)
        status = encode(m, str_from(suffix), false, false, out, "suffix", err);
    if (!status && !push(out, k->fim_middle))
        status = api_nomem(err);
    return status;
}

enum quern_status prompt_build_text(const struct served_model *m, const struct prompt_input *input,
                                    const char *suffix, int32_t **ids, size_t *n,
                                    struct api_error *err) {
    struct token_ids tokens = {0};
    enum quern_status status = QUERN_OK;
    if (!input->text.ptr) {
        for (size_t i = 0; !status && i < input->n_ids; i++)
            status = push(&tokens, input->ids[i]) ? QUERN_OK : api_nomem(err);
    } else if (suffix) {
        status = build_middle(m, input->text, suffix, &tokens, err);
    } else {
        status = encode(m, input->text, true, true, &tokens, "prompt", err);
    }
    if (!status && !tokens.n)
        status = api_fail(err, API_VALUE, "prompt", "Invalid value for 'prompt': it is empty.");
    if (!status)
        status = prompt_check_room(m, tokens.n, "prompt", err);
    if (status) {
        token_ids_release(&tokens);
        return status;
    }
    *ids = tokens.ids;
    *n = tokens.n;
    return QUERN_OK;
}

/* ---- checks --------------------------------------------------------------------- */

enum quern_status prompt_check_room(const struct served_model *m, size_t n_prompt,
                                    const char *param, struct api_error *err) {
    if (n_prompt < (size_t)m->n_context)
        return QUERN_OK;
    return api_fail(err, API_CONTEXT, param,
                    "This model's maximum context length is %d tokens. However, your %s resulted "
                    "in %zu tokens, and an answer needs at least one more. Please shorten it.",
                    m->n_context, param, n_prompt);
}

bool prompt_opens_thinking(const struct marker_tokens *k, const int32_t *ids, size_t n) {
    /* The opening is part of the generation prompt: the marker and perhaps a newline. A <think>
     * farther up is something a message talks about. */
    enum { TAIL = 3 };
    if (k->think_begin < 0)
        return false;
    for (size_t i = n; i > 0 && n - i < TAIL; i--) {
        if (ids[i - 1] == k->think_begin)
            return true;
        if (ids[i - 1] == k->think_end)
            return false;
    }
    return false;
}
