#include "chat/jinja_lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"
#include "chat/jinja_string.h"
#include "chat/jinja_unescape.h"

enum { BRACKETS_MAX = 128 };

struct lexer {
    struct arena *arena;
    struct str source; /* newlines are \n, the last one dropped */
    size_t at;
    int line;
    bool line_starting; /* the last match ended with a newline */
    struct jtoken *tokens;
    size_t n, capacity;
    char brackets[BRACKETS_MAX];
    int n_brackets;
    struct quern_error *err;
};

const char *jtoken_describe(enum jtoken_kind kind) {
    static const char *const names[] = {
        "end of template",
        "template data",
        "begin of print statement",
        "end of print statement",
        "begin of statement block",
        "end of statement block",
        "name",
        "string",
        "integer",
        "float",
        "+",
        "-",
        "/",
        "//",
        "*",
        "%",
        "**",
        "~",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "==",
        "!=",
        ">",
        ">=",
        "<",
        "<=",
        "=",
        ".",
        ":",
        "|",
        ",",
        ";",
    };
    return names[kind];
}

/* ---- helpers ---------------------------------------------------------------------------- */

static bool fail(struct lexer *lx, enum quern_status status, const char *what) {
    error_set(lx->err, status, "%s", what);
    return false;
}

static bool push(struct lexer *lx, enum jtoken_kind kind, struct str text) {
    if (lx->n == lx->capacity) {
        size_t larger = lx->capacity ? 2 * lx->capacity : 256;
        struct jtoken *tokens = arena_calloc(lx->arena, larger, sizeof *tokens);
        if (!tokens)
            return fail(lx, QUERN_ERR_NOMEM, "out of memory");
        if (lx->n)
            memcpy(tokens, lx->tokens, lx->n * sizeof *tokens);
        lx->tokens = tokens;
        lx->capacity = larger;
    }
    lx->tokens[lx->n++] = (struct jtoken){.kind = kind, .line = lx->line, .text = text};
    return true;
}

static bool looking_at(const struct lexer *lx, size_t at, const char *what) {
    size_t n = strlen(what);
    return lx->source.len - at >= n && memcmp(lx->source.ptr + at, what, n) == 0;
}

static char char_at(const struct lexer *lx, size_t at) {
    return at < lx->source.len ? lx->source.ptr[at] : '\0';
}

static size_t skip_space(const struct lexer *lx, size_t at) {
    while (at < lx->source.len) {
        size_t next = at;
        if (!jstring_is_space(jstring_decode(lx->source, &next)))
            break;
        at = next;
    }
    return at;
}

/* Moves to `to`, counting lines. */
static void advance(struct lexer *lx, size_t to) {
    for (size_t i = lx->at; i < to; i++)
        lx->line += lx->source.ptr[i] == '\n';
    if (to > lx->at)
        lx->line_starting = lx->source.ptr[to - 1] == '\n';
    lx->at = to;
}

/* ---- text between tags -------------------------------------------------------------------- */

/* The end of "raw -%}" at `at`, or 0: at stands after "{%" and its sign. */
static size_t match_raw_tag(const struct lexer *lx, size_t at, const char *word) {
    at = skip_space(lx, at);
    if (!looking_at(lx, at, word))
        return 0;
    return skip_space(lx, at + strlen(word));
}

/* What lstrip_blocks and "-" leave of the text before a tag. */
static struct str strip_before_tag(const struct lexer *lx, struct str text, char sign,
                                   bool is_variable) {
    if (sign == '-')
        return jstring_strip(text, NULL, false, true);
    if (sign == '+' || is_variable)
        return text;
    size_t start = text.len;
    while (start > 0 && text.ptr[start - 1] != '\n')
        start--;
    if (start == 0 && !lx->line_starting)
        return text;
    struct str tail = jstring_slice(text, start, text.len);
    return jstring_strip(tail, NULL, true, true).len ? text : jstring_slice(text, 0, start);
}

static bool push_data(struct lexer *lx, struct str text) {
    return text.len == 0 || push(lx, JTOKEN_DATA, text);
}

