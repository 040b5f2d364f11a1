/* load_client.h - one streamed completion asked of a server by a plain socket, timed. */
#ifndef QUERN_CLI_LOAD_CLIENT_H
#define QUERN_CLI_LOAD_CLIENT_H

#include <stdint.h>

#include "base/buffer.h"

struct load_target {
    char host[256];
    uint16_t port;
    char prefix[256];  /* of paths; "" or "/..." */
    const char *model; /* or NULL */
    const char *key;   /* or NULL */
    int64_t timeout_ms;
};

/* "http://host:port/prefix"; without a port: 80. */
enum quern_status load_target_parse(const char *url, struct load_target *out,
                                    struct quern_error *err);

/* A GET; the body is appended to *out. */
enum quern_status load_get(const struct load_target *t, const char *path, int *http_status,
                           struct buffer *out, struct quern_error *err);

struct load_times {
    double *at; /* [n] seconds from sending to each piece of text; own */
    size_t n, capacity;
};
void load_times_release(struct load_times *t);

/* How one request went. */
struct load_answer {
    int http_status; /* 0: the connection failed */
    bool complete;
    double total_s;
    struct load_times pieces;
    size_t prompt_tokens, cached_tokens, completion_tokens;
    char problem[200]; /* why it is not complete */
};

/* Sends `body` to /v1/completions and reads the stream to its end. */
void load_ask(const struct load_target *t, const struct buffer *body, struct load_answer *out);

#endif
