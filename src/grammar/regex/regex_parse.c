#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "grammar/regex/regex_parser.h"
#include "text/unicode.h"

static enum quern_status parse_alternatives(struct regex_parser *p, const struct rx_node **out);

enum quern_status regex_refuse(struct regex_parser *p, const unsigned char *at,
                               enum quern_status code, const char *fmt, ...) {
    char message[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    size_t n = utf8_length((struct str){(const char *)p->text, (size_t)(at - p->text)});
    return error_set(p->err, code, "regex: character %zu: %s", n + 1, message);
}

int32_t regex_next(struct regex_parser *p) {
    int32_t c;
    p->at += utf8_decode(p->at, p->end, &c);
    return c;
}

/* A growing list of nodes. */
struct node_list {
    const struct rx_node **nodes;
    size_t n, capacity;
};

static bool push(struct node_list *l, const struct rx_node *node) {
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 8;
        const struct rx_node **grown = realloc(l->nodes, capacity * sizeof *grown);
        if (!grown)
            return false;
        l->nodes = grown;
        l->capacity = capacity;
    }
    l->nodes[l->n++] = node;
    return true;
}

static const struct rx_node *char_node(struct regex_parser *p, int32_t c) {
    struct cp_set set = {0};
    cp_set_add(&set, c, c);
    regex_fold(p, &set);
    const struct rx_node *node = rx_set(p->pool, &set);
    cp_set_release(&set);
    return node;
}

static const struct rx_node *dot_node(struct regex_parser *p) {
    static const int32_t line_ends[] = {'\n', '\r', 0x2028, 0x2029};
    struct cp_set set = {0};
    if (p->flags & REGEX_DOT_ALL)
        return p->pool->any;
    for (int i = 0; i < (p->flags & REGEX_PCRE ? 1 : 4); i++)
        cp_set_add(&set, line_ends[i], line_ends[i]);
    cp_set_normalize(&set);
    cp_set_complement(&set);
    const struct rx_node *node = rx_set(p->pool, &set);
    cp_set_release(&set);
    return node;
}

static bool take_number(struct regex_parser *p, uint32_t *out) {
    uint32_t value = 0;
    const unsigned char *start = p->at;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        if (value <= REGEX_REPEAT_MAX)
            value = value * 10 + (uint32_t)(*p->at - '0');
    *out = value;
    return p->at > start;
}

/* {m}, {m,}, {m,n}; false and nothing read when it is not one: then { is a character. */
static bool take_braces(struct regex_parser *p, uint32_t *min, uint32_t *max) {
    const unsigned char *mark = p->at;
    if (!regex_take(p, "{"))
        return false;
    bool has_min = take_number(p, min);
    if (regex_take(p, ",")) {
        bool has_max = take_number(p, max);
        if (!has_max)
            *max = RX_UNBOUNDED;
        if (!has_min && !(has_max && (p->flags & REGEX_PCRE)))
            goto literal;
    } else if (has_min) {
        *max = *min;
    } else {
        goto literal;
    }
    if (regex_take(p, "}"))
        return true;
literal:
    p->at = mark;
    return false;
}

static bool take_quantifier(struct regex_parser *p, uint32_t *min, uint32_t *max) {
    *max = RX_UNBOUNDED;
    *min = 0;
    if (regex_take(p, "*"))
        return true;
    if (regex_take(p, "+")) {
        *min = 1;
        return true;
    }
    if (regex_take(p, "?")) {
        *max = 1;
        return true;
    }
    return take_braces(p, min, max);
}

static enum quern_status quantified(struct regex_parser *p, const struct rx_node *atom,
                                    const struct rx_node **out) {
    const unsigned char *start = p->at;
    uint32_t min, max;
    *out = atom;
    if (!take_quantifier(p, &min, &max))
        return QUERN_OK;
    if (atom->kind == RX_BEGIN || atom->kind == RX_END || atom->kind == RX_WORD_EDGE)
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "nothing to repeat");
    if (min > REGEX_REPEAT_MAX || (max != RX_UNBOUNDED && max > REGEX_REPEAT_MAX))
        return regex_refuse(p, start, QUERN_ERR_LIMIT, "a repetition above %d", REGEX_REPEAT_MAX);
    if (max < min)
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "a repetition with bounds out of order");
    if (regex_at(p, "+"))
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                            "possessive quantifiers are not supported");
    (void)regex_take(p, "?"); /* lazy: the same language */
    const unsigned char *next = p->at;
    uint32_t ignored;
    if (take_quantifier(p, &ignored, &ignored))
        return regex_refuse(p, next, QUERN_ERR_FORMAT, "nothing to repeat");
    *out = rx_repeat(p->pool, atom, min, max);
    return QUERN_OK;
}

