/* cmd_run.c - quern run: one prompt in, one completion out. */
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/answer.h"
#include "cli/cli_common.h"
#include "cli/commands.h"
#include "cli/form_args.h"
#include "cli/interrupt.h"
#include "cli/messages.h"
#include "cli/prefill.h"
#include "cli/sampling_args.h"
#include "cli/term_text.h"
#include "cli/tool_rounds.h"

struct run_args {
    struct cli_model_args model;
    const char *kv_type;
    const char *prompt, *file, *system;
    bool raw, think, no_think, show_thinking, ignore_eos, verbose;
    int64_t max_tokens, context;
    struct option_list stop;
    struct cli_sampling_args sampling;
    struct cli_form_args form_args;
    struct quern_form form;
    struct cli_tool_args tool_args;
    struct tool_set tools;
};

static const struct option_spec run_specs[] = {
    CLI_MODEL_OPTIONS(struct run_args, model),
    OPT_STRING('p', "prompt", "TEXT", struct run_args, prompt,
               "the prompt; \"-\" or nothing reads standard input"),
    OPT_STRING('f', "file", "FILE", struct run_args, file, "read the prompt from a file"),
    OPT_STRING(0, "system", "TEXT", struct run_args, system, "system message"),
    OPT_FLAG(0, "raw", struct run_args, raw,
             "continue the prompt as it is, without a chat template"),
    OPT_FLAG(0, "think", struct run_args, think, "ask the template to let the model think first"),
    OPT_FLAG(0, "no-think", struct run_args, no_think, "ask the template for an answer at once"),
    OPT_FLAG(0, "show-thinking", struct run_args, show_thinking,
             "write the thinking to standard output too, as generated"),
    OPT_INT('n', "max-tokens", "N", struct run_args, max_tokens, 0, INT32_MAX,
            "most tokens to generate (default: what the context holds)"),
    CLI_CONTEXT_OPTION(struct run_args, context),
    CLI_KV_OPTION(struct run_args, kv_type),
    OPT_LIST(0, "stop", "TEXT", struct run_args, stop,
             "end before this text; may be given several times"),
    CLI_FORM_OPTIONS(struct run_args, form_args),
    CLI_TOOL_OPTIONS(struct run_args, tool_args),
    CLI_CLOSE_OPTION(struct run_args, form_args),
    OPT_FLAG(0, "ignore-eos", struct run_args, ignore_eos, "go on after the model's end token"),
    CLI_SAMPLING_OPTIONS(struct run_args, sampling),
    OPT_FLAG('v', "verbose", struct run_args, verbose, "counts, speed and seed on standard error"),
    OPT_END,
};

static const struct cli_command run_command = {
    "run",
    "[-m DIR] [-p TEXT | -f FILE] [options]",
    "Answers one prompt. Only the answer goes to standard output, byte for byte; on a terminal a "
    "newline follows it. The prompt is wrapped in the model's chat template as one user message, "
    "unless --raw is given; then it is continued as it stands, and spellings of special tokens in "
    "it count as these tokens. One newline at the end of a prompt from a file or from standard "
    "input is dropped, except with --raw.\n\n"
    "What a thinking model thinks is no part of the answer: it is shown dimmed on standard error "
    "when that is a terminal, and dropped otherwise. --show-thinking writes it to standard output, "
    "markers included.\n\n"
    "Ctrl-C ends the answer; the exit code is then 130.",
    "quern run -m models/Qwen3-0.6B -p 'Name three rivers.'\n"
    "quern run --raw -n 40 --temp 0 -p 'The capital of France is'\n"
    "quern run --tools examples/tools/tools.json -p 'Get a report: city Lisbon.'\n"
    "quern run --schema person.json -p 'Ada is 36 years old.'\n"
    "git diff | quern run --system 'Write a commit message for this diff.' --no-think\n",
    run_specs,
};

/* ---- the prompt -------------------------------------------------------------------- */

static int read_prompt(const struct run_args *args, struct buffer *out) {
    bool given = args->prompt && strcmp(args->prompt, "-") != 0;
    if (given) {
        buffer_puts(out, args->prompt);
    } else {
        if (!args->file && os_is_tty(STDIN_FILENO))
            fprintf(stderr, "Type the prompt; Ctrl-D on an empty line ends it.\n");
        int code = cli_read_input(args->file, out);
        if (code != CLI_GO_ON)
            return code;
        if (!args->raw && out->len && out->data[out->len - 1] == '\n')
            out->data[--out->len] = '\0';
    }
    struct quern_error err = {0};
    return buffer_status(out, "the prompt", &err) ? cli_fail(&err) : CLI_GO_ON;
}

