/* Statements. The grammar is jinja2/parser.py's. */
#include "chat/jinja_parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- shared tools ---------------------------------------------------------------------------- */

bool jparser_fail(struct jparser *p, int line, const char *fmt, ...) {
    if (p->failed)
        return false;
    p->failed = true;
    char message[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    error_set(p->err, QUERN_ERR_TEMPLATE, "line %d: %s", line, message);
    return false;
}

static bool out_of_memory(struct jparser *p) {
    if (!p->failed)
        error_nomem(p->err);
    p->failed = true;
    return false;
}

bool jparser_enter(struct jparser *p) {
    if (p->nesting++ < JINJA_NESTING_MAX)
        return true;
    if (!p->failed) {
        p->failed = true;
        error_set(p->err, QUERN_ERR_LIMIT,
                  "line %d: blocks or brackets are nested more than %d deep", p->token->line,
                  JINJA_NESTING_MAX);
    }
    return false;
}

struct jnode *jparser_node(struct jparser *p, enum jnode_kind kind, int line) {
    struct jnode *node = arena_calloc(p->arena, 1, sizeof *node);
    if (!node) {
        out_of_memory(p);
        return NULL;
    }
    node->kind = kind;
    node->line = line;
    node->depth = 1;
    return node;
}

bool jparser_adopt(struct jparser *p, struct jnode *node, const struct jnode *child) {
    if (!child || child->depth < node->depth)
        return true;
    if (child->depth >= JINJA_TREE_DEPTH_MAX) {
        if (!p->failed) {
            p->failed = true;
            error_set(p->err, QUERN_ERR_LIMIT, "line %d: an expression is more than %d deep",
                      node->line, JINJA_TREE_DEPTH_MAX);
        }
        return false;
    }
    node->depth = (uint16_t)(child->depth + 1);
    return true;
}

bool jparser_append(struct jparser *p, struct jnodes *list, size_t *capacity, struct jnode *node) {
    if (!node)
        return false;
    if (list->n == *capacity) {
        size_t larger = *capacity ? 2 * *capacity : 4;
        struct jnode **items = arena_calloc(p->arena, larger, sizeof *items);
        if (!items)
            return out_of_memory(p);
        if (list->n)
            memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        *capacity = larger;
    }
    list->items[list->n++] = node;
    return true;
}

bool jparser_at_name(const struct jparser *p, const char *name) {
    return p->token->kind == JTOKEN_NAME && str_is(p->token->text, name);
}

void jparser_next(struct jparser *p) {
    if (p->token->kind != JTOKEN_EOF)
        p->token++;
}

bool jparser_skip_name(struct jparser *p, const char *name) {
    if (!jparser_at_name(p, name))
        return false;
    jparser_next(p);
    return true;
}

bool jparser_skip(struct jparser *p, enum jtoken_kind kind) {
    if (p->token->kind != kind)
        return false;
    jparser_next(p);
    return true;
}

bool jparser_expect(struct jparser *p, enum jtoken_kind kind) {
    if (jparser_skip(p, kind))
        return true;
    const struct jtoken *t = p->token;
    if (t->kind == JTOKEN_NAME)
        return jparser_fail(p, t->line, "expected '%s', found '%.*s'", jtoken_describe(kind),
                            STR_FMT(t->text));
    return jparser_fail(p, t->line, "expected '%s', found '%s'", jtoken_describe(kind),
                        jtoken_describe(t->kind));
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

static bool parse_statement(struct jparser *p, struct jnodes *body, size_t *capacity);

static bool at_end_tag(const struct jparser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (jparser_at_name(p, *ends))
            return true;
    return false;
}

/* Text, prints and statements up to one of `ends` (NULL: the end of the template). The
 * current token is then the name that ended it. */
static bool parse_body(struct jparser *p, const char *const *ends, struct jnode *parent,
                       struct jnodes *body) {
    size_t capacity = 0;
    *body = (struct jnodes){0};
    while (p->token->kind != JTOKEN_EOF) {
        struct jnode *node = NULL;
        int line = p->token->line;
        if (p->token->kind == JTOKEN_DATA) {
            node = jparser_node(p, NODE_DATA, line);
            if (node)
                node->as.text = p->token->text;
            jparser_next(p);
        } else if (jparser_skip(p, JTOKEN_VARIABLE_BEGIN)) {
            node = jparser_node(p, NODE_OUTPUT, line);
            struct jnode *value = jparse_tuple(p, JTUPLE_EXPRESSION);
            size_t one = 0;
            if (!node || !jparser_append(p, &node->as.list, &one, value) ||
                !jparser_adopt(p, node, value) || !jparser_expect(p, JTOKEN_VARIABLE_END))
                return false;
        } else {
            jparser_next(p);
            if (at_end_tag(p, ends))
                break;
            if (!parse_statement(p, body, &capacity) || !jparser_expect(p, JTOKEN_BLOCK_END))
                return false;
            continue;
        }
        if (!jparser_append(p, body, &capacity, node))
            return false;
    }
    if (p->token->kind == JTOKEN_EOF && ends)
        return jparser_fail(p, p->token->line, "unexpected end of template: '%s' is missing",
                            ends[0]);
    for (size_t i = 0; parent && i < body->n; i++)
        if (!jparser_adopt(p, parent, body->items[i]))
            return false;
    return true;
}

/* The body of a block tag, from its end ("%}") on. */
static bool parse_block(struct jparser *p, const char *const *ends, struct jnode *parent,
                        struct jnodes *body) {
    jparser_skip(p, JTOKEN_COLON);
    return jparser_expect(p, JTOKEN_BLOCK_END) && parse_body(p, ends, parent, body);
}

/* As parse_block for a single end tag, which is skipped. */
static bool parse_closed_block(struct jparser *p, const char *end, struct jnode *parent,
                               struct jnodes *body) {
    const char *const ends[] = {end, NULL};
    if (!parse_block(p, ends, parent, body))
        return false;
    jparser_next(p);
    return true;
}

/* A body that break and continue cannot leave: a function of its own in Jinja. */
static bool parse_function_block(struct jparser *p, const char *end, struct jnode *parent,
                                 struct jnodes *body) {
    int loops = p->loops;
    unsigned specials = p->specials;
    p->loops = 0;
    p->specials = 0;
    bool ok = parse_closed_block(p, end, parent, body);
    p->loops = loops;
    if (parent->kind != NODE_GENERATION)
        parent->as.macro.specials = p->specials;
    p->specials |= specials;
    return ok;
}

/* ---- statements
 * ---------------------------------------------------------------------------------- */

static bool can_assign(struct jparser *p, const struct jnode *target) {
    if (target->kind == NODE_TUPLE) {
        for (size_t i = 0; i < target->as.list.n; i++)
            if (!can_assign(p, target->as.list.items[i]))
                return false;
        return true;
    }
    if (target->kind == NODE_NAME || target->kind == NODE_NAMESPACE_REF)
        return true;
    return jparser_fail(p, target->line, "cannot assign to this expression");
}

static struct jnode *parse_target(struct jparser *p, unsigned mode) {
    struct jnode *target = jparse_tuple(p, JTUPLE_TARGET | mode);
    return target && can_assign(p, target) ? target : NULL;
}

static struct jnode *parse_name_target(struct jparser *p) {
    const struct jtoken *t = p->token;
    if (!jparser_expect(p, JTOKEN_NAME))
        return NULL;
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (str_is(t->text, reserved[i])) {
            jparser_fail(p, t->line, "cannot assign to '%s'", reserved[i]);
            return NULL;
        }
    struct jnode *name = jparser_node(p, NODE_NAME, t->line);
    if (name)
        name->as.name.name = t->text;
    return name;
}

static struct jnode *parse_set(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_SET, line);
    struct jnode *target = parse_target(p, JTUPLE_NAMESPACE);
    if (!node || !target)
        return NULL;
    node->as.assign.target = target;
    if (jparser_skip(p, JTOKEN_ASSIGN)) {
        node->as.assign.value = jparse_tuple(p, JTUPLE_EXPRESSION);
        return node->as.assign.value && jparser_adopt(p, node, node->as.assign.value) ? node : NULL;
    }
    node->kind = NODE_SET_BLOCK;
    if (p->token->kind == JTOKEN_PIPE) {
        node->as.assign.filter = jparse_filters(p, NULL, true);
        if (!node->as.assign.filter || !jparser_adopt(p, node, node->as.assign.filter))
            return NULL;
    }
    return parse_closed_block(p, "endset", node, &node->as.assign.body) ? node : NULL;
}

static struct jnode *copy_target(struct jparser *p, const struct jnode *target) {
    struct jnode *copy = jparser_node(p, target->kind, target->line);
    if (!copy)
        return NULL;
    *copy = *target;
    if (target->kind == NODE_TUPLE) {
        size_t capacity = 0;
        copy->as.list = (struct jnodes){0};
        for (size_t i = 0; i < target->as.list.n; i++)
            if (!jparser_append(p, &copy->as.list, &capacity,
                                copy_target(p, target->as.list.items[i])))
                return NULL;
    }
    return copy;
}

static bool parse_for_head(struct jparser *p, struct jnode *node, struct jfor_node *loop) {
    loop->target = parse_target(p, JTUPLE_UNTIL_IN);
    if (!loop->target)
        return false;
    if (!jparser_skip_name(p, "in"))
        return jparser_fail(p, p->token->line, "expected 'in' after the target of 'for'");
    loop->iterable = jparse_tuple(p, JTUPLE_CONDITION | JTUPLE_UNTIL_RECURSIVE);
    if (!loop->iterable || !jparser_adopt(p, node, loop->iterable))
        return false;
    if (jparser_skip_name(p, "if")) {
        loop->test = jparse_expression(p);
        loop->test_target = copy_target(p, loop->target);
        if (!loop->test || !loop->test_target || !jparser_adopt(p, node, loop->test))
            return false;
    }
    loop->recursive = jparser_skip_name(p, "recursive");
    return true;
}

static struct jnode *parse_for(struct jparser *p, int line) {
    static const char *const ends[] = {"endfor", "else", NULL};
    struct jnode *node = jparser_node(p, NODE_FOR, line);
    struct jfor_node *loop = arena_calloc(p->arena, 1, sizeof *loop);
    if (!node || !loop) {
        out_of_memory(p);
        return NULL;
    }
    node->as.loop = loop;
    if (!parse_for_head(p, node, loop))
        return NULL;
    p->loops++;
    bool ok = parse_block(p, ends, node, &loop->body);
    p->loops--;
    loop->has_else = ok && jparser_at_name(p, "else");
    if (ok)
        jparser_next(p);
    if (loop->has_else)
        ok = parse_closed_block(p, "endfor", node, &loop->otherwise);
    return ok ? node : NULL;
}

/* From the test on; "elif" becomes an if inside the else-body. */
static struct jnode *parse_if(struct jparser *p, int line) {
    static const char *const ends[] = {"endif", "elif", "else", NULL};
    struct jnode *first = NULL, *last = NULL;
    do {
        struct jnode *node = jparser_node(p, NODE_IF, first ? p->token->line : line);
        if (!node)
            return NULL;
        node->as.cond.test = jparse_tuple(p, JTUPLE_CONDITION);
        if (!node->as.cond.test || !jparser_adopt(p, node, node->as.cond.test) ||
            !parse_block(p, ends, node, &node->as.cond.then))
            return NULL;
        size_t capacity = 0;
        if (last && (!jparser_append(p, &last->as.cond.otherwise, &capacity, node)))
            return NULL;
        first = first ? first : node;
        /* the chain is walked in a loop, so its length adds no depth, but what hangs in it does */
        if (!jparser_adopt(p, first, node == first ? NULL : node))
            return NULL;
        last = node;
    } while (jparser_skip_name(p, "elif"));
    bool has_else = jparser_at_name(p, "else");
    jparser_next(p);
    if (has_else && (!parse_closed_block(p, "endif", last, &last->as.cond.otherwise) ||
                     !jparser_adopt(p, first, last == first ? NULL : last)))
        return NULL;
    return first;
}

static struct jnode *parse_with(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_WITH, line);
    size_t n_targets = 0, n_values = 0;
    while (node && p->token->kind != JTOKEN_BLOCK_END) {
        if (node->as.with.targets.n && !jparser_expect(p, JTOKEN_COMMA))
            return NULL;
        struct jnode *target = parse_target(p, 0);
        if (!jparser_append(p, &node->as.with.targets, &n_targets, target) ||
            !jparser_expect(p, JTOKEN_ASSIGN))
            return NULL;
        struct jnode *value = jparse_expression(p);
        if (!jparser_append(p, &node->as.with.values, &n_values, value) ||
            !jparser_adopt(p, node, value))
            return NULL;
    }
    return node && parse_closed_block(p, "endwith", node, &node->as.with.body) ? node : NULL;
}

