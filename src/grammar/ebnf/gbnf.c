/* gbnf.c - reading GBNF. */
#include "grammar/ebnf/gbnf.h"

#include "grammar/ebnf/ebnf.h"
#include "text/unicode.h"

enum { CLASS_RANGES_MAX = 1024 };

struct reader {
    struct ebnf *g;
    const char *at, *end;
    size_t line;
    int depth;
};

static bool failed(const struct reader *r) {
    return grammar_builder_failed(r->g->b);
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static char peek(const struct reader *r) {
    return r->at < r->end ? *r->at : '\0';
}

/* Blanks and comments; ends of lines too when `lines`. */
static void skip_space(struct reader *r, bool lines) {
    while (r->at < r->end) {
        if (*r->at == '#') {
            while (r->at < r->end && *r->at != '\n')
                r->at++;
        } else if (*r->at == ' ' || *r->at == '\t' || (lines && *r->at == '\r')) {
            r->at++;
        } else if (*r->at == '\n' && lines) {
            r->at++;
            r->line++;
        } else if (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n' && lines) {
            r->at++;
        } else {
            return;
        }
    }
}

static struct str read_name(struct reader *r) {
    const char *start = r->at;
    while (r->at < r->end && is_word(*r->at))
        r->at++;
    return (struct str){start, (size_t)(r->at - start)};
}

static bool read_hex(struct reader *r, int n, int32_t *out) {
    int32_t value = 0;
    for (int i = 0; i < n; i++) {
        char c = peek(r);
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0 || value > 0x10ffff)
            return false;
        value = value * 16 + digit;
        r->at++;
    }
    *out = value;
    return value <= 0x10ffff && !(value >= 0xd800 && value < 0xe000);
}

/* One character of a literal or class, escapes resolved. False: the grammar has failed. */
static bool read_char(struct reader *r, int32_t *out) {
    static const char from[] = "nrt\\\"[]-^'", to[] = "\n\r\t\\\"[]-^'";
    if (peek(r) != '\\') {
        if (r->at == r->end)
            return ebnf_fail(r->g, r->line, "the text ends within a rule") != NULL;
        int n = utf8_decode((const unsigned char *)r->at, (const unsigned char *)r->end, out);
        if (*out < 0)
            return ebnf_fail(r->g, r->line, "bytes that are no UTF-8") != NULL;
        if (*out == '\n')
            r->line++;
        r->at += n;
        return true;
    }
    r->at++;
    const char c = peek(r);
    if (r->at < r->end)
        r->at++;
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        *out = (unsigned char)to[known - from];
        return true;
    }
    const int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits && read_hex(r, digits, out))
        return true;
    return ebnf_fail(r->g, r->line, "an unknown or unfinished escape \"\\%c\"", c ? c : '?') !=
           NULL;
}

static struct ebnf_node *read_literal(struct reader *r) {
    expr_id x = expr_empty(r->g->b);
    r->at++;
    while (!failed(r)) {
        int32_t c;
        if (r->at == r->end || *r->at == '\n')
            return ebnf_fail(r->g, r->line, "a literal is not closed by '\"'");
        if (*r->at == '"')
            break;
        if (read_char(r, &c))
            x = expr_concat(r->g->b, x, expr_char(r->g->b, (uint32_t)c));
    }
    r->at++;
    return failed(r) ? NULL : ebnf_node(r->g, EBNF_EXPR, x);
}

