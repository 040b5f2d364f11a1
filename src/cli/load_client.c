#include "cli/load_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/net.h"
#include "base/os.h"
#include "text/json.h"

enum { READ_BYTES = 16384, LINE_MAX_BYTES = 1 << 20 };

enum quern_status load_target_parse(const char *url, struct load_target *out,
                                    struct quern_error *err) {
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, sizeof scheme - 1) != 0)
        return error_set(err, QUERN_ERR_ARG, "%s: expected http://HOST:PORT", url);
    const char *host = url + sizeof scheme - 1;
    const char *slash = strchr(host, '/');
    const char *end = slash ? slash : host + strlen(host);
    const char *name_end = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : host;
    const char *colon = name_end ? memchr(name_end, ':', (size_t)(end - name_end)) : NULL;
    const char *host_end = colon ? colon : end;
    size_t skip = *host == '[';
    size_t len = (size_t)(host_end - host);
    unsigned long port = colon ? strtoul(colon + 1, NULL, 10) : 80;
    if (len <= 2 * skip || len >= sizeof out->host || port < 1 || port > 65535 || !name_end)
        return error_set(err, QUERN_ERR_ARG, "%s: expected http://HOST:PORT", url);
    memcpy(out->host, host + skip, len - 2 * skip);
    out->host[len - 2 * skip] = '\0';
    out->port = (uint16_t)port;
    size_t rest = strlen(end);
    while (rest && end[rest - 1] == '/')
        rest--;
    snprintf(out->prefix, sizeof out->prefix, "%.*s", (int)rest, end);
    return QUERN_OK;
}

/* ---- reading ---------------------------------------------------------------------- */

/* Bytes of a response as they come. */
struct reader {
    int fd;
    char data[READ_BYTES];
    size_t at, n;
    bool chunked;
    size_t left; /* of the chunk, or of the body */
    bool ended;
    struct quern_error err;
};

static bool more(struct reader *r) {
    r->at = r->n = 0;
    if (net_receive(r->fd, r->data, sizeof r->data, &r->n, &r->err))
        return false;
    if (!r->n)
        error_set(&r->err, QUERN_ERR_IO, "the server closed the connection");
    return r->n > 0;
}

/* A line of the head, without its end. */
static bool read_line(struct reader *r, char *line, size_t size) {
    size_t len = 0;
    for (;;) {
        if (r->at == r->n && !more(r))
            return false;
        char c = r->data[r->at++];
        if (c == '\n')
            break;
        if (c != '\r' && len + 1 < size)
            line[len++] = c;
    }
    line[len] = '\0';
    return true;
}

static bool read_head(struct reader *r, int *status) {
    char line[1024];
    if (!read_line(r, line, sizeof line))
        return false;
    *status =
        strncmp(line, "HTTP/1.", 7) == 0 && strlen(line) > 9 ? (int)strtol(line + 9, NULL, 10) : 0;
    r->left = SIZE_MAX;
    while (read_line(r, line, sizeof line) && *line) {
        if (strncasecmp(line, "Transfer-Encoding: chunked", 26) == 0)
            r->chunked = true;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            r->left = strtoull(line + 15, NULL, 10);
    }
    if (r->chunked)
        r->left = 0;
    return *status > 0;
}

/* The next bytes of the body; false at its end, with r->ended when it is whole. */
static bool read_body(struct reader *r, struct str *out) {
    char line[64];
    if (!r->left && r->chunked) {
        if (!read_line(r, line, sizeof line))
            return false;
        if (!*line && !read_line(r, line, sizeof line)) /* the end of the chunk before */
            return false;
        r->left = strtoull(line, NULL, 16);
    }
    if (!r->left) {
        r->ended = true;
        return false;
    }
    if (r->at == r->n && !more(r)) {
        r->ended = r->left == SIZE_MAX - 1 || (!r->chunked && r->left > SIZE_MAX / 2);
        return false;
    }
    size_t n = r->n - r->at < r->left ? r->n - r->at : r->left;
    *out = (struct str){r->data + r->at, n};
    r->at += n;
    r->left -= n;
    return true;
}

/* ---- asking ------------------------------------------------------------------------- */

static enum quern_status send_request(const struct load_target *t, const char *method,
                                      const char *path, const struct buffer *body, int fd,
                                      struct quern_error *err) {
    struct buffer head;
    buffer_init(&head, SIZE_MAX / 4);
    buffer_printf(&head, "%s %s%s HTTP/1.1\r\nHost: %s:%u\r\nConnection: close\r\n", method,
                  t->prefix, path, t->host, t->port);
    if (t->key)
        buffer_printf(&head, "Authorization: Bearer %s\r\n", t->key);
    if (body)
        buffer_printf(&head, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
                      body->len);
    buffer_puts(&head, "\r\n");
    if (body)
        buffer_append_str(&head, buffer_str(body));
    enum quern_status status = buffer_status(&head, "the request", err);
    if (!status)
        status = net_send_all(fd, head.data, head.len, err);
    buffer_release(&head);
    return status;
}

