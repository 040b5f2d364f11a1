/* DTDs; after the first zero byte a text that is tried on it. */
#include <stdlib.h>
#include <string.h>

#include "grammar/matcher.h"
#include "grammar/xml/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct grammar_limits limits = grammar_default_limits();
    struct grammar_builder *b = NULL;
    struct grammar *g = NULL;
    struct quern_error err = {0};
    struct matcher m;
    symbol_id start = GRAMMAR_NONE;
    const char *text = size ? memchr(data, 0, size) : NULL;
    const size_t n = text ? (size_t)(text - (const char *)data) : size;
    limits.max_exprs = 1 << 16;
    limits.max_bytes = 32 << 20;
    limits.compile_fuel = limits.step_fuel = 1 << 20;
    if (size > 8192 || grammar_builder_create(&limits, &b, NULL))
        return 0;
    if (xml_dtd_build(b, (struct str){(const char *)data, n}, "it", &start, NULL, &err) !=
        QUERN_OK) {
        if (!err.message[0])
            abort();
    } else {
        grammar_start(b, start);
        if (grammar_compile(b, &g, &err) == QUERN_OK && text &&
            matcher_init(&m, g, NULL, NULL, 0, &err) == QUERN_OK)
            matcher_accept_bytes(&m, (struct str){text + 1, size - n - 1}, NULL, &err);
    }
    grammar_destroy(g);
    grammar_builder_destroy(b);
    return 0;
}
