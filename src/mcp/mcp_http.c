/* mcp_http.c - a server reached by HTTP: each message a POST, answered by JSON or by server-sent
 * events ("streamable HTTP"). */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/os.h"
#include "mcp/mcp_transport.h"

enum { CONNECT_MS = 10000, HEADER_BYTES = 512, GOODBYE_MS = 1000 };

struct http {
    CURL *curl;
    const struct mcp_server *server;
    char session[HEADER_BYTES], version[64]; /* "" : none yet */
    /* of the transfer going on */
    struct mcp_exchange *x;
    bool is_stream; /* server-sent events */
    struct buffer body;
    char why[CURL_ERROR_SIZE];
};

/* ---- what comes in ------------------------------------------------------------------------- */

/* The value of a header line of this name. */
static bool header_value(struct str line, const char *name, struct str *value) {
    const size_t n = strlen(name);
    if (line.len <= n || strncasecmp(line.ptr, name, n) != 0 || line.ptr[n] != ':')
        return false;
    line = (struct str){line.ptr + n + 1, line.len - n - 1};
    while (line.len && strchr(" \t", *line.ptr))
        line.ptr++, line.len--;
    while (line.len && strchr("\r\n \t", line.ptr[line.len - 1]))
        line.len--;
    *value = line;
    return true;
}

static size_t on_header(char *data, size_t size, size_t n, void *user) {
    struct http *h = user;
    struct str line = {data, size * n}, value;
    if (header_value(line, "mcp-session-id", &value) && value.len < sizeof h->session) {
        memcpy(h->session, value.ptr, value.len);
        h->session[value.len] = '\0';
    }
    if (header_value(line, "content-type", &value))
        h->is_stream = str_starts_with(value, STR_LIT("text/event-stream"));
    return line.len;
}

/* The data lines of one event, joined. */
static void take_event(struct http *h, struct str event) {
    struct buffer data;
    buffer_init(&data, MCP_MESSAGE_BYTES_MAX);
    while (event.len) {
        const char *end = memchr(event.ptr, '\n', event.len);
        struct str line = {event.ptr, end ? (size_t)(end - event.ptr) : event.len}, value;
        event.ptr += line.len + (end != NULL);
        event.len -= line.len + (end != NULL);
        if (header_value(line, "data", &value)) {
            if (data.len)
                buffer_putc(&data, '\n');
            buffer_append_str(&data, value);
        }
    }
    if (data.len && !data.failed)
        mcp_take_message(h->x, buffer_str(&data));
    buffer_release(&data);
}

/* Events end with an empty line. */
static void take_events(struct http *h) {
    size_t begin = 0, line = 0;
    for (size_t i = 0; i < h->body.len; i++) {
        if (h->body.data[i] != '\n')
            continue;
        const bool empty = i == line || (i == line + 1 && h->body.data[line] == '\r');
        if (empty) {
            take_event(h, (struct str){h->body.data + begin, i - begin});
            begin = i + 1;
        }
        line = i + 1;
    }
    if (!begin)
        return;
    memmove(h->body.data, h->body.data + begin, h->body.len - begin);
    h->body.len -= begin;
    h->body.data[h->body.len] = '\0';
}

/* Ends the transfer once the reply is there: a stream may stay open. */
static size_t on_body(char *data, size_t size, size_t n, void *user) {
    struct http *h = user;
    if (buffer_append(&h->body, data, size * n))
        return 0;
    if (h->is_stream && h->x)
        take_events(h);
    return h->x && h->x->reply ? 0 : size * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct http *h = user;
    (void)a, (void)b, (void)c, (void)d;
    return h->x && mcp_check_time(h->x, NULL) != QUERN_OK;
}

/* ---- requests --------------------------------------------------------------------------------- */

static struct curl_slist *append_line(struct curl_slist *list, const char *line) {
    struct curl_slist *longer = curl_slist_append(list, line);
    return longer ? longer : list;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value) {
    char line[HEADER_BYTES + 64];
    snprintf(line, sizeof line, "%s: %s", name, value);
    return append_line(list, line);
}

static struct curl_slist *make_headers(const struct http *h) {
    struct curl_slist *list = add_header(NULL, "Content-Type", "application/json");
    list = add_header(list, "Accept", "application/json, text/event-stream");
    list = add_header(list, "Expect", "");
    if (*h->session)
        list = add_header(list, "Mcp-Session-Id", h->session);
    if (*h->version)
        list = add_header(list, "MCP-Protocol-Version", h->version);
    for (size_t i = 0; h->server->headers && h->server->headers[i]; i++)
        list = append_line(list, h->server->headers[i]);
    return list;
}

