/* server.c - a server's life, and what happens to every request before and after its endpoint. */
#include "server/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/os.h"
#include "openai/anthropic_writer.h"
#include "server/host_check.h"
#include "server/server_core.h"
#include "server/tls_files.h"

/* ---- admission -------------------------------------------------------------------- */

/* "Authorization: Bearer KEY" as OpenAI has it, "x-api-key: KEY" as Anthropic does. */
static struct str key_of(const struct http_call *call) {
    static const char bearer[] = "Bearer ";
    const char *header = http_header(call, "Authorization");
    if (header && strncasecmp(header, bearer, sizeof bearer - 1) == 0)
        return str_from(header + sizeof bearer - 1);
    header = http_header(call, "x-api-key");
    return header ? str_from(header) : (struct str){0};
}

static enum quern_status check_key(struct server *s, struct http_call *call,
                                   struct api_error *err) {
    if (!s->keys.n)
        return QUERN_OK;
    struct str given = key_of(call);
    const struct api_key *key = api_keys_find(&s->keys, given);
    if (!key)
        return api_fail(err, API_NO_KEY, NULL, "%s",
                        given.len ? "Incorrect API key provided."
                                  : "You didn't provide an API key. Send it in the Authorization "
                                    "header (Authorization: Bearer YOUR_KEY).");
    call->principal = (void *)(uintptr_t)key;
    /* What one key's requests have put into the prefix cache, another's cannot find. */
    snprintf(call->salt, sizeof call->salt, "key %zu", (size_t)(key - s->keys.keys) + 1);
    return QUERN_OK;
}

static bool origin_is_allowed(const struct server *s, const char *origin) {
    for (size_t i = 0; origin && i < s->config->cors_origins.n; i++)
        if (strcmp(s->config->cors_origins.items[i], "*") == 0 ||
            strcmp(s->config->cors_origins.items[i], origin) == 0)
            return true;
    return false;
}

/* A browser lets any page post to this machine, without letting it read the answer: enough to keep
 * the server busy. It says whose page it is. */
static enum quern_status check_origin(const struct server *s, const struct http_call *call,
                                      const char *host, struct api_error *err) {
    const char *origin = http_header(call, "Origin");
    const bool changes = strcmp(call->method, "POST") == 0 || strcmp(call->method, "DELETE") == 0;
    if (!origin || !changes || origin_is_allowed(s, origin) || origin_is_host(origin, host))
        return QUERN_OK;
    return api_fail(err, API_BAD_HOST, NULL,
                    "Pages of '%.100s' may not use this server; --cors-origin lets them.", origin);
}

static const struct route preflight = {"OPTIONS", "", endpoint_preflight, ROUTE_PUBLIC};

static enum quern_status find_route(struct server *s, struct http_call *call,
                                    struct api_error *err) {
    bool known_path;
    const struct route *route = route_find(call->method, call->path, &known_path);
    if (!route && known_path && strcmp(call->method, "OPTIONS") == 0 &&
        origin_is_allowed(s, http_header(call, "Origin")))
        route = &preflight;
    call->route = (void *)(uintptr_t)route;
    /* Whoever has no key learns nothing about paths either. */
    if (!route || !(route->flags & ROUTE_PUBLIC)) {
        enum quern_status status = check_key(s, call, err);
        if (status)
            return status;
    }
    if (!route && known_path)
        return api_fail(err, API_BAD_METHOD, NULL, "Not allowed to %s on %.200s.", call->method,
                        call->path);
    if (!route)
        return api_fail(err, API_NOT_FOUND, NULL, "Invalid URL (%s %.200s)", call->method,
                        call->path);
    return QUERN_OK;
}

/* Running programs is no business of other pages, not even of those that may ask the model. */
static enum quern_status check_own_page(const struct http_call *call, const char *host,
                                        struct api_error *err) {
    const char *origin = http_header(call, "Origin");
    const struct route *route = call->route;
    if (!(route->flags & ROUTE_OWN_PAGE) || !origin || origin_is_host(origin, host))
        return QUERN_OK;
    return api_fail(err, API_BAD_HOST, NULL, "Pages of '%.100s' may not use this server's tools.", origin);
}

static enum quern_status admit(void *user, struct http_call *call, struct api_error *err) {
    struct server *s = user;
    const struct server_config *c = s->config;
    snprintf(call->request_id, sizeof call->request_id, "req_%016" PRIx64, os_random());
    const char *host = http_header(call, "Host");
    bool check_host = s->listener.is_loopback || c->allowed_hosts.n;
    if (check_host && !host_is_allowed(host, c->host, &c->allowed_hosts))
        return api_fail(err, API_BAD_HOST, NULL,
                        "This server does not answer to the name '%.100s'; --allowed-host lets it.",
                        host ? host : "");
    enum quern_status status = check_origin(s, call, host, err);
    if (!status)
        status = find_route(s, call, err);
    if (!status)
        status = check_own_page(call, host, err);
    if (status)
        return status;
    const struct route *route = call->route;
    if ((route->flags & ROUTE_WORK) && atomic_load(&s->draining)) {
        api_fail(err, API_UNAVAILABLE, NULL, "The server is shutting down.");
        err->retry_after_s = (int)c->drain_timeout_s + 1;
        return QUERN_ERR_STATE;
    }
    return QUERN_OK;
}

