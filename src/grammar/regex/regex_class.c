/* Character classes and escapes. */
#include <string.h>

#include "grammar/regex/regex_parser.h"

static const struct cp_range digit_ranges[] = {{'0', '9'}};
static const struct cp_range word_ranges[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct cp_range ascii_space_ranges[] = {{'\t', '\r'}, {' ', ' '}};
static const struct cp_range ecma_space_ranges[] = {
    {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
static const struct cp_range horizontal_ranges[] = {{'\t', '\t'}, {' ', ' '}, {0xA0, 0xA0}};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void add_ranges(struct cp_set *s, const struct cp_range *r, size_t n, bool negated) {
    struct cp_set part = {0};
    for (size_t i = 0; i < n; i++)
        cp_set_add(&part, r[i].lo, r[i].hi);
    if (negated)
        cp_set_complement(&part);
    cp_set_add_set(s, &part);
    cp_set_release(&part);
}

static void add_space(const struct regex_parser *p, struct cp_set *s, bool negated) {
    if (p->flags & REGEX_PCRE)
        add_ranges(s, ascii_space_ranges, COUNT(ascii_space_ranges), negated);
    else
        add_ranges(s, ecma_space_ranges, COUNT(ecma_space_ranges), negated);
}

/* \p{Name}, \pL: `at` is behind the p. */
static enum quern_status property_name(struct regex_parser *p, struct str *name, bool *negated) {
    const unsigned char *start = p->at;
    if (!regex_take(p, "{")) {
        if (p->at == p->end)
            return regex_refuse(p, start, QUERN_ERR_FORMAT, "\\p without a name");
        *name = (struct str){(const char *)p->at++, 1};
        return QUERN_OK;
    }
    if ((p->flags & REGEX_PCRE) && regex_take(p, "^"))
        *negated = !*negated;
    const unsigned char *close = memchr(p->at, '}', (size_t)(p->end - p->at));
    if (!close)
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "\\p{ without }");
    *name = (struct str){(const char *)p->at, (size_t)(close - p->at)};
    p->at = close + 1;
    return QUERN_OK;
}

static enum quern_status add_property(struct regex_parser *p, struct cp_set *s, bool negated) {
    const unsigned char *start = p->at;
    struct str name;
    enum quern_status status = property_name(p, &name, &negated);
    if (status)
        return status;
    size_t i = 0;
    while (i < p->n_properties && !str_eq(p->properties[i].name, name))
        i++;
    if (i == REGEX_PROPERTIES_MAX)
        return regex_refuse(p, start, QUERN_ERR_LIMIT, "more than %d different \\p{...}",
                            REGEX_PROPERTIES_MAX);
    if (i == p->n_properties) {
        if (!cp_set_add_property(&p->properties[i].set, name))
            return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED, "unknown property \\p{%.*s}",
                                STR_FMT(((struct str){name.ptr, name.len > 60 ? 60 : name.len})));
        p->properties[p->n_properties++].name = name;
        cp_set_normalize(&p->properties[i].set);
    }
    const struct cp_set *found = &p->properties[i].set;
    add_ranges(s, found->ranges, found->n, negated);
    s->failed = s->failed || found->failed;
    return QUERN_OK;
}

enum quern_status regex_class_escape(struct regex_parser *p, struct cp_set *s, bool *is_class) {
    *is_class = true;
    switch (p->at < p->end ? *p->at : 0) {
    case 'd':
    case 'D':
        add_ranges(s, digit_ranges, COUNT(digit_ranges), *p->at++ == 'D');
        return QUERN_OK;
    case 'w':
    case 'W':
        add_ranges(s, word_ranges, COUNT(word_ranges), *p->at++ == 'W');
        return QUERN_OK;
    case 's':
    case 'S':
        add_space(p, s, *p->at++ == 'S');
        return QUERN_OK;
    case 'p':
    case 'P':
        return add_property(p, s, *p->at++ == 'P');
    case 'h':
    case 'H':
        if (p->flags & REGEX_PCRE) {
            add_ranges(s, horizontal_ranges, COUNT(horizontal_ranges), *p->at++ == 'H');
            return QUERN_OK;
        }
        break;
    default:
        break;
    }
    *is_class = false;
    return QUERN_OK;
}

static int hex_digit(int c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

/* Exactly n hexadecimal digits; false and nothing read otherwise. */
static bool take_hex(struct regex_parser *p, int n, int32_t *out) {
    int32_t value = 0;
    if (p->end - p->at < n)
        return false;
    for (int i = 0; i < n; i++) {
        int d = hex_digit(p->at[i]);
        if (d < 0)
            return false;
        value = value * 16 + d;
    }
    p->at += n;
    *out = value;
    return true;
}

static enum quern_status braced_hex(struct regex_parser *p, const unsigned char *start,
                                    int32_t *out) {
    int32_t value = 0;
    int n = 0;
    for (; p->at < p->end && hex_digit(*p->at) >= 0; n++) {
        value = value * 16 + hex_digit(*p->at++);
        if (value > CODE_POINT_MAX)
            return regex_refuse(p, start, QUERN_ERR_FORMAT, "a code point above 10FFFF");
    }
    if (!n || !regex_take(p, "}"))
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "expected hexadecimal digits and } here");
    *out = value;
    return QUERN_OK;
}

static enum quern_status unicode_escape(struct regex_parser *p, const unsigned char *start,
                                        int32_t *out) {
    int32_t low;
    if (regex_take(p, "{"))
        return braced_hex(p, start, out);
    if (!take_hex(p, 4, out))
        return regex_refuse(p, start, QUERN_ERR_FORMAT,
                            "expected four hexadecimal digits after \\u");
    if (*out < 0xD800 || *out > 0xDBFF)
        return QUERN_OK;
    const unsigned char *mark = p->at;
    if (regex_take(p, "\\u") && take_hex(p, 4, &low) && low >= 0xDC00 && low <= 0xDFFF)
        *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    else
        p->at = mark;
    return QUERN_OK;
}

static enum quern_status digit_escape(struct regex_parser *p, const unsigned char *start, int c,
                                      int32_t *out) {
    if (c != '0')
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                            "the backreference \\%c is not supported", c);
    if (p->at < p->end && *p->at >= '0' && *p->at <= '9')
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED, "octal escapes are not supported");
    *out = 0;
    return QUERN_OK;
}

