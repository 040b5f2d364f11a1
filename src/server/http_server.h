/* http_server.h - HTTP/1.1 over libmicrohttpd: connections, limits of time and size, one call per
 * request. Knows nothing of models. A connection has a thread of its own, so that a handler may
 * simply wait. */
#ifndef QUERN_SERVER_HTTP_SERVER_H
#define QUERN_SERVER_HTTP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/net.h"
#include "openai/api_error.h"

struct http_server;
struct MHD_Connection;
struct MHD_Response;

/* A header of an answer. */
struct http_field {
    const char *name, *value;
};

/* One request, from its headers to the end of its answer. */
struct http_call {
    struct http_server *server;
    struct MHD_Connection *connection;
    const char *method, *path; /* path: decoded, without the query */
    struct buffer body;
    int peer_fd;
    struct waker *waker; /* rung by whoever has news for the handler */
    uint64_t began_ns;
    void *route;     /* the router's, from its `admit` to its `handle` */
    void *principal; /* and who asks */
    char salt[32];   /* of the prefix cache, by key */

    /* For the answer; set before one of the functions below. */
    const struct http_field *fields; /* the last has no name; NULL: none */
    char etag[24];                   /* with its quotes; "": none */

    /* For the log; filled by the handler where it knows. */
    int status;
    size_t prompt_tokens, completion_tokens, cached_tokens;
    char request_id[48];
    char model_name[128];
    bool client_left;

    /* internal */
    bool admitted, answered, has_zero_byte;
    struct http_connection *slot;
};

/* Where the answer of a stream comes from. */
struct http_stream_ops {
    /* Appends what there is to *out, waiting as long as there is nothing. False: the stream has
     * ended, after what was appended. */
    bool (*next)(void *stream, struct http_call *call, struct buffer *out);
    void (*destroy)(void *stream);
};

struct http_server_setup {
    struct net_listener listener; /* taken over */
    const char *tls_certificate, *tls_key; /* PEM; NULL: no TLS. May go once it has started */
    size_t header_line_bytes, header_bytes, header_fields, body_bytes;
    unsigned max_connections;
    double header_timeout_s, body_timeout_s, idle_timeout_s, write_timeout_s;
    /* Once the headers are in: may this request be answered? On failure `err` is the answer and the
     * body is not read. */
    enum quern_status (*admit)(void *user, struct http_call *call, struct api_error *err);
    /* Once the body is in: must answer with one of the functions below. */
    void (*handle)(void *user, struct http_call *call);
    /* Appends an error in the form the request's clients know. */
    void (*write_error)(void *user, const struct http_call *call, const struct api_error *err,
                        struct buffer *out);
    /* Headers for every answer, CORS for instance; may be NULL. */
    void (*decorate)(void *user, struct http_call *call, struct MHD_Response *response);
    /* After the last byte was sent, or the client has gone. */
    void (*done)(void *user, struct http_call *call);
    void *user;
};

enum quern_status http_server_start(const struct http_server_setup *setup, struct http_server **out,
                                    struct quern_error *err);
/* Ends all connections, waits for their threads. NULL is fine. */
void http_server_stop(struct http_server *s);
int http_server_n_calls(struct http_server *s); /* being handled or answered now */
int http_server_n_connections(struct http_server *s);

/* ---- what a handler does ------------------------------------------------------- */

/* NULL when the request has no such header. */
const char *http_header(const struct http_call *call, const char *name);
const char *http_query(const struct http_call *call, const char *name);

/* The body's bytes are copied or taken over with `body`, which is empty afterwards. */
void http_answer(struct http_call *call, int status, const char *content_type, struct buffer *body);
void http_answer_static(struct http_call *call, int status, const char *content_type,
                        const void *data, size_t size_bytes);
void http_answer_error(struct http_call *call, const struct api_error *err);
/* Takes over `stream`, also when it fails. */
void http_answer_stream(struct http_call *call, const char *content_type,
                        const struct http_stream_ops *ops, void *stream);

void http_add_header(struct MHD_Response *response, const char *name, const char *value);

#endif
