/* http_guard.h - deadlines of connections: a request whose headers or body come too slowly ends,
 * however steadily it trickles. One thread watches over all connections. */
#ifndef QUERN_SERVER_HTTP_GUARD_H
#define QUERN_SERVER_HTTP_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/net.h"
#include "base/sync.h"

/* A connection's place in the list of the guard. */
struct http_connection {
    struct http_connection *next, **link;
    int fd;
    uint64_t deadline_ns; /* 0: none */
    struct waker waker;
    bool has_waker;
};

struct http_guard {
    struct mutex lock;
    struct condition changed;
    struct thread thread;
    struct http_connection *first;
    int n_connections;
    bool stop;
};

enum quern_status http_guard_start(struct http_guard *g, struct quern_error *err);
void http_guard_stop(struct http_guard *g); /* all connections must have been removed */

void http_guard_add(struct http_guard *g, struct http_connection *c, int fd, uint64_t deadline_ns);
/* Once it returns, the guard does not touch the descriptor. */
void http_guard_remove(struct http_guard *g, struct http_connection *c);
void http_guard_set_deadline(struct http_guard *g, struct http_connection *c, uint64_t deadline_ns);

#endif
