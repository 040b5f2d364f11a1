#include "server/web/embedded.h"

#include <string.h>

static const char html[] = "text/html; charset=utf-8", css[] = "text/css; charset=utf-8",
                  js[] = "text/javascript; charset=utf-8", svg[] = "image/svg+xml",
                  json[] = "application/json";

/* Made by `ld -r -b binary` from the files' names. */
#define FILES(X)                      \
    X(docs_html, "docs", html)        \
    X(openapi_json, "openapi", json)  \
    X(chat_html, "", html)            \
    X(chat_css, "chat.css", css)      \
    X(chat_js, "chat.js", js)         \
    X(api_js, "api.js", js)           \
    X(dom_js, "dom.js", js)           \
    X(markdown_js, "markdown.js", js) \
    X(run_js, "run.js", js)           \
    X(settings_js, "settings.js", js) \
    X(store_js, "store.js", js)       \
    X(view_js, "view.js", js)         \
    X(icon_svg, "icon.svg", svg)

#define DECLARE(symbol, name, type) \
    extern const char _binary_##symbol##_start[], _binary_##symbol##_end[];
FILES(DECLARE)

bool embedded_find(const char *wanted, struct embedded_file *out) {
#define TRY(symbol, name, type)                                                                    \
    if (strcmp(wanted, name) == 0) {                                                               \
        *out = (struct embedded_file){_binary_##symbol##_start,                                    \
                                      (size_t)(_binary_##symbol##_end - _binary_##symbol##_start), \
                                      type};                                                       \
        return true;                                                                               \
    }
    FILES(TRY)
    return false;
}

struct embedded_file embedded_docs_page(void) {
    struct embedded_file file = {0};
    embedded_find("docs", &file);
    return file;
}

struct embedded_file embedded_openapi(void) {
    struct embedded_file file = {0};
    embedded_find("openapi", &file);
    return file;
}
