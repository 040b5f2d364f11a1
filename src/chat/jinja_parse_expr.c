/* Expressions, from the loosest operator to the tightest. The grammar is
 * jinja2/parser.py's, which differs from Python's in places (-2 ** 2, `~`, filters). */
#include "chat/jinja_parser.h"

#include <string.h>

static struct jnode *parse_unary(struct jparser *p, bool with_filter);

static struct jnode *binary(struct jparser *p, enum jnode_kind kind, int line, struct jnode *left,
                            struct jnode *right) {
    struct jnode *node = left && right ? jparser_node(p, kind, line) : NULL;
    if (!node || !jparser_adopt(p, node, left) || !jparser_adopt(p, node, right))
        return NULL;
    node->as.binary.left = left;
    node->as.binary.right = right;
    return node;
}

struct jnode *jparser_unary(struct jparser *p, enum jnode_kind kind, int line,
                            struct jnode *operand) {
    struct jnode *node = operand ? jparser_node(p, kind, line) : NULL;
    if (!node || !jparser_adopt(p, node, operand))
        return NULL;
    node->as.binary.left = operand;
    return node;
}

/* ---- operators
 * ----------------------------------------------------------------------------------- */

static struct jnode *parse_pow(struct jparser *p) {
    int line = p->token->line;
    struct jnode *left = parse_unary(p, true);
    while (left && jparser_skip(p, JTOKEN_POW)) {
        left = binary(p, NODE_BINARY, line, left, parse_unary(p, true));
        if (left)
            left->as.binary.op = BINARY_POW;
    }
    return left;
}