/* The end of a closing tag: "+%}", "-%}\s*" or "%}\n?" with the newline when `trim`. 0: none. */
static size_t match_end(const struct lexer *lx, size_t at, const char *close, bool plus,
                        bool trim) {
    if (char_at(lx, at) == '-' && looking_at(lx, at + 1, close))
        return skip_space(lx, at + 3);
    if (plus && char_at(lx, at) == '+' && looking_at(lx, at + 1, close))
        return at + 3;
    if (!looking_at(lx, at, close))
        return 0;
    return at + 2 + (trim && char_at(lx, at + 2) == '\n');
}

static bool lex_comment(struct lexer *lx) {
    for (size_t at = lx->at; at < lx->source.len; at++) {
        size_t end = match_end(lx, at, "#}", true, true);
        if (end) {
            advance(lx, end);
            return true;
        }
    }
    return fail(lx, QUERN_ERR_TEMPLATE, "missing end of comment tag");
}

/* From after "{% raw %}" to after "{% endraw %}". */
static bool lex_raw(struct lexer *lx) {
    for (size_t at = lx->at; at < lx->source.len; at++) {
        if (!looking_at(lx, at, "{%"))
            continue;
        char sign = char_at(lx, at + 2);
        size_t inner = at + 2 + (sign == '-' || sign == '+');
        size_t close = match_raw_tag(lx, inner, "endraw");
        size_t end = close ? match_end(lx, close, "%}", true, true) : 0;
        if (!end)
            continue;
        struct str text = jstring_slice(lx->source, lx->at, at);
        if (!push_data(lx, strip_before_tag(lx, text, sign, false)))
            return false;
        advance(lx, end);
        return true;
    }
    return fail(lx, QUERN_ERR_TEMPLATE, "missing end of raw directive");
}

/* ---- inside tags ---------------------------------------------------------------------------- */

static size_t match_digits(const struct lexer *lx, size_t at, const char *digits) {
    size_t end = at;
    for (;;) {
        size_t next = end + (end > at && char_at(lx, end) == '_');
        char c = char_at(lx, next);
        if (c == '\0' || !strchr(digits, c))
            return end;
        end = next + 1;
    }
}

static const char DECIMAL[] = "0123456789";

/* The end of a float at `at`, or 0: digits, then a fraction, an exponent or both. */
static size_t match_float(const struct lexer *lx, size_t at) {
    if (at > 0 && lx->source.ptr[at - 1] == '.')
        return 0;
    size_t whole = match_digits(lx, at, DECIMAL);
    if (whole == at)
        return 0;
    size_t end = whole;
    if (char_at(lx, end) == '.') {
        size_t fraction = match_digits(lx, end + 1, DECIMAL);
        if (fraction > end + 1)
            end = fraction;
    }
    char c = char_at(lx, end);
    if (c == 'e' || c == 'E') {
        size_t sign = end + 1;
        sign += char_at(lx, sign) == '+' || char_at(lx, sign) == '-';
        size_t exponent = match_digits(lx, sign, DECIMAL);
        if (exponent > sign)
            return exponent;
    }
    return end > whole ? end : 0;
}

/* Also "0x1F" and its like; for them *base is set and the digits start two later. */
static size_t match_integer(const struct lexer *lx, size_t at, int *base) {
    static const struct {
        char letter;
        int base;
        const char *digits;
    } forms[] = {{'b', 2, "01"}, {'o', 8, "01234567"}, {'x', 16, "0123456789abcdefABCDEF"}};
    char second = (char)(char_at(lx, at + 1) | 0x20);
    for (size_t i = 0; char_at(lx, at) == '0' && i < 3; i++) {
        if (second != forms[i].letter)
            continue;
        size_t start = at + 2 + (char_at(lx, at + 2) == '_');
        size_t end = match_digits(lx, start, forms[i].digits);
        *base = forms[i].base;
        if (end > start)
            return end;
    }
    *base = 10;
    return match_digits(lx, at, char_at(lx, at) == '0' ? "0" : DECIMAL);
}