static json_t *make_messages(const struct run_args *args, const struct buffer *prompt) {
    struct str none = STR_LIT("");
    json_t *messages = json_array();
    bool ok = messages != NULL;
    if (ok && args->system)
        ok = messages_add(messages, "system", str_from(args->system), none);
    if (ok && messages_add(messages, "user", buffer_str(prompt), none))
        return messages;
    json_decref(messages);
    return NULL;
}

/* `messages` NULL: a raw prompt. */
static enum quern_status prompt_ids(const quern_model *model, const struct run_args *args,
                                    const struct buffer *prompt, const json_t *messages,
                                    int32_t **ids, size_t *n_ids, struct quern_error *err) {
    if (!messages)
        return quern_tokenize(model, prompt->data, prompt->len, true, true, ids, n_ids, err);
    int thinking = args->think ? 1 : args->no_think ? 0 : -1;
    return messages_encode(model, messages, args->tools.list_json, thinking, ids, n_ids, err);
}

/* ---- the answer ---------------------------------------------------------------------- */

struct run_view {
    struct answer answer;
    bool split; /* thinking is kept off standard output */
    bool stdout_is_tty, stderr_is_tty, colour;
    bool dimmed; /* stderr is */
    char last;   /* last byte on standard output */
    struct buffer line;
};

static void end_dim(struct run_view *view) {
    if (!view->dimmed)
        return;
    fputs(view->colour ? "\033[0m\n\n" : "\n(end of thinking)\n\n", stderr);
    view->dimmed = false;
}

static bool show_thinking(struct run_view *view, struct str text) {
    if (!view->stderr_is_tty)
        return true;
    if (!view->dimmed)
        fputs(view->colour ? "\033[2m" : "(thinking)\n", stderr);
    view->dimmed = true;
    buffer_clear(&view->line);
    if (term_text_append(text, &view->line) == QUERN_OK)
        fwrite(view->line.data, 1, view->line.len, stderr);
    fflush(stderr);
    return true;
}

static bool show(void *user, bool thinking, const char *text, size_t len) {
    struct run_view *view = user;
    struct str piece = {text, len};
    if (thinking && view->split)
        return show_thinking(view, piece);
    end_dim(view);
    if (!len)
        return true;
    view->last = text[len - 1];
    if (!view->stdout_is_tty)
        return cli_write(text, len);
    buffer_clear(&view->line);
    return term_text_append(piece, &view->line) == QUERN_OK &&
           cli_write(view->line.data, view->line.len);
}

static bool on_event(void *user, const struct quern_event *event) {
    struct run_view *view = user;
    if (interrupt_pending())
        return false;
    return view->split || view->answer.parts
               ? answer_push(&view->answer, event)
                       : show(view, false, event->text, event->text_len);
}

static void report(const quern_session *session, size_t n_prompt, double prompt_seconds,
                   const struct quern_generate_result *result,
                   const struct quern_sampling *sampling) {
    fprintf(stderr,
            "[prompt: %zu tokens in %.2f s; answer: %zu tokens in %.2f s, %.1f tokens/s; "
            "context: %d; seed: %llu]\n",
            n_prompt, prompt_seconds, result->n_tokens, result->seconds,
            result->seconds > 0 ? (double)result->n_tokens / result->seconds : 0.0,
            quern_session_context(session), (unsigned long long)sampling->seed);
}

/* An answer that ends because there is no room left is not told apart from a whole one by its
 * text. */
static void say_if_context_full(const quern_session *session,
                                const struct quern_generate_result *result) {
    size_t n_held = 0;
    quern_session_tokens(session, &n_held);
    int32_t context = quern_session_context(session);
    if (result->finish == QUERN_FINISH_LENGTH && n_held >= (size_t)context)
        cli_error("the answer ends here because the context of %d tokens is full; -c N gives a "
                  "larger one",
                  context);
}

