/* tool_gate.h - who may run a tool now: so many calls at once, one at a time of an MCP server. */
#ifndef QUERN_SERVER_TOOL_GATE_H
#define QUERN_SERVER_TOOL_GATE_H

#include "base/sync.h"
#include "tools/tool_set.h"

enum { TOOL_CALLS_MAX = 256 };

struct tool_gate {
    struct mutex lock;
    struct condition changed;
    int limit, n_calls;                            /* waiting ones included */
    const struct mcp_client *busy[TOOL_CALLS_MAX]; /* servers that answer now */
    int n_busy;
};

enum quern_status tool_gate_init(struct tool_gate *g, int limit, struct quern_error *err);
void tool_gate_release(struct tool_gate *g);

/* False: too many calls go on. Otherwise tool_gate_leave must follow. */
bool tool_gate_enter(struct tool_gate *g);
void tool_gate_leave(struct tool_gate *g);

/* Waits until the server is free, and takes it. False: `stop` was asked first. */
bool tool_gate_take(struct tool_gate *g, const struct mcp_client *server,
                    const struct stop_check *stop);
void tool_gate_give(struct tool_gate *g, const struct mcp_client *server);

#endif
