/* ebnf.h - grammars of rules, as the dialects of EBNF (gbnf.c, lark.c) write them, and their way
 * into the intermediate representation. Parts without recursion become expressions, so that a
 * number or an identifier is one terminal however many rules spell it. */
#ifndef QUERN_GRAMMAR_EBNF_H
#define QUERN_GRAMMAR_EBNF_H

#include "base/arena.h"
#include "base/map.h"
#include "grammar/grammar.h"

enum ebnf_kind {
    EBNF_EXPR,
    EBNF_TOKEN,
    EBNF_SYMBOL, /* made by another front end */
    EBNF_RULE,
    EBNF_SEQUENCE,
    EBNF_CHOICE,
    EBNF_REPEAT
};

struct ebnf_node {
    enum ebnf_kind kind;
    uint32_t value;                 /* the expression, token, symbol, the rule's number */
    uint32_t min, max;              /* of a repetition */
    struct ebnf_node *first, *next; /* children; the next child of the same parent */
};

struct ebnf_rule {
    struct str name;
    struct ebnf_node *body; /* NULL: used and not (yet) defined */
    size_t line;            /* where it was first seen */
    bool is_terminal;       /* Lark: no ignored text inside */
    uint8_t state;          /* while working out which rules are expressions */
    bool emitted;
    expr_id expr;
    symbol_id symbol;
};

struct ebnf {
    struct grammar_builder *b;
    struct arena arena;
    struct ebnf_rule *rules;
    size_t n_rules, rules_capacity;
    struct map names; /* -> number of the rule */
    symbol_id
        ignored; /* may stand before every terminal and at the end; GRAMMAR_NONE: nothing may */
    const char *name; /* of the text, for messages */
};

enum {
    EBNF_RULES_MAX = 20000,
    EBNF_BYTES_MAX = 1 << 20,
    EBNF_DEPTH_MAX = 200,
    EBNF_REPEAT_MAX = 2000
};

/* Ready for the rules of a text of `bytes`; one that is too long is the builder's failure. End with
 * ebnf_finish. */
void ebnf_begin(struct ebnf *g, struct grammar_builder *b, const char *name, size_t bytes);
/* The number of a rule, made on first use; GRAMMAR_NONE when the builder has failed. */
uint32_t ebnf_rule(struct ebnf *g, struct str name, size_t line);
/* All NULL when memory is short: the builder has failed then. */
struct ebnf_node *ebnf_node(struct ebnf *g, enum ebnf_kind kind, uint32_t value);
struct ebnf_node *ebnf_repeat(struct ebnf *g, struct ebnf_node *x, uint32_t min, uint32_t max);
/* Appends a child; `last` is the last one so far or NULL. Returns the new last one. */
struct ebnf_node *ebnf_append(struct ebnf_node *parent, struct ebnf_node *last,
                              struct ebnf_node *x);
/* "NAME: line L: ..." becomes the builder's failure. Returns NULL. */
void *ebnf_fail(struct ebnf *g, size_t line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The expression of a part without rules that recurse; GRAMMAR_NONE: it has none. */
expr_id ebnf_expr(struct ebnf *g, const struct ebnf_node *x);
/* *out is the symbol of the rule `start`; every rule that is used must have a body. Also after the
 * builder's failure, whose status it returns; `g` is released. */
enum quern_status ebnf_finish(struct ebnf *g, const char *start, symbol_id *out,
                              struct quern_error *err);

#endif
