#include "text/json_reader.h"

#include <stdint.h>
#include <string.h>

#include "text/unicode.h"

/* What may come next. */
enum state {
    WANT_VALUE,          /* at the start, after ':' and after ',' in an array */
    WANT_VALUE_OR_CLOSE, /* after '[' */
    WANT_KEY_OR_CLOSE,   /* after '{' */
    WANT_KEY,            /* after ',' in an object */
    WANT_COMMA_OR_CLOSE, /* after a value */
    WANT_END,            /* after the outermost value */
    FAILED,
};

void json_reader_init(struct json_reader *r, struct str text, struct arena *arena) {
    const char *start = text.ptr ? text.ptr : "";
    *r = (struct json_reader){
        .start = start, .p = start, .end = start + text.len, .arena = arena, .state = WANT_VALUE};
}

static enum json_token fail_at(struct json_reader *r, const char *place, const char *problem) {
    r->p = place;
    r->problem = problem;
    r->state = FAILED;
    return JSON_TOKEN_ERROR;
}

static enum json_token fail(struct json_reader *r, const char *problem) {
    return fail_at(r, r->p, problem);
}

static void skip_space(struct json_reader *r) {
    const char *p = r->p, *end = r->end;
    while (p < end) {
        /* Indentation: most of a pretty-printed tokenizer.json. */
        uint64_t word;
        while (end - p >= 8 && (memcpy(&word, p, 8), word == 0x2020202020202020u))
            p += 8;
        if (p == end || (*p != ' ' && *p != '\n' && *p != '\t' && *p != '\r'))
            break;
        p++;
    }
    r->p = p;
}

static void after_value(struct json_reader *r) {
    r->state = r->depth ? WANT_COMMA_OR_CLOSE : WANT_END;
}

/* ---- strings ---------------------------------------------------------------- */

/* A byte of the word is '"', '\\', below 0x20 or above 0x7F. */
static bool word_is_special(uint64_t w) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t quote = w ^ (ones * '"'), backslash = w ^ (ones * '\\');
    uint64_t hits = (quote - ones) | (backslash - ones) | (w - ones * 0x20) | w;
    return (hits & high) != 0;
}

/* Past bytes that stand for themselves and are ASCII. */
static const char *skip_plain(const char *p, const char *end) {
    uint64_t word;
    while (end - p >= 8 && (memcpy(&word, p, 8), !word_is_special(word)))
        p += 8;
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)(*p - 0x20) < 0x60)
        p++;
    return p;
}

/* The four digits after "\u", or -1. */
static int32_t read_hex4(const char *p, const char *end) {
    if (end - p < 4)
        return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character of the "\uXXXX" (or pair of them) at p; *len: its bytes. -1: none. */
static int32_t read_unicode_escape(const char *p, const char *end, int *len) {
    int32_t c = read_hex4(p + 2, end);
    *len = 6;
    if (c < 0 || (c >= 0xDC00 && c <= 0xDFFF))
        return -1;
    if (c < 0xD800 || c > 0xDBFF)
        return c;
    *len = 12;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u')
        return -1;
    int32_t low = read_hex4(p + 8, end);
    if (low < 0xDC00 || low > 0xDFFF)
        return -1;
    return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
}

/* Writes what the escape at p stands for; returns the bytes it takes in the text, 0 when it is
 * none. */
static int unescape(const char *p, const char *end, char **out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2)
        return 0;
    if (p[1] == 'u') {
        int len;
        int32_t c = read_unicode_escape(p, end, &len);
        if (c < 0)
            return 0;
        *out += utf8_encode(c, *out);
        return len;
    }
    const char *which = p[1] ? strchr(from, p[1]) : NULL;
    if (!which)
        return 0;
    *(*out)++ = to[which - from];
    return 2;
}

