/* quern_render_chat: JSON texts in, rendered text out. */
#include <string.h>

#include "api/loaded_model.h"
#include "text/json.h"

/* The parsed arguments of one call. */
struct chat_input {
    json_t *messages, *tools, *kwargs;
    struct chat_template *own; /* parsed from options->template_source */
};

static void input_release(struct chat_input *in) {
    json_decref(in->messages);
    json_decref(in->tools);
    json_decref(in->kwargs);
    chat_template_close(in->own);
}

static enum quern_status parse_optional(const char *text, const char *name, json_t **out,
                                        struct quern_error *err) {
    return text ? json_parse(text, strlen(text), name, out, err) : QUERN_OK;
}

static enum quern_status choose_template(const quern_model *model, const char *source,
                                         struct chat_input *in, const struct chat_template **out,
                                         struct quern_error *err) {
    if (source) {
        enum quern_status status = chat_template_parse_like(model->chat, source, strlen(source),
                                                            "template", &in->own, err);
        *out = in->own;
        return status;
    }
    *out = model->chat;
    if (model->chat)
        return QUERN_OK;
    if (model->chat_error.code)
        return error_set(err, model->chat_error.code, "%s", model->chat_error.message);
    return error_set(err, QUERN_ERR_UNSUPPORTED, "the model has no chat template");
}

enum quern_status quern_render_chat(const quern_model *model, const char *messages_json,
                                    const struct quern_render_options *options, char **text,
                                    size_t *len, struct quern_error *err) {
    static const struct quern_render_options defaults = {.enable_thinking = -1};
    if (!model || !messages_json || !text)
        return error_set(err, QUERN_ERR_ARG,
                         "quern_render_chat: model, messages_json or text is missing");
    if (!options)
        options = &defaults;
    struct chat_input in = {0};
    const struct chat_template *chosen = NULL;
    struct buffer out;
    buffer_init(&out, SIZE_MAX / 4);
    enum quern_status status = choose_template(model, options->template_source, &in, &chosen, err);
    if (!status)
        status = json_parse(messages_json, strlen(messages_json), "messages", &in.messages, err);
    if (!status)
        status = parse_optional(options->tools_json, "tools", &in.tools, err);
    if (!status)
        status = parse_optional(options->kwargs_json, "kwargs", &in.kwargs, err);
    if (!status) {
        struct chat_render_options render = {
            .tools = in.tools,
            .kwargs = in.kwargs,
            .enable_thinking = options->enable_thinking,
            .add_generation_prompt = options->add_generation_prompt,
            .continue_final_message = options->continue_final_message,
        };
        status = chat_template_render(chosen, in.messages, &render, &out, err);
    }
    size_t n = 0;
    char *result = status ? NULL : buffer_detach(&out, &n);
    if (!status && !result)
        status = error_nomem(err);
    if (!status) {
        *text = result;
        if (len)
            *len = n;
    }
    buffer_release(&out);
    input_release(&in);
    return status;
}