static bool parse_signature(struct jparser *p, struct jnode *node) {
    struct jmacro_node *macro = &node->as.macro;
    size_t n_parameters = 0, n_defaults = 0;
    if (!jparser_expect(p, JTOKEN_LPAREN))
        return false;
    while (p->token->kind != JTOKEN_RPAREN) {
        if (macro->parameters.n && !jparser_expect(p, JTOKEN_COMMA))
            return false;
        int line = p->token->line;
        if (!jparser_append(p, &macro->parameters, &n_parameters, parse_name_target(p)))
            return false;
        if (jparser_skip(p, JTOKEN_ASSIGN)) {
            struct jnode *value = jparse_expression(p);
            if (!jparser_append(p, &macro->defaults, &n_defaults, value) ||
                !jparser_adopt(p, node, value))
                return false;
        } else if (macro->defaults.n) {
            return jparser_fail(p, line, "a parameter without default follows one with default");
        }
    }
    return jparser_expect(p, JTOKEN_RPAREN);
}

static struct jnode *parse_macro(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_MACRO, line);
    struct jnode *name = parse_name_target(p);
    if (!node || !name)
        return NULL;
    node->as.macro.name = name->as.name.name;
    bool ok =
        parse_signature(p, node) && parse_function_block(p, "endmacro", node, &node->as.macro.body);
    return ok ? node : NULL;
}

