#include "server/http_server.h"

#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "base/os.h"
#include "server/http_guard.h"

struct http_server {
    struct http_server_setup setup;
    struct MHD_Daemon *daemon;
    struct http_guard guard;
    atomic_int n_calls;
};

static uint64_t after(double seconds) {
    return os_now_ns() + (uint64_t)(seconds * 1e9);
}

static void set_timeout(struct http_call *call, double seconds) {
    MHD_set_connection_option(call->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                              (unsigned)ceil(seconds));
}

/* ---- requests: what may be asked of one ------------------------------------------- */

struct header_sums {
    size_t n, bytes, longest;
};

static enum MHD_Result sum_header(void *user, enum MHD_ValueKind kind, const char *key,
                                  const char *value) {
    struct header_sums *sums = user;
    (void)kind;
    /* ": " and the line's end */
    size_t line = strlen(key) + (value ? strlen(value) : 0) + 4;
    sums->n++;
    sums->bytes += line;
    if (line > sums->longest)
        sums->longest = line;
    return MHD_YES;
}

static enum quern_status check_headers(struct http_call *call, struct api_error *err) {
    const struct http_server_setup *s = &call->server->setup;
    struct header_sums sums = {.bytes = strlen(call->path), .longest = strlen(call->path)};
    MHD_get_connection_values(call->connection, MHD_HEADER_KIND, sum_header, &sums);
    if (sums.n > s->header_fields || sums.bytes > s->header_bytes ||
        sums.longest > s->header_line_bytes)
        return api_fail(err, API_HEADERS_TOO_LARGE, NULL,
                        "The request's headers are too large: %zu fields of %zu bytes, the longest "
                        "%zu; at most %zu of %zu bytes, %zu each, are read.",
                        sums.n, sums.bytes, sums.longest, s->header_fields, s->header_bytes,
                        s->header_line_bytes);
    const char *length = http_header(call, "Content-Length");
    errno = 0;
    if (length && (strtoull(length, NULL, 10) > s->body_bytes || errno))
        return api_fail(err, API_TOO_LARGE, NULL,
                        "The request has %.20s bytes; at most %zu are read.", length,
                        s->body_bytes);
    return QUERN_OK;
}

/* ---- connections and calls ----------------------------------------------------------- */

static void on_connection(void *user, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code) {
    struct http_server *s = user;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct http_connection *c = *slot;
        if (!c)
            return;
        http_guard_remove(&s->guard, c);
        if (c->has_waker)
            waker_close(&c->waker);
        free(c);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_connection *c = calloc(1, sizeof *c);
    *slot = c;
    if (!c || !info)
        return; /* every request of it is refused for want of memory */
    http_guard_add(&s->guard, c, info->connect_fd, after(s->setup.header_timeout_s));
}

/* The request line has been read. */
static void *on_request_line(void *user, const char *uri, struct MHD_Connection *connection) {
    struct http_server *s = user;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    /* Decoded, it would end the path for everybody who looks at it later. */
    call->has_zero_byte = strstr(uri, "%00") != NULL;
    call->server = s;
    call->connection = connection;
    call->began_ns = os_now_ns();
    call->slot = info ? info->socket_context : NULL;
    call->peer_fd = call->slot ? call->slot->fd : -1;
    buffer_init(&call->body, s->setup.body_bytes);
    if (call->slot)
        http_guard_set_deadline(&s->guard, call->slot, after(s->setup.header_timeout_s));
    return call;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code) {
    struct http_server *s = user;
    struct http_call *call = *context;
    (void)connection;
    if (!call)
        return;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        call->client_left = true;
    if (call->admitted) {
        if (s->setup.done)
            s->setup.done(s->setup.user, call);
        atomic_fetch_sub(&s->n_calls, 1);
    }
    if (call->slot) {
        /* Until the next request: idle, then its headers. */
        http_guard_set_deadline(&s->guard, call->slot,
                                after(s->setup.idle_timeout_s + s->setup.header_timeout_s));
        set_timeout(call, s->setup.idle_timeout_s);
    }
    buffer_release(&call->body);
    free(call);
    *context = NULL;
}

static enum quern_status begin_call(struct http_call *call, struct api_error *err) {
    struct http_server *s = call->server;
    if (!call->slot)
        return api_nomem(err);
    if (!call->slot->has_waker) {
        if (waker_open(&call->slot->waker, NULL))
            return api_fail(err, API_UNAVAILABLE, NULL, "The server has no descriptors left.");
        call->slot->has_waker = true;
    }
    call->waker = &call->slot->waker;
    if (call->has_zero_byte)
        return api_fail(err, API_NOT_FOUND, NULL, "Invalid URL: it contains a zero byte.");
    enum quern_status status = check_headers(call, err);
    return status ? status : s->setup.admit(s->setup.user, call, err);
}

