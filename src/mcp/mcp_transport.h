/* mcp_transport.h - how messages reach a server: mcp_stdio.c, mcp_http.c. */
#ifndef QUERN_MCP_MCP_TRANSPORT_H
#define QUERN_MCP_MCP_TRANSPORT_H

#include "mcp/mcp_client.h"

enum { MCP_MESSAGE_BYTES_MAX = 32 << 20 };

/* A message on its way, and what is waited for. */
struct mcp_exchange {
    struct str message; /* JSON on one line, without its end */
    int64_t id;         /* of the request; -1: a notification, no reply */
    uint64_t until_ns;
    struct stop_check stop;
    json_t *reply;      /* own, once there */
    struct buffer own;  /* answers to requests of the server, a line each */
};

struct mcp_transport {
    const struct mcp_transport_ops *ops;
    void *state;
};

struct mcp_transport_ops {
    /* Sends, and waits for the reply. Anything but QUERN_OK ends the connection. */
    enum quern_status (*exchange)(void *state, struct mcp_exchange *x, struct quern_error *err);
    /* The version the server has agreed to. */
    void (*set_version)(void *state, const char *version);
    void (*close)(void *state);
};

/* The server is borrowed and outlives the transport. */
enum quern_status mcp_stdio_open(const struct mcp_server *server, struct mcp_transport *out,
                                 struct quern_error *err);
enum quern_status mcp_http_open(const struct mcp_server *server, struct mcp_transport *out,
                                struct quern_error *err);

/* Takes a message of the server: the reply waited for is kept, a request is answered in x->own,
 * everything else ignored. */
void mcp_take_message(struct mcp_exchange *x, struct str text);

/* For both: QUERN_ERR_CANCELLED or QUERN_ERR_LIMIT when the exchange is to end. */
enum quern_status mcp_check_time(const struct mcp_exchange *x, struct quern_error *err);

#endif
