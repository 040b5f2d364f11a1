/* mcp_server.h - how a server of the Model Context Protocol is reached. */
#ifndef QUERN_MCP_MCP_SERVER_H
#define QUERN_MCP_MCP_SERVER_H

#include "base/error.h"

/* Lists end with NULL. */
struct mcp_server {
    char *name;     /* in messages */
    char *url;      /* NULL: a program */
    char **argv;    /* the program and its arguments; NULL: a URL */
    char **env;     /* "NAME=value", beside our own environment */
    char **headers; /* "Name: value", of every request */
};

/* "http://..." or "https://...", else a command line: words as a shell would have them, '...' as it
 * stands, "..." and bare words with backslashes. */
enum quern_status mcp_server_parse(const char *text, struct mcp_server *out,
                                   struct quern_error *err);
void mcp_server_release(struct mcp_server *s); /* zeroed is fine */

/* A file as other clients have it, {"mcpServers": {name: server}} or {"servers": {name: server}},
 * where a server is {"command", "args", "env"} or {"url", "headers"}. In its strings ${NAME},
 * ${env:NAME} and
 * ${NAME:-otherwise} stand for variables, whose values `variable` gives, NULL for one that is not
 * set. "disabled": true leaves a server out. `take` is called for each, in the file's order, and
 * owns what it is given; a failure of it ends the reading. */
enum quern_status mcp_servers_load(const char *path, const char *(*variable)(const char *name),
                                   enum quern_status (*take)(void *user, struct mcp_server *server,
                                                             struct quern_error *err),
                                   void *user, struct quern_error *err);

#endif
