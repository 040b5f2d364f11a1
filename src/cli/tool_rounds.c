#include "cli/tool_rounds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os.h"
#include "cli/interrupt.h"
#include "cli/messages.h"
#include "cli/term_text.h"
#include "text/unicode.h"

enum { SHOWN_BYTES = 600, ASKED_BYTES = 1 << 20, RESULT_BYTES_MAX = 64 << 20 };

static bool interrupted(void *user) {
    (void)user;
    return interrupt_pending();
}

static const struct stop_check on_interrupt = {interrupted, NULL};

int cli_tools_open(const struct cli_tool_args *args, struct tool_set *set) {
    struct quern_error err = {0};
    return tool_set_open(set, &args->sources, &on_interrupt, &err) ? cli_fail(&err) : CLI_GO_ON;
}

/* ---- talk ------------------------------------------------------------------------------- */

/* As one line of so many bytes that cannot steer the terminal. */
static void make_line(struct str text, size_t max, struct buffer *out) {
    struct buffer safe;
    buffer_init(&safe, SIZE_MAX / 4);
    term_text_append(text, &safe);
    for (size_t i = 0; i < safe.len && out->len < max; i++)
        buffer_putc(out, safe.data[i] == '\n' ? ' ' : safe.data[i]);
    const size_t left = safe.len - out->len;
    if (left) {
        out->len -= utf8_incomplete_tail(buffer_str(out));
        buffer_printf(out, " ... (%zu bytes more)", left);
    }
    buffer_release(&safe);
}

static void show(const struct tool_rounds *t, const char *arrow, const char *name, struct str text,
                 size_t max) {
    struct buffer line;
    buffer_init(&line, SIZE_MAX / 4);
    make_line(text, max, &line);
    t->note("%s %s%s%s", arrow, name, *name ? " " : "", line.data ? line.data : "");
    buffer_release(&line);
}

/* ---- consent ------------------------------------------------------------------------------ */

enum consent { CONSENT_YES, CONSENT_NO, CONSENT_ALWAYS, CONSENT_STOP, CONSENT_NOBODY };

/* A line from the terminal itself: standard input may be the prompt. */
static enum consent ask(const char *name) {
    char answer[64] = "";
    const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return CONSENT_NOBODY;
    fflush(stdout);
    fprintf(stderr, "Run %s? [y]es, [n]o, [a]lways this tool: ", name);
    fflush(stderr);
    ssize_t n = -1;
    while (!interrupt_pending() && n < 0) {
        if (!os_wait_readable(fd))
            continue;
        n = read(fd, answer, sizeof answer - 1);
        if (n < 0)
            break;
    }
    close(fd);
    if (n < 0 || interrupt_pending()) {
        fputs("\n", stderr);
        return CONSENT_STOP;
    }
    switch (answer[strspn(answer, " \t")]) {
    case 'y':
    case 'Y':
        return CONSENT_YES;
    case 'a':
    case 'A':
        return CONSENT_ALWAYS;
    default:
        return CONSENT_NO;
    }
}

static enum consent may_run(const struct tool_rounds *t, struct tool *tool) {
    if (t->allow || tool->allow)
        return CONSENT_YES;
    enum consent consent = ask(tool->name);
    if (consent == CONSENT_ALWAYS)
        tool->allow = true;
    if (consent == CONSENT_NOBODY)
        cli_error(
            "there is no terminal to ask whether %s may run; --allow-tools runs tools without "
            "asking",
            tool->name);
    return consent;
}

/* ---- calls -------------------------------------------------------------------------------- */

static enum tool_end run_call(const struct tool_rounds *t, const char *name, struct str arguments,
                              struct buffer *result) {
    struct tool *tool = tool_set_find(t->set, name);
    /* Who is asked sees all there is to decide about. */
    const bool asks = tool && !t->allow && !tool->allow;
    show(t, "->", name, arguments, asks ? ASKED_BYTES : SHOWN_BYTES);
    if (!tool) {
        buffer_printf(result, "error: there is no tool \"%s\"", name);
        return TOOL_FAILED;
    }
    switch (may_run(t, tool)) {
    case CONSENT_STOP:
        buffer_puts(result, "error: the user stopped the tool");
        return TOOL_STOPPED;
    case CONSENT_NO:
    case CONSENT_NOBODY:
        buffer_puts(result, "error: the user did not allow this call");
        return TOOL_FAILED;
    default:
        return tool_run(tool, arguments, &on_interrupt, result);
    }
}

static bool add_result(json_t *messages, const json_t *call, struct str result) {
    if (!messages_add(messages, "tool", result, (struct str){0}))
        return false;
    json_t *message = json_array_get(messages, json_array_size(messages) - 1);
    return json_object_set(message, "tool_call_id", json_object_get(call, "id")) == 0;
}

static bool take_call(const struct tool_rounds *t, json_t *messages, const json_t *call,
                      bool stopped, enum tool_end *end) {
    const json_t *function = json_object_get(call, "function");
    const json_t *arguments = json_object_get(function, "arguments");
    struct buffer result, text;
    buffer_init(&result, RESULT_BYTES_MAX);
    buffer_init(&text, SIZE_MAX / 4);
    if (json_is_string(arguments))
        buffer_puts(&text, json_string_value(arguments));
    else
        json_write_python(arguments, -1, &text);
    *end = TOOL_STOPPED;
    if (stopped)
        buffer_puts(&result, "error: the user stopped the tools");
    else
        *end = run_call(t, json_string_value(json_object_get(function, "name")), buffer_str(&text),
                        &result);
    if (!stopped)
        show(t, "<-", "", buffer_str(&result), SHOWN_BYTES);
    const bool ok = !text.failed && add_result(messages, call, buffer_str(&result));
    buffer_release(&text);
    buffer_release(&result);
    return ok;
}

bool tool_rounds_run(const struct tool_rounds *t, json_t *messages, bool *failed) {
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_t *calls = json_incref(json_object_get(last, "tool_calls"));
    bool stopped = false;
    *failed = false;
    for (size_t i = 0; !*failed && i < json_array_size(calls); i++) {
        enum tool_end end = TOOL_DONE;
        *failed = !take_call(t, messages, json_array_get(calls, i), stopped, &end);
        stopped = stopped || end == TOOL_STOPPED;
    }
    json_decref(calls);
    return !stopped;
}
