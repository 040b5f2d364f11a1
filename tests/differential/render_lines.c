/* render_lines.c - for fuzz_chat.py: reads JSON lines {"template": ..., "variables": {...}}
 * and writes a line {"text": ...} or {"error": ..., "status": ...} for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat/chat_template.h"

static json_t *render(const json_t *line) {
    static const int64_t now = 1721997296;
    struct quern_error err = {0};
    struct chat_template *t = NULL;
    struct buffer out;
    buffer_init(&out, 8 << 20);
    const json_t *source = json_object_get(line, "template");
    json_t *kwargs = json_deep_copy(json_object_get(line, "variables"));
    json_t *messages = json_incref(json_object_get(kwargs, "messages"));
    json_object_del(kwargs, "messages");
    if (!messages)
        messages = json_array();
    json_t *tools = json_incref(json_object_get(kwargs, "tools"));
    json_object_del(kwargs, "tools");
    struct chat_render_options options = {
        .kwargs = kwargs, .tools = tools, .enable_thinking = -1, .now = &now};
    enum quern_status status = chat_template_parse(
        json_string_value(source), json_string_length(source), "t", NULL, NULL, &t, &err);
    if (!status)
        status = chat_template_render(t, messages, &options, &out, &err);
    json_t *answer =
        status ? json_pack("{s:s, s:s}", "error", err.message, "status", quern_status_name(status))
               : json_pack("{s:s%}", "text", out.data ? out.data : "", out.len);
    if (!answer)
        answer = json_pack("{s:s, s:s}", "error", "not UTF-8", "status", "bad text");
    buffer_release(&out);
    chat_template_close(t);
    json_decref(kwargs);
    json_decref(messages);
    json_decref(tools);
    return answer;
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    while ((n = getline(&line, &capacity, stdin)) > 0) {
        json_t *request = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
        json_t *answer = request ? render(request) : json_pack("{s:s}", "error", "bad line");
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(request);
        json_decref(answer);
    }
    free(line);
    return 0;
}
