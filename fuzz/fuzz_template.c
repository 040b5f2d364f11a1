/* fuzz_template.c - template sources: parsed and rendered over a fixed conversation. */
#include <stddef.h>
#include <stdint.h>

#include "chat/chat_template.h"
#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char VARIABLES[] = "{\"n\": 3, \"f\": 2.5, \"s\": \"Hi <b>\", \"l\": [3, 1, 2], "
                                "\"d\": {\"a\": 1, \"b\": [null, true]}}";
static const char MESSAGES[] =
    "[{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"\\u00e9 x\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": {\"name\": \"f\","
    "\"arguments\": {\"x\": 1.5}}}]}, {\"role\": \"tool\", \"content\": \"r\"}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int64_t now = 0;
    static json_t *variables, *messages; /* parsed once for the whole run */
    if (!variables && (json_parse(VARIABLES, sizeof VARIABLES - 1, "v", &variables, NULL) ||
                       json_parse(MESSAGES, sizeof MESSAGES - 1, "m", &messages, NULL)))
        return 0;
    struct chat_template *t = NULL;
    struct quern_error err;
    if (chat_template_parse((const char *)data, size, "t", "<s>", "</s>", &t, &err))
        return 0;
    struct chat_render_options options = {.kwargs = variables, .enable_thinking = 1, .now = &now};
    struct buffer out;
    buffer_init(&out, 8 << 20);
    chat_template_render(t, messages, &options, &out, &err);
    buffer_release(&out);
    chat_template_close(t);
    return 0;
}
