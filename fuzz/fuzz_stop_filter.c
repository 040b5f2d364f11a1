/* Stop strings in text: the same whether pushed byte by byte or at once. Input: stop strings,
 * each ended by a newline, an empty line, then the text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sampler/stop_filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STRINGS_MAX = 8, STRING_BYTES = 32 };

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "fuzz_stop_filter: %s\n", what);
    abort();
}

/* Pushes `text` in pieces of `step` bytes. */
static int32_t run(const char *const *strings, size_t n, struct str text, size_t step,
                   struct buffer *out) {
    struct stop_filter *f;
    int32_t hit = -1;
    if (stop_filter_create(strings, n, &f, NULL))
        return -2;
    for (size_t at = 0; at < text.len; at += step) {
        size_t len = text.len - at < step ? text.len - at : step;
        check(stop_filter_push(f, (struct str){text.ptr + at, len}, out, &hit, NULL) == QUERN_OK,
              "push");
    }
    check(stop_filter_finish(f, out) == QUERN_OK, "finish");
    stop_filter_destroy(f);
    return hit;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char words[STRINGS_MAX][STRING_BYTES + 1] = {{0}};
    const char *strings[STRINGS_MAX];
    size_t n = 0, at = 0;
    while (n < STRINGS_MAX && at < size && data[at] != '\n') {
        size_t len = 0;
        for (; at < size && data[at] != '\n'; at++)
            if (len < STRING_BYTES && data[at])
                words[n][len++] = (char)data[at];
        strings[n] = words[n];
        n++;
        at++;
    }
    at += at < size;
    struct str text = {(const char *)data + at, at < size ? size - at : 0};
    struct buffer whole, bytes;
    buffer_init(&whole, size);
    buffer_init(&bytes, size);
    int32_t hit = run(strings, n, text, size + 1, &whole);
    check(run(strings, n, text, 1, &bytes) == hit, "a different string is found byte by byte");
    check(str_eq(buffer_str(&whole), buffer_str(&bytes)), "different text byte by byte");
    check(hit >= -2 && hit < (int32_t)n, "index");
    if (hit == -1)
        check(str_eq(buffer_str(&whole), text), "text was lost");
    buffer_release(&whole);
    buffer_release(&bytes);
    return 0;
}
