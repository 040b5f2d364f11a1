/* Case and character classes as Python's str methods define them: utf8proc's simple
 * mappings and categories, completed by jinja_text_tables.h. */
#include <string.h>

#include <utf8proc.h>

#include "chat/jinja_string.h"
#include "chat/jinja_text_tables.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool in_ranges(const struct jtext_range *ranges, size_t n, int32_t c) {
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else if (c < ranges[middle].first)
            n = middle;
        else
            return true;
    }
    return false;
}

static const char *find_special(const struct jtext_special *table, size_t n, int32_t c) {
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (table[middle].code_point == c)
            return table[middle].text;
        if (table[middle].code_point < c)
            low = middle + 1;
        else
            n = middle;
    }
    return NULL;
}

static bool is_lower(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LL ||
           in_ranges(jtext_other_lower, COUNT(jtext_other_lower), c);
}

static bool is_upper(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LU ||
           in_ranges(jtext_other_upper, COUNT(jtext_other_upper), c);
}

static bool is_title(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_LT;
}

static bool is_cased(int32_t c) {
    return is_lower(c) || is_upper(c) || is_title(c);
}

/* ---- changing case ---------------------------------------------------------------------- */

static void put(int32_t c, struct buffer *out) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    buffer_append(out, bytes, (size_t)n);
}

static void put_upper(int32_t c, struct buffer *out) {
    const char *text = find_special(jtext_upper, COUNT(jtext_upper), c);
    if (text)
        buffer_puts(out, text);
    else
        put(utf8proc_toupper(c), out);
}

static void put_title(int32_t c, struct buffer *out) {
    const char *text = find_special(jtext_title, COUNT(jtext_title), c);
    if (text)
        buffer_puts(out, text);
    else
        put(utf8proc_totitle(c), out);
}

static bool is_case_ignorable(int32_t c) {
    static const int32_t marks[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                    0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                    0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < COUNT(marks); i++)
        if (marks[i] == c)
            return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* A capital sigma at `at` (bytes) is written as a final one at the end of a word. */
static bool is_final_sigma(struct str s, size_t at) {
    int32_t c = 0;
    size_t before = at;
    bool cased = false;
    while (before > 0) {
        c = jstring_decode_before(s, &before);
        if (!is_case_ignorable(c)) {
            cased = is_cased(c);
            break;
        }
    }
    if (!cased)
        return false;
    size_t after = at + 2;
    while (after < s.len) {
        c = jstring_decode(s, &after);
        if (!is_case_ignorable(c))
            return !is_cased(c);
    }
    return true;
}

static void put_lower(struct str s, size_t at, int32_t c, struct buffer *out) {
    const char *text = find_special(jtext_lower, COUNT(jtext_lower), c);
    if (text)
        buffer_puts(out, text);
    else if (c == 0x3A3)
        put(is_final_sigma(s, at) ? 0x3C2 : 0x3C3, out);
    else
        put(utf8proc_tolower(c), out);
}

/* Case folding, which utf8proc knows in full. */
static void put_folded(int32_t c, struct buffer *out) {
    utf8proc_int32_t folded[8];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, folded, (utf8proc_ssize_t)COUNT(folded),
                                                 UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < n && i < (utf8proc_ssize_t)COUNT(folded); i++)
        put(folded[i], out);
}

void jstring_change_case(struct str s, enum jcase how, struct buffer *out) {
    bool inside = false; /* title: after a cased character */
    for (size_t at = 0; at < s.len && !out->failed;) {
        size_t start = at;
        int32_t c = jstring_decode(s, &at);
        enum jcase now = how;
        if (how == JCASE_TITLE)
            now = inside ? JCASE_LOWER : JCASE_TITLE;
        else if (how == JCASE_CAPITALIZE)
            now = start ? JCASE_LOWER : JCASE_TITLE;
        else if (how == JCASE_SWAP)
            now = is_upper(c) ? JCASE_LOWER : is_lower(c) ? JCASE_UPPER : JCASE_SWAP;
        switch (now) {
        case JCASE_UPPER:
            put_upper(c, out);
            break;
        case JCASE_LOWER:
            put_lower(s, start, c, out);
            break;
        case JCASE_FOLD:
            put_folded(c, out);
            break;
        case JCASE_TITLE:
            put_title(c, out);
            break;
        default:
            put(c, out);
            break;
        }
        inside = is_cased(c);
    }
}

/* ---- classes ---------------------------------------------------------------------------- */

static char major_category(int32_t c) {
    return utf8proc_category_string(c)[0];
}

static bool is_decimal(int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

static bool is_digit(int32_t c) {
    return is_decimal(c) || in_ranges(jtext_digits, COUNT(jtext_digits), c);
}

static bool is_numeric(int32_t c) {
    return major_category(c) == 'N' || in_ranges(jtext_numerics, COUNT(jtext_numerics), c);
}

bool jstring_is_printable(int32_t c) {
    return c == ' ' || (major_category(c) != 'C' && major_category(c) != 'Z');
}

bool jstring_is_word(int32_t c) {
    return c == '_' || major_category(c) == 'L' || is_numeric(c);
}

static bool starts_identifier(int32_t c) {
    return c == '_' || major_category(c) == 'L' || utf8proc_category(c) == UTF8PROC_CATEGORY_NL;
}

static bool continues_identifier(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return starts_identifier(c) || is_decimal(c) || category == UTF8PROC_CATEGORY_MN ||
           category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_PC;
}

static bool in_class(int32_t c, enum jclass which, bool first) {
    switch (which) {
    case JCLASS_ALPHA:
        return major_category(c) == 'L';
    case JCLASS_DECIMAL:
        return is_decimal(c);
    case JCLASS_DIGIT:
        return is_digit(c);
    case JCLASS_NUMERIC:
        return is_numeric(c);
    case JCLASS_ALNUM:
        return major_category(c) == 'L' || is_numeric(c);
    case JCLASS_SPACE:
        return jstring_is_space(c);
    case JCLASS_PRINTABLE:
        return jstring_is_printable(c);
    case JCLASS_ASCII:
        return c < 0x80;
    case JCLASS_IDENTIFIER:
        return first ? starts_identifier(c) : continues_identifier(c);
    default:
        return false;
    }
}

/* isupper and islower: some cased character, and none of another case. */
static bool is_all_case(struct str s, bool upper) {
    bool some = false;
    for (size_t at = 0; at < s.len;) {
        int32_t c = jstring_decode(s, &at);
        if (is_title(c) || (upper ? is_lower(c) : is_upper(c)))
            return false;
        some = some || is_cased(c);
    }
    return some;
}

static bool is_titled(struct str s) {
    bool some = false, inside = false;
    for (size_t at = 0; at < s.len;) {
        int32_t c = jstring_decode(s, &at);
        bool capital = is_upper(c) || is_title(c);
        if ((capital && inside) || (is_lower(c) && !inside))
            return false;
        inside = is_cased(c);
        some = some || inside;
    }
    return some;
}

bool jstring_is(struct str s, enum jclass which) {
    if (which == JCLASS_UPPER || which == JCLASS_LOWER)
        return is_all_case(s, which == JCLASS_UPPER);
    if (which == JCLASS_TITLE)
        return is_titled(s);
    if (s.len == 0)
        return which == JCLASS_PRINTABLE || which == JCLASS_ASCII;
    for (size_t at = 0; at < s.len;) {
        bool first = at == 0;
        if (!in_class(jstring_decode(s, &at), which, first))
            return false;
    }
    return true;
}
