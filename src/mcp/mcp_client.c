#include "mcp/mcp_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "mcp/mcp_transport.h"

enum { TIMEOUT_MS = 60000, PAGES_MAX = 100, TOOLS_MAX = 512 };

#define PROTOCOL_VERSION "2025-06-18"

struct mcp_client {
    struct mcp_server server;
    struct mcp_options options;
    struct stop_check stop; /* of what goes on now */
    struct mcp_transport transport;
    bool connected;
    char title[128]; /* as it has introduced itself; "": not at all */
    int64_t last_id;
};

/* ---- messages ------------------------------------------------------------------------ */

static void append_json(struct buffer *out, json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT);
    if (text)
        buffer_puts(out, text);
    buffer_putc(out, '\n');
    free(text);
    json_decref(value);
}

/* A server may ask whether we are there; of what else it may ask, we have told it that we have none. */
static void answer_request(struct mcp_exchange *x, const json_t *message) {
    const char *method = json_string_value(json_object_get(message, "method"));
    json_t *id = json_object_get(message, "id");
    if (strcmp(method, "ping") == 0)
        append_json(&x->own, json_pack("{s:s, s:O, s:{}}", "jsonrpc", "2.0", "id", id, "result"));
    else
        append_json(&x->own, json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error",
                                       "code", -32601, "message", "Method not found"));
}

static void take_one(struct mcp_exchange *x, json_t *message) {
    const json_t *id = json_object_get(message, "id");
    if (json_is_string(json_object_get(message, "method"))) {
        if (id && !json_is_null(id))
            answer_request(x, message);
    } else if (!x->reply && json_is_integer(id) && json_integer_value(id) == x->id) {
        x->reply = json_incref(message);
    }
}

void mcp_take_message(struct mcp_exchange *x, struct str text) {
    json_t *message = NULL;
    size_t i;
    json_t *one;
    if (json_parse(text.ptr, text.len, "message", &message, NULL))
        return; /* some servers print other things, too */
    if (json_is_array(message))
        json_array_foreach(message, i, one) take_one(x, one);
    else
        take_one(x, message);
    json_decref(message);
}

enum quern_status mcp_check_time(const struct mcp_exchange *x, struct quern_error *err) {
    if (stop_asked(&x->stop))
        return error_set(err, QUERN_ERR_CANCELLED, "stopped by the user");
    if (os_now_ns() > x->until_ns)
        return error_set(err, QUERN_ERR_LIMIT, "there was no answer in time");
    return QUERN_OK;
}

/* ---- requests --------------------------------------------------------------------------- */

static void disconnect(struct mcp_client *c) {
    if (c->transport.ops)
        c->transport.ops->close(c->transport.state);
    c->transport = (struct mcp_transport){0};
    c->connected = false;
}

/* Takes `params` over (NULL: none). `result` NULL: a notification. */
static enum quern_status send(struct mcp_client *c, const char *method, json_t *params,
                              json_t **result, struct quern_error *err) {
    const int64_t timeout_ms = c->options.timeout_ms > 0 ? c->options.timeout_ms : TIMEOUT_MS;
    struct mcp_exchange x = {.id = result ? ++c->last_id : -1,
                             .until_ns = os_now_ns() + (uint64_t)timeout_ms * 1000000u,
                             .stop = c->stop};
    json_t *message = json_pack("{s:s, s:s}", "jsonrpc", "2.0", "method", method);
    bool ok = message && (!params || json_object_set(message, "params", params) == 0);
    if (result)
        ok = json_object_set_new(message, "id", json_integer(x.id)) == 0 && ok;
    json_decref(params);
    char *text = ok ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!text)
        return error_nomem(err);
    x.message = str_from(text);
    buffer_init(&x.own, MCP_MESSAGE_BYTES_MAX);
    enum quern_status status = c->transport.ops->exchange(c->transport.state, &x, err);
    free(text);
    buffer_release(&x.own);
    if (status) {
        json_decref(x.reply);
        disconnect(c);
        return error_prefix(err, status, "%s", c->server.name);
    }
    if (result)
        *result = x.reply;
    return QUERN_OK;
}

/* A reply without "result" is an error. *result is borrowed from *reply. */
static enum quern_status request(struct mcp_client *c, const char *method, json_t *params,
                                 json_t **reply, const json_t **result, struct quern_error *err) {
    enum quern_status status = send(c, method, params, reply, err);
    if (status)
        return status;
    *result = json_object_get(*reply, "result");
    if (json_is_object(*result))
        return QUERN_OK;
    const char *why =
        json_string_value(json_object_get(json_object_get(*reply, "error"), "message"));
    status = error_set(err, QUERN_ERR_FORMAT, "%s: %s: %s", c->server.name, method,
                       why ? why : "the reply has no result");
    json_decref(*reply);
    return status;
}

static enum quern_status introduce(struct mcp_client *c, struct quern_error *err) {
    json_t *reply;
    const json_t *result;
    json_t *params = json_pack("{s:s, s:{}, s:{s:s, s:s}}", "protocolVersion", PROTOCOL_VERSION,
                               "capabilities", "clientInfo", "name", "quern", "version",
                               quern_version());
    enum quern_status status = request(c, "initialize", params, &reply, &result, err);
    if (status)
        return status;
    const char *version = json_string_value(json_object_get(result, "protocolVersion"));
    const char *title = json_string_value(json_object_get(json_object_get(result, "serverInfo"), "name"));
    snprintf(c->title, sizeof c->title, "%s", title ? title : "");
    c->transport.ops->set_version(c->transport.state, version ? version : PROTOCOL_VERSION);
    json_decref(reply);
    return send(c, "notifications/initialized", NULL, NULL, err);
}