static struct jnode *parse_call_block(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_CALL_BLOCK, line);
    if (!node || (p->token->kind == JTOKEN_LPAREN && !parse_signature(p, node)))
        return NULL;
    struct jnode *call = jparse_expression(p);
    if (!call || !jparser_adopt(p, node, call))
        return NULL;
    if (call->kind != NODE_CALL) {
        jparser_fail(p, line, "'call' needs the call of a macro");
        return NULL;
    }
    node->as.macro.call = call;
    return parse_function_block(p, "endcall", node, &node->as.macro.body) ? node : NULL;
}

static struct jnode *parse_filter_block(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_FILTER_BLOCK, line);
    struct jnode *filter = jparse_filters(p, NULL, false);
    if (!node || !filter || !jparser_adopt(p, node, filter))
        return NULL;
    node->as.assign.filter = filter;
    return parse_closed_block(p, "endfilter", node, &node->as.assign.body) ? node : NULL;
}

/* transformers' {% generation %}: marks what the model wrote; rendered as it is. */
static struct jnode *parse_generation(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_GENERATION, line);
    return node && parse_function_block(p, "endgeneration", node, &node->as.assign.body) ? node
                                                                                         : NULL;
}

static struct jnode *parse_print(struct jparser *p, int line) {
    struct jnode *node = jparser_node(p, NODE_OUTPUT, line);
    size_t capacity = 0;
    while (node && p->token->kind != JTOKEN_BLOCK_END) {
        if (node->as.list.n && !jparser_expect(p, JTOKEN_COMMA))
            return NULL;
        struct jnode *value = jparse_expression(p);
        if (!jparser_append(p, &node->as.list, &capacity, value) || !jparser_adopt(p, node, value))
            return NULL;
    }
    return node;
}

