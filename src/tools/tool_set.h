/* tool_set.h - the tools of --tools and --mcp: what the model is told of them, and how one is
 * called. */
#ifndef QUERN_TOOLS_TOOL_SET_H
#define QUERN_TOOLS_TOOL_SET_H

#include "base/options.h"
#include "mcp/mcp_client.h"
#include "tools/tool_command.h"

/* What an operator names. */
struct tool_sources {
    struct option_list files, servers;
    double timeout_s; /* of an MCP server's answer; 0: a minute */
};

#define TOOL_SOURCE_OPTIONS(type, field)                                                           \
    OPT_LIST(                                                                                      \
        0, "tools", "FILE", type, field.files,                                                     \
        "let the model call the commands that this JSON file describes (docs/cli.md); may be "     \
        "given several times"),                                                                    \
        OPT_LIST(0, "mcp", "SERVER", type, field.servers,                                          \
                 "let the model call the tools of an MCP server: a command, an http(s) URL, or a " \
                 "file .json with \"mcpServers\" (docs/cli.md); may be given several times"),      \
        OPT_FLOAT(0, "mcp-timeout", "S", type, field.timeout_s, 0.01, 86400,                       \
                  "most seconds an MCP server may take for an answer (default: 60)")

struct tool {
    char *name; /* own; as the model calls it */
    bool allow; /* runs without a question */
    struct tool_command command;
    struct mcp_client
        *server;            /* borrowed: the call goes there, under `remote`; NULL: the command */
    char *remote;           /* own */
    const json_t *function; /* borrowed from the list: name, description, parameters */
};

struct tool_set {
    json_t *list;       /* own: OpenAI's array, for the template and the grammar; NULL: no tools */
    char *list_json;    /* own: the same as text */
    struct tool *tools; /* own [n_tools] */
    size_t n_tools;
    struct mcp_client **servers; /* own [n_servers] */
    size_t n_servers;
};

/* Adds what the sources name, and finishes. A failure leaves what was added, to be released. */
enum quern_status tool_set_open(struct tool_set *set, const struct tool_sources *sources,
                                const struct stop_check *stop, struct quern_error *err);

/* Adds the tools of a file: an array, or an object with one as "tools", of OpenAI's tool objects
 * with "command" and perhaps "timeout", "max_output_bytes", "allow" beside "function". */
enum quern_status tool_set_load(struct tool_set *set, const char *path, struct quern_error *err);
/* Adds the tools of an MCP server, or of all that a file NAME.json lists (mcp_server.h). A name
 * that is taken gets a number. */
enum quern_status tool_set_add_servers(struct tool_set *set, const char *target,
                                       const struct mcp_options *options, struct quern_error *err);
/* After the last one was added. */
enum quern_status tool_set_finish(struct tool_set *set, struct quern_error *err);
void tool_set_release(struct tool_set *set); /* zeroed is fine */

struct tool *tool_set_find(const struct tool_set *set, const char *name); /* NULL: none */

/* Runs it. In every case there is a text for the model; what an MCP server says is cut as a
 * command's output is. One call of a server at a time. */
enum tool_end tool_run(const struct tool *tool, struct str arguments, const struct stop_check *stop,
                       struct buffer *result);

#endif
