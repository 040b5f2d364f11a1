/* json_parse against jansson's own parser: the same texts accepted, the same values. */
#include <stdlib.h>
#include <string.h>

#include "text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = size ? (const char *)data : "";
    struct quern_error err = {0};
    json_error_t other_err;
    json_t *ours = NULL;
    enum quern_status status = json_parse(text, size, "text", &ours, &err);
    json_t *theirs = json_loadb(
        text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &other_err);
    if (status == QUERN_OK) {
        struct buffer out;
        json_t *again = NULL;
        if (!theirs || !json_equal(ours, theirs))
            abort();
        /* What is written is read back as the same. */
        buffer_init(&out, SIZE_MAX / 4);
        json_write_python(ours, -1, &out);
        if (out.failed || json_parse(out.data, out.len, "again", &again, &err) ||
            !json_equal(ours, again))
            abort();
        buffer_release(&out);
        json_decref(again);
    } else if (theirs && status != QUERN_ERR_LIMIT && !(size && memchr(text, '\0', size))) {
        /* jansson allows 2,048 levels, and overlooks a NUL behind a number. */
        abort();
    }
    json_decref(ours);
    json_decref(theirs);
    return 0;
}
