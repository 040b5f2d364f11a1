/* json_schema.h - JSON Schema to grammar: the texts of the JSON values that are valid under a
 * schema. Drafts 2020-12, 2019-09, 7, 6 and 4 and the dialects of OpenAPI 3 and OpenAI, by $schema.
 *
 * The language is exact but for what the report names: a keyword that is not enforced makes
 * the grammar accept more, never less, than the schema. What is refused although it is valid:
 * members out of order unless any_order is set, white space other than the style's, numbers
 * spelled with an exponent that no writer of JSON uses (number_expr.h), strings with escapes that are not
 * needed. */
#ifndef QUERN_GRAMMAR_JSON_SCHEMA_H
#define QUERN_GRAMMAR_JSON_SCHEMA_H

#include "base/buffer.h"
#include "grammar/grammar.h"

enum schema_policy {
    SCHEMA_DEFAULT, /* enforce what is possible, report the rest */
    SCHEMA_STRICT,  /* a keyword that cannot be enforced is an error */
};

enum schema_spacing {
    SCHEMA_FLEXIBLE, /* up to some blanks and line breaks wherever JSON allows them */
    SCHEMA_PYTHON,   /* ", " and ": ", as Python's json.dumps */
    SCHEMA_COMPACT,  /* none */
};

struct schema_options {
    enum schema_policy policy;
    enum schema_spacing spacing;
    bool yaml;           /* block style YAML instead of JSON (emit_yaml.c); no spacing then */
    bool any_order;      /* members may come in any order; else declared ones first, in order */
    bool assert_formats; /* `format` is enforced for the formats we know */
    /* Numbers that a schema constrains: every spelling, as 1.0 and 1e0 for 1 (to check texts), or
     * only what programs expect (to make them): no exponent, no fraction of zeros, no -0. */
    bool all_spellings;
    /* Finds what a $ref to another document means: a JSON text that lives as long as the call,
     * or false. NULL: there are none. */
    bool (*load)(void *user, struct str uri, struct str *text);
    void *user;
};

/* A symbol for the values valid under the schema `text`, to be used in a larger grammar or as its
 * start. `report` (may be NULL) gets one line for each keyword that is not enforced: its JSON
 * pointer and why. `name` begins messages. On failure the builder has failed too. */
enum quern_status json_schema_build(struct grammar_builder *b, struct str text, const char *name,
                                    const struct schema_options *options, symbol_id *out,
                                    struct buffer *report, struct quern_error *err);

/* The same for the objects among them, as Qwen3-Coder writes a call's parameters
 * (emit_parameters.c). */
enum quern_status json_schema_build_parameters(struct grammar_builder *b, struct str text,
                                               const char *name,
                                               const struct schema_options *options,
                                               symbol_id *out, struct buffer *report,
                                               struct quern_error *err);

#endif
