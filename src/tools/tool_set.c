#include "tools/tool_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

enum { FILE_BYTES_MAX = 16 << 20, TOOLS_MAX = 512, RESULT_BYTES = 64 << 10 };

static void release_tool(struct tool *tool) {
    free(tool->name);
    free(tool->remote);
    tool_command_release(&tool->command);
}

struct tool *tool_set_find(const struct tool_set *set, const char *name) {
    for (size_t i = 0; i < set->n_tools; i++)
        if (strcmp(set->tools[i].name, name) == 0)
            return &set->tools[i];
    return NULL;
}

/* Takes *tool over. `function` is copied, under the tool's name. */
static enum quern_status add(struct tool_set *set, struct tool *tool, const json_t *function,
                             struct quern_error *err) {
    json_t *copy = json_deep_copy(function);
    struct tool *tools = realloc(set->tools, (set->n_tools + 1) * sizeof *tools);
    if (tools)
        set->tools = tools;
    if (!set->list)
        set->list = json_array();
    bool ok = tools && json_object_set_new(copy, "name", json_string(tool->name)) == 0;
    json_t *entry = json_pack("{s:s, s:o}", "type", "function", "function", copy);
    ok = json_array_append_new(set->list, entry) == 0 && ok;
    tool->function = copy;
    if (ok)
        set->tools[set->n_tools++] = *tool;
    else
        release_tool(tool);
    return ok ? QUERN_OK : error_nomem(err);
}

/* ---- a file ----------------------------------------------------------------------------- */

/* A misspelt limit would not hold, and nobody would know. */
static const char *const members[] = {"type",    "function",         "command",
                                      "timeout", "max_output_bytes", "allow"};

static const char *member_at(const void *names, size_t i) {
    (void)names;
    return i < sizeof members / sizeof members[0] ? members[i] : NULL;
}

static enum quern_status check_members(const json_t *object, const char *name, const char *path,
                                       struct quern_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        size_t i = 0;
        while (member_at(NULL, i) && strcmp(members[i], key) != 0)
            i++;
        if (member_at(NULL, i))
            continue;
        const char *nearest = nearest_name(str_from(key), member_at, NULL);
        return error_set(err, QUERN_ERR_FORMAT, "%s: tool \"%s\": there is no \"%.80s\"%s%s%s",
                         path, name, key, nearest ? "; did you mean \"" : "",
                         nearest ? nearest : "", nearest ? "\"?" : "");
    }
    return QUERN_OK;
}