/* (?i), (?s-i:...): letters behind "(?". *scoped: a colon ended them. */
static enum quern_status inline_flags(struct regex_parser *p, const unsigned char *start,
                                      unsigned *flags, bool *scoped) {
    bool on = true;
    for (; p->at < p->end; p->at++) {
        unsigned bit = 0;
        switch (*p->at) {
        case '-':
            on = false;
            continue;
        case ')':
        case ':':
            *scoped = *p->at++ == ':';
            return QUERN_OK;
        case 'i':
            bit = REGEX_IGNORE_CASE;
            break;
        case 's':
            bit = REGEX_DOT_ALL;
            break;
        case 'a':
        case 'u':
        case 'U':
            break;
        default:
            return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                                "the group (?%c is not supported (expected (?: (?= (?! (?<name> or "
                                "the flags i and s)",
                                *p->at >= ' ' && *p->at < 127 ? *p->at : '?');
        }
        *flags = on ? *flags | bit : *flags & ~bit;
    }
    return regex_refuse(p, start, QUERN_ERR_FORMAT, "( without )");
}

static enum quern_status group_body(struct regex_parser *p, const unsigned char *start,
                                    const struct rx_node **out) {
    if (++p->nesting > REGEX_NESTING_MAX)
        return regex_refuse(p, start, QUERN_ERR_LIMIT, "groups nested deeper than %d",
                            REGEX_NESTING_MAX);
    enum quern_status status = parse_alternatives(p, out);
    p->nesting--;
    if (status)
        return status;
    if (!regex_take(p, ")"))
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "( without )");
    return QUERN_OK;
}

static enum quern_status flag_group(struct regex_parser *p, const unsigned char *start,
                                    const struct rx_node **out) {
    unsigned outer = p->flags, flags = p->flags;
    bool scoped = false;
    enum quern_status status = inline_flags(p, start, &flags, &scoped);
    if (status)
        return status;
    p->flags = flags;
    *out = p->pool->empty;
    if (!scoped) /* to the end of the enclosing group, whose parser restores them */
        return QUERN_OK;
    status = group_body(p, start, out);
    p->flags = outer;
    return status;
}

static enum quern_status group_name(struct regex_parser *p, const unsigned char *start) {
    const unsigned char *close = memchr(p->at, '>', (size_t)(p->end - p->at));
    if (!close || close == p->at)
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "a group name without >");
    p->at = close + 1;
    return QUERN_OK;
}

/* After '('. */
static enum quern_status parse_group(struct regex_parser *p, const struct rx_node **out) {
    const unsigned char *start = p->at - 1;
    enum quern_status status = QUERN_OK;
    bool look = false, negated = false;
    if (regex_take(p, "?:")) {
    } else if (regex_at(p, "?<=") || regex_at(p, "?<!")) {
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                            "the lookbehind (?<%c...) is not supported", p->at[2]);
    } else if (regex_at(p, "?>")) {
        return regex_refuse(p, start, QUERN_ERR_UNSUPPORTED,
                            "the atomic group (?>...) is not supported");
    } else if (regex_take(p, "?=")) {
        look = true;
    } else if (regex_take(p, "?!")) {
        look = negated = true;
    } else if (regex_take(p, "?<")) {
        status = group_name(p, start);
    } else if ((p->flags & REGEX_PCRE) && regex_take(p, "?P<")) {
        status = group_name(p, start);
    } else if ((p->flags & REGEX_PCRE) && regex_take(p, "?#")) {
        const unsigned char *close = memchr(p->at, ')', (size_t)(p->end - p->at));
        if (!close)
            return regex_refuse(p, start, QUERN_ERR_FORMAT, "( without )");
        p->at = close + 1;
        *out = p->pool->empty;
        return QUERN_OK;
    } else if (regex_take(p, "?")) {
        return flag_group(p, start, out);
    }
    if (!status)
        status = group_body(p, start, out);
    if (!status && look)
        *out = rx_assertion(p->pool, RX_LOOK, negated, *out);
    return status;
}

