/* tool_command.h - a tool that is a command: its arguments, a JSON object, on standard input; what
 * it writes to standard output is the result. */
#ifndef QUERN_TOOLS_TOOL_COMMAND_H
#define QUERN_TOOLS_TOOL_COMMAND_H

#include "base/buffer.h"
#include "base/stop_check.h"
#include "text/json.h"

struct tool_command {
    char **argv; /* own, ends with NULL */
    int64_t timeout_ms;
    size_t max_output_bytes;
};

/* How a call went. In every case there is a text for the model. */
enum tool_end {
    TOOL_DONE,
    TOOL_FAILED,
    TOOL_STOPPED, /* by a stop_check: Ctrl-C, a client that left */
};

/* Reads "command", "timeout" (seconds) and "max_output_bytes" of a tool's object. A program named
 * by a relative path is looked for beside the file at `path`. */
enum quern_status tool_command_read(const json_t *tool, const char *name, const char *path,
                                    struct tool_command *out, struct quern_error *err);
void tool_command_release(struct tool_command *c); /* zeroed is fine */

/* Appends the result, or what went wrong, to *result. */
enum tool_end tool_command_run(const struct tool_command *c, struct str arguments,
                               const struct stop_check *stop, struct buffer *result);

#endif