static enum quern_status generate(quern_session *session, const struct run_args *args,
                                  const struct quern_sampling *sampling, struct run_view *view,
                                  struct quern_generate_result *result, struct quern_error *err) {
    struct quern_generate_options options = {
        .sampling = *sampling,
        .max_tokens = (int32_t)args->max_tokens,
        .stop_strings = args->stop.items,
        .n_stop_strings = args->stop.n,
        .ignore_eos = args->ignore_eos,
        .n_top_logprobs = -1,
        .form = &args->form,
        .on_event = on_event,
        .user = view,
    };
    enum quern_status status = quern_generate(session, &options, result, err);
    answer_finish(&view->answer);
    end_dim(view);
    if (view->stdout_is_tty && view->last && view->last != '\n')
        cli_write("\n", 1);
    if (!status && view->answer.failed)
        status = error_nomem(err);
    return status;
}

static enum quern_status check_room(const quern_session *session, size_t n_ids,
                                    struct quern_error *err) {
    int32_t context = quern_session_context(session);
    if (n_ids == 0)
        return error_set(err, QUERN_ERR_ARG, "the prompt is empty");
    if (n_ids < (size_t)context)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_CONTEXT,
                     "the prompt has %zu tokens, but the context holds %d; give a larger one with "
                     "-c N",
                     n_ids, context);
}

/* Talk about tools: shown wherever standard error goes. */
static void note(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void note(const char *fmt, ...) {
    const bool colour = cli_has_colour(stderr);
    va_list args;
    va_start(args, fmt);
    fputs(colour ? "\033[2m" : "", stderr);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "%s\n", colour ? "\033[0m" : "");
    va_end(args);
}

/* Runs what the answer calls and adds both to the messages; *again: there is something new to answer.
 * Text before a call is a line of its own. */
static enum quern_status run_calls(const struct run_args *args, struct run_view *view,
                                   const struct quern_generate_result *result, json_t *messages,
                                   bool *again, struct quern_error *err) {
    const struct answer *a = &view->answer;
    const struct tool_rounds rounds = {(struct tool_set *)(uintptr_t)&args->tools,
                                       args->tool_args.allow, note};
    bool failed = false;
    if (!a->calls || result->finish != QUERN_FINISH_STOP)
        return QUERN_OK;
    if (!view->stdout_is_tty && view->last && view->last != '\n')
        cli_write("\n", 1);
    if (!messages_add(messages, "assistant", answer_content(a), answer_thinking(a)) ||
        json_object_set(json_array_get(messages, json_array_size(messages) - 1), "tool_calls",
                        a->calls))
        return error_nomem(err);
    *again = tool_rounds_run(&rounds, messages, &failed);
    return failed ? error_nomem(err) : QUERN_OK;
}

static enum quern_status start_view(struct run_view *view, const quern_model *model,
                                    const struct run_args *args, const int32_t *ids, size_t n_ids,
                                    struct quern_error *err) {
    struct think_tokens think = think_tokens_find(model);
    *view = (struct run_view){
        .split = !args->raw && !args->show_thinking,
        .stdout_is_tty = os_is_tty(STDOUT_FILENO),
        .stderr_is_tty = os_is_tty(STDERR_FILENO),
        .colour = cli_has_colour(stderr),
    };
    buffer_init(&view->line, SIZE_MAX / 4);
    answer_init(&view->answer, model, think, think_tokens_left_open(think, ids, n_ids), show, view);
    if (args->tools.list && !answer_use_tools(&view->answer, args->tools.list))
        return error_nomem(err);
    return QUERN_OK;
}

static int run_session(const quern_model *model, quern_session *session, struct run_args *args,
                       const int32_t *ids, size_t n_ids, json_t *messages, bool *again) {
    struct quern_error err = {0};
    struct quern_sampling sampling;
    if (cli_sampling_resolve(&args->sampling, model, &sampling, &err))
        return cli_usage_error(&run_command, "%s", err.message);
    struct run_view view;
    struct quern_generate_result result = {0};
    uint64_t begin_ns = os_now_ns();
    enum quern_status status = start_view(&view, model, args, ids, n_ids, &err);
    if (!status)
        status = check_room(session, n_ids, &err);
    if (!status)
        status = cli_prefill(session, ids, n_ids, NULL, &err);
    double prompt_seconds = (double)(os_now_ns() - begin_ns) * 1e-9;
    if (!status)
        status = generate(session, args, &sampling, &view, &result, &err);
    if (!status)
        say_if_context_full(session, &result);
    if (!status && args->verbose)
        report(session, n_ids, prompt_seconds, &result, &sampling);
    if (!status)
        status = run_calls(args, &view, &result, messages, again, &err);
    answer_release(&view.answer);
    buffer_release(&view.line);
    if (interrupt_pending())
        return interrupt_exit_code();
    return status ? cli_fail(&err) : CLI_OK;
}