static enum quern_status add_from_file(struct tool_set *set, const json_t *object, size_t i,
                                       const char *path, struct quern_error *err) {
    const json_t *function = json_object_get(object, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    if (!name || !*name)
        return error_set(
            err, QUERN_ERR_FORMAT,
            "%s: tool %zu: expected {\"type\": \"function\", \"function\": {\"name\": ...}, "
            "\"command\": [...]}",
            path, i);
    if (tool_set_find(set, name))
        return error_set(err, QUERN_ERR_FORMAT, "%s: there are two tools \"%s\"", path, name);
    struct tool tool = {.allow = json_is_true(json_object_get(object, "allow"))};
    enum quern_status status = check_members(object, name, path, err);
    if (!status)
        status = tool_command_read(object, name, path, &tool.command, err);
    if (status)
        return status;
    tool.name = strdup(name);
    if (!tool.name) {
        release_tool(&tool);
        return error_nomem(err);
    }
    return add(set, &tool, function, err);
}

enum quern_status tool_set_load(struct tool_set *set, const char *path, struct quern_error *err) {
    json_t *root = NULL;
    enum quern_status status = json_load_path(path, FILE_BYTES_MAX, &root, err);
    if (status)
        return status;
    const json_t *list = json_is_object(root) ? json_object_get(root, "tools") : root;
    if (!json_array_size(list) || json_array_size(list) > TOOLS_MAX)
        status = error_set(err, QUERN_ERR_FORMAT, "%s: expected a JSON array of 1 to %d tools",
                           path, TOOLS_MAX);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = add_from_file(set, json_array_get(list, i), i, path, err);
    json_decref(root);
    return status;
}

/* ---- a server --------------------------------------------------------------------------- */

static enum quern_status add_from_server(struct tool_set *set, struct mcp_client *server,
                                         const json_t *function, struct quern_error *err) {
    const char *remote = json_string_value(json_object_get(function, "name"));
    char name[256];
    snprintf(name, sizeof name, "%s", remote);
    for (int i = 2; tool_set_find(set, name); i++)
        snprintf(name, sizeof name, "%.240s_%d", remote, i);
    struct tool tool = {.server = server, .name = strdup(name), .remote = strdup(remote)};
    if (tool.name && tool.remote)
        return add(set, &tool, function, err);
    release_tool(&tool);
    return error_nomem(err);
}

struct server_adder {
    struct tool_set *set;
    const struct mcp_options *options;
};

static enum quern_status add_server(void *user, struct mcp_server *where, struct quern_error *err) {
    const struct server_adder *a = user;
    struct tool_set *set = a->set;
    struct mcp_client *server = NULL;
    json_t *list = NULL;
    enum quern_status status = mcp_open(where, a->options, &server, err);
    if (status)
        return status;
    struct mcp_client **servers = realloc(set->servers, (set->n_servers + 1) * sizeof(void *));
    if (!servers) {
        mcp_close(server);
        return error_nomem(err);
    }
    set->servers = servers;
    set->servers[set->n_servers++] = server;
    status = mcp_list_tools(server, &list, err);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = add_from_server(set, server, json_array_get(list, i), err);
    json_decref(list);
    return status;
}

static const char *variable(const char *name) {
    return getenv(name);
}

static bool is_config_file(const char *text) {
    const size_t n = strlen(text);
    return n > 5 && strcmp(text + n - 5, ".json") == 0 && !strpbrk(text, " \t\n'\"") &&
           !strstr(text, "://");
}

enum quern_status tool_set_add_servers(struct tool_set *set, const char *target,
                                       const struct mcp_options *options, struct quern_error *err) {
    struct server_adder adder = {set, options};
    struct mcp_server server;
    if (is_config_file(target))
        return mcp_servers_load(target, variable, add_server, &adder, err);
    enum quern_status status = mcp_server_parse(target, &server, err);
    return status ? status : add_server(&adder, &server, err);
}

/* Not in the middle of a character. */
static void cut(struct buffer *text, size_t from) {
    if (text->len - from <= RESULT_BYTES)
        return;
    text->len = from + RESULT_BYTES;
    while (text->len > from && ((unsigned char)text->data[text->len] & 0xC0) == 0x80)
        text->len--;
    text->data[text->len] = '\0';
    buffer_printf(text, "\n[cut after %d bytes]", RESULT_BYTES);
}

static enum tool_end call_server(const struct tool *tool, struct str arguments,
                                 const struct stop_check *stop, struct buffer *result) {
    const size_t from = result->len;
    json_t *value = NULL;
    bool is_error = false;
    struct quern_error err = {0};
    enum quern_status status = json_parse(arguments.ptr, arguments.len, "arguments", &value, &err);
    if (!status)
        status = mcp_call(tool->server, tool->remote, value, stop, result, &is_error, &err);
    json_decref(value);
    cut(result, from);
    if (status == QUERN_ERR_CANCELLED)
        buffer_puts(result, "error: the user stopped the tool");
    else if (status)
        buffer_printf(result, "error: %s", err.message);
    else if (is_error && !result->len)
        buffer_puts(result, "error");
    return status == QUERN_ERR_CANCELLED ? TOOL_STOPPED
           : status || is_error          ? TOOL_FAILED
                                         : TOOL_DONE;
}

/* ---- the set ------------------------------------------------------------------------------ */

enum quern_status tool_set_open(struct tool_set *set, const struct tool_sources *sources,
                                const struct stop_check *stop, struct quern_error *err) {
    const struct mcp_options options = {(int64_t)(sources->timeout_s * 1000), *stop};
    enum quern_status status = QUERN_OK;
    for (size_t i = 0; !status && i < sources->files.n; i++)
        status = tool_set_load(set, sources->files.items[i], err);
    for (size_t i = 0; !status && i < sources->servers.n; i++)
        status = tool_set_add_servers(set, sources->servers.items[i], &options, err);
    return status ? status : tool_set_finish(set, err);
}

enum quern_status tool_set_finish(struct tool_set *set, struct quern_error *err) {
    if (!set->list)
        return QUERN_OK;
    set->list_json = json_dumps(set->list, JSON_COMPACT);
    return set->list_json ? QUERN_OK : error_nomem(err);
}

void tool_set_release(struct tool_set *set) {
    for (size_t i = 0; i < set->n_tools; i++)
        release_tool(&set->tools[i]);
    for (size_t i = 0; i < set->n_servers; i++)
        mcp_close(set->servers[i]);
    free(set->servers);
    free(set->tools);
    free(set->list_json);
    json_decref(set->list);
    *set = (struct tool_set){0};
}

enum tool_end tool_run(const struct tool *tool, struct str arguments, const struct stop_check *stop,
                       struct buffer *result) {
    return tool->server ? call_server(tool, arguments, stop, result)
                        : tool_command_run(&tool->command, arguments, stop, result);
}
