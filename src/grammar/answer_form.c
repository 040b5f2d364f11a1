#include "grammar/answer_form.h"

#include "grammar/code/code_grammar.h"
#include "grammar/ebnf/gbnf.h"
#include "grammar/ebnf/lark.h"
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/tags/structural_tags.h"
#include "grammar/xml/xml.h"

static symbol_id pattern(struct grammar_builder *b, struct str text) {
    expr_id x = GRAMMAR_NONE;
    struct quern_error why;
    if (expr_regex(b, text, REGEX_ECMA, &x, &why) != QUERN_OK)
        grammar_builder_fail(b, why.code, "%s", why.message);
    return grammar_terminal(b, x, "text of the pattern");
}

static symbol_id choice(struct grammar_builder *b, const struct form_source *f) {
    expr_id x = expr_nothing(b);
    for (size_t i = 0; i < f->n_choices; i++)
        x = expr_or(b, x, expr_literal(b, f->choices[i]));
    return grammar_terminal(b, x, "one of the choices");
}

symbol_id answer_form_build(struct grammar_builder *b, const struct form_source *f,
                            struct buffer *report) {
    const struct schema_options defaults = {.assert_formats = true};
    const struct schema_options *schema = f->schema ? f->schema : &defaults;
    const char *grammar_name = f->name ? f->name : "the grammar";
    struct schema_options yaml;
    symbol_id out = GRAMMAR_NONE;
    switch (f->form) {
    case ANSWER_FREE:
        return grammar_terminal(b, expr_chars_any(b), "text");
    case ANSWER_JSON_OBJECT:
        json_schema_build(b, STR_LIT("{\"type\": \"object\"}"), "json_object", schema, &out, report,
                          NULL);
        return out;
    case ANSWER_SCHEMA:
        json_schema_build(b, f->text, f->name ? f->name : "the schema", schema, &out, report, NULL);
        return out;
    case ANSWER_REGEX:
        return pattern(b, f->text);
    case ANSWER_GBNF:
        gbnf_build(b, f->text, grammar_name, &out, NULL);
        return out;
    case ANSWER_CHOICE:
        return choice(b, f);
    case ANSWER_LARK:
        lark_build(b, f->text, grammar_name, &out, NULL);
        return out;
    case ANSWER_XML:
        xml_dtd_build(b, f->text, f->name ? f->name : "the DTD", &out, report, NULL);
        return out;
    case ANSWER_TAGS:
        structural_tags_build(b, f->text, schema, f->tokenizer, &out, report, NULL);
        return out;
    case ANSWER_CODE:
        code_grammar_build(b, f->text, &out, NULL);
        return out;
    case ANSWER_YAML:
        yaml = *schema;
        yaml.yaml = true;
        json_schema_build(b, f->text, f->name ? f->name : "the schema", &yaml, &out, report, NULL);
        return out;
    case ANSWER_XML_NAMES:
        xml_names_build(b, f->text, &out, NULL);
        return out;
    }
    return out;
}