/* To the closing quote; checks UTF-8. NULL after an error. *escapes: there are some. */
static const char *find_quote(struct json_reader *r, const char *p, bool *escapes) {
    *escapes = false;
    for (;;) {
        p = skip_plain(p, r->end);
        if (p == r->end)
            return fail_at(r, r->p, "a string without its closing quote"), NULL;
        if (*p == '"')
            return p;
        if (*p == '\\') {
            *escapes = true;
            p += r->end - p < 2 ? 1 : 2;
        } else if ((unsigned char)*p < 0x20) {
            return fail_at(r, p, "a control character in a string"), NULL;
        } else {
            int32_t c;
            int n = utf8_decode((const unsigned char *)p, (const unsigned char *)r->end, &c);
            if (c < 0)
                return fail_at(r, p, "bytes that are no UTF-8"), NULL;
            p += n;
        }
    }
}

/* Reads the string at the quote r->p into r->value. */
static bool read_string(struct json_reader *r) {
    bool escapes;
    const char *begin = r->p + 1, *quote = find_quote(r, begin, &escapes);
    if (!quote)
        return false;
    if (!escapes || !r->arena) {
        r->value = (struct str){begin, (size_t)(quote - begin)};
        r->p = quote + 1;
        return true;
    }
    /* Unescaped it is shorter. */
    char *copy = arena_alloc(r->arena, (size_t)(quote - begin)), *out = copy;
    if (!copy) {
        r->no_memory = true;
        return fail(r, "out of memory"), false;
    }
    for (const char *p = begin; p < quote;) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        int n = unescape(p, quote, &out);
        if (n == 0)
            return fail_at(r, p, "an escape that does not exist, or half a surrogate pair"), false;
        p += n;
    }
    r->value = (struct str){copy, (size_t)(out - copy)};
    r->p = quote + 1;
    return true;
}

bool json_reader_value_is(const struct json_reader *r, struct str text) {
    const char *p = r->value.ptr, *end = p + r->value.len;
    size_t at = 0;
    while (p < end) {
        char bytes[4] = {*p}, *out = bytes + 1;
        int n = 1;
        if (*p == '\\') {
            out = bytes;
            n = unescape(p, end, &out);
        }
        size_t len = (size_t)(out - bytes);
        if (n == 0 || text.len - at < len || memcmp(text.ptr + at, bytes, len) != 0)
            return false;
        at += len;
        p += n;
    }
    return at == text.len;
}

/* ---- other values ------------------------------------------------------------- */

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static enum json_token read_number(struct json_reader *r) {
    const char *p = r->p, *end = r->end, *digits;
    if (p < end && *p == '-')
        p++;
    digits = p;
    p = skip_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return fail(r, "not a number of JSON");
    if (p < end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return fail(r, "a number without digits after the point");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return fail(r, "a number without digits in its exponent");
    }
    r->value = (struct str){r->p, (size_t)(p - r->p)};
    r->p = p;
    after_value(r);
    return JSON_TOKEN_NUMBER;
}

static enum json_token read_word(struct json_reader *r, const char *word, enum json_token token) {
    size_t len = strlen(word);
    if ((size_t)(r->end - r->p) < len || memcmp(r->p, word, len) != 0)
        return fail(r, "a value was expected");
    r->value = (struct str){r->p, len};
    r->p += len;
    after_value(r);
    return token;
}

static enum json_token open_container(struct json_reader *r) {
    if (r->depth == JSON_READER_DEPTH_MAX)
        return fail(r, "nested too deeply");
    char c = *r->p++;
    r->stack[r->depth++] = (unsigned char)c;
    r->state = c == '{' ? WANT_KEY_OR_CLOSE : WANT_VALUE_OR_CLOSE;
    return c == '{' ? JSON_TOKEN_OBJECT : JSON_TOKEN_ARRAY;
}

static enum json_token close_container(struct json_reader *r) {
    unsigned char open = r->stack[--r->depth];
    r->p++;
    after_value(r);
    return open == '{' ? JSON_TOKEN_OBJECT_END : JSON_TOKEN_ARRAY_END;
}

