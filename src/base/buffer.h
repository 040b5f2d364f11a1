/* buffer.h - a growable run of bytes with a mandatory maximum. Always
 * NUL-terminated once something was appended. A failed append sets `failed` and
 * every later one does nothing, so a writer checks once, at the end. */
#ifndef QUERN_BASE_BUFFER_H
#define QUERN_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/str.h"

struct buffer {
    char *data; /* NULL until the first append */
    size_t len, capacity;
    size_t max;             /* len never exceeds it */
    enum quern_status failed; /* QUERN_OK, QUERN_ERR_NOMEM or QUERN_ERR_LIMIT */
};

void buffer_init(struct buffer *b, size_t max);
void buffer_release(struct buffer *b); /* NULL and zeroed are fine; b may be init'ed again */
void buffer_clear(struct buffer *b);   /* keeps the memory, forgets a failure */

enum quern_status buffer_append(struct buffer *b, const void *bytes, size_t n);
enum quern_status buffer_append_str(struct buffer *b, struct str s);
enum quern_status buffer_puts(struct buffer *b, const char *text);
enum quern_status buffer_putc(struct buffer *b, char c);
enum quern_status buffer_printf(struct buffer *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum quern_status buffer_reserve(struct buffer *b, size_t extra);

/* The message for a buffer's failure: "out of memory" or "WHAT is longer than N bytes". */
enum quern_status buffer_status(const struct buffer *b, const char *what, struct quern_error *err);

/* Hands the bytes to the caller (free()), NUL-terminated, never NULL on success;
 * the buffer is empty afterwards. NULL when the buffer failed or memory ran out. */
char *buffer_detach(struct buffer *b, size_t *len);

static inline struct str buffer_str(const struct buffer *b) {
    return (struct str){b->data, b->len};
}

#endif
