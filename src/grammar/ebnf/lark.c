/* lark.c - reading Lark's language of grammars. */
#include "grammar/ebnf/lark.h"

#include <stdio.h>

#include "grammar/ebnf/ebnf.h"
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/schema/json_schema.h"
#include "text/unicode.h"

enum { IGNORED_MAX = 32, LITERAL_CHARS_MAX = 4096 };

struct reader {
    struct ebnf *g;
    const char *at, *end;
    size_t line;
    int depth;
    bool terminal; /* within a terminal's definition */
    struct ebnf_node *ignored[IGNORED_MAX];
    size_t n_ignored;
};

static bool failed(const struct reader *r) {
    return grammar_builder_failed(r->g->b);
}

static void *refuse(struct reader *r, const char *what) {
    return ebnf_fail(r->g, r->line, "%s", what);
}

static char peek(const struct reader *r) {
    return r->at < r->end ? *r->at : '\0';
}

static bool at_text(const struct reader *r, const char *text) {
    const size_t n = strlen(text);
    return (size_t)(r->end - r->at) >= n && memcmp(r->at, text, n) == 0;
}

static bool take(struct reader *r, const char *text) {
    if (!at_text(r, text))
        return false;
    r->at += strlen(text);
    return true;
}

/* Blanks and comments; ends of lines too when `lines`. */
static void skip_space(struct reader *r, bool lines) {
    while (r->at < r->end) {
        if (*r->at == '#' || at_text(r, "//")) {
            while (r->at < r->end && *r->at != '\n')
                r->at++;
        } else if (*r->at == ' ' || *r->at == '\t' || *r->at == '\r') {
            r->at++;
        } else if (*r->at == '\n' && lines) {
            r->at++;
            r->line++;
        } else {
            return;
        }
    }
}

/* ---- names ------------------------------------------------------------------------ */

static bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || is_upper(c) || (c >= '0' && c <= '9') || c == '_';
}

static struct str read_name(struct reader *r) {
    const char *start = r->at;
    while (r->at < r->end && is_word(*r->at))
        r->at++;
    return (struct str){start, (size_t)(r->at - start)};
}

/* Names of terminals have capital letters, those of rules small ones. */
static bool is_terminal(struct str name) {
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] != '_')
            return is_upper(name.ptr[i]);
    return false;
}

static uint32_t named_rule(struct reader *r, struct str name) {
    const uint32_t rule = ebnf_rule(r->g, name, r->line);
    if (rule != GRAMMAR_NONE)
        r->g->rules[rule].is_terminal = is_terminal(name);
    return rule;
}

/* ---- literals --------------------------------------------------------------------- */

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : -1;
}

/* After a backslash; Python's escapes. */
static bool read_escape(struct reader *r, int32_t *out) {
    static const char from[] = "nrtfvab0\\\"'", to[] = "\n\r\t\f\v\a\b\0\\\"'";
    const char c = peek(r);
    const char *known = c ? strchr(from, c) : NULL;
    if (r->at < r->end)
        r->at++;
    if (known) {
        *out = (unsigned char)to[known - from];
        return true;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    int32_t value = 0;
    const bool hex = digits > 0;
    for (; digits > 0 && value <= 0x10ffff; digits--) {
        const int d = hex_digit(peek(r));
        if (d < 0)
            break;
        value = value * 16 + d;
        r->at++;
    }
    *out = value;
    if (hex && digits == 0 && value <= 0x10ffff && !(value >= 0xd800 && value < 0xe000))
        return true;
    ebnf_fail(r->g, r->line, "an unknown or unfinished escape \"\\%c\"", c ? c : '?');
    return false;
}

/* The characters of "...", without quotes. Returns how many. */
static size_t read_string(struct reader *r, int32_t *out) {
    size_t n = 0;
    r->at++;
    while (!failed(r) && peek(r) != '"') {
        int32_t c = -1;
        if (r->at == r->end || *r->at == '\n' || n == LITERAL_CHARS_MAX) {
            refuse(r, "a literal is too long or not closed by '\"'");
        } else if (*r->at == '\\') {
            r->at++;
            read_escape(r, &c);
        } else {
            r->at += utf8_decode((const unsigned char *)r->at, (const unsigned char *)r->end, &c);
            if (c < 0)
                refuse(r, "bytes that are no UTF-8");
        }
        out[n++] = c;
    }
    r->at++;
    return failed(r) ? 0 : n;
}

static expr_id pattern(struct reader *r, struct str text, unsigned flags) {
    expr_id x = GRAMMAR_NONE;
    struct quern_error why = {0};
    if (expr_regex(r->g->b, text, flags, &x, &why) != QUERN_OK)
        grammar_builder_fail(r->g->b, why.code, "%s: line %zu: %s", r->g->name, r->line, why.message);
    return x;
}

static expr_id any_case(struct reader *r, const int32_t *chars, size_t n) {
    struct buffer text;
    buffer_init(&text, 16 * LITERAL_CHARS_MAX);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&text, "\\u{%x}", (unsigned)chars[i]);
    expr_id x = pattern(r, buffer_str(&text), REGEX_PCRE | REGEX_IGNORE_CASE);
    buffer_release(&text);
    return x;
}