static enum MHD_Result on_headers(struct http_call *call, const char *url, const char *method) {
    struct http_server *s = call->server;
    struct api_error err;
    call->path = url;
    call->method = method;
    call->admitted = true; /* counted, and logged at its end */
    atomic_fetch_add(&s->n_calls, 1);
    http_guard_set_deadline(&s->guard, call->slot, after(s->setup.body_timeout_s));
    if (begin_call(call, &err))
        http_answer_error(call, &err);
    else
        set_timeout(call, s->setup.body_timeout_s);
    return call->answered || !call->status ? MHD_YES : MHD_NO;
}

static void on_body(struct http_call *call) {
    struct http_server *s = call->server;
    struct api_error err;
    http_guard_set_deadline(&s->guard, call->slot, 0);
    set_timeout(call, 0);
    if (call->body.failed == QUERN_ERR_LIMIT) {
        api_fail(&err, API_TOO_LARGE, NULL, "The request has more than %zu bytes.",
                 s->setup.body_bytes);
        http_answer_error(call, &err);
    } else if (call->body.failed) {
        api_nomem(&err);
        http_answer_error(call, &err);
    } else {
        s->setup.handle(s->setup.user, call);
    }
    set_timeout(call, s->setup.write_timeout_s);
}

static enum MHD_Result on_access(void *user, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload,
                                 size_t *upload_size, void **context) {
    struct http_call *call = *context;
    (void)user, (void)connection, (void)version;
    if (!call || !call->slot)
        return MHD_NO;
    if (!call->admitted)
        return on_headers(call, url, method);
    if (*upload_size) {
        /* Beyond the limit nothing is kept; the answer has to wait for the end of the body. */
        buffer_append(&call->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    if (!call->answered)
        on_body(call);
    return call->answered ? MHD_YES : MHD_NO;
}

/* ---- answers -------------------------------------------------------------------------- */

const char *http_header(const struct http_call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
}

void http_add_header(struct MHD_Response *response, const char *name, const char *value) {
    MHD_add_response_header(response, name, value);
}

static void queue(struct http_call *call, int status, const char *content_type,
                  struct MHD_Response *response) {
    const struct http_server_setup *s = &call->server->setup;
    call->status = status;
    if (!response)
        return;
    MHD_add_response_header(response, "Content-Type", content_type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (call->request_id[0])
        MHD_add_response_header(response, "X-Request-Id", call->request_id);
    for (const struct http_field *f = call->fields; f && f->name; f++)
        MHD_add_response_header(response, f->name, f->value);
    if (call->etag[0])
        MHD_add_response_header(response, "ETag", call->etag);
    if (s->decorate)
        s->decorate(s->user, call, response);
    call->answered = MHD_queue_response(call->connection, (unsigned)status, response) == MHD_YES;
    MHD_destroy_response(response);
}

void http_answer(struct http_call *call, int status, const char *content_type,
                 struct buffer *body) {
    struct api_error err;
    if (body->failed) {
        buffer_release(body);
        api_nomem(&err);
        http_answer_error(call, &err);
        return;
    }
    size_t len = 0;
    char *data = buffer_detach(body, &len);
    struct MHD_Response *response =
        data ? MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response)
        free(data);
    queue(call, status, content_type, response);
}

void http_answer_static(struct http_call *call, int status, const char *content_type,
                        const void *data, size_t size_bytes) {
    queue(call, status, content_type,
          MHD_create_response_from_buffer(size_bytes, (void *)(uintptr_t)data,
                                          MHD_RESPMEM_PERSISTENT));
}

void http_answer_error(struct http_call *call, const struct api_error *err) {
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    call->server->setup.write_error(call->server->setup.user, call, err, &body);
    size_t len = body.len;
    char *data = buffer_detach(&body, NULL);
    buffer_release(&body);
    struct MHD_Response *response =
        data ? MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE) : NULL;
    if (!response)
        free(data);
    if (response && err->retry_after_s) {
        char text[16];
        number_print(text, sizeof text, "%d", err->retry_after_s);
        MHD_add_response_header(response, "Retry-After", text);
    }
    if (response && err->kind == API_NO_KEY)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    queue(call, api_error_http_status(err->kind), "application/json", response);
}

/* ---- streams ----------------------------------------------------------------------------- */

struct stream_state {
    struct http_call *call;
    const struct http_stream_ops *ops;
    void *stream;
    struct buffer out;
    size_t sent;
    bool ended;
};

static ssize_t read_stream(void *user, uint64_t position, char *to, size_t size) {
    struct stream_state *st = user;
    (void)position;
    if (st->sent == st->out.len) {
        buffer_clear(&st->out);
        st->sent = 0;
        /* The handler may wait for long: that is not the client's silence. */
        set_timeout(st->call, 0);
        while (!st->ended && !st->out.len)
            st->ended = !st->ops->next(st->stream, st->call, &st->out);
        set_timeout(st->call, st->call->server->setup.write_timeout_s);
        if (st->out.failed || st->call->client_left)
            return MHD_CONTENT_READER_END_WITH_ERROR;
        if (!st->out.len)
            return MHD_CONTENT_READER_END_OF_STREAM;
    }
    size_t n = st->out.len - st->sent < size ? st->out.len - st->sent : size;
    memcpy(to, st->out.data + st->sent, n);
    st->sent += n;
    return (ssize_t)n;
}

static void free_stream(void *user) {
    struct stream_state *st = user;
    st->ops->destroy(st->stream);
    buffer_release(&st->out);
    free(st);
}

/* What one call of the content reader may fill. */
enum { STREAM_BLOCK_BYTES = 16384 };

void http_answer_stream(struct http_call *call, const char *content_type,
                        const struct http_stream_ops *ops, void *stream) {
    struct stream_state *st = calloc(1, sizeof *st);
    struct MHD_Response *response = NULL;
    if (st) {
        *st = (struct stream_state){.call = call, .ops = ops, .stream = stream};
        buffer_init(&st->out, SIZE_MAX / 4);
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                     read_stream, st, free_stream);
    }
    if (!response) {
        ops->destroy(stream);
        free(st);
    } else {
        MHD_add_response_header(response, "Cache-Control", "no-cache");
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    queue(call, 200, content_type, response);
}

/* ---- the server ----------------------------------------------------------------------------- */

/* Stacks are touched only as deep as they are used; templates nest. */
enum { STACK_BYTES = 2 << 20 };

/* In GnuTLS's words: nothing older than TLS 1.2. */
static const char TLS_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

static struct MHD_Daemon *start_daemon(struct http_server *s) {
    const struct http_server_setup *u = &s->setup;
    /* Room beyond the limit, so that a request a little too large is answered by us and told why.
     */
    size_t memory = 2 * u->header_bytes + 16384;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)u->tls_certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)u->tls_key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    if (u->tls_certificate)
        flags |= MHD_USE_TLS;
    else
        tls[0].option = MHD_OPTION_END;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, s, MHD_OPTION_ARRAY, tls, MHD_OPTION_LISTEN_SOCKET,
        u->listener.fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_CONNECTION_LIMIT, u->max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ceil(u->idle_timeout_s),
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
}

