/* emit_parameters.c - an object as Qwen3-Coder writes the parameters of a call:
 *
 *     <parameter=KEY>
 *     VALUE
 *     </parameter>
 *
 * one after the other. Strings stand bare, everything else as JSON; which of both a text is, its
 * reader decides by value_types.h. So a string is not allowed where it would be read as something
 * else, and none may hold the closing tag. */
#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"
#include "grammar/schema/value_types.h"

static symbol_id parameter_key(struct schema *s, expr_id characters, const char *name) {
    struct grammar_builder *b = s->b;
    const struct char_range breaking[] = {{'\n', '\n'}, {'>', '>'}};
    expr_id plain = expr_star(b, expr_chars(b, breaking, 2, true));
    expr_id key = expr_concat(b, expr_and(b, characters, plain), expr_text(b, ">\n"));
    return grammar_terminal(b, expr_concat(b, expr_text(b, "<parameter="), key), name);
}

/* Texts that are read as JSON of one of the types, and perhaps some more. */
static expr_id read_as_json(struct schema *s, unsigned types) {
    struct grammar_builder *b = s->b;
    const struct char_range blanks[] = {{' ', ' '}, {'\t', '\t'}, {'\n', '\n'}, {'\r', '\r'}};
    const struct char_range open[] = {{'[', '['}, {'{', '{'}};
    expr_id blank = expr_star(b, expr_chars(b, blanks, 4, false)), x = expr_nothing(b);
    if (types & VALUE_NULL)
        x = expr_or(b, x, expr_text(b, "null"));
    if (types & VALUE_BOOLEAN)
        x = expr_or(b, x, expr_or(b, expr_text(b, "true"), expr_text(b, "false")));
    if (types & (VALUE_INTEGER | VALUE_NUMBER))
        x = expr_or(b, x, number_any_json(b));
    x = expr_concat(b, blank, expr_concat(b, x, blank));
    if (types & (VALUE_ARRAY | VALUE_OBJECT))
        x = expr_or(b, x,
                    expr_concat(b, blank,
                                expr_concat(b, expr_chars(b, open, 2, false),
                                            expr_chars_any(b))));
    return x;
}

static symbol_id parameter_value(struct schema *s, const struct object_spelling *spelling,
                                 formula_id f, struct str key) {
    struct grammar_builder *b = s->b;
    const struct value_set *x = formula_expand(s, f);
    if (!x)
        return GRAMMAR_NONE;
    const unsigned types = value_types_of_parameter(spelling->user, key);
    symbol_id json = grammar_rule(b, "a value of the schema"), out = grammar_rule(b, "a parameter");
    expr_id closing = expr_text(b, "\n</parameter>\n");
    emit_alternatives(s, x, false, json);
    grammar_produce2(b, out, json, grammar_terminal(b, closing, "</parameter>"));
    if (x->string == SET_NO_TEXT)
        return out;
    expr_id unfit = expr_or(b, expr_contains(b, expr_text(b, "</parameter>")),
                            read_as_json(s, types & ~(unsigned)VALUE_STRING));
    expr_id text = expr_and(b, x->string, expr_not(b, unfit));
    grammar_produce1(b, out, grammar_terminal(b, expr_concat(b, text, closing), "text"));
    return out;
}

symbol_id emit_parameters(struct schema *s, formula_id f, const json_t *schema) {
    const struct object_spelling spelling = {.separator = GRAMMAR_NONE,
                                             .key = parameter_key,
                                             .value = parameter_value,
                                             .user = schema};
    const struct value_set *x = formula_expand(s, f);
    symbol_id out = grammar_rule(s->b, "parameters");
    for (size_t i = 0; x && i < x->n_objects; i++)
        grammar_produce1(s->b, out, emit_members(s, &x->objects[i], &spelling));
    return out;
}
