/* api_error.h - errors as OpenAI's interface tells them: an HTTP status, a type, the parameter at
 * fault, a code for programs and a sentence for people. Nothing here knows HTTP beyond the number.
 */
#ifndef QUERN_OPENAI_API_ERROR_H
#define QUERN_OPENAI_API_ERROR_H

#include "base/buffer.h"
#include "base/error.h"

enum api_error_kind {
    API_INVALID_JSON,
    API_MISSING,     /* a required parameter */
    API_UNKNOWN,     /* a parameter that does not exist */
    API_TYPE,        /* a value of the wrong type */
    API_VALUE,       /* a value out of its range */
    API_UNSUPPORTED, /* a parameter that exists, with a value this server cannot serve */
    API_CONTEXT,     /* more tokens than the context holds */
    API_TEMPLATE,    /* the chat template refused the messages */
    API_NO_MODEL,
    API_NO_KEY,
    API_BAD_HOST,
    API_NOT_FOUND,
    API_NO_PREVIOUS, /* an earlier answer a request builds on is not there */
    API_BAD_METHOD,
    API_TOO_LARGE,
    API_MEDIA_TYPE,
    API_HEADERS_TOO_LARGE,
    API_OVERLOADED,  /* try again later */
    API_UNAVAILABLE, /* loading, or draining */
    API_TIMEOUT,
    API_INTERNAL,
    API_N_KINDS,
};

struct api_error {
    enum api_error_kind kind;
    int retry_after_s; /* 0: not said */
    char param[96];    /* "": none */
    char message[508];
};

/* Fills *err and returns a status that is never QUERN_OK. `param` NULL: none. */
enum quern_status api_fail(struct api_error *err, enum api_error_kind kind, const char *param,
                           const char *fmt, ...) PRINTF_LIKE(4, 5);
enum quern_status api_nomem(struct api_error *err);
/* A failure of the library, told as `fallback` unless its code has a kind of its own. */
enum quern_status api_fail_from(struct api_error *err, enum api_error_kind fallback,
                                const char *param, const struct quern_error *cause);

int api_error_http_status(enum api_error_kind kind);
const char *api_error_type(enum api_error_kind kind); /* "invalid_request_error" */
const char *api_error_code(enum api_error_kind kind); /* "invalid_value", or NULL */

/* Puts another name in the place of a parameter's, for a request that was made into one of another
 * interface. */
void api_error_rename(struct api_error *err, const char *from, const char *to);

/* Appends {"error": {...}} as OpenAI writes it. */
void api_error_write(const struct api_error *err, struct buffer *out);

#endif
