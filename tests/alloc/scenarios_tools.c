#include "scenarios.h"

#include "tools/tool_check.h"

/* The example's two tools; a call of the first is checked, and refused without its city. */
static enum quern_status read_tools_and_check_arguments(struct quern_error *err) {
    struct tool_set set = {0};
    struct buffer text;
    json_t *good = NULL;
    buffer_init(&text, 1000);
    enum quern_status st = tool_set_load(&set, "examples/tools/tools.json", err);
    if (!st)
        st = tool_set_finish(&set, err);
    if (!st && !(good = json_pack("{s:s}", "city", "Oslo")))
        st = error_nomem(err);
    if (!st)
        st = tool_check_arguments(&set.tools[0], good, &text, err);
    if (!st && (set.n_tools != 2 || !str_eq(buffer_str(&text), STR_LIT("{\"city\": \"Oslo\"}"))))
        st = error_set(err, QUERN_ERR_STATE, "other tools or arguments: %zu, %s", set.n_tools,
                       text.data);
    json_decref(good);
    buffer_release(&text);
    tool_set_release(&set);
    return st;
}

const struct scenario tools_scenarios[] = {
    {"read_tools_and_check_arguments", read_tools_and_check_arguments},
    {NULL, NULL},
};
