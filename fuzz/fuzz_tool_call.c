/* One tool call as a model may write it: whatever it is, it is a call or none, and a call's
 * arguments lie inside the text or the storage. */
#include <stdint.h>

#include "openai/answer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    struct buffer storage;
    struct tool_call call = {0};
    buffer_init(&storage, SIZE_MAX / 4);
    unsigned sum = 0;
    if (tool_call_parse(text, &storage, &call)) {
        for (size_t i = 0; i < call.name.len; i++)
            sum += (unsigned char)call.name.ptr[i];
        for (size_t i = 0; i < call.arguments.len; i++)
            sum += (unsigned char)call.arguments.ptr[i];
    }
    buffer_release(&storage);
    return tool_call_is_inside_string(text) && sum == 1 ? 0 : 0;
}