static struct ebnf_node *read_class(struct reader *r) {
    struct char_range *ranges = arena_calloc(&r->g->arena, CLASS_RANGES_MAX, sizeof *ranges);
    size_t n = 0;
    const size_t line = r->line;
    r->at++;
    const bool negated = peek(r) == '^';
    r->at += negated;
    while (ranges && !failed(r) && peek(r) != ']') {
        int32_t lo, hi;
        if (r->at == r->end || n == CLASS_RANGES_MAX)
            return ebnf_fail(r->g, line, "a class is not closed by ']' or too long");
        if (!read_char(r, &lo))
            return NULL;
        hi = lo;
        if (peek(r) == '-' && r->at + 1 < r->end && r->at[1] != ']') {
            r->at++;
            if (!read_char(r, &hi))
                return NULL;
        }
        if (hi < lo)
            return ebnf_fail(r->g, line, "a range of a class runs backwards");
        ranges[n++] = (struct char_range){(uint32_t)lo, (uint32_t)hi};
    }
    r->at++;
    return failed(r) ? NULL : ebnf_node(r->g, EBNF_EXPR, expr_chars(r->g->b, ranges, n, negated));
}

/* <[1234]>: a token by its number. */
static struct ebnf_node *read_token(struct reader *r) {
    uint32_t id = 0;
    const char *start = r->at;
    for (r->at += 2; peek(r) >= '0' && peek(r) <= '9' && id < 100000000; r->at++)
        id = id * 10 + (uint32_t)(peek(r) - '0');
    if (r->end - r->at < 2 || r->at[0] != ']' || r->at[1] != '>' || r->at == start + 2)
        return ebnf_fail(r->g, r->line, "a token is written <[NUMBER]>");
    r->at += 2;
    return ebnf_node(r->g, EBNF_TOKEN, id);
}

static struct ebnf_node *read_choice(struct reader *r, bool nested);

static struct ebnf_node *read_group(struct reader *r) {
    const size_t line = r->line;
    r->at++;
    if (++r->depth > EBNF_DEPTH_MAX)
        return ebnf_fail(r->g, line, "groups are nested more than %d deep", EBNF_DEPTH_MAX);
    struct ebnf_node *x = read_choice(r, true);
    r->depth--;
    if (x && peek(r) != ')')
        return ebnf_fail(r->g, line, "a group is not closed by ')'");
    r->at++;
    return x;
}

/* NULL without a failure: no item begins here. */
static struct ebnf_node *read_primary(struct reader *r) {
    switch (peek(r)) {
    case '"':
        return read_literal(r);
    case '[':
        return read_class(r);
    case '(':
        return read_group(r);
    case '.':
        r->at++;
        return ebnf_node(r->g, EBNF_EXPR, expr_char_any(r->g->b));
    case '<':
        if (r->at + 1 < r->end && r->at[1] == '[')
            return read_token(r);
        return ebnf_fail(r->g, r->line, "tokens by name are not supported, write <[NUMBER]>");
    default:
        break;
    }
    if (!is_word(peek(r)))
        return NULL;
    uint32_t rule = ebnf_rule(r->g, read_name(r), r->line);
    return rule == GRAMMAR_NONE ? NULL : ebnf_node(r->g, EBNF_RULE, rule);
}

static bool read_number(struct reader *r, uint32_t *out) {
    const char *start = r->at;
    uint32_t n = 0;
    for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
        n = n <= EBNF_REPEAT_MAX ? n * 10 + (uint32_t)(peek(r) - '0') : n;
    *out = n;
    return r->at > start;
}

/* {m}, {m,}, {m,n}, {,n} */
static struct ebnf_node *read_counts(struct reader *r, struct ebnf_node *x) {
    uint32_t min = 0, max;
    r->at++;
    skip_space(r, false);
    const bool has_min = read_number(r, &min);
    max = min;
    skip_space(r, false);
    if (peek(r) == ',') {
        r->at++;
        skip_space(r, false);
        if (!read_number(r, &max))
            max = GRAMMAR_INF;
        skip_space(r, false);
    } else if (!has_min) {
        return ebnf_fail(r->g, r->line, "a repetition is written {m}, {m,} or {m,n}");
    }
    if (peek(r) != '}')
        return ebnf_fail(r->g, r->line, "a repetition is not closed by '}'");
    r->at++;
    if (min > EBNF_REPEAT_MAX || (max != GRAMMAR_INF && max > EBNF_REPEAT_MAX))
        return ebnf_fail(r->g, r->line, "more than %d repetitions", EBNF_REPEAT_MAX);
    if (max < min)
        return ebnf_fail(r->g, r->line, "a repetition {m,n} with n < m");
    return ebnf_repeat(r->g, x, min, max);
}

