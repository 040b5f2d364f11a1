/* endpoints_page.c - what people see in a browser: the chat page, /docs. */
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "server/server_core.h"
#include "server/web/embedded.h"

/* The page shows what a model writes, and asks whether programs may run: nothing of elsewhere may
 * get into it, and it may not be shown inside of another. */
static const struct http_field page_fields[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "
     "'script'; "
     "trusted-types 'none'"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
    {"Cache-Control", "no-cache"}, /* kept, and asked for by its ETag */
    {NULL, NULL},
};

/* If-None-Match is a list of tags, or a star. */
static bool client_has(const struct http_call *call) {
    const char *known = http_header(call, "If-None-Match");
    return known && (strcmp(known, "*") == 0 || strstr(known, call->etag));
}

static void answer_file(struct http_call *call, const char *name) {
    struct embedded_file file;
    struct api_error err;
    if (!embedded_find(name, &file)) {
        api_fail(&err, API_NOT_FOUND, NULL, "Invalid URL (%s %.200s)", call->method, call->path);
        http_answer_error(call, &err);
        return;
    }
    call->fields = page_fields;
    snprintf(call->etag, sizeof call->etag, "\"%016llx\"",
             (unsigned long long)checksum64(0, file.data, file.size_bytes));
    if (client_has(call))
        http_answer_static(call, 304, file.type, "", 0);
    else
        http_answer_static(call, 200, file.type, file.data, file.size_bytes);
}

void endpoint_page(struct server *s, struct http_call *call) {
    (void)s;
    answer_file(call, "");
}

void endpoint_page_file(struct server *s, struct http_call *call) {
    (void)s;
    answer_file(call, call->path + strlen("/web/"));
}

void endpoint_docs(struct server *s, struct http_call *call) {
    (void)s;
    struct embedded_file page = embedded_docs_page();
    http_answer_static(call, 200, page.type, page.data, page.size_bytes);
}

void endpoint_openapi(struct server *s, struct http_call *call) {
    (void)s;
    struct embedded_file file = embedded_openapi();
    http_answer_static(call, 200, file.type, file.data, file.size_bytes);
}
