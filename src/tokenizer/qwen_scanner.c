#include "tokenizer/qwen_scanner.h"

#include <stdbool.h>
#include <stdint.h>

#include "text/unicode_tables.h"

enum { CLASS = UNICODE_LETTER | UNICODE_NUMBER | UNICODE_SPACE }; /* 0: none of them */

int qwen_scanner_digits(struct str pattern) {
    if (str_eq(pattern, STR_LIT(QWEN_PATTERN)))
        return 1;
    return str_eq(pattern, STR_LIT(LLAMA3_PATTERN)) ? 3 : 0;
}

/* Valid UTF-8 needs no checks. */
static int32_t decode_wide(const unsigned char *p, int *len) {
    if (p[0] < 0xE0) {
        *len = 2;
        return (p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *len = 3;
        return (p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *len = 4;
    return (p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

static inline unsigned class_at(const unsigned char *p, int *len) {
    if (*p < 0x80) {
        *len = 1;
        return unicode_stage2[*p] & CLASS; /* block 0 is ASCII */
    }
    return unicode_entry(decode_wide(p, len)) & CLASS;
}

static const unsigned char *skip_letters(const unsigned char *p, const unsigned char *end) {
    int len;
    while (p < end && class_at(p, &len) == UNICODE_LETTER)
        p += len;
    return p;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d) at an apostrophe; its end, or NULL. U+017F is a small s. */
static const unsigned char *contraction(const unsigned char *p, const unsigned char *end) {
    if (end - p < 2)
        return NULL;
    unsigned char a = p[1] | 0x20, b = end - p > 2 ? p[2] | 0x20 : 0;
    if (p[1] == 0xC5)
        return end - p > 2 && p[2] == 0xBF ? p + 3 : NULL;
    if (p[1] >= 0x80)
        return NULL;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return p + 2;
    bool two = (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l');
    return two ? p + 3 : NULL;
}

/* [^\s\p{L}\p{N}]+[\r\n]* */
static const unsigned char *symbols(const unsigned char *p, const unsigned char *end) {
    int len;
    while (p < end && class_at(p, &len) == 0)
        p += len;
    while (p < end && (*p == '\r' || *p == '\n'))
        p++;
    return p;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ at white space: up to the last line break of the run; without one,
 * all of it but the last character, which the word after it begins with. */
static const unsigned char *white_space(const unsigned char *p, const unsigned char *end) {
    const unsigned char *start = p, *after_break = NULL, *last = p;
    int len;
    while (p < end && class_at(p, &len) == UNICODE_SPACE) {
        last = p;
        p += len;
        if (*last == '\r' || *last == '\n')
            after_break = p;
    }
    if (after_break)
        return after_break;
    return p == end || last == start ? p : last;
}

static const unsigned char *digits(const unsigned char *p, const unsigned char *end, int max) {
    int len;
    for (int n = 0; n < max && p < end && class_at(p, &len) == UNICODE_NUMBER; n++)
        p += len;
    return p;
}

static const unsigned char *next_word(const unsigned char *p, const unsigned char *end,
                                      int max_digits) {
    int len, next_len;
    unsigned class = class_at(p, &len);
    if (class == UNICODE_LETTER)
        return skip_letters(p + len, end);
    if (class == UNICODE_NUMBER)
        return digits(p, end, max_digits);
    if (*p == '\'') {
        const unsigned char *after = contraction(p, end);
        if (after)
            return after;
    }
    /* One character before letters goes with them, unless it ends a line. */
    const unsigned char *next = p + len;
    unsigned next_class = next < end ? class_at(next, &next_len) : UNICODE_SPACE;
    if (next_class == UNICODE_LETTER && *p != '\r' && *p != '\n')
        return skip_letters(next + next_len, end);
    if (class == 0)
        return symbols(p, end);
    if (*p == ' ' && next_class == 0)
        return symbols(next, end);
    return white_space(p, end);
}

size_t qwen_scanner_next(struct str text, size_t begin, int max_digits) {
    const unsigned char *start = (const unsigned char *)text.ptr;
    return (size_t)(next_word(start + begin, start + text.len, max_digits) - start);
}
