/* answer_form.h - every form a text can be given, as one call for the command line, the server and
 * the public interface. */
#ifndef QUERN_GRAMMAR_ANSWER_FORM_H
#define QUERN_GRAMMAR_ANSWER_FORM_H

#include "grammar/schema/json_schema.h"
#include "tokenizer/tokenizer.h"

enum answer_form {
    ANSWER_FREE,
    ANSWER_JSON_OBJECT, /* any one JSON object */
    ANSWER_SCHEMA,      /* text: a JSON Schema */
    ANSWER_REGEX,       /* text: a pattern of ECMA-262 that matches the whole answer */
    ANSWER_GBNF,        /* text: a grammar */
    ANSWER_CHOICE,      /* one of `choices` */
    ANSWER_LARK,        /* text: a grammar */
    ANSWER_XML,         /* text: a DTD */
    ANSWER_XML_NAMES,   /* text: names of tags */
    ANSWER_TAGS,        /* text: a structural tag as JSON */
    ANSWER_CODE,        /* text: the name of a language (code_grammar.h) */
    ANSWER_YAML,        /* text: a JSON Schema; the answer is YAML */
};

struct form_source {
    enum answer_form form;
    struct str text;
    const struct str *choices;
    size_t n_choices;
    const struct schema_options *schema; /* NULL: flexible spacing, formats asserted */
    const struct tokenizer *tokenizer;   /* NULL: added tokens are not known */
    const char *name;                    /* of the text, for messages; NULL: a general one */
};

/* The symbol of the form's texts; ANSWER_FREE: every text. Failures are the builder's. `report` as
 * in json_schema_build. */
symbol_id answer_form_build(struct grammar_builder *b, const struct form_source *source,
                            struct buffer *report);

#endif