/* "text", "text"i, "a".."z" */
static struct ebnf_node *read_literal(struct reader *r) {
    int32_t chars[LITERAL_CHARS_MAX + 1];
    expr_id x = expr_empty(r->g->b);
    const size_t n = read_string(r, chars);
    if (failed(r))
        return NULL;
    if (at_text(r, "..") && !at_text(r, "...")) {
        const int32_t lo = chars[0];
        r->at += 2;
        if (peek(r) != '"' || read_string(r, chars) != 1 || n != 1 || chars[0] < lo)
            return refuse(r, "a range is written \"a\"..\"z\", of single characters");
        return ebnf_node(r->g, EBNF_EXPR,
                         expr_char_range(r->g->b, (uint32_t)lo, (uint32_t)chars[0]));
    }
    if (peek(r) == 'i' && (r->at + 1 == r->end || !is_word(r->at[1]))) {
        r->at++;
        return ebnf_node(r->g, EBNF_EXPR, any_case(r, chars, n));
    }
    for (size_t i = 0; i < n; i++)
        x = expr_concat(r->g->b, x, expr_char(r->g->b, (uint32_t)chars[i]));
    return ebnf_node(r->g, EBNF_EXPR, x);
}

/* /pattern/flags */
static struct ebnf_node *read_regex(struct reader *r) {
    const char *start = ++r->at;
    unsigned flags = REGEX_PCRE;
    while (r->at < r->end && *r->at != '/' && *r->at != '\n')
        r->at += *r->at == '\\' && r->at + 1 < r->end ? 2 : 1;
    if (r->at >= r->end || *r->at != '/')
        return refuse(r, "a pattern is not closed by '/'");
    const struct str text = {start, (size_t)(r->at - start)};
    r->at++;
    for (; is_word(peek(r)); r->at++) {
        if (*r->at == 'i')
            flags |= REGEX_IGNORE_CASE;
        else if (*r->at == 's')
            flags |= REGEX_DOT_ALL;
        else if (*r->at != 'u')
            return ebnf_fail(r->g, r->line, "the flag '%c' of a pattern is not supported", *r->at);
    }
    return ebnf_node(r->g, EBNF_EXPR, pattern(r, text, flags));
}

/* <[1234]>: a token by its number. */
static struct ebnf_node *read_token(struct reader *r) {
    uint32_t id = 0;
    if (!take(r, "<[") || !(peek(r) >= '0' && peek(r) <= '9'))
        return refuse(r, "special tokens are written <[NUMBER]>");
    for (; peek(r) >= '0' && peek(r) <= '9' && id < 100000000; r->at++)
        id = id * 10 + (uint32_t)(peek(r) - '0');
    if (!take(r, "]>"))
        return refuse(r, "special tokens are written <[NUMBER]>");
    return ebnf_node(r->g, EBNF_TOKEN, id);
}