static void handle(void *user, struct http_call *call) {
    const struct route *route = call->route;
    route->handle(user, call);
}

static void decorate(void *user, struct http_call *call, struct MHD_Response *response) {
    struct server *s = user;
    const char *origin = http_header(call, "Origin");
    if (!origin_is_allowed(s, origin))
        return;
    http_add_header(response, "Access-Control-Allow-Origin", origin);
    http_add_header(response, "Vary", "Origin");
    if (call->route != &preflight)
        return;
    http_add_header(response, "Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS");
    http_add_header(response, "Access-Control-Allow-Headers",
                    "Authorization, Content-Type, x-api-key, anthropic-version, anthropic-beta");
    http_add_header(response, "Access-Control-Max-Age", "600");
}

static void write_error(void *user, const struct http_call *call, const struct api_error *err,
                        struct buffer *out) {
    static const char messages[] = "/v1/messages";
    (void)user;
    if (call->path && strncmp(call->path, messages, sizeof messages - 1) == 0)
        anthropic_write_error(err, call->request_id, out);
    else
        api_error_write(err, out);
}

void endpoint_preflight(struct server *s, struct http_call *call) {
    struct buffer none;
    (void)s;
    buffer_init(&none, 16);
    http_answer(call, 204, "text/plain", &none);
}

static void done(void *user, struct http_call *call) {
    struct server *s = user;
    int status = call->client_left && !call->status ? 499 : call->status;
    metrics_count_response(&s->metrics, status, call->client_left);
    if (s->log.form == SERVER_LOG_OFF)
        return;
    const struct api_key *key = call->principal;
    struct log_line line;
    log_line_begin(&line, &s->log, status >= 500 ? "error" : "info", "request");
    log_line_str(&line, "id", call->request_id);
    log_line_str(&line, "method", call->method);
    log_line_str(&line, "path", call->path);
    log_line_int(&line, "status", status);
    log_line_ms(&line, "ms", (double)(os_now_ns() - call->began_ns) / 1e6);
    log_line_str(&line, "key", key ? key->name : NULL);
    log_line_str(&line, "model", call->model_name[0] ? call->model_name : NULL);
    if (call->prompt_tokens) {
        log_line_int(&line, "prompt_tokens", (int64_t)call->prompt_tokens);
        log_line_int(&line, "cached_tokens", (int64_t)call->cached_tokens);
        log_line_int(&line, "completion_tokens", (int64_t)call->completion_tokens);
    }
    if (call->client_left)
        log_line_str(&line, "end", "client left");
    log_line_end(&line);
}

/* ---- what is logged besides requests ------------------------------------------------ */

static void on_library_message(void *user, int level, const char *message) {
    struct server *s = user;
    struct log_line line;
    log_line_begin(&line, &s->log, level == QUERN_LOG_ERROR ? "error" : "warn", "library");
    log_line_str(&line, "message", message);
    log_line_end(&line);
}

static void on_model_change(void *user, const struct model_entry *e, enum model_state state) {
    struct server *s = user;
    struct log_line line;
    bool failed = state == MODEL_FAILED;
    log_line_begin(&line, &s->log, failed ? "error" : "info",
                   failed                 ? "model_failed"
                   : state == MODEL_READY ? "model_ready"
                                          : "model_unloaded");
    log_line_str(&line, "model", e->name);
    log_line_str(&line, "message", failed ? e->failure.message : NULL);
    if (state == MODEL_READY)
        log_line_int(&line, "ms", (int64_t)e->load_ms);
    log_line_end(&line);
}

static void log_event(struct server *s, const char *event) {
    struct log_line line;
    char page[256];
    const bool is_v6 = strchr(s->config->host, ':') != NULL;
    log_line_begin(&line, &s->log, "info", event);
    log_line_str(&line, "host", s->config->host);
    log_line_int(&line, "port", s->listener.port);
    snprintf(page, sizeof page, is_v6 ? "%s://[%.200s]:%u/" : "%s://%.200s:%u/",
             s->config->tls_cert ? "https" : "http", s->config->host, s->listener.port);
    log_line_str(&line, "page", page);
    log_line_end(&line);
}

/* ---- the server's life ----------------------------------------------------------------- */

enum { BACKLOG = 512 };