enum quern_status http_server_start(const struct http_server_setup *setup, struct http_server **out,
                                    struct quern_error *err) {
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    s->setup = *setup;
    enum quern_status status = http_guard_start(&s->guard, err);
    if (status) {
        free(s);
        return status;
    }
    s->daemon = start_daemon(s);
    if (!s->daemon) {
        http_guard_stop(&s->guard);
        free(s);
        return setup->tls_certificate
                   ? error_set(err, QUERN_ERR_IO,
                               "the HTTPS server could not be started: the certificate and the key "
                               "cannot be read or are not of one pair%s",
                               MHD_is_feature_supported(MHD_FEATURE_TLS) == MHD_YES
                                   ? ""
                                   : ", or rather: this libmicrohttpd has no TLS")
                   : error_set(err, QUERN_ERR_IO, "the HTTP server could not be started: %s",
                               strerror(errno));
    }
    *out = s;
    return QUERN_OK;
}

void http_server_stop(struct http_server *s) {
    if (!s)
        return;
    MHD_stop_daemon(s->daemon);
    http_guard_stop(&s->guard);
    free(s);
}

int http_server_n_calls(struct http_server *s) {
    return atomic_load(&s->n_calls);
}

int http_server_n_connections(struct http_server *s) {
    mutex_lock(&s->guard.lock);
    int n = s->guard.n_connections;
    mutex_unlock(&s->guard.lock);
    return n;
}