static enum json_token read_value(struct json_reader *r) {
    switch (*r->p) {
    case '{':
    case '[':
        return open_container(r);
    case '"':
        if (!read_string(r))
            return JSON_TOKEN_ERROR;
        after_value(r);
        return JSON_TOKEN_STRING;
    case 't':
        return read_word(r, "true", JSON_TOKEN_TRUE);
    case 'f':
        return read_word(r, "false", JSON_TOKEN_FALSE);
    case 'n':
        return read_word(r, "null", JSON_TOKEN_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return read_number(r);
    default:
        return fail(r, "a value was expected");
    }
}

static enum json_token read_key(struct json_reader *r) {
    if (*r->p != '"')
        return fail(r, "a key in quotes was expected");
    if (!read_string(r))
        return JSON_TOKEN_ERROR;
    skip_space(r);
    if (r->p == r->end || *r->p != ':')
        return fail(r, "':' was expected after a key");
    r->p++;
    r->state = WANT_VALUE;
    return JSON_TOKEN_KEY;
}

enum json_token json_reader_next(struct json_reader *r) {
    if (r->state == FAILED)
        return JSON_TOKEN_ERROR;
    skip_space(r);
    if (r->p == r->end) {
        if (r->state == WANT_END)
            return JSON_TOKEN_END;
        return fail(r, "the text ends too early");
    }
    bool in_object = r->depth && r->stack[r->depth - 1] == '{';
    if (r->state == WANT_COMMA_OR_CLOSE) {
        if (*r->p == (in_object ? '}' : ']'))
            return close_container(r);
        if (*r->p != ',')
            return fail(r, in_object ? "',' or '}' was expected" : "',' or ']' was expected");
        r->p++;
        r->state = in_object ? WANT_KEY : WANT_VALUE;
        skip_space(r);
        if (r->p == r->end)
            return fail(r, "the text ends too early");
    }
    switch (r->state) {
    case WANT_KEY_OR_CLOSE:
        return *r->p == '}' ? close_container(r) : read_key(r);
    case WANT_KEY:
        return read_key(r);
    case WANT_VALUE_OR_CLOSE:
        return *r->p == ']' ? close_container(r) : read_value(r);
    case WANT_VALUE:
        return read_value(r);
    default:
        return fail(r, "nothing was expected after the value");
    }
}

bool json_reader_skip(struct json_reader *r, struct str *text) {
    /* Where the value begins: `p` stands behind the bracket, the key's colon or the scalar. */
    const char *begin;
    int depth = r->depth;
    if (r->state == WANT_VALUE) {
        skip_space(r);
        begin = r->p;
        enum json_token first = json_reader_next(r);
        if (first == JSON_TOKEN_ERROR || first == JSON_TOKEN_END)
            return false;
    } else if (r->state == WANT_KEY_OR_CLOSE || r->state == WANT_VALUE_OR_CLOSE) {
        begin = r->p - 1;
        depth--;
    } else {
        /* A scalar was read already. */
        if (text)
            *text = r->value;
        return r->state != FAILED;
    }
    while (r->depth > depth)
        if (json_reader_next(r) == JSON_TOKEN_ERROR)
            return false;
    if (text)
        *text = (struct str){begin, (size_t)(r->p - begin)};
    return true;
}

enum quern_status json_reader_error(const struct json_reader *r, const char *name,
                                    struct quern_error *err) {
    size_t line = 1, column = 1;
    for (const char *p = r->start; p < r->p; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else if ((*p & 0xC0) != 0x80) {
            column++;
        }
    }
    enum quern_status code = r->no_memory ? QUERN_ERR_NOMEM : QUERN_ERR_FORMAT;
    return error_set(err, code, "%s: line %zu, column %zu: %s", name, line, column,
                     r->problem ? r->problem : "not what was expected here");
}
