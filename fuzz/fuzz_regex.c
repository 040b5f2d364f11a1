/* Patterns as text: the first byte is the flags, the first line the pattern, the rest a text it
 * is tried on. What matches as a whole is also found by searching. */
#include <stdlib.h>
#include <string.h>

#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "text/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size || size > 4096)
        return 0;
    unsigned flags = data[0] & (REGEX_PCRE | REGEX_IGNORE_CASE | REGEX_DOT_ALL);
    const char *begin = (const char *)data + 1;
    const char *newline = memchr(begin, '\n', size - 1);
    struct str pattern = {begin, newline ? (size_t)(newline - begin) : size - 1};
    struct str text = newline ? (struct str){newline + 1, size - 2 - pattern.len} : STR_LIT("");
    struct grammar_builder *b = NULL;
    expr_id whole, search;
    bool full = false, found = false;
    if (grammar_builder_create(NULL, &b, NULL))
        return 0;
    struct quern_error err = {0};
    if (text.len > 64)
        text.len = 64;
    if (expr_regex(b, pattern, flags, &whole, &err) == QUERN_OK &&
        expr_regex(b, pattern, flags | REGEX_SEARCH, &search, &err) == QUERN_OK &&
        expr_matches(b, whole, text, &full, &err) == QUERN_OK &&
        expr_matches(b, search, text, &found, &err) == QUERN_OK) {
        if (full && (!found || !utf8_valid(text)))
            abort();
    } else if (!err.message[0]) {
        abort();
    }
    grammar_builder_destroy(b);
    return 0;
}
