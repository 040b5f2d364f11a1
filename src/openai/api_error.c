#include "openai/api_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/json.h"

struct kind_row {
    int http_status;
    const char *type, *code;
};

static const char invalid_request[] = "invalid_request_error";
static const char server_error[] = "server_error";

static const struct kind_row kinds[API_N_KINDS] = {
    [API_INVALID_JSON] = {400, invalid_request, "invalid_json"},
    [API_MISSING] = {400, invalid_request, "missing_required_parameter"},
    [API_UNKNOWN] = {400, invalid_request, "unknown_parameter"},
    [API_TYPE] = {400, invalid_request, "invalid_type"},
    [API_VALUE] = {400, invalid_request, "invalid_value"},
    [API_UNSUPPORTED] = {400, invalid_request, "unsupported_value"},
    [API_CONTEXT] = {400, invalid_request, "context_length_exceeded"},
    [API_TEMPLATE] = {400, invalid_request, "template_error"},
    [API_NO_MODEL] = {404, invalid_request, "model_not_found"},
    [API_NO_KEY] = {401, invalid_request, "invalid_api_key"},
    [API_BAD_HOST] = {403, invalid_request, "host_not_allowed"},
    [API_NOT_FOUND] = {404, invalid_request, "not_found"},
    [API_NO_PREVIOUS] = {400, invalid_request, "previous_response_not_found"},
    [API_BAD_METHOD] = {405, invalid_request, "method_not_allowed"},
    [API_TOO_LARGE] = {413, invalid_request, "request_too_large"},
    [API_MEDIA_TYPE] = {415, invalid_request, "unsupported_media_type"},
    [API_HEADERS_TOO_LARGE] = {431, invalid_request, "headers_too_large"},
    [API_OVERLOADED] = {429, "rate_limit_error", "rate_limit_exceeded"},
    [API_UNAVAILABLE] = {503, server_error, "unavailable"},
    [API_TIMEOUT] = {504, server_error, "timeout"},
    [API_INTERNAL] = {500, server_error, NULL},
};

enum quern_status api_fail(struct api_error *err, enum api_error_kind kind, const char *param,
                           const char *fmt, ...) {
    *err = (struct api_error){.kind = kind};
    snprintf(err->param, sizeof err->param, "%s", param ? param : "");
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    error_make_printable(err->message);
    error_make_printable(err->param);
    return kind == API_INTERNAL ? QUERN_ERR_STATE : QUERN_ERR_ARG;
}

enum quern_status api_nomem(struct api_error *err) {
    api_fail(err, API_INTERNAL, NULL, "out of memory");
    return QUERN_ERR_NOMEM;
}

enum quern_status api_fail_from(struct api_error *err, enum api_error_kind fallback,
                                const char *param, const struct quern_error *cause) {
    enum api_error_kind kind = fallback;
    if (cause->code == QUERN_ERR_NOMEM)
        return api_nomem(err);
    if (cause->code == QUERN_ERR_CONTEXT)
        kind = API_CONTEXT;
    else if (cause->code == QUERN_ERR_TEMPLATE)
        kind = API_TEMPLATE;
    return api_fail(err, kind, param, "%s", cause->message);
}

int api_error_http_status(enum api_error_kind kind) {
    return kinds[kind].http_status;
}

const char *api_error_type(enum api_error_kind kind) {
    return kinds[kind].type;
}

const char *api_error_code(enum api_error_kind kind) {
    return kinds[kind].code;
}

static void write_or_null(const char *text, struct buffer *out) {
    if (text && *text)
        json_write_string(str_from(text), out);
    else
        buffer_puts(out, "null");
}

void api_error_write(const struct api_error *err, struct buffer *out) {
    buffer_puts(out, "{\"error\":{\"message\":");
    json_write_string(str_from(err->message), out);
    buffer_puts(out, ",\"type\":");
    write_or_null(kinds[err->kind].type, out);
    buffer_puts(out, ",\"param\":");
    write_or_null(err->param, out);
    buffer_puts(out, ",\"code\":");
    write_or_null(kinds[err->kind].code, out);
    buffer_puts(out, "}}");
}

static void rename_in(char *text, size_t size, const char *from, const char *to) {
    struct buffer out;
    buffer_init(&out, size - 1);
    const char *rest = text, *hit;
    while ((hit = strstr(rest, from)) != NULL) {
        buffer_append(&out, rest, (size_t)(hit - rest));
        buffer_puts(&out, to);
        rest = hit + strlen(from);
    }
    buffer_puts(&out, rest);
    if (!out.failed && rest != text)
        snprintf(text, size, "%s", out.data);
    buffer_release(&out);
}

void api_error_rename(struct api_error *err, const char *from, const char *to) {
    rename_in(err->param, sizeof err->param, from, to);
    rename_in(err->message, sizeof err->message, from, to);
}
