/* lark.h - Lark's language of grammars (lark-parser, and as llguidance and vLLM take it):
 *     start: "if" cond ("," cond)* [tail]      // comment
 *     ?cond: NAME "==" value -> equals
 *          | "(" cond ")"
 *     NAME: /[a-z_]\w+/i
 *     DIGITS: "0".."9"+      x~3  x~2..5  x{2,5}  "any case"i
 *     %import common.WS    %import common (INT, CNAME -> ID)    %ignore WS
 * A text begins with `start`. As with Lark's own parser=earley, lexer=dynamic_complete, a text is
 * accepted when SOME way of cutting it into terminals derives it: there is no longest match, a
 * keyword next to a name needs a space only if the grammar says so.
 * %json {...} stands for a value valid under this JSON Schema, <[N]> for the token N.
 * Refused by name: priorities, templates, %declare, %override, %extend, imports of other modules,
 * attributes in brackets after a rule's name, the regex flags m and x, and what regex_syntax.h
 * refuses. */
#ifndef QUERN_GRAMMAR_LARK_H
#define QUERN_GRAMMAR_LARK_H

#include "grammar/grammar.h"

/* `name` begins messages, which tell the line. On failure the builder has failed too. */
enum quern_status lark_build(struct grammar_builder *b, struct str text, const char *name,
                             symbol_id *out, struct quern_error *err);

/* The pattern (PCRE) of a terminal of Lark's module `common`; NULL: it has none of this name. */
const char *lark_common(struct str name);

#endif