static bool lex_number(struct lexer *lx, size_t end, bool is_float, int base) {
    struct str text = jstring_slice(lx->source, lx->at, end);
    char *digits = arena_strndup(lx->arena, text.ptr, text.len);
    if (!digits)
        return fail(lx, QUERN_ERR_NOMEM, "out of memory");
    size_t n = 0;
    for (size_t i = base == 10 ? 0 : 2; i < text.len; i++)
        if (text.ptr[i] != '_')
            digits[n++] = text.ptr[i];
    digits[n] = '\0';
    if (!push(lx, is_float ? JTOKEN_FLOAT : JTOKEN_INTEGER, text))
        return false;
    struct jtoken *token = &lx->tokens[lx->n - 1];
    if (is_float) {
        token->as.number = number_parse(digits, NULL);
    } else {
        errno = 0;
        token->as.integer = strtoll(digits, NULL, base);
        if (errno)
            return fail(lx, QUERN_ERR_TEMPLATE, "an integer has more than 64 bits");
    }
    advance(lx, end);
    return true;
}

static bool lex_string(struct lexer *lx) {
    char quote = lx->source.ptr[lx->at];
    size_t at = lx->at + 1;
    while (at < lx->source.len && lx->source.ptr[at] != quote)
        at += lx->source.ptr[at] == '\\' ? 2 : 1;
    if (at >= lx->source.len)
        return fail(lx, QUERN_ERR_TEMPLATE, "a string is not closed");
    struct str text;
    enum quern_status status =
        jinja_unescape(lx->arena, jstring_slice(lx->source, lx->at + 1, at), &text, lx->err);
    if (status || !push(lx, JTOKEN_STRING, text))
        return false;
    advance(lx, at + 1);
    return true;
}

static bool lex_name(struct lexer *lx) {
    size_t at = lx->at;
    while (at < lx->source.len) {
        size_t next = at;
        int32_t c = jstring_decode(lx->source, &next);
        bool word = c < 0x80 ? jstring_is_word(c) : !jstring_is_space(c);
        if (!word)
            break;
        at = next;
    }
    if (at == lx->at) {
        error_set(lx->err, QUERN_ERR_TEMPLATE, "unexpected character '%c'", lx->source.ptr[at]);
        return false;
    }
    struct str name = jstring_slice(lx->source, lx->at, at);
    if (!jstring_is(name, JCLASS_IDENTIFIER)) {
        error_set(lx->err, QUERN_ERR_TEMPLATE, "invalid character in identifier '%.*s'",
                  STR_FMT(name));
        return false;
    }
    if (!push(lx, JTOKEN_NAME, name))
        return false;
    advance(lx, at);
    return true;
}

