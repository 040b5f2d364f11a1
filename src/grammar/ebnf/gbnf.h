/* gbnf.h - the dialect of EBNF that llama.cpp reads (its grammars/README.md):
 *     root ::= "literal" [a-z] . (group | other)* rule? x{2,5} <[1234]>   # comment
 * Characters are Unicode; escapes \n \t \r \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH. A text begins with
 * `root`. A rule ends with its line, but not within parentheses nor after ::= or |. */
#ifndef QUERN_GRAMMAR_GBNF_H
#define QUERN_GRAMMAR_GBNF_H

#include "grammar/grammar.h"

/* `name` begins messages, which tell the line. On failure the builder has failed too. */
enum quern_status gbnf_build(struct grammar_builder *b, struct str text, const char *name,
                             symbol_id *out, struct quern_error *err);

#endif
