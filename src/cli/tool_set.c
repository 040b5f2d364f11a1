#include "cli/tool_set.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 16 << 20, TOOLS_MAX = 512 };

static void release_tool(struct cli_tool *tool) {
    free(tool->name);
    tool_command_release(&tool->command);
}

struct cli_tool *tool_set_find(const struct tool_set *set, const char *name) {
    for (size_t i = 0; i < set->n_tools; i++)
        if (strcmp(set->tools[i].name, name) == 0)
            return &set->tools[i];
    return NULL;
}

/* Takes *tool over. `function` is copied, under the tool's name. */
static enum quern_status add(struct tool_set *set, struct cli_tool *tool, const json_t *function,
                             struct quern_error *err) {
    json_t *copy = json_deep_copy(function);
    struct cli_tool *tools = realloc(set->tools, (set->n_tools + 1) * sizeof *tools);
    if (tools)
        set->tools = tools;
    if (!set->list)
        set->list = json_array();
    bool ok = tools && json_object_set_new(copy, "name", json_string(tool->name)) == 0;
    json_t *entry = json_pack("{s:s, s:o}", "type", "function", "function", copy);
    ok = json_array_append_new(set->list, entry) == 0 && ok;
    if (ok)
        set->tools[set->n_tools++] = *tool;
    else
        release_tool(tool);
    return ok ? QUERN_OK : error_nomem(err);
}

/* ---- a file ----------------------------------------------------------------------------- */

static enum quern_status add_from_file(struct tool_set *set, const json_t *object, size_t i,
                                       const char *path, struct quern_error *err) {
    const json_t *function = json_object_get(object, "function");
    const char *name = json_string_value(json_object_get(function, "name"));
    if (!name || !*name)
        return error_set(err, QUERN_ERR_FORMAT,
                         "%s: tool %zu: expected {\"type\": \"function\", \"function\": {\"name\": ...}, "
                         "\"command\": [...]}",
                         path, i);
    if (tool_set_find(set, name))
        return error_set(err, QUERN_ERR_FORMAT, "%s: there are two tools \"%s\"", path, name);
    struct cli_tool tool = {.allow = json_is_true(json_object_get(object, "allow"))};
    enum quern_status status = tool_command_read(object, name, path, &tool.command, err);
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
        status = error_set(err, QUERN_ERR_FORMAT, "%s: expected a JSON array of 1 to %d tools", path,
                           TOOLS_MAX);
    for (size_t i = 0; !status && i < json_array_size(list); i++)
        status = add_from_file(set, json_array_get(list, i), i, path, err);
    json_decref(root);
    return status;
}

/* ---- the set ------------------------------------------------------------------------------ */

enum quern_status tool_set_finish(struct tool_set *set, struct quern_error *err) {
    if (!set->list)
        return QUERN_OK;
    set->list_json = json_dumps(set->list, JSON_COMPACT);
    return set->list_json ? QUERN_OK : error_nomem(err);
}

void tool_set_release(struct tool_set *set) {
    for (size_t i = 0; i < set->n_tools; i++)
        release_tool(&set->tools[i]);
    free(set->tools);
    free(set->list_json);
    json_decref(set->list);
    *set = (struct tool_set){0};
}

enum tool_end cli_tool_run(struct cli_tool *tool, struct str arguments, struct buffer *result) {
    return tool_command_run(&tool->command, arguments, result);
}
