/* cmd_chat.c - quern chat: a conversation in the terminal, or through a pipe. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/chat.h"
#include "cli/chat_input.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/form_args.h"
#include "cli/interrupt.h"
#include "cli/messages.h"
#include "cli/sampling_args.h"

struct chat_args {
    struct cli_model_args model;
    const char *kv_type;
    const char *system;
    bool think, no_think, show_thinking, verbose;
    int64_t max_tokens, context;
    struct option_list stop;
    struct cli_form_args form_args;
    struct quern_form form;
    struct cli_tool_args tools;
    struct cli_sampling_args sampling;
};

static const struct option_spec chat_specs[] = {
    CLI_MODEL_OPTIONS(struct chat_args, model),
    OPT_STRING(0, "system", "TEXT", struct chat_args, system, "system message"),
    OPT_FLAG(0, "think", struct chat_args, think, "ask the template to let the model think first"),
    OPT_FLAG(0, "no-think", struct chat_args, no_think, "ask the template for answers at once"),
    OPT_FLAG(0, "show-thinking", struct chat_args, show_thinking,
             "write the thinking also when standard output is no terminal"),
    OPT_INT('n', "max-tokens", "N", struct chat_args, max_tokens, 0, INT32_MAX,
            "most tokens of an answer (default: what the context holds)"),
    CLI_CONTEXT_OPTION(struct chat_args, context),
    CLI_KV_OPTION(struct chat_args, kv_type),
    OPT_LIST(0, "stop", "TEXT", struct chat_args, stop,
             "end an answer before this text; may be given several times"),
    CLI_FORM_OPTIONS(struct chat_args, form_args),
    CLI_CLOSE_OPTION(struct chat_args, form_args),
    CLI_TOOL_OPTIONS(struct chat_args, tools),
    CLI_SAMPLING_OPTIONS(struct chat_args, sampling),
    OPT_FLAG('v', "verbose", struct chat_args, verbose, "more figures after each answer"),
    OPT_END,
};

static const struct cli_command chat_command_line = {
    "chat",
    "[-m DIR] [options]",
    "Talks with a model. On a terminal lines can be edited and recalled, /help lists the commands, "
    "a backslash at the end of a line or \"\"\" before and after a block makes a message of "
    "several "
    "lines, Ctrl-C stops an answer and keeps the chat, and Ctrl-D, or Ctrl-C twice at the prompt, "
    "ends it. What a thinking model thinks is shown dimmed. Only what is new is computed each "
    "turn.\n\n"
    "From a pipe, each line is a message or a command; the answers go to standard output, one "
    "after "
    "the other, without prompts or thinking. The exit code is 1 when any of them failed.",
    "quern chat -m models/Qwen3-0.6B\n"
    "quern chat --system 'You are a sailor.' --no-think --temp 0.7\n"
    "quern chat --tools examples/tools/tools.json\n"
    "quern chat --schema person.json --close-in-time -n 200\n"
    "quern chat --seed 1 < script.txt > answers.txt\n",
    chat_specs,
};

/* ---- the loop -------------------------------------------------------------------------- */

static void take_turn(struct chat *chat, const struct buffer *turn) {
    struct str text = buffer_str(turn);
    size_t blank = 0;
    while (blank < text.len && strchr(" \t\n\r", text.ptr[blank]) && text.ptr[blank])
        blank++;
    if (blank == text.len)
        return;
    if (text.ptr[0] == '/')
        chat_command(chat, turn->data);
    else
        chat_turn(chat, text);
}

static void loop(struct chat *chat, struct chat_input *input, struct buffer *turn) {
    struct quern_error err = {0};
    int interrupts = 0;
    while (!chat->quit) {
        switch (chat_input_read(input, turn, &err)) {
        case CHAT_INPUT_TURN:
            interrupts = 0;
            take_turn(chat, turn);
            break;
        case CHAT_INPUT_INTERRUPT:
            chat->quit = ++interrupts == 2 || interrupt_must_end();
            if (!chat->quit)
                chat_note("(Ctrl-C again, or Ctrl-D, ends the chat)");
            break;
        case CHAT_INPUT_ERROR:
            chat_error(chat, "%s", err.message);
            /* fall through */
        case CHAT_INPUT_END:
            chat->quit = true;
            break;
        }
        if (cli_finish_output(CLI_OK) != CLI_OK) {
            chat->failed = true;
            chat->quit = true;
        }
        chat->quit = chat->quit || interrupt_must_end();
    }
}

