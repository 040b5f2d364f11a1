/* xml.h - XML as forms: documents that are valid under a DTD, and well-formed ones of given names.
 *
 * A DTD may be a whole <!DOCTYPE root [...]> or only its declarations, the first element being the
 * root then: ELEMENT (EMPTY, ANY, mixed and element content), ATTLIST (CDATA, NMTOKEN(S), ID,
 * IDREF(S), enumerations; #REQUIRED, #IMPLIED, #FIXED, defaults), internal parameter entities;
 * general entities and notations are passed over. Refused by name: conditional sections, external
 * parameter entities that are used, attributes of type ENTITY, ENTITIES and NOTATION.
 *
 * The texts: an XML declaration or none, one element, names of closing tags as those of opening
 * ones. Attributes come in the order of their declaration, each at most once, in double quotes;
 * text and values are escaped by the five named entities and character references. Between
 * elements, where no text may stand, up to a line break with its indentation. Neither comments,
 * processing instructions nor CDATA sections. That IDs are unique and IDREFs have one is not
 * enforced, which the report says. */
#ifndef QUERN_GRAMMAR_XML_H
#define QUERN_GRAMMAR_XML_H

#include "base/buffer.h"
#include "grammar/grammar.h"

/* `name` begins messages, which tell the line; a line of `report` (may be NULL) begins with it
 * too. On failure the builder has failed. */
enum quern_status xml_dtd_build(struct grammar_builder *b, struct str dtd, const char *name,
                                symbol_id *out, struct buffer *report, struct quern_error *err);
/* Well-formed XML whose elements and attributes have names of a list, separated by blanks or
 * commas; "any": common names. The names are given because a grammar cannot remember any one. */
enum quern_status xml_names_build(struct grammar_builder *b, struct str names, symbol_id *out,
                                  struct quern_error *err);

/* ---- parts (xml_text.c) ---- */

struct xml_parts {
    expr_id text;               /* characters and references, the empty text too; no "]]>" */
    expr_id value;              /* an attribute's, between double quotes */
    expr_id nmtoken, name;      /* ASCII */
    expr_id gap, attribute_gap; /* may be empty; may not */
};
void xml_parts_make(struct grammar_builder *b, struct xml_parts *out);
/* `text` as an attribute's value, with what needs it escaped. */
expr_id xml_value_literal(struct grammar_builder *b, struct str text);
/* prolog element gap */
symbol_id xml_document(struct grammar_builder *b, const struct xml_parts *p, symbol_id root);
/* <name attributes>content gap</name>, or <name attributes/> when `may_be_empty`. `gap` before
 * the closing tag is for element content. */
void xml_element(struct grammar_builder *b, const struct xml_parts *p, symbol_id rule,
                 struct str name, expr_id attributes, symbol_id content, bool may_be_empty,
                 bool element_content);
/* text (element text)*; n_elements may be 0. */
symbol_id xml_mixed(struct grammar_builder *b, const struct xml_parts *p, const symbol_id *elements,
                    size_t n_elements);
bool xml_name_char(char c, bool first);

#endif
