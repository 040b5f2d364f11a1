#include "chat/jinja_string.h"

#include <string.h>

#include <utf8proc.h>

size_t jstring_char_bytes(char lead) {
    unsigned char c = (unsigned char)lead;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

static bool is_continuation(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

size_t jstring_length(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += !is_continuation(s.ptr[i]);
    return n;
}

size_t jstring_offset(struct str s, size_t index) {
    size_t at = 0;
    while (index > 0 && at < s.len) {
        at += jstring_char_bytes(s.ptr[at]);
        index--;
    }
    return at < s.len ? at : s.len;
}

struct str jstring_slice(struct str s, size_t from, size_t to) {
    return to > from ? (struct str){s.ptr + from, to - from} : (struct str){"", 0};
}

size_t jstring_find(struct str s, struct str sub, size_t from) {
    if (from > s.len || sub.len > s.len - from)
        return JSTRING_NONE;
    if (sub.len == 0)
        return from;
    const char *p = memmem(s.ptr + from, s.len - from, sub.ptr, sub.len);
    return p ? (size_t)(p - s.ptr) : JSTRING_NONE;
}

size_t jstring_rfind(struct str s, struct str sub) {
    if (sub.len > s.len)
        return JSTRING_NONE;
    for (size_t at = s.len - sub.len + 1; at-- > 0;)
        if (sub.len == 0 || memcmp(s.ptr + at, sub.ptr, sub.len) == 0)
            return at;
    return JSTRING_NONE;
}

size_t jstring_count(struct str s, struct str sub) {
    if (sub.len == 0)
        return jstring_length(s) + 1;
    size_t n = 0;
    for (size_t at = 0; (at = jstring_find(s, sub, at)) != JSTRING_NONE; at += sub.len)
        n++;
    return n;
}

int32_t jstring_decode(struct str s, size_t *at) {
    utf8proc_int32_t c = 0xFFFD;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.ptr + *at,
                                          (utf8proc_ssize_t)(s.len - *at), &c);
    *at += n > 0 ? (size_t)n : 1;
    return n > 0 ? c : 0xFFFD;
}

int32_t jstring_decode_before(struct str s, size_t *at) {
    do
        --*at;
    while (*at > 0 && is_continuation(s.ptr[*at]));
    size_t end = *at;
    return jstring_decode(s, &end);
}

/* ---- whitespace and lines ------------------------------------------------------------ */

bool jstring_is_space(int32_t c) {
    if (c < 0x80)
        return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool strips(int32_t c, const struct str *chars) {
    if (!chars)
        return jstring_is_space(c);
    for (size_t at = 0; at < chars->len;)
        if (jstring_decode(*chars, &at) == c)
            return true;
    return false;
}

struct str jstring_strip(struct str s, const struct str *chars, bool left, bool right) {
    size_t from = 0, to = s.len;
    while (left && from < to) {
        size_t next = from;
        if (!strips(jstring_decode(s, &next), chars))
            break;
        from = next;
    }
    while (right && to > from) {
        size_t before = to;
        if (!strips(jstring_decode_before(s, &before), chars))
            break;
        to = before;
    }
    return jstring_slice(s, from, to);
}

static bool ends_line(int32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct str jstring_next_line(struct str s, size_t *at, size_t *end) {
    size_t start = *at;
    while (*at < s.len) {
        *end = *at;
        int32_t c = jstring_decode(s, at);
        if (!ends_line(c))
            continue;
        if (c == '\r' && *at < s.len && s.ptr[*at] == '\n')
            ++*at;
        return jstring_slice(s, start, *end);
    }
    *end = s.len;
    return jstring_slice(s, start, s.len);
}