static bool skip_product(struct jparser *p, enum jbinary *op) {
    static const struct {
        enum jtoken_kind token;
        enum jbinary op;
    } ops[] = {{JTOKEN_MUL, BINARY_MUL},
               {JTOKEN_DIV, BINARY_DIV},
               {JTOKEN_FLOORDIV, BINARY_FLOORDIV},
               {JTOKEN_MOD, BINARY_MOD}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (jparser_skip(p, ops[i].token)) {
            *op = ops[i].op;
            return true;
        }
    return false;
}

static struct jnode *parse_product(struct jparser *p) {
    int line = p->token->line;
    enum jbinary op;
    struct jnode *left = parse_pow(p);
    while (left && skip_product(p, &op)) {
        left = binary(p, NODE_BINARY, line, left, parse_pow(p));
        if (left)
            left->as.binary.op = op;
    }
    return left;
}

static struct jnode *parse_concat(struct jparser *p) {
    int line = p->token->line;
    struct jnode *first = parse_product(p);
    if (!first || p->token->kind != JTOKEN_TILDE)
        return first;
    struct jnode *node = jparser_node(p, NODE_CONCAT, line);
    size_t capacity = 0;
    if (!node)
        return NULL;
    do {
        struct jnode *part = node->as.list.n ? parse_product(p) : first;
        if (!jparser_append(p, &node->as.list, &capacity, part) || !jparser_adopt(p, node, part))
            return NULL;
    } while (jparser_skip(p, JTOKEN_TILDE));
    return node;
}

static struct jnode *parse_sum(struct jparser *p) {
    int line = p->token->line;
    struct jnode *left = parse_concat(p);
    while (left && (p->token->kind == JTOKEN_ADD || p->token->kind == JTOKEN_SUB)) {
        enum jbinary op = p->token->kind == JTOKEN_ADD ? BINARY_ADD : BINARY_SUB;
        jparser_next(p);
        left = binary(p, NODE_BINARY, line, left, parse_concat(p));
        if (left)
            left->as.binary.op = op;
    }
    return left;
}

static bool skip_comparison(struct jparser *p, enum jcompare *op) {
    switch (p->token->kind) {
    case JTOKEN_EQ:
        *op = COMPARE_EQ;
        break;
    case JTOKEN_NE:
        *op = COMPARE_NE;
        break;
    case JTOKEN_LT:
        *op = COMPARE_LT;
        break;
    case JTOKEN_LE:
        *op = COMPARE_LE;
        break;
    case JTOKEN_GT:
        *op = COMPARE_GT;
        break;
    case JTOKEN_GE:
        *op = COMPARE_GE;
        break;
    default:
        if (jparser_skip_name(p, "in")) {
            *op = COMPARE_IN;
            return true;
        }
        if (!jparser_at_name(p, "not") || p->token[1].kind != JTOKEN_NAME ||
            !str_is(p->token[1].text, "in"))
            return false;
        jparser_next(p);
        *op = COMPARE_NOT_IN;
    }
    jparser_next(p);
    return true;
}

static struct jnode *parse_compare(struct jparser *p) {
    int line = p->token->line;
    struct jnode *first = parse_sum(p), *node = NULL;
    enum jcompare op;
    size_t capacity = 0, ops_capacity = 0;
    while (first && skip_comparison(p, &op)) {
        if (!node) {
            node = jparser_node(p, NODE_COMPARE, line);
            if (!node || !jparser_adopt(p, node, first))
                return NULL;
            node->as.compare.first = first;
        }
        struct jnode *operand = parse_sum(p);
        if (!jparser_append(p, &node->as.compare.operands, &capacity, operand) ||
            !jparser_adopt(p, node, operand))
            return NULL;
        if (ops_capacity < capacity) {
            enum jcompare *ops = arena_calloc(p->arena, capacity, sizeof *ops);
            if (!ops) {
                jparser_fail(p, line, "out of memory");
                return NULL;
            }
            if (ops_capacity)
                memcpy(ops, node->as.compare.ops, ops_capacity * sizeof *ops);
            node->as.compare.ops = ops;
            ops_capacity = capacity;
        }
        node->as.compare.ops[node->as.compare.operands.n - 1] = op;
    }
    return node ? node : first;
}

static struct jnode *parse_not(struct jparser *p) {
    if (!jparser_at_name(p, "not"))
        return parse_compare(p);
    int line = p->token->line;
    if (!jparser_enter(p))
        return NULL;
    jparser_next(p);
    struct jnode *node = jparser_unary(p, NODE_NOT, line, parse_not(p));
    p->nesting--;
    return node;
}

static struct jnode *parse_and(struct jparser *p) {
    int line = p->token->line;
    struct jnode *left = parse_not(p);
    while (left && jparser_skip_name(p, "and"))
        left = binary(p, NODE_AND, line, left, parse_not(p));
    return left;
}

struct jnode *jparse_condition(struct jparser *p) {
    int line = p->token->line;
    struct jnode *left = parse_and(p);
    while (left && jparser_skip_name(p, "or"))
        left = binary(p, NODE_OR, line, left, parse_and(p));
    return left;
}

static struct jnode *parse_inline_if(struct jparser *p) {
    int line = p->token->line;
    struct jnode *value = jparse_condition(p);
    while (value && jparser_skip_name(p, "if")) {
        struct jnode *node = jparser_node(p, NODE_CONDITIONAL, line);
        struct jnode *test = node ? jparse_condition(p) : NULL;
        struct jnode *otherwise = NULL;
        bool ok = test != NULL;
        if (ok && jparser_skip_name(p, "else")) {
            ok = jparser_enter(p);
            otherwise = ok ? parse_inline_if(p) : NULL;
            ok = otherwise != NULL;
            p->nesting--;
        }
        if (!ok || !jparser_adopt(p, node, value) || !jparser_adopt(p, node, test) ||
            !jparser_adopt(p, node, otherwise))
            return NULL;
        node->as.conditional.test = test;
        node->as.conditional.then = value;
        node->as.conditional.otherwise = otherwise;
        value = node;
    }
    return value;
}

struct jnode *jparse_expression(struct jparser *p) {
    struct jnode *node = jparser_enter(p) ? parse_inline_if(p) : NULL;
    p->nesting--;
    return node;
}

/* ---- literals
 * -------------------------------------------------------------------------------------- */

struct jnode *jparser_constant(struct jparser *p, int line, struct jvalue value) {
    struct jnode *node = jparser_node(p, NODE_CONST, line);
    if (node)
        node->as.constant = value;
    return node;
}

static struct jnode *parse_strings(struct jparser *p, int line) {
    struct str first = p->token->text;
    jparser_next(p);
    if (p->token->kind != JTOKEN_STRING)
        return jparser_constant(p, line, jvalue_string(first));
    size_t len = first.len; /* adjacent literals are joined */
    for (const struct jtoken *t = p->token; t->kind == JTOKEN_STRING; t++)
        len += t->text.len;
    char *joined = arena_alloc(p->arena, len);
    if (!joined) {
        jparser_fail(p, line, "out of memory");
        return NULL;
    }
    size_t n = 0;
    for (const struct jtoken *t = p->token - 1; t->kind == JTOKEN_STRING; t++) {
        if (t->text.len)
            memcpy(joined + n, t->text.ptr, t->text.len);
        n += t->text.len;
    }
    while (jparser_skip(p, JTOKEN_STRING))
        ;
    return jparser_constant(p, line, jvalue_string((struct str){joined, len}));
}

static struct jnode *parse_name(struct jparser *p, bool with_namespace) {
    const struct jtoken *t = p->token;
    jparser_next(p);
    if (str_is(t->text, "true") || str_is(t->text, "True"))
        return jparser_constant(p, t->line, jvalue_bool(true));
    if (str_is(t->text, "false") || str_is(t->text, "False"))
        return jparser_constant(p, t->line, jvalue_bool(false));
    if (str_is(t->text, "none") || str_is(t->text, "None"))
        return jparser_constant(p, t->line, jvalue_none());
    if (with_namespace && jparser_skip(p, JTOKEN_DOT)) {
        const struct jtoken *attribute = p->token;
        struct jnode *node = jparser_node(p, NODE_NAMESPACE_REF, t->line);
        if (!node || !jparser_expect(p, JTOKEN_NAME))
            return NULL;
        node->as.namespace_ref.name = t->text;
        node->as.namespace_ref.attribute = attribute->text;
        return node;
    }
    p->specials |= str_is(t->text, "caller")    ? JSPECIAL_CALLER
                   : str_is(t->text, "kwargs")  ? JSPECIAL_KWARGS
                   : str_is(t->text, "varargs") ? JSPECIAL_VARARGS
                                                : 0u;
    struct jnode *node = jparser_node(p, NODE_NAME, t->line);
    if (node)
        node->as.name.name = t->text;
    return node;
}

/* Items up to `close`, which is skipped; in a dict each is "key: value". */
static struct jnode *parse_items(struct jparser *p, enum jnode_kind kind, enum jtoken_kind close) {
    struct jnode *node = jparser_node(p, kind, p->token->line);
    size_t capacity = 0;
    jparser_next(p);
    while (node && p->token->kind != close) {
        if (node->as.list.n && !jparser_expect(p, JTOKEN_COMMA))
            return NULL;
        if (p->token->kind == close)
            break;
        for (int part = 0; part < (kind == NODE_DICT ? 2 : 1); part++) {
            if (part && !jparser_expect(p, JTOKEN_COLON))
                return NULL;
            struct jnode *item = jparse_expression(p);
            if (!jparser_append(p, &node->as.list, &capacity, item) ||
                !jparser_adopt(p, node, item))
                return NULL;
        }
    }
    return node && jparser_expect(p, close) ? node : NULL;
}

struct jnode *jparse_primary(struct jparser *p, bool with_namespace) {
    const struct jtoken *t = p->token;
    struct jnode *node;
    switch (t->kind) {
    case JTOKEN_NAME:
        return parse_name(p, with_namespace);
    case JTOKEN_STRING:
        return parse_strings(p, t->line);
    case JTOKEN_INTEGER:
        jparser_next(p);
        return jparser_constant(p, t->line, jvalue_int(t->as.integer));
    case JTOKEN_FLOAT:
        jparser_next(p);
        return jparser_constant(p, t->line, jvalue_float(t->as.number));
    case JTOKEN_LPAREN:
        jparser_next(p);
        node = jparse_tuple(p, JTUPLE_PARENTHESES);
        return node && jparser_expect(p, JTOKEN_RPAREN) ? node : NULL;
    case JTOKEN_LBRACKET:
        return parse_items(p, NODE_LIST, JTOKEN_RBRACKET);
    case JTOKEN_LBRACE:
        return parse_items(p, NODE_DICT, JTOKEN_RBRACE);
    default:
        jparser_fail(p, t->line, "expected an expression, found '%s'", jtoken_describe(t->kind));
        return NULL;
    }
}

static bool at_tuple_end(const struct jparser *p, unsigned mode) {
    enum jtoken_kind kind = p->token->kind;
    if (kind == JTOKEN_VARIABLE_END || kind == JTOKEN_BLOCK_END || kind == JTOKEN_RPAREN)
        return true;
    return ((mode & JTUPLE_UNTIL_IN) && jparser_at_name(p, "in")) ||
           ((mode & JTUPLE_UNTIL_RECURSIVE) && jparser_at_name(p, "recursive"));
}

static struct jnode *parse_tuple_item(struct jparser *p, unsigned mode) {
    if (mode & JTUPLE_TARGET) {
        unsigned specials = p->specials;
        struct jnode *node = jparser_enter(p) ? jparse_primary(p, mode & JTUPLE_NAMESPACE) : NULL;
        p->nesting--;
        p->specials = specials; /* being set is not being read */
        return node;
    }
    return mode & JTUPLE_CONDITION ? jparse_condition(p) : jparse_expression(p);
}

struct jnode *jparse_tuple(struct jparser *p, unsigned mode) {
    struct jnode *tuple = jparser_node(p, NODE_TUPLE, p->token->line);
    size_t capacity = 0;
    bool comma = false;
    while (tuple) {
        if (tuple->as.list.n && !jparser_expect(p, JTOKEN_COMMA))
            return NULL;
        if (at_tuple_end(p, mode))
            break;
        struct jnode *item = parse_tuple_item(p, mode);
        if (!jparser_append(p, &tuple->as.list, &capacity, item) || !jparser_adopt(p, tuple, item))
            return NULL;
        if (p->token->kind != JTOKEN_COMMA)
            break;
        comma = true;
    }
    if (!tuple || comma)
        return tuple;
    if (tuple->as.list.n)
        return tuple->as.list.items[0];
    if (mode & JTUPLE_PARENTHESES)
        return tuple;
    jparser_fail(p, p->token->line, "expected an expression, found '%s'",
                 jtoken_describe(p->token->kind));
    return NULL;
}

/* ---- signs
 * ---------------------------------------------------------------------------------------- */

static struct jnode *parse_unary(struct jparser *p, bool with_filter) {
    struct jnode *node;
    int line = p->token->line;
    if (p->token->kind == JTOKEN_SUB || p->token->kind == JTOKEN_ADD) {
        enum jnode_kind kind = p->token->kind == JTOKEN_SUB ? NODE_NEGATE : NODE_PLUS;
        jparser_next(p);
        node = jparser_enter(p) ? jparser_unary(p, kind, line, parse_unary(p, false)) : NULL;
        p->nesting--;
    } else {
        node = jparse_primary(p, false);
    }
    node = jparse_postfix(p, node);
    return with_filter ? jparse_filters_and_tests(p, node) : node;
}