/* %json { ... }: a schema in the midst of a rule. */
static struct ebnf_node *read_json(struct reader *r) {
    const struct schema_options options = {.assert_formats = true};
    symbol_id symbol = GRAMMAR_NONE;
    int depth = 0;
    bool quoted = false;
    skip_space(r, true);
    const char *start = r->at;
    if (peek(r) != '{')
        return refuse(r, "expected a JSON Schema, %json {...}");
    do {
        const char c = peek(r);
        if (r->at == r->end)
            return refuse(r, "the schema after %json is not closed by '}'");
        depth += !quoted && c == '{' ? 1 : !quoted && c == '}' ? -1 : 0;
        quoted ^= c == '"';
        r->line += c == '\n';
        r->at += quoted && c == '\\' && r->at + 1 < r->end ? 2 : 1;
    } while (depth > 0);
    json_schema_build(r->g->b, (struct str){start, (size_t)(r->at - start)}, r->g->name, &options,
                      &symbol, NULL, NULL);
    return failed(r) ? NULL : ebnf_node(r->g, EBNF_SYMBOL, symbol);
}

/* ---- expressions ------------------------------------------------------------------- */

static struct ebnf_node *read_choice(struct reader *r, bool nested);

static struct ebnf_node *read_group(struct reader *r) {
    const char close = *r->at == '(' ? ')' : ']';
    const size_t line = r->line;
    r->at++;
    if (++r->depth > EBNF_DEPTH_MAX)
        return ebnf_fail(r->g, line, "groups are nested more than %d deep", EBNF_DEPTH_MAX);
    struct ebnf_node *x = read_choice(r, true);
    r->depth--;
    if (x && peek(r) != close)
        return ebnf_fail(r->g, line, "a group is not closed by '%c'", close);
    r->at++;
    return close == ']' ? ebnf_repeat(r->g, x, 0, 1) : x;
}

static struct ebnf_node *read_reference(struct reader *r) {
    const struct str name = read_name(r);
    const uint32_t rule = named_rule(r, name);
    if (rule == GRAMMAR_NONE)
        return NULL;
    if (r->terminal && !is_terminal(name))
        return ebnf_fail(r->g, r->line, "the rule \"%.*s\" stands within a terminal",
                         STR_FMT(name));
    if (peek(r) == '{' && r->at + 1 < r->end && !(r->at[1] >= '0' && r->at[1] <= '9') &&
        r->at[1] != ',')
        return refuse(r, "templates are not supported");
    return ebnf_node(r->g, EBNF_RULE, rule);
}

/* NULL without a failure: no item begins here. */
static struct ebnf_node *read_primary(struct reader *r) {
    switch (peek(r)) {
    case '"':
        return read_literal(r);
    case '/':
        return read_regex(r);
    case '(':
    case '[':
        return read_group(r);
    case '<':
        return read_token(r);
    case '%':
        if (take(r, "%json"))
            return read_json(r);
        return refuse(r, "expected an expression; a statement with % begins its line");
    default:
        return is_word(peek(r)) ? read_reference(r) : NULL;
    }
}

static bool read_number(struct reader *r, uint32_t *out) {
    const char *start = r->at;
    uint32_t n = 0;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        n = n <= EBNF_REPEAT_MAX ? n * 10 + (uint32_t)(peek(r) - '0') : n;
    *out = n;
    return r->at > start;
}

static struct ebnf_node *counted(struct reader *r, struct ebnf_node *x, uint32_t min,
                                 uint32_t max) {
    if (min > EBNF_REPEAT_MAX || (max != GRAMMAR_INF && max > EBNF_REPEAT_MAX))
        return ebnf_fail(r->g, r->line, "more than %d repetitions", EBNF_REPEAT_MAX);
    if (max < min)
        return refuse(r, "a repetition's maximum is below its minimum");
    return ebnf_repeat(r->g, x, min, max);
}

/* ~n, ~n..m */
static struct ebnf_node *read_tilde(struct reader *r, struct ebnf_node *x) {
    uint32_t min, max;
    skip_space(r, false);
    if (!read_number(r, &min))
        return refuse(r, "expected a number after '~'");
    max = min;
    skip_space(r, false);
    if (take(r, "..")) {
        skip_space(r, false);
        if (!read_number(r, &max))
            return refuse(r, "expected a number after '..'");
    }
    return counted(r, x, min, max);
}