static bool simple_escape(const struct regex_parser *p, int c, int32_t *out) {
    static const char names[] = "tnvfr", values[] = "\t\n\v\f\r";
    const char *found = c ? strchr(names, c) : NULL;
    if (found) {
        *out = values[found - names];
        return true;
    }
    if ((p->flags & REGEX_PCRE) && (c == 'a' || c == 'e')) {
        *out = c == 'a' ? 7 : 27;
        return true;
    }
    return false;
}

enum quern_status regex_char_escape(struct regex_parser *p, bool in_class, int32_t *out) {
    const unsigned char *start = p->at - 1;
    if (p->at == p->end)
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "a backslash at the end");
    int32_t c = regex_next(p);
    if (simple_escape(p, c, out))
        return QUERN_OK;
    if (c >= '0' && c <= '9')
        return digit_escape(p, start, c, out);
    if (c == 'u')
        return unicode_escape(p, start, out);
    if (c == 'x') {
        if ((p->flags & REGEX_PCRE) && regex_take(p, "{"))
            return braced_hex(p, start, out);
        if (!take_hex(p, 2, out))
            return regex_refuse(p, start, QUERN_ERR_FORMAT,
                                "expected two hexadecimal digits after \\x");
        return QUERN_OK;
    }
    if (c == 'c') {
        int letter = p->at < p->end ? *p->at | 32 : 0;
        if (letter < 'a' || letter > 'z')
            return regex_refuse(p, start, QUERN_ERR_FORMAT, "expected a letter after \\c");
        *out = *p->at++ & 31;
        return QUERN_OK;
    }
    if (c == 'b' && in_class) {
        *out = 8;
        return QUERN_OK;
    }
    if (c == 'k' || c == 'g')
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                            "the backreference \\%c is not supported", (int)c);
    if ((c | 32) >= 'a' && (c | 32) <= 'z')
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "unknown escape \\%c", (int)c);
    *out = c;
    return QUERN_OK;
}

