#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Where the system does not tell of a half-closed connection, only a whole end is seen. */
#ifndef POLLRDHUP
#define POLLRDHUP 0
#endif

static enum quern_status resolve(const char *host, uint16_t port, bool passive,
                                 struct addrinfo **out, struct quern_error *err) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    int code = getaddrinfo(host, service, &hints, out);
    if (code)
        return error_set(err, QUERN_ERR_IO, "%s: %s", host, gai_strerror(code));
    return QUERN_OK;
}

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, a, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, a, sizeof v6);
        return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
    }
    return false;
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    if (getsockname(fd, (struct sockaddr *)&a, &len))
        return 0;
    in_port_t port = 0;
    if (a.ss_family == AF_INET)
        memcpy(&port, (const char *)&a + offsetof(struct sockaddr_in, sin_port), sizeof port);
    else if (a.ss_family == AF_INET6)
        memcpy(&port, (const char *)&a + offsetof(struct sockaddr_in6, sin6_port), sizeof port);
    return ntohs(port);
}

/* Returns -1 with errno set. */
static int listen_on(const struct addrinfo *a, int backlog) {
    int fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

enum quern_status net_listen(const char *host, uint16_t port, int backlog, struct net_listener *out,
                             struct quern_error *err) {
    struct addrinfo *list = NULL;
    enum quern_status status = resolve(host, port, true, &list, err);
    if (status)
        return status;
    int fd = -1, failure = 0;
    const struct addrinfo *a = list;
    for (; a; a = a->ai_next) {
        fd = listen_on(a, backlog);
        failure = errno;
        if (fd >= 0)
            break;
    }
    if (fd < 0)
        status = error_set(err, QUERN_ERR_IO, "cannot listen on %s, port %u: %s", host, port,
                           strerror(failure));
    else
        *out = (struct net_listener){fd, port_of(fd), is_loopback(a->ai_addr)};
    freeaddrinfo(list);
    return status;
}

/* ---- clients ------------------------------------------------------------------- */

static void set_limits(int fd, int64_t timeout_ms) {
    struct timeval limit = {.tv_sec = (time_t)(timeout_ms / 1000),
                            .tv_usec = (suseconds_t)(timeout_ms % 1000 * 1000)};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    /* On Linux this one also limits connect. */
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

enum quern_status net_connect(const char *host, uint16_t port, int64_t timeout_ms, int *out,
                              struct quern_error *err) {
    struct addrinfo *list = NULL;
    enum quern_status status = resolve(host, port, false, &list, err);
    if (status)
        return status;
    int fd = -1, failure = ECONNREFUSED;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd < 0) {
            failure = errno;
            continue;
        }
        set_limits(fd, timeout_ms);
        if (connect(fd, a->ai_addr, a->ai_addrlen)) {
            failure = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        return error_set(err, QUERN_ERR_IO, "cannot connect to %s, port %u: %s", host, port,
                         strerror(failure));
    *out = fd;
    return QUERN_OK;
}

enum quern_status net_send_all(int fd, const void *data, size_t size_bytes,
                               struct quern_error *err) {
    const char *p = data;
    while (size_bytes) {
        ssize_t n = send(fd, p, size_bytes, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, QUERN_ERR_IO, "cannot send: %s", strerror(errno));
        p += n;
        size_bytes -= (size_t)n;
    }
    return QUERN_OK;
}

enum quern_status net_receive(int fd, void *data, size_t size_bytes, size_t *n,
                              struct quern_error *err) {
    for (;;) {
        ssize_t got = recv(fd, data, size_bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, QUERN_ERR_IO, "cannot receive: %s",
                             errno == EAGAIN ? "nothing came in time" : strerror(errno));
        *n = (size_t)got;
        return QUERN_OK;
    }
}

void net_close(int fd) {
    if (fd >= 0)
        close(fd);
}

void net_shutdown(int fd) {
    shutdown(fd, SHUT_RDWR);
}

/* ---- the bell ---------------------------------------------------------------------- */

enum quern_status waker_open(struct waker *w, struct quern_error *err) {
    if (pipe(w->fds))
        return error_set(err, QUERN_ERR_IO, "cannot open a pipe: %s", strerror(errno));
    atomic_init(&w->rung, false);
    for (int i = 0; i < 2; i++) {
        fcntl(w->fds[i], F_SETFD, FD_CLOEXEC);
        fcntl(w->fds[i], F_SETFL, O_NONBLOCK);
    }
    return QUERN_OK;
}

void waker_close(struct waker *w) {
    close(w->fds[0]);
    close(w->fds[1]);
}

void waker_ring(struct waker *w) {
    /* One byte is enough for any number of rings: the pipe never fills. */
    if (atomic_exchange(&w->rung, true))
        return;
    char byte = 1;
    ssize_t n;
    do
        n = write(w->fds[1], &byte, 1);
    while (n < 0 && errno == EINTR);
}

enum waker_event waker_wait(struct waker *w, int peer_fd, int64_t timeout_ms) {
    struct pollfd fds[2] = {{.fd = w->fds[0], .events = POLLIN},
                            {.fd = peer_fd, .events = POLLRDHUP}};
    int timeout = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    int n = poll(fds, peer_fd >= 0 ? 2 : 1, timeout);
    if (n < 0)
        return WAKER_RUNG; /* a signal: whoever waits looks again */
    if (peer_fd >= 0 && fds[1].revents)
        return WAKER_PEER_GONE;
    if (!n)
        return WAKER_TIMEOUT;
    char byte;
    if (read(w->fds[0], &byte, 1) == 1)
        atomic_store(&w->rung, false);
    return WAKER_RUNG;
}