static int run_rounds(const quern_model *model, quern_session *session, struct run_args *args,
                      const struct buffer *prompt, json_t *messages) {
    bool again = true;
    int code = CLI_OK;
    args->form.tools_json = args->tools.list_json;
    for (int64_t round = 0; again && code == CLI_OK; round++) {
        struct quern_error err = {0};
        int32_t *ids = NULL;
        size_t n_ids = 0;
        again = false;
        if (round == args->tool_args.max_rounds)
            args->form.tool_use = QUERN_TOOLS_NONE;
        code = prompt_ids(model, args, prompt, messages, &ids, &n_ids, &err)
                   ? cli_fail(&err)
                   : run_session(model, session, args, ids, n_ids, messages, &again);
        quern_free(ids);
    }
    return code;
}

static int run(quern_model *model, struct run_args *args, const struct buffer *prompt) {
    struct quern_error err = {0};
    quern_session *session = NULL;
    struct quern_session_options options = {.n_context = (int32_t)args->context,
                                            .kv_type = cli_kv_type(args->kv_type)};
    json_t *messages = args->raw ? NULL : make_messages(args, prompt);
    if (!messages && !args->raw) {
        error_nomem(&err);
        return cli_fail(&err);
    }
    enum quern_status status = quern_session_create(model, &options, &session, &err);
    int code = status ? cli_fail(&err) : run_rounds(model, session, args, prompt, messages);
    quern_session_destroy(session);
    json_decref(messages);
    return code;
}

static int check_args(const struct run_args *args) {
    if (args->prompt && args->file)
        return cli_usage_error(&run_command, "-p and -f exclude each other");
    if (args->think && args->no_think)
        return cli_usage_error(&run_command, "--think and --no-think exclude each other");
    if (args->raw && (args->system || args->think || args->no_think))
        return cli_usage_error(&run_command,
                               "--system, --think and --no-think belong to the chat template, "
                               "which --raw leaves out");
    if (args->raw && args->tool_args.sources.files.n + args->tool_args.sources.servers.n > 0)
        return cli_usage_error(&run_command, "--tools and --mcp belong to the chat template, which "
                                             "--raw leaves out");
    for (size_t i = 0; i < args->stop.n; i++)
        if (!*args->stop.items[i])
            return cli_usage_error(&run_command, "--stop: the text is empty");
    return CLI_GO_ON;
}

int cmd_run(int argc, char **argv) {
    struct run_args args = {.tool_args.max_rounds = CLI_TOOL_ROUNDS};
    cli_sampling_args_init(&args.sampling);
    int code = cli_parse(&run_command, argc, argv, &args, NULL);
    if (code == CLI_GO_ON)
        code = check_args(&args);
    if (code != CLI_GO_ON)
        return code;
    struct buffer prompt, form;
    buffer_init(&prompt, CLI_INPUT_MAX_BYTES);
    buffer_init(&form, CLI_INPUT_MAX_BYTES);
    quern_model *model = NULL;
    code = cli_form_read(&run_command, &args.form_args, &form, &args.form, NULL);
    args.form.may_think = !args.raw && !args.no_think;
    if (code == CLI_GO_ON)
        code = cli_tools_open(&args.tool_args, &args.tools);
    if (code == CLI_GO_ON)
        code = read_prompt(&args, &prompt);
    if (code == CLI_GO_ON && !prompt.len && !args.raw)
        code = cli_error("the prompt is empty");
    if (code == CLI_GO_ON)
        code = cli_open_model(&args.model, false, &model);
    if (code == CLI_GO_ON) {
        interrupt_catch();
        code = run(model, &args, &prompt);
    }
    buffer_release(&form);
    buffer_release(&prompt);
    quern_model_close(model);
    tool_set_release(&args.tools);
    return code;
}