static struct jnode *parse_jump(struct jparser *p, int line, enum jnode_kind kind) {
    if (p->loops == 0) {
        jparser_fail(p, line, "'%s' outside a loop", kind == NODE_BREAK ? "break" : "continue");
        return NULL;
    }
    return jparser_node(p, kind, line);
}

static struct jnode *parse_tag(struct jparser *p, struct str tag, int line) {
    if (str_is(tag, "if"))
        return parse_if(p, line);
    if (str_is(tag, "for"))
        return parse_for(p, line);
    if (str_is(tag, "set"))
        return parse_set(p, line);
    if (str_is(tag, "macro"))
        return parse_macro(p, line);
    if (str_is(tag, "call"))
        return parse_call_block(p, line);
    if (str_is(tag, "filter"))
        return parse_filter_block(p, line);
    if (str_is(tag, "with"))
        return parse_with(p, line);
    if (str_is(tag, "generation"))
        return parse_generation(p, line);
    if (str_is(tag, "print"))
        return parse_print(p, line);
    if (str_is(tag, "break"))
        return parse_jump(p, line, NODE_BREAK);
    if (str_is(tag, "continue"))
        return parse_jump(p, line, NODE_CONTINUE);
    jparser_fail(p, line, "unknown tag '%.*s'", STR_FMT(tag));
    return NULL;
}

static bool parse_statement(struct jparser *p, struct jnodes *body, size_t *capacity) {
    const struct jtoken *tag = p->token;
    if (tag->kind != JTOKEN_NAME)
        return jparser_fail(p, tag->line, "a tag name is expected after '{%%'");
    if (!jparser_enter(p))
        return false;
    jparser_next(p);
    bool ok = jparser_append(p, body, capacity, parse_tag(p, tag->text, tag->line));
    p->nesting--;
    return ok;
}

enum quern_status jinja_parse(struct arena *arena, struct str source, struct jtemplate *out,
                              struct quern_error *err) {
    struct quern_error local = {0};
    struct jtokens tokens;
    int line = 1;
    enum quern_status status = jinja_tokenize(arena, source, &tokens, &line, &local);
    if (status) {
        error_prefix(&local, status, "line %d", line);
        return error_set(err, status, "%s", local.message);
    }
    *out = (struct jtemplate){0};
    struct jparser parser = {.arena = arena, .token = tokens.items, .err = &local};
    if (!parse_body(&parser, NULL, NULL, &out->body))
        return error_set(err, local.code ? local.code : QUERN_ERR_TEMPLATE, "%s", local.message);
    return jinja_resolve(arena, out, err);
}
