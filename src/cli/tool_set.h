/* tool_set.h - the tools of --tools and --mcp: what the model is told of them, and how one is called. */
#ifndef QUERN_CLI_TOOL_SET_H
#define QUERN_CLI_TOOL_SET_H

#include "cli/tool_command.h"
#include "mcp/mcp_client.h"

struct cli_tool {
    char *name; /* own; as the model calls it */
    bool allow; /* runs without a question */
    struct tool_command command;
    struct mcp_client *server; /* borrowed: the call goes there, under `remote`; NULL: the command */
    char *remote;              /* own */
};

struct tool_set {
    json_t *list;           /* own: OpenAI's array, for the template and the grammar; NULL: no tools */
    char *list_json;        /* own: the same as text */
    struct cli_tool *tools; /* own [n_tools] */
    size_t n_tools;
    struct mcp_client **servers; /* own [n_servers] */
    size_t n_servers;
};

/* Adds the tools of a file: an array, or an object with one as "tools", of OpenAI's tool objects with
 * "command" and perhaps "timeout", "max_output_bytes", "allow" beside "function". */
enum quern_status tool_set_load(struct tool_set *set, const char *path, struct quern_error *err);
/* Adds the tools of an MCP server, or of all that a file NAME.json lists (mcp_server.h). A name that is
 * taken gets a number. */
enum quern_status tool_set_add_servers(struct tool_set *set, const char *target,
                                       const struct mcp_options *options, struct quern_error *err);
/* After the last one was added. */
enum quern_status tool_set_finish(struct tool_set *set, struct quern_error *err);
void tool_set_release(struct tool_set *set); /* zeroed is fine */

struct cli_tool *tool_set_find(const struct tool_set *set, const char *name); /* NULL: none */
enum tool_end cli_tool_run(struct cli_tool *tool, struct str arguments, struct buffer *result);

#endif