/* {m}, {m,}, {m,n}, {,n} */
static struct ebnf_node *read_braces(struct reader *r, struct ebnf_node *x) {
    uint32_t min, max;
    skip_space(r, false);
    const bool has_min = read_number(r, &min);
    max = min;
    skip_space(r, false);
    if (take(r, ",")) {
        skip_space(r, false);
        if (!read_number(r, &max))
            max = GRAMMAR_INF;
        skip_space(r, false);
    } else if (!has_min) {
        return refuse(r, "a repetition is written {m}, {m,} or {m,n}");
    }
    if (!take(r, "}"))
        return refuse(r, "a repetition is not closed by '}'");
    return counted(r, x, min, max);
}

static struct ebnf_node *read_item(struct reader *r, bool nested) {
    struct ebnf_node *x = read_primary(r);
    for (int n = 0; x; n++) {
        const struct reader before = *r;
        skip_space(r, nested);
        const char c = peek(r);
        if (n > EBNF_DEPTH_MAX)
            return refuse(r, "too many repetitions of repetitions");
        if (c == '*' || c == '+' || c == '?') {
            r->at++;
            x = ebnf_repeat(r->g, x, c == '+', c == '?' ? 1 : GRAMMAR_INF);
        } else if (take(r, "~")) {
            x = read_tilde(r, x);
        } else if (take(r, "{")) {
            x = read_braces(r, x);
        } else {
            *r = before;
            return x;
        }
    }
    return x;
}

static struct ebnf_node *read_sequence(struct reader *r, bool nested) {
    struct ebnf_node *sequence = ebnf_node(r->g, EBNF_SEQUENCE, 0), *last = NULL;
    while (sequence && !failed(r)) {
        skip_space(r, nested);
        struct ebnf_node *x = read_item(r, nested);
        if (!x)
            break;
        last = ebnf_append(sequence, last, x);
    }
    if (!failed(r) && take(r, "->")) { /* the name of a tree's node */
        skip_space(r, nested);
        if (read_name(r).len == 0)
            return refuse(r, "expected a name after '->'");
        skip_space(r, nested);
    }
    return failed(r) ? NULL : sequence;
}

static struct ebnf_node *read_choice(struct reader *r, bool nested) {
    struct ebnf_node *choice = ebnf_node(r->g, EBNF_CHOICE, 0), *last = NULL;
    while (choice && !failed(r)) {
        last = ebnf_append(choice, last, read_sequence(r, nested));
        struct reader look = *r; /* an alternative may stand on a line of its own */
        skip_space(&look, true);
        if (peek(&look) != '|')
            break;
        *r = look;
        r->at++;
        skip_space(r, true);
    }
    return failed(r) ? NULL : choice;
}

/* ---- statements ---------------------------------------------------------------------- */

static void define(struct reader *r, struct str name, size_t line, struct ebnf_node *body) {
    const uint32_t rule = body ? named_rule(r, name) : GRAMMAR_NONE;
    if (rule == GRAMMAR_NONE)
        return;
    if (r->g->rules[rule].body)
        ebnf_fail(r->g, line, "\"%.*s\" is defined twice", STR_FMT(name));
    r->g->rules[rule].body = body;
    r->g->rules[rule].line = line;
}

static void read_rule(struct reader *r) {
    const size_t line = r->line;
    while (peek(r) == '!' || peek(r) == '?')
        r->at++;
    const struct str name = read_name(r);
    if (name.len == 0 || (name.ptr[0] >= '0' && name.ptr[0] <= '9')) {
        refuse(r, "expected a rule, name: ..., or a statement with %");
        return;
    }
    if (peek(r) == '.') {
        ebnf_fail(r->g, line,
                  "the priority of \"%.*s\": priorities are not supported, a text is accepted "
                  "when any way of cutting it is",
                  STR_FMT(name));
        return;
    }
    if (peek(r) == '{' || peek(r) == '[') {
        ebnf_fail(r->g, line, "\"%.*s\": %s are not supported", STR_FMT(name),
                  peek(r) == '{' ? "templates" : "attributes");
        return;
    }
    skip_space(r, false);
    if (!take(r, ":")) {
        ebnf_fail(r->g, line, "expected ':' after \"%.*s\"", STR_FMT(name));
        return;
    }
    r->terminal = is_terminal(name);
    define(r, name, line, read_choice(r, false));
}

