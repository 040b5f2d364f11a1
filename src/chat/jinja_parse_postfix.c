/* What may follow a value: calls, subscripts, filters and tests. */
#include <string.h>

#include "chat/jinja_native.h"
#include "chat/jinja_parser.h"

static bool append_keyword(struct jparser *p, struct jcall *call, size_t *capacity,
                           struct jkeyword keyword) {
    if (call->n_keywords == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 4;
        struct jkeyword *keywords = arena_calloc(p->arena, larger, sizeof *keywords);
        if (!keywords)
            return jparser_fail(p, p->token->line, "out of memory");
        if (call->n_keywords)
            memcpy(keywords, call->keywords, call->n_keywords * sizeof *keywords);
        call->keywords = keywords;
        *capacity = larger;
    }
    for (size_t i = 0; i < call->n_keywords; i++)
        if (str_eq(call->keywords[i].name, keyword.name))
            return jparser_fail(p, p->token->line, "keyword argument '%.*s' is repeated",
                                STR_FMT(keyword.name));
    call->keywords[call->n_keywords++] = keyword;
    return true;
}

static bool parse_argument(struct jparser *p, struct jnode *node, struct jcall *call,
                           size_t *n_positional, size_t *n_keywords) {
    const struct jtoken *t = p->token;
    struct jnode *value;
    bool ordered; /* positional, keywords, *args, **kwargs */
    if (jparser_skip(p, JTOKEN_MUL)) {
        ordered = !call->star_args && !call->star_kwargs;
        value = call->star_args = jparse_expression(p);
    } else if (jparser_skip(p, JTOKEN_POW)) {
        ordered = !call->star_kwargs;
        value = call->star_kwargs = jparse_expression(p);
    } else if (t->kind == JTOKEN_NAME && t[1].kind == JTOKEN_ASSIGN) {
        ordered = !call->star_kwargs;
        p->token += 2;
        value = jparse_expression(p);
        if (value && !append_keyword(p, call, n_keywords, (struct jkeyword){t->text, value}))
            return false;
    } else {
        ordered = !call->star_args && !call->star_kwargs && !call->n_keywords;
        value = jparse_expression(p);
        if (!jparser_append(p, &call->positional, n_positional, value))
            return false;
    }
    if (value && !ordered)
        return jparser_fail(p, t->line, "arguments are out of order");
    return value && jparser_adopt(p, node, value);
}

static bool parse_arguments(struct jparser *p, struct jnode *node, struct jcall *call) {
    size_t n_positional = 0, n_keywords = 0;
    bool comma = false;
    if (!jparser_expect(p, JTOKEN_LPAREN))
        return false;
    while (p->token->kind != JTOKEN_RPAREN) {
        if (comma && !jparser_expect(p, JTOKEN_COMMA))
            return false;
        if (comma && p->token->kind == JTOKEN_RPAREN)
            break;
        if (!parse_argument(p, node, call, &n_positional, &n_keywords))
            return false;
        comma = true;
    }
    return jparser_expect(p, JTOKEN_RPAREN);
}

static struct jnode *parse_call(struct jparser *p, struct jnode *object) {
    struct jnode *node = jparser_node(p, NODE_CALL, p->token->line);
    if (!node || !jparser_adopt(p, node, object) || !parse_arguments(p, node, &node->as.apply.call))
        return NULL;
    node->as.apply.object = object;
    return node;
}

static struct jnode *parse_slice(struct jparser *p, struct jnode *start, int line) {
    struct jnode *node = jparser_node(p, NODE_SLICE, line);
    if (!node || !jparser_adopt(p, node, start))
        return NULL;
    node->as.slice.start = start;
    struct jnode **parts[] = {&node->as.slice.stop, &node->as.slice.step};
    for (int i = 0; i < 2 && jparser_skip(p, JTOKEN_COLON); i++) {
        enum jtoken_kind kind = p->token->kind;
        if (kind == JTOKEN_COLON || kind == JTOKEN_RBRACKET || kind == JTOKEN_COMMA)
            continue;
        *parts[i] = jparse_expression(p);
        if (!*parts[i] || !jparser_adopt(p, node, *parts[i]))
            return NULL;
    }
    return node;
}

static struct jnode *parse_subscript_item(struct jparser *p) {
    int line = p->token->line;
    struct jnode *start = NULL;
    if (p->token->kind != JTOKEN_COLON) {
        start = jparse_expression(p);
        if (!start || p->token->kind != JTOKEN_COLON)
            return start;
    }
    return parse_slice(p, start, line);
}

static struct jnode *parse_index(struct jparser *p) {
    struct jnode *tuple = jparser_node(p, NODE_TUPLE, p->token->line);
    size_t capacity = 0;
    while (tuple && p->token->kind != JTOKEN_RBRACKET) {
        if (tuple->as.list.n && !jparser_expect(p, JTOKEN_COMMA))
            return NULL;
        struct jnode *item = parse_subscript_item(p);
        if (!jparser_append(p, &tuple->as.list, &capacity, item) || !jparser_adopt(p, tuple, item))
            return NULL;
    }
    if (!tuple || !jparser_expect(p, JTOKEN_RBRACKET))
        return NULL;
    if (tuple->as.list.n == 1)
        return tuple->as.list.items[0];
    for (size_t i = 0; i < tuple->as.list.n; i++)
        if (tuple->as.list.items[i]->kind == NODE_SLICE) {
            jparser_fail(p, tuple->line, "slices of several dimensions are not supported");
            return NULL;
        }
    return tuple;
}

