/* ebnf.c - rules to symbols. */
#include "grammar/ebnf/ebnf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BYTES_MAX = 64 << 20, EXPR_PARTS_MAX = 400, TERMINAL_PARTS_MAX = 20000 };

/* What is known of a rule. */
enum { RULE_UNKNOWN, RULE_LOOKING, RULE_IS_EXPR, RULE_IS_NONE };

void ebnf_begin(struct ebnf *g, struct grammar_builder *b, const char *name, size_t bytes) {
    *g = (struct ebnf){.b = b, .name = name, .ignored = GRAMMAR_NONE};
    arena_init(&g->arena, ARENA_BYTES_MAX);
    if (bytes > EBNF_BYTES_MAX)
        grammar_builder_fail(b, QUERN_ERR_LIMIT, "%s: the grammar has %zu bytes, more than %d",
                             name, bytes, EBNF_BYTES_MAX);
}

static void release(struct ebnf *g) {
    arena_release(&g->arena);
    free(g->rules);
    map_release(&g->names);
}

void *ebnf_fail(struct ebnf *g, size_t line, const char *fmt, ...) {
    char message[300];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    grammar_builder_fail(g->b, QUERN_ERR_FORMAT, "%s: line %zu: %s", g->name, line, message);
    return NULL;
}

static void *no_memory(struct ebnf *g) {
    grammar_builder_fail_arena(g->b, &g->arena, g->name);
    return NULL;
}

uint32_t ebnf_rule(struct ebnf *g, struct str name, size_t line) {
    uint32_t known;
    if (map_get(&g->names, name, &known))
        return known;
    if (g->n_rules == EBNF_RULES_MAX) {
        ebnf_fail(g, line, "more than %d rules", EBNF_RULES_MAX);
        return GRAMMAR_NONE;
    }
    if (g->n_rules == g->rules_capacity) {
        size_t capacity = g->rules_capacity ? 2 * g->rules_capacity : 32;
        struct ebnf_rule *grown = realloc(g->rules, capacity * sizeof *grown);
        if (!grown) {
            no_memory(g);
            return GRAMMAR_NONE;
        }
        g->rules = grown;
        g->rules_capacity = capacity;
    }
    if (!map_put(&g->names, name, (uint32_t)g->n_rules, NULL)) {
        no_memory(g);
        return GRAMMAR_NONE;
    }
    g->rules[g->n_rules] = (struct ebnf_rule){
        .name = name, .line = line, .expr = GRAMMAR_NONE, .symbol = GRAMMAR_NONE};
    return (uint32_t)g->n_rules++;
}

struct ebnf_node *ebnf_node(struct ebnf *g, enum ebnf_kind kind, uint32_t value) {
    struct ebnf_node *x = arena_calloc(&g->arena, 1, sizeof *x);
    if (!x)
        return no_memory(g);
    x->kind = kind;
    x->value = value;
    return x;
}

struct ebnf_node *ebnf_repeat(struct ebnf *g, struct ebnf_node *x, uint32_t min, uint32_t max) {
    struct ebnf_node *repeat = x ? ebnf_node(g, EBNF_REPEAT, 0) : NULL;
    if (!repeat)
        return NULL;
    repeat->min = min;
    repeat->max = max;
    repeat->first = x;
    x->next = NULL;
    return repeat;
}

struct ebnf_node *ebnf_append(struct ebnf_node *parent, struct ebnf_node *last,
                              struct ebnf_node *x) {
    if (!x)
        return last;
    if (last)
        last->next = x;
    else
        parent->first = x;
    return x;
}

/* ---- expressions --------------------------------------------------------------- */

static expr_id rule_expr(struct ebnf *g, uint32_t number, int depth, size_t *parts);

/* The expression of a node, GRAMMAR_NONE when it has none: recursion, tokens, too large, or ignored
 * text between its parts. */
