#include "chat/jinja_unescape.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "chat/jinja_string.h"
#include "text/unicode.h"

static int digit_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* Up to `max` digits from *at; returns how many. */
static size_t read_digits(struct str text, size_t *at, int base, size_t max, uint32_t *value) {
    size_t n = 0;
    *value = 0;
    while (n < max && *at < text.len && digit_value(text.ptr[*at]) < base) {
        *value = *value * (uint32_t)base + (uint32_t)digit_value(text.ptr[*at]);
        ++*at;
        n++;
    }
    return n;
}

static enum quern_status read_code_point(struct str text, size_t *at, size_t n_digits,
                                         uint32_t *value, struct quern_error *err) {
    if (read_digits(text, at, 16, n_digits, value) != n_digits)
        return error_set(err, QUERN_ERR_TEMPLATE, "truncated escape in a string");
    if (*value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000))
        return error_set(err, QUERN_ERR_TEMPLATE, "an escape in a string is no character: U+%04X",
                         (unsigned)*value);
    return QUERN_OK;
}

/* Jinja encodes the literal with backslashreplace first, so that a backslash before a
 * non-ASCII character escapes the backslash of the replacement. */
static size_t spell_non_ascii(struct str text, size_t *at, char *out) {
    uint32_t c = (uint32_t)jstring_decode(text, at);
    const char *form = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
    return (size_t)snprintf(out, 12, form, c);
}

/* One escape; *at stands after the backslash. Appends at most 10 bytes. */
static enum quern_status unescape_one(struct str text, size_t *at, char *out, size_t *n,
                                      struct quern_error *err) {
    static const char letters[] = "\\'\"abfnrtv";
    static const char values[] = "\\'\"\a\b\f\n\r\t\v";
    char c = text.ptr[*at];
    uint32_t value;
    if ((unsigned char)c >= 0x80) {
        *n += spell_non_ascii(text, at, out + *n);
        return QUERN_OK;
    }
    const char *found = c ? strchr(letters, c) : NULL;
    if (found || c == '\n') {
        if (found)
            out[(*n)++] = values[found - letters];
        ++*at;
        return QUERN_OK;
    }
    if (c == 'N')
        return error_set(err, QUERN_ERR_UNSUPPORTED, "\\N{...} in a string is not supported");
    if (c == 'x' || c == 'u' || c == 'U') {
        ++*at;
        enum quern_status status = read_code_point(text, at,
                                                   c == 'x'   ? 2
                                                   : c == 'u' ? 4
                                                              : 8,
                                                   &value, err);
        if (!status)
            *n += (size_t)utf8_encode((int32_t)value, out + *n);
        return status;
    }
    if (read_digits(text, at, 8, 3, &value)) {
        *n += (size_t)utf8_encode((int32_t)value, out + *n);
        return QUERN_OK;
    }
    out[(*n)++] = '\\'; /* unknown escapes stay as they are */
    out[(*n)++] = c;
    ++*at;
    return QUERN_OK;
}

enum quern_status jinja_unescape(struct arena *arena, struct str text, struct str *out,
                                 struct quern_error *err) {
    if (text.len == 0 || !memchr(text.ptr, '\\', text.len)) {
        *out = text;
        return QUERN_OK;
    }
    /* "\" and a 2-byte character become 4 bytes "\xe9", 3-byte and 4-byte ones 6 and 10. */
    char *copy = arena_alloc(arena, 2 * text.len + 16);
    if (!copy)
        return error_nomem(err);
    size_t n = 0;
    for (size_t at = 0; at < text.len;) {
        if (text.ptr[at] != '\\' || at + 1 == text.len) {
            copy[n++] = text.ptr[at++];
            continue;
        }
        at++;
        enum quern_status status = unescape_one(text, &at, copy, &n, err);
        if (status)
            return status;
    }
    *out = (struct str){copy, n};
    return QUERN_OK;
}
