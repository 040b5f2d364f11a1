/* tool_rounds.h - what a person sees and decides of tool calls: the options, the question before a
 * call, the calls of an answer run and their results added to the conversation. */
#ifndef QUERN_TOOLS_TOOL_ROUNDS_H
#define QUERN_TOOLS_TOOL_ROUNDS_H

#include "cli/cli_common.h"
#include "tools/tool_set.h"

struct cli_tool_args {
    struct tool_sources sources;
    bool allow;
    int64_t max_rounds;
};

enum { CLI_TOOL_ROUNDS = 8 };

#define CLI_TOOL_OPTIONS(type, field)                                              \
    TOOL_SOURCE_OPTIONS(type, field.sources),                                      \
        OPT_FLAG(0, "allow-tools", type, field.allow, "run tools without asking"), \
        OPT_INT(0, "max-tool-rounds", "N", type, field.max_rounds, 0, 1000,        \
                "most rounds of calls for one answer (default: 8)")

/* CLI_GO_ON, or the exit code after an error, which was printed. */
int cli_tools_open(const struct cli_tool_args *args, struct tool_set *set);

struct tool_rounds {
    struct tool_set *set;
    bool allow; /* every tool */
    /* Talk, on standard error. `fmt` is a line without its end. */
    void (*note)(const char *fmt, ...) PRINTF_LIKE(1, 2);
};

/* Runs the calls of the last message and appends a message of each result. False when Ctrl-C ended
 * one: the others are told so. QUERN_ERR_NOMEM through *failed. */
bool tool_rounds_run(const struct tool_rounds *t, json_t *messages, bool *failed);

#endif