static expr_id node_expr(struct ebnf *g, const struct ebnf_node *x, bool apart, int depth,
                         size_t *parts) {
    struct grammar_builder *b = g->b;
    expr_id out;
    if (depth > EBNF_DEPTH_MAX || *parts == 0 || grammar_builder_failed(b))
        return GRAMMAR_NONE;
    --*parts;
    switch (x->kind) {
    case EBNF_EXPR:
        return x->value;
    case EBNF_TOKEN:
    case EBNF_SYMBOL:
        return GRAMMAR_NONE;
    case EBNF_RULE:
        return rule_expr(g, x->value, depth + 1, parts);
    case EBNF_REPEAT:
        if (apart && x->max > 1)
            return GRAMMAR_NONE;
        out = node_expr(g, x->first, apart, depth + 1, parts);
        return out == GRAMMAR_NONE ? out : expr_repeat(b, out, x->min, x->max);
    case EBNF_SEQUENCE:
    case EBNF_CHOICE:
        break;
    }
    const bool sequence = x->kind == EBNF_SEQUENCE;
    if (sequence && apart && x->first && x->first->next)
        return GRAMMAR_NONE;
    out = sequence ? expr_empty(b) : expr_nothing(b);
    for (const struct ebnf_node *c = x->first; c; c = c->next) {
        expr_id e = node_expr(g, c, apart, depth + 1, parts);
        if (e == GRAMMAR_NONE)
            return e;
        out = sequence ? expr_concat(b, out, e) : expr_or(b, out, e);
    }
    return out;
}

static expr_id rule_expr(struct ebnf *g, uint32_t number, int depth, size_t *parts) {
    struct ebnf_rule *r = &g->rules[number];
    if (r->state == RULE_UNKNOWN && r->body) {
        r->state = RULE_LOOKING;
        const bool apart = g->ignored != GRAMMAR_NONE && !r->is_terminal;
        expr_id e = node_expr(g, r->body, apart, depth, parts);
        r = &g->rules[number];
        r->expr = e;
        /* Found within a recursion, "no" may be another rule's fault: ask again later. */
        r->state = e != GRAMMAR_NONE ? RULE_IS_EXPR : depth == 0 ? RULE_IS_NONE : RULE_UNKNOWN;
    }
    return r->state == RULE_IS_EXPR ? r->expr : GRAMMAR_NONE;
}

expr_id ebnf_expr(struct ebnf *g, const struct ebnf_node *x) {
    size_t parts = TERMINAL_PARTS_MAX;
    return node_expr(g, x, false, 0, &parts);
}

/* ---- symbols ------------------------------------------------------------------- */

static symbol_id node_symbol(struct ebnf *g, const struct ebnf_node *x, const char *name,
                             bool apart, int depth);

static const char *rule_name(const struct ebnf *g, uint32_t number, char *out, size_t size) {
    const struct str name = g->rules[number].name;
    snprintf(out, size, "%.*s", (int)(name.len < 60 ? name.len : 60), name.ptr);
    return out;
}

/* A terminal, with what may be ignored before it. */
static symbol_id leaf(struct ebnf *g, symbol_id terminal, bool apart) {
    return apart ? grammar_sequence2(g->b, g->ignored, terminal) : terminal;
}

static symbol_id rule_symbol(struct ebnf *g, uint32_t number, bool apart) {
    char name[64];
    size_t parts = g->rules[number].is_terminal ? TERMINAL_PARTS_MAX : EXPR_PARTS_MAX;
    if (grammar_builder_failed(g->b))
        return GRAMMAR_NONE;
    if (!g->rules[number].body) {
        ebnf_fail(g, g->rules[number].line, "the rule \"%s\" is not defined",
                  rule_name(g, number, name, sizeof name));
        return GRAMMAR_NONE;
    }
    if (g->rules[number].symbol != GRAMMAR_NONE)
        return g->rules[number].symbol;
    rule_name(g, number, name, sizeof name);
    const bool terminal = g->rules[number].is_terminal;
    expr_id e = rule_expr(g, number, 0, &parts);
    if (e != GRAMMAR_NONE)
        return g->rules[number].symbol = leaf(g, grammar_terminal(g->b, e, name), apart);
    if (terminal && apart) {
        ebnf_fail(g, g->rules[number].line, "the terminal \"%s\" is recursive or too large", name);
        return GRAMMAR_NONE;
    }
    return g->rules[number].symbol = grammar_rule(g->b, name);
}