static bool posix_class(struct regex_parser *p, struct cp_set *set) {
    static const struct {
        const char *name;
        struct cp_range ranges[4];
    } classes[] = {
        {"alpha:]", {{'A', 'Z'}, {'a', 'z'}}},
        {"digit:]", {{'0', '9'}}},
        {"alnum:]", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
        {"upper:]", {{'A', 'Z'}}},
        {"lower:]", {{'a', 'z'}}},
        {"space:]", {{'\t', '\r'}, {' ', ' '}}},
        {"blank:]", {{'\t', '\t'}, {' ', ' '}}},
        {"punct:]", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
        {"xdigit:]", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
        {"word:]", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
        {"print:]", {{' ', '~'}}},
        {"graph:]", {{'!', '~'}}},
        {"cntrl:]", {{1, 31}, {127, 127}}},
    };
    const unsigned char *mark = p->at;
    if (!(p->flags & REGEX_PCRE) || !regex_take(p, "[:"))
        return false;
    bool negated = regex_take(p, "^");
    for (size_t i = 0; i < COUNT(classes); i++) {
        size_t n = 0;
        if (!regex_take(p, classes[i].name))
            continue;
        while (n < 4 && classes[i].ranges[n].hi)
            n++;
        add_ranges(set, classes[i].ranges, n, negated);
        return true;
    }
    p->at = mark;
    return false;
}

/* One member: a class (added to `set`, *c = -1) or a character. */
static enum quern_status class_atom(struct regex_parser *p, struct cp_set *set, int32_t *c) {
    bool is_class = false;
    *c = -1;
    if (posix_class(p, set))
        return QUERN_OK;
    if (!regex_take(p, "\\")) {
        *c = regex_next(p);
        return QUERN_OK;
    }
    enum quern_status status = regex_class_escape(p, set, &is_class);
    if (status || is_class)
        return status;
    return regex_char_escape(p, true, c);
}

static enum quern_status class_items(struct regex_parser *p, const unsigned char *start,
                                     struct cp_set *set) {
    bool first = p->flags & REGEX_PCRE; /* where ] is a member */
    for (;; first = false) {
        int32_t lo, hi;
        if (p->at == p->end)
            return regex_refuse(p, start, QUERN_ERR_FORMAT, "[ without ]");
        if (!first && regex_take(p, "]"))
            return QUERN_OK;
        const unsigned char *item = p->at;
        enum quern_status status = class_atom(p, set, &lo);
        if (status)
            return status;
        if (!regex_at(p, "-") || p->end - p->at < 2 || p->at[1] == ']') {
            if (lo >= 0)
                cp_set_add(set, lo, lo);
            continue;
        }
        p->at++;
        status = class_atom(p, set, &hi);
        if (status)
            return status;
        if (lo < 0 || hi < 0) { /* [\w-.] is \w, - and . */
            cp_set_add(set, '-', '-');
            if (lo >= 0)
                cp_set_add(set, lo, lo);
            if (hi >= 0)
                cp_set_add(set, hi, hi);
        } else if (lo > hi) {
            return regex_refuse(p, item, QUERN_ERR_FORMAT, "a range that runs backwards");
        } else {
            cp_set_add(set, lo, hi);
        }
    }
}

void regex_fold(struct regex_parser *p, struct cp_set *set) {
    if (!(p->flags & REGEX_IGNORE_CASE))
        return;
    if (!p->folds.n && !cp_folds_init(&p->folds))
        set->failed = true;
    else
        cp_set_fold_case(set, &p->folds);
}

enum quern_status regex_class(struct regex_parser *p, const struct rx_node **out) {
    struct cp_set set = {0};
    const unsigned char *start = p->at - 1;
    bool negated = regex_take(p, "^");
    enum quern_status status = class_items(p, start, &set);
    if (!status) {
        regex_fold(p, &set);
        cp_set_normalize(&set);
        if (negated)
            cp_set_complement(&set);
        *out = rx_set(p->pool, &set);
    }
    cp_set_release(&set);
    return status;
}