/* After a backslash. */
static enum quern_status parse_escape(struct regex_parser *p, const struct rx_node **out) {
    struct cp_set set = {0};
    bool is_class;
    int32_t c;
    bool pcre = p->flags & REGEX_PCRE;
    if (regex_at(p, "b") || regex_at(p, "B")) {
        *out = rx_assertion(p->pool, RX_WORD_EDGE, *p->at++ == 'B', NULL);
        return QUERN_OK;
    }
    if (pcre && regex_take(p, "A")) {
        *out = rx_assertion(p->pool, RX_BEGIN, false, NULL);
        return QUERN_OK;
    }
    if (pcre && (regex_take(p, "z") || regex_take(p, "Z"))) {
        *out = rx_assertion(p->pool, RX_END, false, NULL);
        return QUERN_OK;
    }
    enum quern_status status = regex_class_escape(p, &set, &is_class);
    if (!status && is_class) {
        regex_fold(p, &set);
        *out = rx_set(p->pool, &set);
    }
    cp_set_release(&set);
    if (status || is_class)
        return status;
    status = regex_char_escape(p, false, &c);
    if (!status)
        *out = char_node(p, c);
    return status;
}

static enum quern_status parse_atom(struct regex_parser *p, const struct rx_node **out) {
    const unsigned char *start = p->at;
    uint32_t min, max;
    if (take_quantifier(p, &min, &max))
        return regex_refuse(p, start, QUERN_ERR_FORMAT, "nothing to repeat");
    int32_t c = regex_next(p);
    switch (c) {
    case '(':
        return parse_group(p, out);
    case '[':
        return regex_class(p, out);
    case '\\':
        return parse_escape(p, out);
    case '.':
        *out = dot_node(p);
        return QUERN_OK;
    case '^':
        *out = rx_assertion(p->pool, RX_BEGIN, false, NULL);
        return QUERN_OK;
    case '$':
        *out = rx_assertion(p->pool, RX_END, false, NULL);
        return QUERN_OK;
    default:
        *out = char_node(p, c);
        return QUERN_OK;
    }
}

static enum quern_status parse_sequence(struct regex_parser *p, const struct rx_node **out) {
    struct node_list parts = {0};
    enum quern_status status = QUERN_OK;
    while (!status && p->at < p->end && *p->at != '|' && *p->at != ')') {
        const struct rx_node *atom = NULL, *node = NULL;
        status = parse_atom(p, &atom);
        if (!status)
            status = quantified(p, atom, &node);
        if (!status && !push(&parts, node))
            status = error_nomem(p->err);
    }
    if (!status)
        *out = rx_concat(p->pool, parts.nodes, parts.n);
    free(parts.nodes);
    return status;
}

static enum quern_status parse_alternatives(struct regex_parser *p, const struct rx_node **out) {
    struct node_list parts = {0};
    unsigned outer = p->flags;
    enum quern_status status;
    do {
        const struct rx_node *node = NULL;
        status = parse_sequence(p, &node);
        if (!status && !push(&parts, node))
            status = error_nomem(p->err);
    } while (!status && regex_take(p, "|"));
    if (!status)
        *out = rx_alt(p->pool, parts.nodes, parts.n);
    p->flags = outer;
    free(parts.nodes);
    return status;
}

enum quern_status regex_parse(struct rx_pool *pool, struct str pattern, unsigned flags,
                              const struct rx_node **out, struct quern_error *err) {
    const unsigned char *text = (const unsigned char *)(pattern.len ? pattern.ptr : "");
    struct regex_parser p = {.pool = pool,
                             .text = text,
                             .at = text,
                             .end = text + pattern.len,
                             .flags = flags,
                             .err = err};
    const struct rx_node *node = NULL;
    if (pattern.len > REGEX_LENGTH_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "regex: %zu bytes, expected at most %d", pattern.len,
                         REGEX_LENGTH_MAX);
    if (!utf8_valid(pattern))
        return error_set(err, QUERN_ERR_FORMAT, "regex: not valid UTF-8");
    enum quern_status status = parse_alternatives(&p, &node);
    if (!status && p.at < p.end)
        status = regex_refuse(&p, p.at, QUERN_ERR_FORMAT, ") without (");
    for (size_t i = 0; i < REGEX_PROPERTIES_MAX; i++)
        cp_set_release(&p.properties[i].set);
    cp_folds_release(&p.folds);
    if (!status)
        status = rx_pool_status(pool, "regex", err);
    if (!status)
        *out = node;
    return status;
}

enum quern_status regex_compile(struct rx_pool *p, struct str pattern, unsigned flags,
                                const struct rx_node **out, struct quern_error *err) {
    const struct rx_node *node = NULL;
    enum quern_status status = regex_parse(p, pattern, flags, &node, err);
    if (!status)
        status = rx_resolve(p, node, flags & REGEX_SEARCH, out, err);
    return status;
}