enum quern_status load_get(const struct load_target *t, const char *path, int *http_status,
                           struct buffer *out, struct quern_error *err) {
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return error_nomem(err);
    struct str piece;
    enum quern_status status = net_connect(t->host, t->port, t->timeout_ms, &r->fd, err);
    if (status) {
        free(r);
        return status;
    }
    status = send_request(t, "GET", path, NULL, r->fd, err);
    if (!status && !read_head(r, http_status))
        status = error_set(err, QUERN_ERR_IO, "%s: %s", path, r->err.message);
    while (!status && read_body(r, &piece))
        buffer_append_str(out, piece);
    net_close(r->fd);
    free(r);
    return status;
}

/* ---- the stream --------------------------------------------------------------------------- */

void load_times_release(struct load_times *t) {
    free(t->at);
    *t = (struct load_times){0};
}

static bool add_time(struct load_times *t, double at) {
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 128;
        double *grown = realloc(t->at, capacity * sizeof *grown);
        if (!grown)
            return false;
        t->at = grown;
        t->capacity = capacity;
    }
    t->at[t->n++] = at;
    return true;
}

static size_t count_of(const json_t *object, const char *key) {
    json_int_t n = json_integer_value(json_object_get(object, key));
    return n > 0 ? (size_t)n : 0;
}

static void take_usage(const json_t *usage, struct load_answer *out) {
    if (!json_is_object(usage))
        return;
    out->prompt_tokens = count_of(usage, "prompt_tokens");
    out->completion_tokens = count_of(usage, "completion_tokens");
    out->cached_tokens = count_of(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

/* One line of the stream. */
static void take_line(struct str line, double now_s, struct load_answer *out) {
    static const char data[] = "data: ";
    if (!str_starts_with(line, STR_LIT("data: ")))
        return;
    line.ptr += sizeof data - 1;
    line.len -= sizeof data - 1;
    if (str_starts_with(line, STR_LIT("[DONE]"))) {
        out->complete = !out->problem[0];
        return;
    }
    json_t *event = NULL;
    if (json_parse(line.ptr, line.len, "event", &event, NULL))
        return;
    const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    const char *text = json_string_value(json_object_get(choice, "text"));
    if (text && *text)
        add_time(&out->pieces, now_s);
    const json_t *error = json_object_get(json_object_get(event, "error"), "message");
    if (json_is_string(error))
        snprintf(out->problem, sizeof out->problem, "%s", json_string_value(error));
    take_usage(json_object_get(event, "usage"), out);
    json_decref(event);
}

static void read_stream(struct reader *r, uint64_t began_ns, struct load_answer *out) {
    struct buffer line;
    struct str piece;
    buffer_init(&line, LINE_MAX_BYTES);
    while (read_body(r, &piece)) {
        double now_s = (double)(os_now_ns() - began_ns) * 1e-9;
        while (piece.len) {
            const char *end = memchr(piece.ptr, '\n', piece.len);
            size_t n = end ? (size_t)(end - piece.ptr) : piece.len;
            buffer_append(&line, piece.ptr, n);
            if (end) {
                take_line(buffer_str(&line), now_s, out);
                buffer_clear(&line);
            }
            n += end ? 1 : 0;
            piece.ptr += n;
            piece.len -= n;
        }
    }
    if (out->http_status != 200 && line.len)
        snprintf(out->problem, sizeof out->problem, "HTTP %d: %.*s", out->http_status,
                 (int)(line.len < 160 ? line.len : 160), line.data);
    buffer_release(&line);
}

void load_ask(const struct load_target *t, const struct buffer *body, struct load_answer *out) {
    struct quern_error err = {0};
    *out = (struct load_answer){0};
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return;
    uint64_t began_ns = os_now_ns();
    if (net_connect(t->host, t->port, t->timeout_ms, &r->fd, &err)) {
        snprintf(out->problem, sizeof out->problem, "%.199s", err.message);
        free(r);
        return;
    }
    if (send_request(t, "POST", "/v1/completions", body, r->fd, &err))
        snprintf(out->problem, sizeof out->problem, "%.199s", err.message);
    else if (!read_head(r, &out->http_status))
        snprintf(out->problem, sizeof out->problem, "%.199s", r->err.message);
    else
        read_stream(r, began_ns, out);
    if (!out->complete && !out->problem[0])
        snprintf(out->problem, sizeof out->problem, "%.199s",
                 r->err.code ? r->err.message : "the stream ended early");
    out->total_s = (double)(os_now_ns() - began_ns) * 1e-9;
    net_close(r->fd);
    free(r);
}
