/* str.h - a view of bytes that somebody else owns. Not NUL-terminated. */
#ifndef QUERN_BASE_STR_H
#define QUERN_BASE_STR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

#define STR_LIT(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf("%.*s", STR_FMT(s)). A negative precision would be none at all. */
#define STR_FMT(s) (int)((s).len < INT_MAX ? (s).len : INT_MAX), ((s).ptr ? (s).ptr : "")

static inline struct str str_from(const char *c) {
    return (struct str){c, c ? strlen(c) : 0};
}

static inline bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_is(struct str a, const char *c) {
    return str_eq(a, str_from(c));
}

static inline bool str_starts_with(struct str s, struct str prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool str_ends_with(struct str s, struct str suffix) {
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

#endif