static struct jnode *parse_subscript(struct jparser *p, struct jnode *object) {
    int line = p->token->line;
    struct jnode *node = jparser_node(p, NODE_ITEM, line), *index;
    if (!node || !jparser_adopt(p, node, object))
        return NULL;
    node->as.access.object = object;
    if (jparser_skip(p, JTOKEN_LBRACKET)) {
        index = parse_index(p);
    } else {
        jparser_next(p);
        const struct jtoken *t = p->token;
        jparser_next(p);
        if (t->kind == JTOKEN_NAME) {
            node->kind = NODE_ATTRIBUTE;
            node->as.access.name = t->text;
            return node;
        }
        if (t->kind != JTOKEN_INTEGER) {
            jparser_fail(p, t->line, "expected a name or a number after '.'");
            return NULL;
        }
        index = jparser_constant(p, t->line, jvalue_int(t->as.integer));
    }
    node->as.access.index = index;
    return index && jparser_adopt(p, node, index) ? node : NULL;
}

struct jnode *jparse_postfix(struct jparser *p, struct jnode *node) {
    while (node) {
        if (p->token->kind == JTOKEN_DOT || p->token->kind == JTOKEN_LBRACKET)
            node = parse_subscript(p, node);
        else if (p->token->kind == JTOKEN_LPAREN)
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}

/* A filter's or test's dotted name; looked up here, because templates cannot add any. */
static bool parse_native_name(struct jparser *p, struct jnode *node) {
    struct str name = p->token->text;
    if (!jparser_expect(p, JTOKEN_NAME))
        return false;
    bool is_filter = node->kind == NODE_FILTER;
    node->as.apply.name = name;
    if (p->token->kind == JTOKEN_DOT)
        return jparser_fail(p, node->line, "unknown %s '%.*s.'", is_filter ? "filter" : "test",
                            STR_FMT(name));
    node->as.apply.native = is_filter ? jinja_find_filter(name) : jinja_find_test(name);
    return true;
}

struct jnode *jparse_filters(struct jparser *p, struct jnode *object, bool first_bar) {
    bool bar = first_bar;
    while (!bar || p->token->kind == JTOKEN_PIPE) {
        if (bar)
            jparser_next(p);
        bar = true;
        struct jnode *node = jparser_node(p, NODE_FILTER, p->token->line);
        if (!node || !jparser_adopt(p, node, object) || !parse_native_name(p, node) ||
            (p->token->kind == JTOKEN_LPAREN && !parse_arguments(p, node, &node->as.apply.call)))
            return NULL;
        node->as.apply.object = object;
        object = node;
    }
    return object;
}

/* Whether a test's single argument without parentheses follows: "is divisibleby 3". */
static bool at_test_argument(const struct jparser *p) {
    switch (p->token->kind) {
    case JTOKEN_STRING:
    case JTOKEN_INTEGER:
    case JTOKEN_FLOAT:
    case JTOKEN_LBRACKET:
    case JTOKEN_LBRACE:
        return true;
    case JTOKEN_NAME:
        return !jparser_at_name(p, "else") && !jparser_at_name(p, "or") &&
               !jparser_at_name(p, "and");
    default:
        return false;
    }
}

static struct jnode *parse_test(struct jparser *p, struct jnode *object) {
    int line = p->token->line;
    jparser_next(p);
    bool negated = jparser_skip_name(p, "not");
    struct jnode *node = jparser_node(p, NODE_TEST, line);
    if (!node || !jparser_adopt(p, node, object) || !parse_native_name(p, node))
        return NULL;
    node->as.apply.object = object;
    if (p->token->kind == JTOKEN_LPAREN) {
        if (!parse_arguments(p, node, &node->as.apply.call))
            return NULL;
    } else if (at_test_argument(p)) {
        if (jparser_at_name(p, "is")) {
            jparser_fail(p, line, "tests cannot be chained with 'is'");
            return NULL;
        }
        size_t capacity = 0;
        struct jnode *argument = jparse_postfix(p, jparse_primary(p, false));
        if (!jparser_append(p, &node->as.apply.call.positional, &capacity, argument) ||
            !jparser_adopt(p, node, argument))
            return NULL;
    }
    return negated ? jparser_unary(p, NODE_NOT, line, node) : node;
}

struct jnode *jparse_filters_and_tests(struct jparser *p, struct jnode *node) {
    while (node) {
        if (p->token->kind == JTOKEN_PIPE)
            node = jparse_filters(p, node, true);
        else if (jparser_at_name(p, "is"))
            node = parse_test(p, node);
        else if (p->token->kind == JTOKEN_LPAREN)
            node = parse_call(p, node);
        else
            break;
    }
    return node;
}