static enum quern_status connect_to(struct mcp_client *c, struct quern_error *err) {
    if (c->connected)
        return QUERN_OK;
    disconnect(c);
    enum quern_status status = c->server.url ? mcp_http_open(&c->server, &c->transport, err)
                                             : mcp_stdio_open(&c->server, &c->transport, err);
    if (status)
        return error_prefix(err, status, "%s", c->server.name);
    status = introduce(c, err);
    c->connected = status == QUERN_OK;
    return status;
}

enum quern_status mcp_open(struct mcp_server *server, const struct mcp_options *options,
                           struct mcp_client **out, struct quern_error *err) {
    struct mcp_client *c = calloc(1, sizeof *c);
    if (!c) {
        mcp_server_release(server);
        return error_nomem(err);
    }
    c->server = *server;
    c->options = *options;
    c->stop = options->stop;
    enum quern_status status = connect_to(c, err);
    if (status)
        mcp_close(c);
    else
        *out = c;
    return status;
}

void mcp_close(struct mcp_client *c) {
    if (!c)
        return;
    disconnect(c);
    mcp_server_release(&c->server);
    free(c);
}

/* ---- tools -------------------------------------------------------------------------------- */

static bool add_tools(const json_t *tools, json_t *out) {
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        json_t *name = json_object_get(tool, "name"), *what = json_object_get(tool, "description");
        json_t *schema = json_object_get(tool, "inputSchema");
        if (!json_is_string(name) || !json_string_length(name))
            continue;
        json_t *function = json_pack("{s:O}", "name", name);
        bool ok = function != NULL;
        if (json_is_string(what))
            ok = json_object_set(function, "description", what) == 0 && ok;
        if (json_is_object(schema))
            ok = json_object_set(function, "parameters", schema) == 0 && ok;
        if (json_array_append_new(out, function) || !ok)
            return false;
    }
    return true;
}

/* One page; *cursor is the caller's, NULL at the beginning and at the end. */
static enum quern_status list_page(struct mcp_client *c, char **cursor, json_t *out,
                                   struct quern_error *err) {
    json_t *reply;
    const json_t *result;
    json_t *params = *cursor ? json_pack("{s:s}", "cursor", *cursor) : json_object();
    enum quern_status status = request(c, "tools/list", params, &reply, &result, err);
    if (status)
        return status;
    free(*cursor);
    *cursor = NULL;
    const char *next = json_string_value(json_object_get(result, "nextCursor"));
    if (next && *next && !(*cursor = strdup(next)))
        status = error_nomem(err);
    if (!status && !add_tools(json_object_get(result, "tools"), out))
        status = error_nomem(err);
    json_decref(reply);
    return status;
}

enum quern_status mcp_list_tools(struct mcp_client *c, json_t **out, struct quern_error *err) {
    json_t *list = json_array();
    char *cursor = NULL;
    int pages = 0;
    enum quern_status status = list ? connect_to(c, err) : error_nomem(err);
    do {
        if (!status)
            status = list_page(c, &cursor, list, err);
        if (!status && (++pages > PAGES_MAX || json_array_size(list) > TOOLS_MAX))
            status = error_set(err, QUERN_ERR_LIMIT, "%s: it has more than %d tools or %d pages of them",
                               c->server.name, TOOLS_MAX, PAGES_MAX);
    } while (!status && cursor);
    free(cursor);
    if (status)
        json_decref(list);
    else
        *out = list;
    return status;
}

static void append_content(const json_t *result, struct buffer *out) {
    const json_t *content = json_object_get(result, "content");
    const json_t *structured = json_object_get(result, "structuredContent");
    if (!json_array_size(content) && structured)
        json_write_python(structured, -1, out);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *part = json_array_get(content, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (!text)
            text = json_object_get(json_object_get(part, "resource"), "text");
        if (i > 0)
            buffer_putc(out, '\n');
        if (json_is_string(text))
            buffer_append(out, json_string_value(text), json_string_length(text));
        else
            buffer_printf(out, "[%s, which is left out: only text is read]", type ? type : "a part");
    }
}

const char *mcp_name(const struct mcp_client *c) {
    return *c->title ? c->title : c->server.name;
}

enum quern_status mcp_call(struct mcp_client *c, const char *name, const json_t *arguments,
                           const struct stop_check *stop, struct buffer *result, bool *is_error,
                           struct quern_error *err) {
    json_t *reply = NULL;
    const json_t *value = NULL;
    c->stop = *stop;
    enum quern_status status = connect_to(c, err);
    if (!status) {
        json_t *params = json_pack("{s:s, s:O}", "name", name, "arguments", arguments);
        status = request(c, "tools/call", params, &reply, &value, err);
    }
    c->stop = (struct stop_check){0};
    if (status)
        return status;
    append_content(value, result);
    *is_error = json_is_true(json_object_get(value, "isError"));
    json_decref(reply);
    return QUERN_OK;
}