static bool balance(struct lexer *lx, char c) {
    if (c == '(' || c == '[' || c == '{') {
        if (lx->n_brackets == BRACKETS_MAX)
            return fail(lx, QUERN_ERR_LIMIT, "brackets are nested too deeply");
        lx->brackets[lx->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (lx->n_brackets == 0 || lx->brackets[--lx->n_brackets] != c) {
            error_set(lx->err, QUERN_ERR_TEMPLATE, "unexpected '%c'", c);
            return false;
        }
    }
    return true;
}

/* An operator, or *found = false. */
static bool lex_operator(struct lexer *lx, bool *found) {
    enum jtoken_kind best = JTOKEN_EOF;
    size_t length = 0;
    for (int kind = JTOKEN_ADD; kind <= JTOKEN_SEMICOLON; kind++) {
        const char *spelling = jtoken_describe((enum jtoken_kind)kind);
        if (strlen(spelling) > length && looking_at(lx, lx->at, spelling)) {
            best = (enum jtoken_kind)kind;
            length = strlen(spelling);
        }
    }
    *found = length > 0;
    if (!*found)
        return true;
    if (length == 1 && !balance(lx, lx->source.ptr[lx->at]))
        return false;
    if (!push(lx, best, jstring_slice(lx->source, lx->at, lx->at + length)))
        return false;
    advance(lx, lx->at + length);
    return true;
}

static bool lex_one(struct lexer *lx) {
    char c = lx->source.ptr[lx->at];
    int base = 10;
    size_t end = match_float(lx, lx->at);
    if (end)
        return lex_number(lx, end, true, base);
    end = match_integer(lx, lx->at, &base);
    if (end > lx->at)
        return lex_number(lx, end, false, base);
    if (c == '\'' || c == '"')
        return lex_string(lx);
    bool found;
    if (!lex_operator(lx, &found))
        return false;
    return found || lex_name(lx);
}

/* From after "{%" or "{{" to after its end. */
static bool lex_tag(struct lexer *lx, bool is_variable) {
    lx->n_brackets = 0;
    for (;;) {
        size_t space = skip_space(lx, lx->at);
        if (space > lx->at)
            advance(lx, space);
        if (lx->at >= lx->source.len) /* the parser reports the missing end */
            return true;
        size_t end = lx->n_brackets ? 0
                                    : match_end(lx, lx->at, is_variable ? "}}" : "%}", !is_variable,
                                                !is_variable);
        if (end) {
            if (!push(lx, is_variable ? JTOKEN_VARIABLE_END : JTOKEN_BLOCK_END, (struct str){0}))
                return false;
            advance(lx, end);
            return true;
        }
        if (!lex_one(lx))
            return false;
    }
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* The next "{{", "{%" or "{#" from lx->at, or the end of the text. */
static size_t find_tag(const struct lexer *lx) {
    for (size_t at = lx->at; at + 1 < lx->source.len; at++) {
        char c = lx->source.ptr[at + 1];
        if (lx->source.ptr[at] == '{' && (c == '{' || c == '%' || c == '#'))
            return at;
    }
    return lx->source.len;
}

static bool lex_next(struct lexer *lx) {
    size_t tag = find_tag(lx);
    struct str text = jstring_slice(lx->source, lx->at, tag);
    if (tag == lx->source.len) {
        bool ok = push_data(lx, text);
        advance(lx, tag);
        return ok;
    }
    char type = lx->source.ptr[tag + 1];
    char sign = char_at(lx, tag + 2);
    size_t inner = tag + 2 + (sign == '-' || sign == '+');
    if (!push_data(lx, strip_before_tag(lx, text, sign, type == '{')))
        return false;
    size_t raw = type == '%' ? match_raw_tag(lx, inner, "raw") : 0;
    size_t raw_end = raw ? match_end(lx, raw, "%}", false, false) : 0;
    if (raw_end) {
        advance(lx, raw_end);
        return lex_raw(lx);
    }
    advance(lx, tag);
    if (type != '#' &&
        !push(lx, type == '{' ? JTOKEN_VARIABLE_BEGIN : JTOKEN_BLOCK_BEGIN, (struct str){0}))
        return false;
    advance(lx, inner);
    return type == '#' ? lex_comment(lx) : lex_tag(lx, type == '{');
}

/* Jinja counts \r\n and \r as \n and drops one newline at the end. */
static bool normalize(struct lexer *lx, struct str source) {
    char *text = arena_alloc(lx->arena, source.len + 1);
    if (!text)
        return fail(lx, QUERN_ERR_NOMEM, "out of memory");
    size_t n = 0;
    for (size_t i = 0; i < source.len; i++) {
        char c = source.ptr[i];
        if (c == '\r' && i + 1 < source.len && source.ptr[i + 1] == '\n')
            continue;
        text[n++] = c == '\r' ? '\n' : c;
    }
    if (n && text[n - 1] == '\n')
        n--;
    lx->source = (struct str){text, n};
    return true;
}

enum quern_status jinja_tokenize(struct arena *arena, struct str source, struct jtokens *out,
                                 int *line, struct quern_error *err) {
    struct quern_error local = {0};
    struct lexer lx = {.arena = arena, .line = 1, .line_starting = true, .err = &local};
    bool ok = normalize(&lx, source);
    while (ok && lx.at < lx.source.len)
        ok = lex_next(&lx);
    ok = ok && push(&lx, JTOKEN_EOF, (struct str){0});
    *line = lx.line;
    if (!ok)
        return error_set(err, local.code, "%s", local.message);
    *out = (struct jtokens){lx.tokens, lx.n};
    return QUERN_OK;
}
