/* net.h - TCP sockets, thin over the system: listening, connecting, and waiting for a peer and for
 * another thread at once. */
#ifndef QUERN_BASE_NET_H
#define QUERN_BASE_NET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct net_listener {
    int fd;
    uint16_t port;    /* the one bound, also when 0 was asked for */
    bool is_loopback; /* reachable from this machine only */
};

/* `host`: a name or an address, IPv4 or IPv6. The socket is closed on exec. */
enum quern_status net_listen(const char *host, uint16_t port, int backlog, struct net_listener *out,
                             struct quern_error *err);

/* Connects within timeout_ms; sending and receiving on *fd block, with the same limit. */
enum quern_status net_connect(const char *host, uint16_t port, int64_t timeout_ms, int *fd,
                              struct quern_error *err);
enum quern_status net_send_all(int fd, const void *data, size_t size_bytes,
                               struct quern_error *err);
/* At least one byte, or *n 0 at the end. */
enum quern_status net_receive(int fd, void *data, size_t size_bytes, size_t *n,
                              struct quern_error *err);
void net_close(int fd); /* -1 is fine */
/* Ends both directions without closing: whoever waits on the socket sees its end. */
void net_shutdown(int fd);

/* A bell that any thread may ring, also under a lock or from a signal handler. */
struct waker {
    int fds[2];
    atomic_bool rung;
};
enum quern_status waker_open(struct waker *w, struct quern_error *err);
void waker_close(struct waker *w);
void waker_ring(struct waker *w);

enum waker_event {
    WAKER_RUNG,
    WAKER_PEER_GONE, /* the peer closed its side of the connection */
    WAKER_TIMEOUT,
};
/* Waits for the bell, for the end of the peer on socket `peer_fd` (-1: none), or timeout_ms
 * (negative: for ever). A ring is taken by one wait. */
enum waker_event waker_wait(struct waker *w, int peer_fd, int64_t timeout_ms);

#endif
