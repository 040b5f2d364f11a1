/* mcp_client.h - a client of the Model Context Protocol: the tools of a server, which is a program that
 * speaks over its standard streams, or one reached by HTTP. One thread. */
#ifndef QUERN_MCP_MCP_CLIENT_H
#define QUERN_MCP_MCP_CLIENT_H

#include "base/buffer.h"
#include "base/stop_check.h"
#include "mcp/mcp_server.h"
#include "text/json.h"

struct mcp_options {
    int64_t timeout_ms;     /* of each request; 0: 60 s */
    struct stop_check stop; /* of opening and listing */
};

struct mcp_client;

/* Takes *server over, also after a failure. Connects and introduces itself. A program is run without a
 * shell. Errors name the server. */
enum quern_status mcp_open(struct mcp_server *server, const struct mcp_options *options,
                           struct mcp_client **out, struct quern_error *err);
void mcp_close(struct mcp_client *c); /* NULL is fine */

/* *out: an array, of the caller, of OpenAI's functions {"name", "description", "parameters"}. */
enum quern_status mcp_list_tools(struct mcp_client *c, json_t **out, struct quern_error *err);

/* Appends the result's text. *is_error: the tool itself failed, and the text says how. A failure of the
 * connection is a status: QUERN_ERR_CANCELLED when `stop` ended it, QUERN_ERR_LIMIT after the timeout. A
 * server that is gone is started, or greeted, anew by the next call. */
enum quern_status mcp_call(struct mcp_client *c, const char *name, const json_t *arguments,
                           const struct stop_check *stop, struct buffer *result, bool *is_error,
                           struct quern_error *err);

/* What the server calls itself, else how it was named to us. */
const char *mcp_name(const struct mcp_client *c);

#endif
