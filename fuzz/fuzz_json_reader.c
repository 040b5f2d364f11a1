/* Any bytes as JSON: the depth is kept right, and the text of a value that is skipped reads as
 * the same tokens again. */
#include <stdlib.h>
#include <string.h>

#include "text/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_all(struct str text, size_t *n_tokens) {
    struct arena arena = ARENA_INIT(1 << 20);
    struct json_reader r;
    enum json_token token;
    int depth = 0;
    json_reader_init(&r, text, &arena);
    *n_tokens = 0;
    while ((token = json_reader_next(&r)) > JSON_TOKEN_ERROR) {
        ++*n_tokens;
        depth += token == JSON_TOKEN_OBJECT || token == JSON_TOKEN_ARRAY;
        depth -= token == JSON_TOKEN_OBJECT_END || token == JSON_TOKEN_ARRAY_END;
        if (depth != r.depth || depth < 0 || depth > JSON_READER_DEPTH_MAX)
            abort();
    }
    if (token == JSON_TOKEN_END && depth)
        abort();
    struct quern_error err;
    if (token == JSON_TOKEN_ERROR && json_reader_error(&r, "f", &err) != QUERN_ERR_FORMAT)
        abort();
    arena_release(&arena);
    return token == JSON_TOKEN_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str text = {(const char *)data, size}, value;
    size_t n_tokens, n_again;
    bool valid = read_all(text, &n_tokens);
    struct arena arena = ARENA_INIT(1 << 20);
    struct json_reader r;
    json_reader_init(&r, text, &arena);
    bool skipped = json_reader_skip(&r, &value);
    if (valid && (!skipped || !read_all(value, &n_again) || n_again != n_tokens))
        abort();
    arena_release(&arena);
    return 0;
}
