#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buffer_init(struct buffer *b, size_t max) {
    *b = (struct buffer){.max = max};
}

void buffer_release(struct buffer *b) {
    if (!b)
        return;
    free(b->data);
    *b = (struct buffer){.max = b->max};
}

void buffer_clear(struct buffer *b) {
    b->len = 0;
    b->failed = QUERN_OK;
    if (b->data)
        b->data[0] = '\0';
}

enum quern_status buffer_reserve(struct buffer *b, size_t extra) {
    if (b->failed)
        return b->failed;
    if (extra > b->max - b->len)
        return b->failed = QUERN_ERR_LIMIT;
    size_t need = b->len + extra;
    if (b->data && need < b->capacity)
        return QUERN_OK;
    if (need >= SIZE_MAX / 2)
        return b->failed = QUERN_ERR_LIMIT;
    size_t capacity = b->capacity ? b->capacity : 64;
    while (capacity <= need) /* one byte more for the NUL */
        capacity *= 2;
    char *data = realloc(b->data, capacity);
    if (!data)
        return b->failed = QUERN_ERR_NOMEM;
    b->data = data;
    b->capacity = capacity;
    return QUERN_OK;
}

enum quern_status buffer_append(struct buffer *b, const void *bytes, size_t n) {
    enum quern_status status = buffer_reserve(b, n);
    if (status)
        return status;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return QUERN_OK;
}

enum quern_status buffer_append_str(struct buffer *b, struct str s) {
    return buffer_append(b, s.ptr, s.len);
}

enum quern_status buffer_puts(struct buffer *b, const char *text) {
    return buffer_append(b, text, strlen(text));
}

enum quern_status buffer_putc(struct buffer *b, char c) {
    return buffer_append(b, &c, 1);
}

enum quern_status buffer_printf(struct buffer *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    enum quern_status status = n < 0 ? (b->failed = QUERN_ERR_NOMEM) : buffer_reserve(b, (size_t)n);
    if (!status) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return status;
}

enum quern_status buffer_status(const struct buffer *b, const char *what, struct quern_error *err) {
    if (b->failed == QUERN_ERR_LIMIT)
        return error_set(err, QUERN_ERR_LIMIT, "%s is longer than %zu bytes", what, b->max);
    return b->failed ? error_nomem(err) : QUERN_OK;
}

char *buffer_detach(struct buffer *b, size_t *len) {
    if (buffer_reserve(b, 0))
        return NULL;
    b->data[b->len] = '\0';
    char *data = b->data;
    if (len)
        *len = b->len;
    *b = (struct buffer){.max = b->max};
    return data;
}
