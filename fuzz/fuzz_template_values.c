/* fuzz_template_values.c - conversations as JSON, rendered by templates that look at every
 * part of them. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "chat/chat_template.h"
#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* clang-format off */
static const char *const SOURCES[] = {
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}",
    ("{% for m in messages %}{{ m.role }}{% if m.content is string %}"
     "{{ m.content.split('</think>')[-1].strip('\n')|title }}{% else %}"
     "{{ m.content|tojson(indent=2) }}{% endif %}{% for c in m.tool_calls %}"
     "{{ c.function.name ~ c.function.arguments|tojson }}{% endfor %}{% endfor %}"),
    ("{{ messages }}{{ messages|map(attribute='content')|map('string')|join(',')|upper }}"
     "{{ messages|tojson(sort_keys=true, ensure_ascii=true) }}"
     "{{ messages[::-1]|selectattr('role')|list }}"),
    ("{% macro m(v) %}{% if v is mapping %}{% for k, x in v|dictsort %}{{ k }}{{ m(x) }}"
     "{% endfor %}{% elif v is iterable and v is not string %}{% for x in v %}{{ m(x) }}"
     "{% endfor %}{% else %}{{ v }}{% endif %}{% endmacro %}{{ m(messages) }}"),
    "{{ messages|sort|unique|list }}{{ messages|sum }}{{ messages|max }}",
    ("{{ (messages|first|default({})).content|int + 1 }}"
     "{{ '%s|%5.2f' % (messages, messages|length) }}"),
};
/* clang-format on */

static void render(const char *source, const json_t *messages, bool continued) {
    struct chat_template *t = NULL;
    struct quern_error err;
    struct buffer out;
    if (chat_template_parse(source, strlen(source), "t", NULL, NULL, &t, &err))
        return;
    struct chat_render_options options = {.enable_thinking = -1,
                                          .continue_final_message = continued};
    buffer_init(&out, 8 << 20);
    chat_template_render(t, messages, &options, &out, &err);
    buffer_release(&out);
    chat_template_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *messages = NULL;
    if (json_parse((const char *)data, size, "messages", &messages, NULL))
        return 0;
    for (size_t i = 0; i < sizeof SOURCES / sizeof *SOURCES; i++)
        render(SOURCES[i], messages, false);
    render(SOURCES[1], messages, true);
    json_decref(messages);
    return 0;
}