static struct ebnf_node *read_item(struct reader *r, bool nested) {
    struct ebnf_node *x = read_primary(r);
    for (int n = 0; x; n++) {
        const char *before = r->at;
        const size_t line = r->line;
        skip_space(r, nested);
        const char c = peek(r);
        if (n > EBNF_DEPTH_MAX)
            return ebnf_fail(r->g, r->line, "too many repetitions of repetitions");
        if (c == '*' || c == '+' || c == '?') {
            r->at++;
            x = ebnf_repeat(r->g, x, c == '+', c == '?' ? 1 : GRAMMAR_INF);
        } else if (c == '{') {
            x = read_counts(r, x);
        } else {
            r->at = before;
            r->line = line;
            return x;
        }
    }
    return x;
}

/* "name ::=" here: the beginning of the next rule. */
static bool at_definition(const struct reader *r) {
    struct reader look = *r;
    if (read_name(&look).len == 0)
        return false;
    skip_space(&look, false);
    return look.end - look.at >= 3 && memcmp(look.at, "::=", 3) == 0;
}

static struct ebnf_node *read_sequence(struct reader *r, bool nested) {
    struct ebnf_node *sequence = ebnf_node(r->g, EBNF_SEQUENCE, 0), *last = NULL;
    while (sequence && !failed(r)) {
        skip_space(r, nested);
        if (!nested && at_definition(r))
            break;
        struct ebnf_node *x = read_item(r, nested);
        if (!x)
            break;
        last = ebnf_append(sequence, last, x);
    }
    return failed(r) ? NULL : sequence;
}

static struct ebnf_node *read_choice(struct reader *r, bool nested) {
    struct ebnf_node *choice = ebnf_node(r->g, EBNF_CHOICE, 0), *last = NULL;
    while (choice && !failed(r)) {
        last = ebnf_append(choice, last, read_sequence(r, nested));
        /* An alternative may stand on a line of its own. */
        struct reader look = *r;
        skip_space(&look, true);
        if (peek(&look) != '|')
            break;
        *r = look;
        r->at++;
        skip_space(r, true);
    }
    return failed(r) ? NULL : choice;
}

static void read_rule(struct reader *r) {
    const size_t line = r->line;
    struct str name = read_name(r);
    skip_space(r, false);
    if (name.len == 0 || r->end - r->at < 3 || memcmp(r->at, "::=", 3) != 0) {
        ebnf_fail(r->g, line, "expected a rule, NAME ::= ...");
        return;
    }
    r->at += 3;
    skip_space(r, true);
    uint32_t rule = ebnf_rule(r->g, name, line);
    struct ebnf_node *body = rule == GRAMMAR_NONE ? NULL : read_choice(r, false);
    if (!body)
        return;
    if (r->g->rules[rule].body) {
        ebnf_fail(r->g, line, "the rule \"%.*s\" is defined twice", STR_FMT(name));
        return;
    }
    r->g->rules[rule].body = body;
    skip_space(r, false);
    if (r->at < r->end && *r->at != '\n' && *r->at != '\r')
        ebnf_fail(r->g, r->line, "an unexpected '%c'", *r->at);
}

enum quern_status gbnf_build(struct grammar_builder *b, struct str text, const char *name,
                             symbol_id *out, struct quern_error *err) {
    struct ebnf g;
    ebnf_begin(&g, b, name, text.len);
    struct reader r = {.g = &g, .at = text.ptr, .end = text.ptr + text.len, .line = 1};
    skip_space(&r, true);
    while (r.at < r.end && !failed(&r)) {
        read_rule(&r);
        skip_space(&r, true);
    }
    return ebnf_finish(&g, "root", out, err);
}
