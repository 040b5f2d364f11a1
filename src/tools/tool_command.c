#include "tools/tool_command.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/process.h"
#include "text/unicode.h"

enum {
    ARGUMENTS_MAX = 256,
    TIMEOUT_S = 30,
    OUTPUT_BYTES = 64 << 10,
    ERRORS_BYTES = 4 << 10,
    GRACE_MS = 500,
};

/* ---- reading -------------------------------------------------------------------------- */

/* "./x" beside "dir/tools.json" is "dir/./x". */
static char *beside(const char *program, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!strchr(program, '/') || program[0] == '/' || !slash)
        return strdup(program);
    const size_t n = (size_t)(slash - path) + 1, len = strlen(program);
    char *joined = malloc(n + len + 1);
    if (joined) {
        memcpy(joined, path, n);
        memcpy(joined + n, program, len + 1);
    }
    return joined;
}

static enum quern_status read_argv(const json_t *command, const char *name, const char *path,
                                   struct tool_command *out, struct quern_error *err) {
    const size_t n = json_array_size(command);
    if (n == 0 || n > ARGUMENTS_MAX)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: tool \"%s\": expected \"command\": an array of 1 to %d strings, the "
                         "program and its arguments",
                         path, name, ARGUMENTS_MAX);
    out->argv = calloc(n + 1, sizeof *out->argv);
    for (size_t i = 0; out->argv && i < n; i++) {
        const char *word = json_string_value(json_array_get(command, i));
        if (!word || (i == 0 && !*word))
            return error_set(err, QUERN_ERR_FORMAT, "%s: tool \"%s\": command[%zu] is %s", path,
                             name, i, word ? "empty" : "no string");
        out->argv[i] = i == 0 ? beside(word, path) : strdup(word);
        if (!out->argv[i])
            return error_nomem(err);
    }
    return out->argv ? QUERN_OK : error_nomem(err);
}

enum quern_status tool_command_read(const json_t *tool, const char *name, const char *path,
                                    struct tool_command *out, struct quern_error *err) {
    double seconds = 0;
    int64_t bytes = 0;
    *out = (struct tool_command){0};
    enum quern_status status = read_argv(json_object_get(tool, "command"), name, path, out, err);
    if (!status)
        status = json_get_float(tool, name, "timeout", 0.001, 86400, TIMEOUT_S, &seconds, err);
    if (!status)
        status =
            json_get_int(tool, name, "max_output_bytes", 1, 16 << 20, OUTPUT_BYTES, &bytes, err);
    out->timeout_ms = (int64_t)(seconds * 1000);
    out->max_output_bytes = (size_t)bytes;
    if (status)
        tool_command_release(out);
    return status;
}

void tool_command_release(struct tool_command *c) {
    for (size_t i = 0; c->argv && c->argv[i]; i++)
        free(c->argv[i]);
    free(c->argv);
    *c = (struct tool_command){0};
}

/* ---- running ---------------------------------------------------------------------------- */

struct running {
    struct process process;
    struct buffer out, errors;
    bool timed_out, stopped;
};

static void communicate(const struct tool_command *c, struct str input,
                        const struct stop_check *stop, struct running *r) {
    const uint64_t until = os_now_ns() + (uint64_t)c->timeout_ms * 1000000u;
    for (;;) {
        enum process_event event = process_pump(&r->process, &input, &r->out, &r->errors);
        if (!input.len)
            process_close_input(&r->process);
        r->stopped = stop_asked(stop);
        r->timed_out = event != PROCESS_CLOSED && os_now_ns() > until;
        /* Too many errors are no reason to end it, too much of a result is. */
        if (event == PROCESS_CLOSED || r->stopped || r->timed_out || r->out.len == r->out.max)
            return;
    }
}

/* Without the last newline; whatever it is, templates get UTF-8. */
static void append_text(const struct buffer *from, struct buffer *to) {
    struct str text = buffer_str(from);
    while (text.len && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    utf8_sanitize(text, to);
}

static enum tool_end tell(const struct tool_command *c, struct running *r, struct buffer *result) {
    if (r->stopped) {
        buffer_puts(result, "error: the user stopped the tool");
        return TOOL_STOPPED;
    }
    append_text(&r->out, result);
    const bool cut = r->out.len == r->out.max;
    if (cut)
        buffer_printf(result, "\n[cut after %zu bytes]", c->max_output_bytes);
    if (!r->timed_out && (cut || r->process.code == 0))
        return TOOL_DONE;
    if (result->len)
        buffer_putc(result, '\n');
    if (r->timed_out)
        buffer_printf(result, "error: the tool was ended after %g seconds",
                      (double)c->timeout_ms / 1000);
    else
        buffer_printf(result, "error: the tool ended with exit code %d", r->process.code);
    if (r->errors.len)
        buffer_puts(result, "\n");
    append_text(&r->errors, result);
    return TOOL_FAILED;
}

enum tool_end tool_command_run(const struct tool_command *c, struct str arguments,
                               const struct stop_check *stop, struct buffer *result) {
    struct running r = {0};
    struct quern_error err = {0};
    struct buffer input;
    buffer_init(&r.out, c->max_output_bytes);
    buffer_init(&r.errors, ERRORS_BYTES);
    buffer_init(&input, SIZE_MAX / 4);
    buffer_append_str(&input, arguments);
    buffer_putc(&input, '\n');
    enum tool_end end = TOOL_FAILED;
    if (process_start(&r.process, (const char *const *)c->argv, NULL, &err)) {
        buffer_printf(result, "error: %s", err.message);
    } else {
        communicate(c, buffer_str(&input), stop, &r);
        if (!r.stopped && !r.timed_out)
            process_wait(&r.process, r.out.len == r.out.max ? 0 : GRACE_MS);
        process_end(&r.process, r.stopped || r.timed_out ? GRACE_MS : 0);
        end = tell(c, &r, result);
    }
    buffer_release(&input);
    buffer_release(&r.out);
    buffer_release(&r.errors);
    return end;
}
