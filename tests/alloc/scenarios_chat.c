#include <string.h>

#include "alloc/scenarios.h"
#include "chat/chat_template.h"
#include "support/support.h"
#include "text/json.h"

static const char MESSAGES[] =
    "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"\\u00e9\"},"
    "{\"role\": \"assistant\", \"content\": \"<think>x</think>a\", \"reasoning\": \"r\"}]";
static const char SOURCE[] =
    "{% macro m(x, y=1) %}{{ x|upper ~ y }}{% endmacro %}{% set ns = namespace(l=[]) %}"
    "{% for k in messages if k.role != 'system' %}{% set ns.l = ns.l + [k.content] %}{{ m(k.role) "
    "}}"
    "{% endfor %}{{ ns.l|map('length')|list|tojson }}{{ '%s' % messages[-1].reasoning_content }}";
static const char EXPECTED[] = "USER1ASSISTANT1[1, 17]r";

static enum quern_status render_a_chat(struct quern_error *err) {
    struct chat_template *t = NULL;
    json_t *messages = NULL;
    struct buffer out;
    struct chat_render_options options = {.enable_thinking = 1};
    buffer_init(&out, 10000);
    enum quern_status status =
        chat_template_parse(SOURCE, strlen(SOURCE), "t", "<s>", "</s>", &t, err);
    if (!status)
        status = json_parse(MESSAGES, strlen(MESSAGES), "messages", &messages, err);
    if (!status)
        status = chat_template_render(t, messages, &options, &out, err);
    if (!status && strcmp(out.data, EXPECTED) != 0)
        status = error_set(err, QUERN_ERR_STATE, "rendered \"%s\"", out.data);
    buffer_release(&out);
    json_decref(messages);
    chat_template_close(t);
    return status;
}

static enum quern_status open_and_continue(struct quern_error *err) {
    struct chat_template *t = NULL;
    json_t *messages = NULL;
    struct buffer out;
    struct chat_render_options options = {.enable_thinking = -1, .continue_final_message = true};
    static char dir[4096]; /* found by the first run, in which nothing fails */
    if (!dir[0]) {
        strncpy(dir, support_fixture("fixtures/qwen3-tiny/chat_template.jinja"), sizeof dir - 1);
        *strrchr(dir, '/') = '\0';
    }
    buffer_init(&out, 10000);
    enum quern_status status = chat_template_open(dir, &t, err);
    if (!status)
        status = json_parse(MESSAGES, strlen(MESSAGES), "messages", &messages, err);
    if (!status)
        status = chat_template_render(t, messages, &options, &out, err);
    buffer_release(&out);
    json_decref(messages);
    chat_template_close(t);
    return status;
}

const struct scenario chat_scenarios[] = {
    {"render_a_chat", render_a_chat},
    {"open_a_template_and_continue_a_message", open_and_continue},
    {NULL, NULL},
};
