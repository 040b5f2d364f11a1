/* endpoints_tools.c - the tools of --tools and --mcp for clients that ask a person first, as the
 * web page does: GET /tools, POST /tools/call. A call runs on its connection's thread. */
#include <strings.h>

#include "base/os.h"
#include "openai/fields.h"
#include "server/server_core.h"
#include "tools/tool_check.h"

static bool has_tools(struct server *s, struct http_call *call) {
    struct api_error err;
    if (s->config->tools && s->config->tools->n_tools)
        return true;
    api_fail(&err, API_NOT_FOUND, NULL,
             "This server has no tools; --tools and --mcp give it some.");
    http_answer_error(call, &err);
    return false;
}

/* ---- GET /tools --------------------------------------------------------------------- */

static void write_tool(const struct tool *tool, struct buffer *out) {
    const json_t *description = json_object_get(tool->function, "description");
    const json_t *parameters = json_object_get(tool->function, "parameters");
    buffer_puts(out, "{\"name\":");
    json_write_string(str_from(tool->name), out);
    buffer_puts(out, ",\"description\":");
    json_write_string(str_from(json_is_string(description) ? json_string_value(description) : ""),
                      out);
    buffer_puts(out, ",\"parameters\":");
    if (json_is_object(parameters))
        json_write_python(parameters, -1, out);
    else
        buffer_puts(out, "{\"type\":\"object\"}");
    buffer_puts(out, ",\"source\":");
    json_write_string(str_from(tool->server ? mcp_name(tool->server) : "command"), out);
    buffer_printf(out, ",\"mcp\":%s,\"allow\":%s}", tool->server ? "true" : "false",
                  tool->allow ? "true" : "false");
}

void endpoint_tools(struct server *s, struct http_call *call) {
    if (!has_tools(s, call))
        return;
    const struct tool_set *set = s->config->tools;
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    buffer_puts(&body, "{\"tools\":[");
    for (size_t i = 0; i < set->n_tools; i++) {
        buffer_puts(&body, i ? "," : "");
        write_tool(&set->tools[i], &body);
    }
    buffer_puts(&body, "]}");
    call_answer_json(call, &body);
}

/* ---- POST /tools/call ----------------------------------------------------------------- */

struct tool_request {
    const char *name;
    const json_t *arguments;
};

static const struct field_spec request_fields[] = {
    FIELD_OF(FIELD_STRING, "name", struct tool_request, name),
    FIELD_OF(FIELD_OBJECT, "arguments", struct tool_request, arguments),
    FIELD_LAST,
};

/* A form of another page can post, but not this type without asking us first. */
static enum quern_status check_content_type(const struct http_call *call, struct api_error *err) {
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;
    const char *type = http_header(call, "Content-Type");
    if (type && strncasecmp(type, json, n) == 0 && (!type[n] || type[n] == ';' || type[n] == ' '))
        return QUERN_OK;
    return api_fail(err, API_MEDIA_TYPE, NULL,
                    "Expected the Content-Type application/json, found '%.80s'.", type ? type : "");
}

/* *text: the arguments as the tool gets them. */
static enum quern_status read_request(struct server *s, const json_t *root,
                                      const struct tool **tool, struct buffer *text,
                                      struct api_error *err) {
    struct tool_request r = {0};
    struct quern_error cause = {0};
    enum quern_status status = fields_read(root, "", request_fields, false, &r, err);
    if (status)
        return status;
    if (!r.name)
        return api_fail(err, API_MISSING, "name", "Missing required parameter: 'name'.");
    *tool = tool_set_find(s->config->tools, r.name);
    if (!*tool)
        return api_fail(err, API_VALUE, "name", "There is no tool '%.100s'.", r.name);
    json_t *none = r.arguments ? NULL : json_object();
    status = tool_check_arguments(*tool, r.arguments ? r.arguments : none, text, &cause);
    json_decref(none);
    return status ? api_fail_from(err, API_VALUE, "arguments", &cause) : QUERN_OK;
}

static bool has_left(void *user) {
    struct http_call *call = user;
    if (waker_wait(call->waker, call->peer_fd, 0) == WAKER_PEER_GONE)
        call->client_left = true;
    return call->client_left;
}

static enum tool_end run(struct server *s, struct http_call *call, const struct tool *tool,
                         struct str arguments, struct buffer *result) {
    const struct stop_check stop = {has_left, call};
    if (!tool->server)
        return tool_run(tool, arguments, &stop, result);
    if (!tool_gate_take(&s->gate, tool->server, &stop))
        return TOOL_STOPPED;
    const enum tool_end end = tool_run(tool, arguments, &stop, result);
    tool_gate_give(&s->gate, tool->server);
    return end;
}

static void log_call(struct server *s, const struct http_call *call, const struct tool *tool,
                     enum tool_end end, uint64_t began_ns) {
    const struct api_key *key = call->principal;
    struct log_line line;
    log_line_begin(&line, &s->log, "info", "tool");
    log_line_str(&line, "id", call->request_id);
    log_line_str(&line, "tool", tool->name);
    log_line_str(&line, "end",
                 end == TOOL_DONE     ? "done"
                 : end == TOOL_FAILED ? "failed"
                                      : "stopped");
    log_line_ms(&line, "ms", (double)(os_now_ns() - began_ns) / 1e6);
    log_line_str(&line, "key", key ? key->name : NULL);
    log_line_end(&line);
}

static void answer_result(struct http_call *call, enum tool_end end, struct buffer *result) {
    struct buffer body;
    buffer_init(&body, SIZE_MAX / 4);
    buffer_puts(&body, "{\"content\":");
    json_write_string(buffer_str(result), &body);
    buffer_printf(&body, ",\"is_error\":%s}", end == TOOL_DONE ? "false" : "true");
    if (result->failed)
        body.failed = result->failed;
    call_answer_json(call, &body);
}

static void call_tool(struct server *s, struct http_call *call, const struct tool *tool,
                      struct str arguments) {
    const uint64_t began_ns = os_now_ns();
    struct api_error err;
    struct buffer result;
    if (!tool_gate_enter(&s->gate)) {
        api_fail(&err, API_OVERLOADED, NULL, "%d calls of tools go on, and no more may.",
                 s->gate.limit);
        err.retry_after_s = 1;
        http_answer_error(call, &err);
        return;
    }
    buffer_init(&result, SIZE_MAX / 4);
    const enum tool_end end = run(s, call, tool, arguments, &result);
    tool_gate_leave(&s->gate);
    log_call(s, call, tool, end, began_ns);
    if (!call->client_left)
        answer_result(call, end, &result);
    buffer_release(&result);
}

void endpoint_tool_call(struct server *s, struct http_call *call) {
    struct api_error err;
    struct buffer text;
    json_t *root = NULL;
    const struct tool *tool = NULL;
    if (!has_tools(s, call))
        return;
    buffer_init(&text, SIZE_MAX / 4);
    enum quern_status status = check_content_type(call, &err);
    if (!status)
        status = call_read_json(call, &root, &err);
    if (!status)
        status = read_request(s, root, &tool, &text, &err);
    if (status)
        http_answer_error(call, &err);
    else
        call_tool(s, call, tool, buffer_str(&text));
    json_decref(root);
    buffer_release(&text);
}