static enum quern_status check_exposure(const struct server *s, struct quern_error *err) {
    const struct server_config *c = s->config;
    if (s->listener.is_loopback || s->keys.n)
        return QUERN_OK;
    if (c->tools && c->tools->n_tools)
        return error_set(err, QUERN_ERR_ARG,
                         "%s can be reached from other machines, and whoever reaches it could run the tools "
                         "of --tools and --mcp: give --api-key-file FILE",
                         c->host);
    if (c->allow_no_key)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_ARG,
                     "%s can be reached from other machines, and there is no API key: give "
                     "--api-key-file FILE, or --allow-no-key if everybody may use this server",
                     s->config->host);
}

static enum quern_status start_http(struct server *s, struct quern_error *err) {
    const struct server_config *c = s->config;
    struct tls_files tls;
    enum quern_status status = tls_files_load(&tls, c->tls_cert, c->tls_key, err);
    if (status)
        return status;
    const struct http_server_setup setup = {
        .listener = s->listener,
        .tls_certificate = tls.certificate,
        .tls_key = tls.key,
        .header_line_bytes = (size_t)c->header_line_bytes,
        .header_bytes = (size_t)c->header_bytes,
        .header_fields = (size_t)c->header_fields,
        .body_bytes = (size_t)c->body_bytes,
        .max_connections = (unsigned)c->connections,
        .header_timeout_s = c->header_timeout_s,
        .body_timeout_s = c->body_timeout_s,
        .idle_timeout_s = c->idle_timeout_s,
        .write_timeout_s = c->write_timeout_s,
        .admit = admit,
        .handle = handle,
        .write_error = write_error,
        .decorate = decorate,
        .done = done,
        .user = s,
    };
    status = http_server_start(&setup, &s->http, err);
    tls_files_release(&tls);
    return status;
}

enum { STDERR = 2 };

/* People read text, collectors JSON. */
static enum server_log_form log_form_of(const char *word) {
    if (!word)
        return os_is_tty(STDERR) ? SERVER_LOG_TEXT : SERVER_LOG_JSON;
    return strcmp(word, "off") == 0    ? SERVER_LOG_OFF
           : strcmp(word, "text") == 0 ? SERVER_LOG_TEXT
                                       : SERVER_LOG_JSON;
}

static enum quern_status start_parts(struct server *s, struct quern_error *err) {
    const struct server_config *c = s->config;
    enum quern_status status = QUERN_OK;
    if (c->api_key_file)
        status = api_keys_load(&s->keys, c->api_key_file, err);
    if (!status)
        status = net_listen(c->host, (uint16_t)c->port, BACKLOG, &s->listener, err);
    if (status)
        return status;
    status = check_exposure(s, err);
    if (!status)
        status = start_http(s, err);
    if (status) {
        net_close(s->listener.fd); /* no other thread can have reused its number yet */
        return status;
    }
    return model_registry_start(&s->models, err);
}

enum quern_status server_start(const struct server_config *config, struct server **out,
                               struct quern_error *err) {
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    s->config = config;
    s->log = (struct server_log){log_form_of(config->log), STDERR};
    s->started_ns = os_now_ns();
    enum quern_status status = model_registry_init(&s->models, config, err);
    if (!status)
        status = metrics_init(&s->metrics, err);
    if (status) {
        free(s);
        return status;
    }
    status = tool_gate_init(&s->gate, (int)config->tool_calls, err);
    if (status) {
        metrics_release(&s->metrics);
        free(s);
        return status;
    }
    status = response_store_init(&s->responses, (size_t)config->stored_responses,
                                 (size_t)config->stored_mib << 20, err);
    if (status) {
        tool_gate_release(&s->gate);
        metrics_release(&s->metrics);
        free(s);
        return status;
    }
    s->models.on_change = on_model_change;
    s->models.user = s;
    quern_set_log(on_library_message, s);
    status = start_parts(s, err);
    if (status) {
        server_stop(s);
        return status;
    }
    log_event(s, "listening");
    *out = s;
    return QUERN_OK;
}

uint16_t server_port(const struct server *s) {
    return s->listener.port;
}

void server_begin_drain(struct server *s) {
    if (!atomic_exchange(&s->draining, true))
        log_event(s, "draining");
}

bool server_is_drained(struct server *s, int64_t wait_ms) {
    uint64_t until_ns = os_now_ns() + (uint64_t)wait_ms * 1000000;
    enum { PAUSE_NS = 20000000 };
    while (http_server_n_calls(s->http)) {
        if (os_now_ns() >= until_ns)
            return false;
        os_sleep_ns(PAUSE_NS);
    }
    return true;
}

void server_stop(struct server *s) {
    if (!s)
        return;
    const bool was_up = s->http != NULL;
    http_server_stop(s->http);
    model_registry_stop(&s->models);
    if (was_up)
        log_event(s, "stopped");
    quern_set_log(NULL, NULL);
    metrics_release(&s->metrics);
    tool_gate_release(&s->gate);
    response_store_release(&s->responses);
    api_keys_release(&s->keys);
    free(s);
}
