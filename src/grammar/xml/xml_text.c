/* xml_text.c - what documents of every kind are made of. */
#include <stdlib.h>

#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/xml/xml.h"

/* References to characters that XML has. Decimal ones up to U+C34F: enough to check by. */
#define H "[0-9a-fA-F]"
#define REFERENCE                                                                               \
    "&(?:lt|gt|amp|quot|apos|#(?:9|10|13|3[2-9]|[4-9][0-9]|[1-9][0-9]{2,3}|[1-4][0-9]{4}|x(?:"  \
    "9|[aAdD]|[2-9a-fA-F]" H "|[1-9a-fA-F]" H "{2}|[1-9a-cA-CeE]" H "{3}|[dD][0-7]" H "{2}|"    \
    "[fF](?:[0-9a-eA-E]" H "{2}|[fF](?:[0-9a-eA-E]" H "|[fF][0-9a-dA-D]))|[1-9a-fA-F]" H "{4}|" \
    "10" H "{4})));"

static expr_id pattern(struct grammar_builder *b, const char *text) {
    expr_id x = GRAMMAR_NONE;
    struct quern_error why;
    if (expr_regex(b, str_from(text), REGEX_PCRE, &x, &why) != QUERN_OK)
        grammar_builder_fail(b, why.code, "%s", why.message);
    return x;
}

void xml_parts_make(struct grammar_builder *b, struct xml_parts *out) {
    const expr_id reference = pattern(b, REFERENCE);
    const struct char_range in_text[] = {{'\t', '\n'},     {' ', '%'},         {'\'', ';'},
                                         {'=', 0x7e},      {0xa0, 0xd7ff},     {0xe000, 0xfdcf},
                                         {0xfdf0, 0xfffd}, {0x10000, 0x1fffd}, {0x20000, 0x2fffd}};
    const struct char_range in_value[] = {{' ', '!'},       {'#', '%'},         {'\'', ';'},
                                          {'=', 0x7e},      {0xa0, 0xd7ff},     {0xe000, 0xfdcf},
                                          {0xfdf0, 0xfffd}, {0x10000, 0x1fffd}, {0x20000, 0x2fffd}};
    const expr_id any = expr_star(b, expr_or(b, expr_chars(b, in_text, 9, false), reference));
    out->text = expr_and(b, any, expr_not(b, expr_contains(b, expr_text(b, "]]>"))));
    out->value = expr_star(b, expr_or(b, expr_chars(b, in_value, 9, false), reference));
    out->nmtoken = pattern(b, "[A-Za-z0-9_.:-]+");
    out->name = pattern(b, "[A-Za-z_][A-Za-z0-9_.-]*");
    out->gap = pattern(b, " ?|\\r?\\n(?: {0,64}|\\t{0,32})");
    out->attribute_gap = pattern(b, " |\\r?\\n(?: {0,64}|\\t{0,32})");
}

expr_id xml_value_literal(struct grammar_builder *b, struct str text) {
    expr_id x = expr_empty(b);
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.ptr[i];
        const expr_id one = c == '"'   ? expr_text(b, "&quot;")
                            : c == '<' ? expr_text(b, "&lt;")
                                       : expr_literal(b, (struct str){text.ptr + i, 1});
        x = expr_concat(b, x, one);
    }
    return x;
}

symbol_id xml_document(struct grammar_builder *b, const struct xml_parts *p, symbol_id root) {
    const expr_id declaration = expr_concat(
        b, expr_text(b, "<?xml version=\"1.0\""),
        expr_concat(b, expr_optional(b, expr_text(b, " encoding=\"UTF-8\"")), expr_text(b, "?>")));
    const symbol_id prolog =
        grammar_terminal(b, expr_optional(b, expr_concat(b, declaration, p->gap)), "'<?xml'");
    return grammar_sequence3(b, prolog, root, grammar_terminal(b, p->gap, "white space"));
}

void xml_element(struct grammar_builder *b, const struct xml_parts *p, symbol_id rule,
                 struct str name, expr_id attributes, symbol_id content, bool may_be_empty,
                 bool element_content) {
    struct buffer label;
    const expr_id tag = expr_literal(b, name);
    const expr_id begin = expr_concat(b, expr_concat(b, expr_text(b, "<"), tag), attributes);
    expr_id end = expr_concat(b, expr_concat(b, expr_text(b, "</"), tag), expr_text(b, ">"));
    const expr_id alone = expr_concat(b, expr_optional(b, expr_text(b, " ")), expr_text(b, "/>"));
    if (element_content)
        end = expr_concat(b, p->gap, end);
    buffer_init(&label, 256);
    buffer_printf(&label, "<%.*s>", name.len < 100 ? (int)name.len : 100, name.ptr);
    const symbol_id open = grammar_terminal(b, expr_concat(b, begin, expr_text(b, ">")),
                                            label.data ? label.data : "a tag");
    buffer_clear(&label);
    buffer_printf(&label, "</%.*s>", name.len < 100 ? (int)name.len : 100, name.ptr);
    const symbol_id close = grammar_terminal(b, end, label.data ? label.data : "a tag");
    grammar_produce3(b, rule, open, content, close);
    buffer_clear(&label);
    buffer_printf(&label, "<%.*s/>", name.len < 100 ? (int)name.len : 100, name.ptr);
    if (may_be_empty)
        grammar_produce1(
            b, rule,
            grammar_terminal(b, expr_concat(b, begin, alone), label.data ? label.data : "a tag"));
    buffer_release(&label);
}

symbol_id xml_mixed(struct grammar_builder *b, const struct xml_parts *p, const symbol_id *elements,
                    size_t n_elements) {
    const symbol_id text = grammar_terminal(b, p->text, "text");
    if (n_elements == 0)
        return text;
    const symbol_id one = grammar_alternatives(b, elements, n_elements);
    return grammar_sequence2(b, text,
                             grammar_repeat(b, grammar_sequence2(b, one, text), 0, GRAMMAR_INF));
}

bool xml_name_char(char c, bool first) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
        (unsigned char)c >= 0x80)
        return true;
    return !first && ((c >= '0' && c <= '9') || c == '-' || c == '.');
}
