/* regex_emit.h - from code points to the bytes of a grammar's expressions. */
#ifndef QUERN_GRAMMAR_REGEX_EMIT_H
#define QUERN_GRAMMAR_REGEX_EMIT_H

#include "grammar/grammar.h"
#include "grammar/regex/regex_ast.h"

/* The UTF-8 of a plain expression: its complements are complements within valid UTF-8, so the
 * result can go to expr_json_escaped. `node` without assertions (rx_resolve); otherwise, and
 * on any failure, GRAMMAR_NONE with the failure in the builder. */
expr_id rx_emit(struct grammar_builder *b, const struct rx_pool *p, const struct rx_node *node);

/* All of it: text (flags of regex_syntax.h) to an expression. A refused pattern is the
 * builder's failure only when err is NULL; with err the builder stays usable, so that a front
 * end can report the keyword instead. *out is set on QUERN_OK. */
enum quern_status expr_regex(struct grammar_builder *b, struct str pattern, unsigned flags,
                             expr_id *out, struct quern_error *err);

#endif