/* The HTTP status, 0 when there is none: h->why says why. `method` NULL: POST of `message`. */
static long transfer(struct http *h, const char *method, struct str message, int64_t timeout_ms) {
    CURL *curl = h->curl;
    struct curl_slist *headers = make_headers(h);
    long code = 0;
    curl_easy_reset(curl);
    h->is_stream = false;
    h->why[0] = '\0';
    buffer_clear(&h->body);
    curl_easy_setopt(curl, CURLOPT_URL, h->server->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, h->why);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, h);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, h);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (method) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    } else {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, message.ptr);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)message.len);
    }
    const CURLcode result = curl_easy_perform(curl);
    const bool ended_by_us = result == CURLE_WRITE_ERROR && h->x && h->x->reply;
    if (result == CURLE_OK || ended_by_us)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    else if (!h->why[0])
        snprintf(h->why, sizeof h->why, "%s", curl_easy_strerror(result));
    curl_slist_free_all(headers);
    return code;
}

static enum quern_status post(struct http *h, struct mcp_exchange *x, struct str message,
                              struct quern_error *err) {
    const uint64_t now = os_now_ns();
    const int64_t left_ms = x->until_ns > now ? (int64_t)((x->until_ns - now) / 1000000u) + 1 : 1;
    h->x = x;
    const long code = transfer(h, NULL, message, left_ms);
    h->x = NULL;
    if (code == 0 && mcp_check_time(x, err))
        return err ? err->code : QUERN_ERR_LIMIT;
    if (code == 0)
        return error_set(err, QUERN_ERR_IO, "%s", h->why);
    if (code < 200 || code > 299)
        return error_set(err, QUERN_ERR_IO, "it answers with HTTP status %ld%s%.200s", code,
                         h->body.len ? ": " : "", h->body.data ? h->body.data : "");
    if (!h->is_stream && h->body.len)
        mcp_take_message(x, buffer_str(&h->body));
    return QUERN_OK;
}

/* What the server has asked meanwhile is answered by a post of its own. */
static enum quern_status answer_server(struct http *h, struct mcp_exchange *x,
                                       struct quern_error *err) {
    struct mcp_exchange silent = {.id = -1, .until_ns = x->until_ns, .stop = x->stop};
    struct str rest = buffer_str(&x->own);
    enum quern_status status = QUERN_OK;
    while (!status && rest.len) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        const size_t n = end ? (size_t)(end - rest.ptr) : rest.len;
        buffer_init(&silent.own, 0);
        status = post(h, &silent, (struct str){rest.ptr, n}, err);
        buffer_release(&silent.own);
        rest = (struct str){rest.ptr + n + (end != NULL), rest.len - n - (end != NULL)};
    }
    buffer_clear(&x->own);
    return status;
}

static enum quern_status exchange(void *state, struct mcp_exchange *x, struct quern_error *err) {
    struct http *h = state;
    enum quern_status status = post(h, x, x->message, err);
    if (!status && x->own.len)
        status = answer_server(h, x, err);
    if (!status && x->id >= 0 && !x->reply)
        status = error_set(err, QUERN_ERR_FORMAT, "the answer holds no reply to the request");
    return status;
}

static void set_version(void *state, const char *version) {
    struct http *h = state;
    snprintf(h->version, sizeof h->version, "%s", version);
}

static void close_http(void *state) {
    struct http *h = state;
    if (*h->session)
        transfer(h, "DELETE", (struct str){0}, GOODBYE_MS);
    curl_easy_cleanup(h->curl);
    buffer_release(&h->body);
    free(h);
}

enum quern_status mcp_http_open(const struct mcp_server *server, struct mcp_transport *out,
                                struct quern_error *err) {
    static const struct mcp_transport_ops ops = {exchange, set_version, close_http};
    struct http *h = calloc(1, sizeof *h);
    if (!h)
        return error_nomem(err);
    h->curl = curl_easy_init();
    h->server = server;
    buffer_init(&h->body, MCP_MESSAGE_BYTES_MAX);
    if (!h->curl) {
        free(h);
        return error_nomem(err);
    }
    *out = (struct mcp_transport){&ops, h};
    return QUERN_OK;
}
