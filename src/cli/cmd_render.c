/* cmd_render.c - quern render: messages to text through a chat template. */
#include <string.h>

#include "api/gguf_parts.h"
#include "chat/chat_template.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "text/json.h"

struct render_args {
    struct cli_model_args model;
    const char *messages, *tools, *template_file, *kwargs;
    bool think, no_think, no_generation_prompt, continue_final_message;
};

static const struct option_spec render_specs[] = {
    CLI_MODEL_DIR_OPTION(struct render_args, model),
    OPT_STRING(0, "messages", "FILE", struct render_args, messages,
               "JSON array of messages; \"-\" is standard input"),
    OPT_STRING(0, "tools", "FILE", struct render_args, tools, "JSON array of tool schemas"),
    OPT_STRING(0, "template", "FILE", struct render_args, template_file,
               "Jinja template to use instead of the model's"),
    OPT_STRING(0, "kwargs", "FILE", struct render_args, kwargs,
               "JSON object of further template variables"),
    OPT_FLAG(0, "think", struct render_args, think, "set enable_thinking to true"),
    OPT_FLAG(0, "no-think", struct render_args, no_think, "set enable_thinking to false"),
    OPT_FLAG(0, "no-generation-prompt", struct render_args, no_generation_prompt,
             "do not begin the assistant's answer"),
    OPT_FLAG(0, "continue-final-message", struct render_args, continue_final_message,
             "end right after the last message's text, to be continued"),
    OPT_END,
};

static const struct cli_command render_command = {
    "render",
    "[-m DIR] --messages FILE [options]",
    "Writes the text a model would see for a conversation, byte for byte. Only the chat template "
    "and the special tokens of the model directory are read; with --template the directory may "
    "be missing.",
    "quern render -m models/Qwen3-0.6B --messages chat.json --no-think\n"
    "echo '[{\"role\":\"user\",\"content\":\"Hi\"}]' | quern render --messages -\n",
    render_specs,
};

/* Everything that is read before rendering. */
struct render_input {
    struct chat_template *model, *own;
    json_t *messages, *tools, *kwargs;
};

static void input_release(struct render_input *in) {
    chat_template_close(in->model);
    chat_template_close(in->own);
    json_decref(in->messages);
    json_decref(in->tools);
    json_decref(in->kwargs);
}

/* A JSON file; nothing when `path` is NULL. CLI_GO_ON, or the code after an error. */
static int read_json(const char *path, const char *stdin_name, json_t **out) {
    struct quern_error err = {0};
    struct buffer text;
    if (!path)
        return CLI_GO_ON;
    buffer_init(&text, CLI_INPUT_MAX_BYTES);
    int code = cli_read_input(path, &text);
    const char *name = strcmp(path, "-") == 0 ? stdin_name : path;
    if (code == CLI_GO_ON && json_parse(text.data, text.len, name, out, &err))
        code = cli_fail(&err);
    buffer_release(&text);
    return code;
}

static int read_template(const struct render_args *args, struct render_input *in) {
    struct quern_error err = {0};
    const char *dir = cli_model_dir(&args->model);
    if (model_template_open(dir, &in->model, &err) && !args->template_file)
        return cli_fail(&err);
    if (!args->template_file)
        return in->model ? CLI_GO_ON : cli_error("%s has no chat template", dir);
    struct buffer source;
    buffer_init(&source, CLI_INPUT_MAX_BYTES);
    int code = cli_read_input(args->template_file, &source);
    const char *name = strcmp(args->template_file, "-") == 0 ? "template" : args->template_file;
    if (code == CLI_GO_ON && chat_template_parse_like(in->model, source.data ? source.data : "",
                                                      source.len, name, &in->own, &err))
        code = cli_fail(&err);
    buffer_release(&source);
    return code;
}

static int render(const struct render_args *args, const struct render_input *in) {
    struct quern_error err = {0};
    struct chat_render_options options = {
        .tools = in->tools,
        .kwargs = in->kwargs,
        .enable_thinking = args->think      ? 1
                           : args->no_think ? 0
                                            : -1,
        .add_generation_prompt = !args->no_generation_prompt && !args->continue_final_message,
        .continue_final_message = args->continue_final_message,
    };
    struct buffer text;
    buffer_init(&text, SIZE_MAX / 4);
    enum quern_status status =
        chat_template_render(in->own ? in->own : in->model, in->messages, &options, &text, &err);
    if (!status)
        cli_write(text.data, text.len);
    buffer_release(&text);
    return status ? cli_fail(&err) : CLI_OK;
}

int cmd_render(int argc, char **argv) {
    struct render_args args = {0};
    int code = cli_parse(&render_command, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (!args.messages)
        return cli_usage_error(&render_command, "--messages is needed");
    if (args.think && args.no_think)
        return cli_usage_error(&render_command, "--think and --no-think exclude each other");
    struct render_input in = {0};
    code = read_template(&args, &in);
    if (code == CLI_GO_ON)
        code = read_json(args.messages, "messages", &in.messages);
    if (code == CLI_GO_ON)
        code = read_json(args.tools, "tools", &in.tools);
    if (code == CLI_GO_ON)
        code = read_json(args.kwargs, "kwargs", &in.kwargs);
    if (code == CLI_GO_ON)
        code = render(&args, &in);
    input_release(&in);
    return code;
}