static void greet(const struct chat *chat, const char *dir) {
    double billions = (double)chat->info.n_params * 1e-9;
    bool is_large = billions >= 1;
    chat_note("%s, %s, %.1f %s parameters, context %d of %d tokens. /help lists the commands.", dir,
              chat->info.architecture, is_large ? billions : billions * 1e3,
              is_large ? "billion" : "million", quern_session_context(chat->session),
              chat->info.max_context);
}

static int converse(struct chat *chat, const char *dir) {
    struct chat_input input;
    struct quern_error err = {0};
    if (chat_input_init(&input, chat_command_name, &err))
        return cli_fail(&err);
    struct buffer turn;
    buffer_init(&turn, 64 << 20);
    interrupt_catch();
    if (os_is_tty(STDIN_FILENO))
        greet(chat, dir);
    loop(chat, &input, &turn);
    buffer_release(&turn);
    chat_input_release(&input);
    if (interrupt_must_end())
        return interrupt_exit_code();
    return chat->failed && !os_is_tty(STDIN_FILENO) ? CLI_FAILED : CLI_OK;
}

/* ---- setting up ------------------------------------------------------------------------ */

static enum quern_status check_template(const struct chat *chat, const char *dir,
                                        struct quern_error *err) {
    if (chat->info.has_chat_template)
        return QUERN_OK;
    /* Rendering knows whether there is none or whether it is broken. */
    struct quern_render_options options = {.enable_thinking = -1, .add_generation_prompt = true};
    char *text = NULL;
    size_t len = 0;
    enum quern_status status = quern_render_chat(chat->model, "[]", &options, &text, &len, err);
    quern_free(text);
    if (status && err->code == QUERN_ERR_STATE)
        return error_set(err, status,
                         "%s has no chat template; quern run --raw completes text without one",
                         dir);
    return status;
}

static enum quern_status set_up(struct chat *chat, struct chat_args *args, quern_model *model,
                                struct tool_set *tools, struct quern_error *err) {
    *chat = (struct chat){
        .model = model,
        .think = think_tokens_find(model),
        .messages = json_array(),
        .max_tokens = (int32_t)args->max_tokens,
        .enable_thinking = args->think      ? 1
                           : args->no_think ? 0
                                            : -1,
        .form = args->form,
        .stop_strings = args->stop.items,
        .n_stop_strings = args->stop.n,
        .tools = {tools, args->tools.allow, chat_note},
        .max_tool_rounds = (int32_t)args->tools.max_rounds,
        .show_thinking = args->show_thinking,
        .verbose = args->verbose,
    };
    quern_model_get_info(model, &chat->info);
    quern_sampling_defaults(model, &chat->defaults);
    if (!chat->messages)
        return error_nomem(err);
    if (args->system &&
        !messages_add(chat->messages, "system", str_from(args->system), (struct str){0}))
        return error_nomem(err);
    enum quern_status status = check_template(chat, cli_model_dir(&args->model), err);
    if (!status)
        status = cli_sampling_resolve(&args->sampling, model, &chat->sampling, err);
    struct quern_session_options options = {.n_context = (int32_t)args->context,
                                            .kv_type = cli_kv_type(args->kv_type)};
    if (!status)
        status = quern_session_create(model, &options, &chat->session, err);
    return status;
}

static int chat_with(struct chat_args *args, quern_model *model, struct tool_set *tools) {
    struct chat chat;
    struct quern_error err = {0};
    enum quern_status status = set_up(&chat, args, model, tools, &err);
    int code = status ? cli_fail(&err) : converse(&chat, cli_model_dir(&args->model));
    json_decref(chat.messages);
    quern_session_destroy(chat.session);
    return code;
}

int cmd_chat(int argc, char **argv) {
    struct chat_args args = {.tools.max_rounds = CLI_TOOL_ROUNDS};
    struct tool_set tools = {0};
    quern_model *model = NULL;
    cli_sampling_args_init(&args.sampling);
    int code = cli_parse(&chat_command_line, argc, argv, &args, NULL);
    if (code != CLI_GO_ON)
        return code;
    if (args.think && args.no_think)
        return cli_usage_error(&chat_command_line, "--think and --no-think exclude each other");
    struct buffer form;
    buffer_init(&form, CLI_INPUT_MAX_BYTES);
    code = cli_form_read(&chat_command_line, &args.form_args, &form, &args.form, NULL);
    if (code == CLI_GO_ON)
        code = cli_tools_open(&args.tools, &tools);
    if (code == CLI_GO_ON)
        code = cli_open_model(&args.model, false, &model);
    if (code == CLI_GO_ON)
        code = chat_with(&args, model, &tools);
    quern_model_close(model);
    tool_set_release(&tools);
    buffer_release(&form);
    return code;
}