static symbol_id list_symbol(struct ebnf *g, const struct ebnf_node *x, const char *name,
                             bool apart, int depth) {
    size_t n = 0, i = 0;
    for (const struct ebnf_node *c = x->first; c; c = c->next)
        n++;
    symbol_id *parts = arena_calloc(&g->arena, n + 1, sizeof *parts);
    if (!parts) {
        no_memory(g);
        return GRAMMAR_NONE;
    }
    for (const struct ebnf_node *c = x->first; c; c = c->next)
        parts[i++] = node_symbol(g, c, name, apart, depth + 1);
    return x->kind == EBNF_SEQUENCE ? grammar_sequence(g->b, parts, n)
                                    : grammar_alternatives(g->b, parts, n);
}

static symbol_id node_symbol(struct ebnf *g, const struct ebnf_node *x, const char *name,
                             bool apart, int depth) {
    size_t parts = EXPR_PARTS_MAX;
    if (grammar_builder_failed(g->b))
        return GRAMMAR_NONE;
    if (depth > EBNF_DEPTH_MAX) {
        ebnf_fail(g, 0, "groups are nested more than %d deep", EBNF_DEPTH_MAX);
        return GRAMMAR_NONE;
    }
    if (x->kind == EBNF_RULE)
        return rule_symbol(g, x->value, apart);
    expr_id e = node_expr(g, x, apart, 0, &parts);
    if (e != GRAMMAR_NONE)
        return leaf(g, grammar_terminal(g->b, e, name), apart);
    if (x->kind == EBNF_TOKEN)
        return leaf(g, grammar_token(g->b, (int32_t)x->value, name), apart);
    if (x->kind == EBNF_SYMBOL)
        return leaf(g, x->value, apart);
    if (x->kind == EBNF_REPEAT)
        return grammar_repeat(g->b, node_symbol(g, x->first, name, apart, depth + 1), x->min,
                              x->max);
    return list_symbol(g, x, name, apart, depth);
}

static symbol_id emit(struct ebnf *g, const char *start) {
    const bool apart = g->ignored != GRAMMAR_NONE;
    char name[64];
    size_t first = 0;
    while (first < g->n_rules && !str_is(g->rules[first].name, start))
        first++;
    if (first == g->n_rules || !g->rules[first].body) {
        ebnf_fail(g, 1, "the rule \"%s\", where a text begins, is not defined", start);
        return GRAMMAR_NONE;
    }
    symbol_id out = rule_symbol(g, (uint32_t)first, apart);
    /* Bodies of rules, in the order in which they were met, until no new ones come. */
    for (bool more = true; more && !grammar_builder_failed(g->b);) {
        more = false;
        for (size_t i = 0; i < g->n_rules && !grammar_builder_failed(g->b); i++) {
            struct ebnf_rule *r = &g->rules[i];
            if (r->symbol == GRAMMAR_NONE || r->state == RULE_IS_EXPR || r->emitted)
                continue;
            r->emitted = more = true;
            rule_name(g, (uint32_t)i, name, sizeof name);
            const symbol_id symbol = r->symbol;
            grammar_produce1(g->b, symbol, node_symbol(g, r->body, name, apart, 0));
        }
    }
    return apart ? grammar_sequence2(g->b, out, g->ignored) : out;
}

enum quern_status ebnf_finish(struct ebnf *g, const char *start, symbol_id *out,
                              struct quern_error *err) {
    struct grammar_builder *b = g->b;
    const symbol_id symbol = grammar_builder_failed(b) ? GRAMMAR_NONE : emit(g, start);
    release(g);
    if (grammar_builder_failed(b))
        return grammar_builder_status(b, err);
    *out = symbol;
    return QUERN_OK;
}
