/* jinja_parser.h - tokens to the syntax tree. */
#ifndef QUERN_CHAT_JINJA_PARSER_H
#define QUERN_CHAT_JINJA_PARSER_H

#include "base/arena.h"
#include "base/error.h"
#include "chat/jinja_ast.h"
#include "chat/jinja_lexer.h"

enum {
    JINJA_NESTING_MAX = 64,      /* of blocks and brackets */
    JINJA_TREE_DEPTH_MAX = 1000, /* of the tree: long chains of operators nest without brackets */
};

/* Parses and binds names. The tree lives in the arena. Messages start with "line N: ". */
enum quern_status jinja_parse(struct arena *arena, struct str source, struct jtemplate *out,
                              struct quern_error *err);

/* Second step of jinja_parse: gives every name its slot. */
enum quern_status jinja_resolve(struct arena *arena, struct jtemplate *t, struct quern_error *err);

/* ---- shared by jinja_parser.c (statements) and jinja_parse_expr.c (expressions) -------------- */

struct jparser {
    struct arena *arena;
    const struct jtoken *token; /* current; the last one is JTOKEN_EOF */
    int nesting;
    int loops;         /* for bodies around, within the same function */
    unsigned specials; /* enum jspecial: names met so far in the function */
    bool failed;
    struct quern_error *err;
};

/* All return false or NULL after a failure, which is recorded once. */
bool jparser_fail(struct jparser *p, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool jparser_enter(struct jparser *p); /* one level deeper; p->nesting-- undoes it */
struct jnode *jparser_node(struct jparser *p, enum jnode_kind kind, int line);
/* Notes that `child` (may be NULL) hangs below `node`: the tree's depth is limited. */
bool jparser_adopt(struct jparser *p, struct jnode *node, const struct jnode *child);
bool jparser_append(struct jparser *p, struct jnodes *list, size_t *capacity, struct jnode *node);

bool jparser_at_name(const struct jparser *p, const char *name);
bool jparser_skip_name(struct jparser *p, const char *name);
bool jparser_skip(struct jparser *p, enum jtoken_kind kind);
bool jparser_expect(struct jparser *p, enum jtoken_kind kind);
void jparser_next(struct jparser *p);

struct jnode *jparse_expression(struct jparser *p);
struct jnode *jparse_condition(struct jparser *p); /* without inline if */
struct jnode *jparse_primary(struct jparser *p, bool with_namespace);
struct jnode *jparser_constant(struct jparser *p, int line, struct jvalue value);
struct jnode *jparser_unary(struct jparser *p, enum jnode_kind kind, int line,
                            struct jnode *operand);
/* "x(...)", "x.y", "x[y]" as often as they follow; then also "x | f" and "x is t". */
struct jnode *jparse_postfix(struct jparser *p, struct jnode *node);
struct jnode *jparse_filters_and_tests(struct jparser *p, struct jnode *node);

enum jtuple_mode {
    JTUPLE_EXPRESSION = 0,
    JTUPLE_CONDITION = 1,   /* no inline if */
    JTUPLE_TARGET = 2,      /* names only */
    JTUPLE_NAMESPACE = 4,   /* with JTUPLE_TARGET: ns.x too */
    JTUPLE_PARENTHESES = 8, /* may be empty */
    JTUPLE_UNTIL_IN = 16,
    JTUPLE_UNTIL_RECURSIVE = 32,
};
struct jnode *jparse_tuple(struct jparser *p, unsigned mode);
/* One or more "| name(args)"; `first_bar` false: the first bar is missing. */
struct jnode *jparse_filters(struct jparser *p, struct jnode *object, bool first_bar);

#endif
