/* structural_tags.h - free text with parts in a form of their own, as vLLM, SGLang and xgrammar
 * describe it:
 *   {"type": "structural_tag", "structures": [{"begin": ..., "schema": ..., "end": ...}],
 *    "triggers": [...]}                                        free text, tags after a trigger
 *   {"type": "structural_tag", "format": F}, where F is one of
 *     const_string {value}, json_schema {json_schema}, regex {pattern}, grammar {grammar: GBNF or
 *     Lark}, any_text, sequence {elements}, or {elements}, tag {begin, content, end},
 *     triggered_tags {triggers, tags, at_least_one, stop_after_first},
 *     tags_with_separator {tags, separator, at_least_one, stop_after_first}
 * Free text holds no trigger; within a tag it does not hold the tag's end. Spellings of the
 * tokenizer's added tokens in constants are these tokens (their bytes do as well). */
#ifndef QUERN_GRAMMAR_STRUCTURAL_TAGS_H
#define QUERN_GRAMMAR_STRUCTURAL_TAGS_H

#include "grammar/schema/json_schema.h"
#include "tokenizer/tokenizer.h"

/* `tokenizer` NULL: added tokens are not known. `report` as in json_schema_build. On failure the
 * builder has failed too. */
enum quern_status structural_tags_build(struct grammar_builder *b, struct str text,
                                        const struct schema_options *schema,
                                        const struct tokenizer *tokenizer, symbol_id *out,
                                        struct buffer *report, struct quern_error *err);

#endif
