/* One tool call as a model may write it: whatever it is, it is a call or none, and a call's
 * arguments lie inside the text or the storage. And taken apart piece by piece, it is the same
 * however it is cut. */
#include <stdint.h>

#include "openai/answer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(struct str text, size_t step, struct buffer *out) {
    struct call_splitter c;
    call_splitter_init(&c, NULL);
    for (size_t at = 0; at < text.len; at += step) {
        const size_t rest = text.len - at;
        call_splitter_push(&c, (struct str){text.ptr + at, rest < step ? rest : step});
    }
    buffer_append_str(out, buffer_str(&c.name));
    buffer_printf(out, " %d %d ", c.inside_string, call_splitter_is_done(&c));
    buffer_append_str(out, buffer_str(&c.arguments));
    call_splitter_release(&c);
}

static void compare_cuts(struct str text) {
    struct buffer whole, cut;
    buffer_init(&whole, SIZE_MAX / 4);
    buffer_init(&cut, SIZE_MAX / 4);
    split(text, text.len ? text.len : 1, &whole);
    split(text, 3, &cut);
    if (!str_eq(buffer_str(&whole), buffer_str(&cut)))
        __builtin_trap();
    buffer_release(&whole);
    buffer_release(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size};
    struct buffer storage;
    struct tool_call call = {0};
    buffer_init(&storage, SIZE_MAX / 4);
    unsigned sum = 0;
    if (tool_call_parse(text, NULL, &storage, &call)) {
        for (size_t i = 0; i < call.name.len; i++)
            sum += (unsigned char)call.name.ptr[i];
        for (size_t i = 0; i < call.arguments.len; i++)
            sum += (unsigned char)call.arguments.ptr[i];
    }
    buffer_release(&storage);
    compare_cuts(text);
    return sum == 1 ? 0 : 0;
}
