/* code_grammar.h - grammars of programming languages that come along, written in Lark's language
 * (lark.h). Each is a part of its language, spelled in one way: one blank around operators, no
 * comments. What compiles is more than grammar: names need not be declared, nor types fit.
 *   sql     a SELECT: joins, subqueries, grouping, ordering, UNION and its kin, the usual
 *           expressions and functions
 *   python  statements to a depth of six blocks of four blanks, and their expressions
 *   c       declarations, functions, statements and expressions
 *   json    any JSON value */
#ifndef QUERN_GRAMMAR_CODE_GRAMMAR_H
#define QUERN_GRAMMAR_CODE_GRAMMAR_H

#include "grammar/grammar.h"

/* On failure (an unknown language: QUERN_ERR_UNSUPPORTED) the builder has failed too. */
enum quern_status code_grammar_build(struct grammar_builder *b, struct str language, symbol_id *out,
                                     struct quern_error *err);

/* code_text.c; code_python lacks the rules of blocks. */
extern const char code_sql[], code_c[], code_python[];

#endif
