/* error.h - how every layer reports failure: a status code returned, and an
 * optional message in the caller's struct quern_error (see quern.h). */
#ifndef QUERN_BASE_ERROR_H
#define QUERN_BASE_ERROR_H

#include "quern.h"

#if defined(__GNUC__)
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#else
#define PRINTF_LIKE(fmt, args)
#define MUST_CHECK
#endif

/* Fills *err (which may be NULL) and returns `code`, so that callers write
 *     return error_set(err, QUERN_ERR_FORMAT, "%s: ...", path);
 * A message too long for the struct is cut; control characters and invalid UTF-8 in it become
 * '?'. */
enum quern_status error_set(struct quern_error *err, enum quern_status code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Puts "context: " before the message already in *err and returns err's code;
 * `code` when err is NULL. For layers that know the file where inner ones only
 * know the key. */
enum quern_status error_prefix(struct quern_error *err, enum quern_status code, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Messages quote files and callers: nothing in them may move a terminal's cursor, begin a line of a
 * log or be half a character. Such bytes of `text` become '?'. */
void error_make_printable(char *text);

/* The message every failed allocation gives. */
enum quern_status error_nomem(struct quern_error *err);

#endif