/* One name of an import, and the other name it may be given. */
static void import_one(struct reader *r) {
    const size_t line = r->line;
    const struct str name = read_name(r);
    struct str as = name;
    const char *text = lark_common(name);
    if (!text) {
        ebnf_fail(r->g, line, "common has no terminal \"%.*s\"", STR_FMT(name));
        return;
    }
    skip_space(r, false);
    if (take(r, "->")) {
        skip_space(r, false);
        as = read_name(r);
        if (!is_terminal(as)) {
            refuse(r, "expected the name of a terminal after '->'");
            return;
        }
    }
    define(r, as, line, ebnf_node(r->g, EBNF_EXPR, pattern(r, str_from(text), REGEX_PCRE)));
}

static void read_import(struct reader *r) {
    skip_space(r, false);
    if (!take(r, "common") || is_word(peek(r))) {
        refuse(r, "only the terminals of \"common\" can be imported");
        return;
    }
    if (take(r, ".")) {
        import_one(r);
        return;
    }
    skip_space(r, false);
    if (!take(r, "(")) {
        refuse(r, "an import is written %import common.NAME or %import common (NAME, NAME)");
        return;
    }
    do {
        skip_space(r, true);
        import_one(r);
        skip_space(r, true);
    } while (!failed(r) && take(r, ","));
    if (!failed(r) && !take(r, ")"))
        refuse(r, "the list of imports is not closed by ')'");
}

static void read_statement(struct reader *r) {
    static const char *const unknown[] = {"%declare", "%override", "%extend", "%regex",
                                          "%llguidance"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (at_text(r, unknown[i])) {
            ebnf_fail(r->g, r->line, "%s is not supported", unknown[i]);
            return;
        }
    if (take(r, "%import")) {
        read_import(r);
    } else if (take(r, "%ignore")) {
        r->terminal = true;
        if (r->n_ignored == IGNORED_MAX)
            ebnf_fail(r->g, r->line, "more than %d times %%ignore", IGNORED_MAX);
        else
            r->ignored[r->n_ignored++] = read_choice(r, false);
    } else if (peek(r) == '%') {
        refuse(r, "an unknown statement; known are %import, %ignore and %json");
    } else {
        read_rule(r);
    }
    skip_space(r, false);
    if (!failed(r) && r->at < r->end && *r->at != '\n')
        ebnf_fail(r->g, r->line, "expected the end of the line or an expression, found '%c'",
                  *r->at);
}

static void set_ignored(struct reader *r) {
    expr_id all = expr_nothing(r->g->b);
    for (size_t i = 0; i < r->n_ignored && !failed(r); i++) {
        const expr_id x = ebnf_expr(r->g, r->ignored[i]);
        if (x == GRAMMAR_NONE)
            ebnf_fail(r->g, 1, "what %%ignore names is not defined, recursive or too large");
        all = expr_or(r->g->b, all, x);
    }
    if (r->n_ignored > 0)
        r->g->ignored = grammar_terminal(r->g->b, expr_star(r->g->b, all), "ignored text");
}

enum quern_status lark_build(struct grammar_builder *b, struct str text, const char *name,
                             symbol_id *out, struct quern_error *err) {
    struct ebnf g;
    ebnf_begin(&g, b, name, text.len);
    struct reader r = {.g = &g, .at = text.ptr, .end = text.ptr + text.len, .line = 1};
    skip_space(&r, true);
    while (r.at < r.end && !failed(&r)) {
        read_statement(&r);
        skip_space(&r, true);
    }
    if (!failed(&r))
        set_ignored(&r);
    return ebnf_finish(&g, "start", out, err);
}
