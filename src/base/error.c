#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 sequence at `c`; 0 when it is none, or a control character. */
static size_t printable_bytes(const unsigned char *c) {
    size_t n = c[0] < 0x80   ? 1
               : c[0] < 0xC2 ? 0
               : c[0] < 0xE0 ? 2
               : c[0] < 0xF0 ? 3
               : c[0] < 0xF5 ? 4
                             : 0;
    if (c[0] < ' ' || c[0] == 0x7f || (c[0] == 0xC2 && c[1] < 0xA0))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

/* Half a character is also what cutting a long message leaves at its end. */
void error_make_printable(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c;) {
        size_t n = printable_bytes(c);
        if (!n) {
            *c = '?';
            n = 1;
        }
        c += n;
    }
}

enum quern_status error_set(struct quern_error *err, enum quern_status code, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        /* An argument may be err->message itself, so build aside. */
        char text[sizeof err->message];
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        error_make_printable(text);
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
        error_make_printable(text);
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
