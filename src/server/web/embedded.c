#include "server/web/embedded.h"

/* Made by `ld -r -b binary` from the files' names. */
extern const char _binary_docs_html_start[], _binary_docs_html_end[];
extern const char _binary_openapi_json_start[], _binary_openapi_json_end[];

static struct embedded_file between(const char *start, const char *end) {
    return (struct embedded_file){start, (size_t)(end - start)};
}

struct embedded_file embedded_docs_page(void) {
    return between(_binary_docs_html_start, _binary_docs_html_end);
}

struct embedded_file embedded_openapi(void) {
    return between(_binary_openapi_json_start, _binary_openapi_json_end);
}
