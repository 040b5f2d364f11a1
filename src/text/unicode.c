#include "text/unicode.h"

#include <string.h>

#include "text/unicode_tables.h"

/* The second byte's range keeps out overlong forms, surrogates and values beyond
 * 10FFFF (table 3-7 of the Unicode standard). */
static int lead_info(unsigned char lead, unsigned char *low, unsigned char *high) {
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0xC2)
        return 0;
    if (lead < 0xE0)
        return 2;
    if (lead < 0xF0) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead > 0xF4)
        return 0;
    if (lead == 0xF0)
        *low = 0x90;
    if (lead == 0xF4)
        *high = 0x8F;
    return 4;
}

int utf8_decode(const unsigned char *p, const unsigned char *end, int32_t *code_point) {
    unsigned char lead = p[0], low, high;
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    }
    int len = lead_info(lead, &low, &high);
    *code_point = -1;
    if (len == 0 || end - p < 2 || p[1] < low || p[1] > high)
        return 1;
    int32_t c = (lead & (0x7F >> len)) << 6 | (p[1] & 0x3F);
    for (int i = 2; i < len; i++) {
        if (p + i == end || (p[i] & 0xC0) != 0x80)
            return i;
        c = c << 6 | (p[i] & 0x3F);
    }
    *code_point = c;
    return len;
}

int utf8_encode(int32_t code_point, char out[4]) {
    uint32_t c = (uint32_t)code_point;
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        c = 0xFFFD;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* Past the ASCII at p, eight bytes at a time. */
static const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end) {
    uint64_t word;
    while (end - p >= 8) {
        memcpy(&word, p, 8);
        if (word & 0x8080808080808080u)
            break;
        p += 8;
    }
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* The first byte that is no part of a valid sequence, or the end. */
static const unsigned char *first_invalid(const unsigned char *p, const unsigned char *end) {
    int32_t c;
    while ((p = skip_ascii(p, end)) < end) {
        do {
            int n = utf8_decode(p, end, &c);
            if (c < 0)
                return p;
            p += n;
        } while (p < end && *p >= 0x80);
    }
    return end;
}

bool utf8_valid(struct str s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    return s.len == 0 || first_invalid(p, p + s.len) == p + s.len;
}

size_t utf8_length(struct str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += (s.ptr[i] & 0xC0) != 0x80;
    return n;
}

size_t utf8_incomplete_tail(struct str s) {
    const unsigned char *start = (const unsigned char *)s.ptr;
    for (size_t n = 1; n <= 3 && n <= s.len; n++) {
        const unsigned char *p = start + s.len - n;
        if ((*p & 0xC0) == 0x80)
            continue;
        unsigned char low, high;
        int len = lead_info(*p, &low, &high);
        bool begun = n == 1 || (p[1] >= low && p[1] <= high);
        return begun && (size_t)len > n ? n : 0;
    }
    return 0;
}

enum quern_status utf8_sanitize(struct str s, struct buffer *out) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    const unsigned char *end = s.len ? p + s.len : p;
    while (p < end) {
        const unsigned char *bad = first_invalid(p, end);
        buffer_append(out, p, (size_t)(bad - p));
        if (bad == end)
            break;
        int32_t c;
        p = bad + utf8_decode(bad, end, &c);
        buffer_append(out, "\xEF\xBF\xBD", 3);
    }
    return out->failed;
}

bool unicode_is_letter(int32_t code_point) {
    return unicode_entry(code_point) & UNICODE_LETTER;
}

bool unicode_is_number(int32_t code_point) {
    return unicode_entry(code_point) & UNICODE_NUMBER;
}

bool unicode_is_space(int32_t code_point) {
    return unicode_entry(code_point) & UNICODE_SPACE;
}

bool unicode_is_word(int32_t code_point) {
    return unicode_entry(code_point) & UNICODE_WORD;
}

size_t unicode_stable_prefix(struct str s, enum unicode_form form) {
    if (s.len == 0)
        return 0;
    const unsigned char *start = (const unsigned char *)s.ptr, *p = start, *end = p + s.len;
    unsigned unstable = (unsigned)UNICODE_UNSTABLE << form;
    int32_t c;
    while ((p = skip_ascii(p, end)) < end) {
        do {
            int n = utf8_decode(p, end, &c);
            if (unicode_entry(c) & unstable)
                return (size_t)(p - start);
            p += n;
        } while (p < end && *p >= 0x80);
    }
    return s.len;
}

bool unicode_is_normalized_fast(struct str s, enum unicode_form form) {
    return unicode_stable_prefix(s, form) == s.len;
}
