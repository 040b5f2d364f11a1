#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum quern_status error_set(struct quern_error *err, enum quern_status code, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        /* An argument may be err->message itself, so build aside. */
        char text[sizeof err->message];
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        memcpy(err->message, text, sizeof text);
        err->code = code;
    }
    return code;
}

enum quern_status error_prefix(struct quern_error *err, enum quern_status code, const char *fmt,
                               ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        char context[sizeof err->message];
        vsnprintf(context, sizeof context, fmt, args);
        va_end(args);
        char text[2 * sizeof err->message + 4];
        snprintf(text, sizeof text, "%s: %s", context, err->message);
        text[sizeof err->message - 1] = '\0';
        memcpy(err->message, text, strlen(text) + 1);
    }
    return err ? err->code : code;
}

enum quern_status error_nomem(struct quern_error *err) {
    return error_set(err, QUERN_ERR_NOMEM, "out of memory");
}

const char *quern_status_name(enum quern_status status) {
    static const char *const names[] = {
        [QUERN_OK] = "ok",
        [QUERN_ERR_ARG] = "bad argument",
        [QUERN_ERR_NOMEM] = "out of memory",
        [QUERN_ERR_IO] = "input/output error",
        [QUERN_ERR_FORMAT] = "bad format",
        [QUERN_ERR_UNSUPPORTED] = "unsupported",
        [QUERN_ERR_LIMIT] = "limit exceeded",
        [QUERN_ERR_CONTEXT] = "context full",
        [QUERN_ERR_STATE] = "wrong state",
        [QUERN_ERR_CANCELLED] = "cancelled",
        [QUERN_ERR_TEMPLATE] = "template error",
    };
    size_t i = (size_t)status;
    return i < sizeof names / sizeof names[0] && names[i] ? names[i] : "unknown status";
}
