/* emit.c - value sets to symbols. */
#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"

static expr_id cat3(struct schema *s, expr_id x, expr_id y, expr_id z) {
    return expr_concat(s->b, x, expr_concat(s->b, y, z));
}

/* Strings between quotes as every writer of JSON spells them: a character that needs no escape
 * stands as itself; outside ASCII it may be escaped. Fixed texts then have one spelling. */
static expr_id plain_spellings(struct schema *s) {
    struct grammar_builder *b = s->b;
    const struct char_range special[] = {{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
    const struct char_range short_escapes[] = {{'"', '"'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'},
                                               {'n', 'n'}, {'r', 'r'},   {'t', 't'}};
    const struct char_range hex_ranges[] = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
    expr_id hex = expr_chars(b, hex_ranges, 3, false);
    expr_id ascii = cat3(s, expr_text(b, "00"), expr_byte_range(b, '2', '7'), hex);
    expr_id number = expr_and(b, expr_repeat(b, hex, 4, 4), expr_not(b, ascii));
    const expr_id one[] = {
        expr_chars(b, special, 3, true),
        expr_concat(b, expr_text(b, "\\"), expr_chars(b, short_escapes, 7, false)),
        expr_concat(b, expr_text(b, "\\u"), number),
    };
    return expr_star(b, expr_or_n(b, one, 3));
}

static expr_id quoted(struct schema *s, expr_id characters) {
    expr_id quote = expr_text(s->b, "\"");
    expr_id inside = s->plain_strings;
    if (s->options->yaml && characters != s->any_string)
        inside = expr_json_bmp(s->b, expr_and(s->b, characters, s->yaml_chars));
    else if (characters != s->any_string)
        inside = expr_json_usual(s->b, characters);
    const expr_id out = cat3(s, quote, inside, quote);
    if (!s->options->yaml)
        return out;
    if (!s->style.is_block)
        return out;
    return expr_or(s->b, out, expr_and(s->b, characters, s->yaml_plain));
}

static expr_id spacing(struct schema *s) {
    struct grammar_builder *b = s->b;
    if (s->options->spacing == SCHEMA_PYTHON || s->options->yaml)
        return expr_text(b, " ");
    if (s->options->spacing == SCHEMA_COMPACT)
        return expr_empty(b);
    expr_id line = cat3(s, expr_optional(b, expr_text(b, "\r")), expr_text(b, "\n"),
                        expr_or(b, expr_repeat(b, expr_text(b, " "), 0, 64),
                                expr_repeat(b, expr_text(b, "\t"), 0, 32)));
    return expr_or(b, expr_optional(b, expr_text(b, " ")), line);
}

void emit_punctuation(struct schema *s) {
    struct grammar_builder *b = s->b;
    const bool flexible = s->options->spacing == SCHEMA_FLEXIBLE && !s->options->yaml;
    expr_id space = spacing(s), inner = flexible ? space : expr_empty(b);
    s->plain_strings = plain_spellings(s);
    s->style.colon =
        expr_concat(b, expr_text(b, ":"), flexible ? expr_optional(b, expr_text(b, " ")) : space);
    s->style.comma = grammar_terminal(b, expr_concat(b, expr_text(b, ","), space), "','");
    s->style.open_object = grammar_terminal(b, expr_concat(b, expr_text(b, "{"), inner), "'{'");
    s->style.close_object = grammar_terminal(b, expr_concat(b, inner, expr_text(b, "}")), "'}'");
    s->style.open_array = grammar_terminal(b, expr_concat(b, expr_text(b, "["), inner), "'['");
    s->style.close_array = grammar_terminal(b, expr_concat(b, inner, expr_text(b, "]")), "']'");
}

symbol_id emit_key(struct schema *s, expr_id characters, const char *name) {
    if (s->options->yaml)
        characters = expr_and(s->b, characters, s->yaml_key);
    return grammar_terminal(s->b, expr_concat(s->b, quoted(s, characters), s->style.colon), name);
}

/* Null, truth values, numbers and strings are one terminal. */
expr_id emit_scalars(struct schema *s, const struct value_set *x) {
    expr_id one[5];
    size_t n = 0;
    if (x->null)
        one[n++] = expr_text(s->b, "null");
    for (int i = 0; i < 2; i++)
        if (x->truth[i])
            one[n++] = expr_text(s->b, i ? "true" : "false");
    if (x->number != SET_NO_TEXT) {
        const expr_id all = x->number == s->everything->number ? number_any_json(s->b) : x->number;
        one[n++] = s->options->yaml ? expr_and(s->b, all, s->yaml_number) : all;
    }
    if (x->string != SET_NO_TEXT)
        one[n++] = quoted(s, x->string);
    return expr_or_n(s->b, one, n);
}

const char *emit_scalar_name(const struct schema *s, const struct value_set *x) {
    const bool number = x->number != SET_NO_TEXT, string = x->string != SET_NO_TEXT;
    if (number && string)
        return "a value";
    if (string)
        return x->string == s->any_string ? "a string" : "a string of the schema";
    if (number)
        return x->number == s->everything->number ? "a number" : "a number of the schema";
    return x->truth[0] && x->truth[1] ? "true or false" : "a constant";
}

void emit_alternatives(struct schema *s, const struct value_set *x, bool strings, symbol_id rule) {
    struct value_set part = *x;
    if (!strings)
        part.string = SET_NO_TEXT;
    grammar_produce1(s->b, rule, grammar_terminal(s->b, emit_scalars(s, &part), emit_scalar_name(s, &part)));
    for (size_t i = 0; i < x->n_arrays; i++)
        grammar_produce1(s->b, rule, emit_array(s, &x->arrays[i]));
    for (size_t i = 0; i < x->n_objects; i++)
        grammar_produce1(s->b, rule, emit_object(s, &x->objects[i]));
}

symbol_id emit_part(struct schema *s, formula_id f, bool member) {
    return s->style.is_block ? yaml_part(s, f, member) : emit_formula(s, f);
}

symbol_id emit_formula(struct schema *s, formula_id f) {
    if (schema_failed(s))
        return GRAMMAR_NONE;
    if (s->formulas[f].symbol != GRAMMAR_NONE)
        return s->formulas[f].symbol;
    const struct value_set *x = formula_expand(s, f);
    if (!x)
        return GRAMMAR_NONE;
    if (x->n_arrays + x->n_objects == 0)
        return s->formulas[f].symbol = grammar_terminal(s->b, emit_scalars(s, x), emit_scalar_name(s, x));
    symbol_id rule =
        grammar_rule(s->b, f == FORMULA_TRUE ? "a JSON value" : "a value of the schema");
    s->formulas[f].symbol = rule; /* before its parts, which may refer to it */
    if (++s->depth > 200) {
        schema_fail(s, QUERN_ERR_LIMIT, "schemas are nested more than 200 deep");
        return GRAMMAR_NONE;
    }
    emit_alternatives(s, x, true, rule);
    s->depth--;
    return rule;
}
