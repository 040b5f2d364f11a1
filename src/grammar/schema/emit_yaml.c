/* emit_yaml.c - value sets as block style YAML, which PyYAML (YAML 1.1) and readers of YAML 1.2
 * take for the same value. Indentation is no matter of a context-free grammar, so collections
 * have a rule for each depth; below the last depth they stand in flow style, as JSON, which is
 * YAML too.
 *
 *   collection at depth n   part (line break, 2 n blanks, part)*
 *   member                  key ": " scalar, or key ":" and a collection one deeper on its own
 * lines element                 "- " scalar, or "- " and a collection one deeper, which begins here
 *
 * Strings are plain only when no reader could take them for anything else; escapes of two halves
 * are not written, since PyYAML does not join them, nor characters it refuses or folds when raw. */
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"

enum { FLAT = 255, KEY_CHARS_MAX = 250 };

#define LETTER "A-Za-z\\u00c0-\\u024f"
#define PLAIN "[" LETTER "](?: ?[" LETTER "0-9_.,/()+@'!?;=*%$~-])*"
#define NOT_PLAIN                                                                  \
    "[yYnN]|[yY][eE][sS]|[nN][oO]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[oO][nN]|" \
    "[oO][fF][fF]|[nN][uU][lL][lL]|[nN][aA][nN]|[iI][nN][fF]"
#define QUOTED                                                                       \
    "(?:[^\\u0000-\\u001f\"\\\\\\u007f-\\u009f\\u2028\\u2029\\ufeff\\ufffe\\uffff]|" \
    "\\\\[\"\\\\bfnrt]|\\\\u(?:[0-9a-cA-CeEfF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*"
#define NUMBER "-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+(?:[eE][+-][0-9]+)?)?"

static expr_id pattern(struct schema *s, const char *text) {
    expr_id x = GRAMMAR_NONE;
    struct quern_error why;
    if (expr_regex(s->b, str_from(text), REGEX_PCRE, &x, &why) != QUERN_OK)
        schema_fail(s, why.code, "%s", why.message);
    return x;
}

void yaml_set_up(struct schema *s) {
    struct grammar_builder *b = s->b;
    s->yaml_plain = expr_and(b, pattern(s, PLAIN), expr_not(b, pattern(s, NOT_PLAIN)));
    s->yaml_chars = pattern(s, "[^\\u007f-\\u009f\\u2028\\u2029\\ufeff\\ufffe\\uffff]*");
    s->yaml_number = pattern(s, NUMBER);
    s->yaml_key = expr_repeat(b, expr_char_any(b), 0, KEY_CHARS_MAX);
    s->plain_strings = expr_and(b, s->plain_strings, pattern(s, QUOTED));
    s->flow_style = s->style;
    s->style.is_block = true;
}

/* ---- what a member or element is made of ----------------------------------------------- */

static symbol_id line_break(struct schema *s, unsigned level) {
    const expr_id blanks = expr_repeat(s->b, expr_text(s->b, " "), 2 * level, 2 * level);
    return grammar_terminal(s->b, expr_concat(s->b, expr_text(s->b, "\n"), blanks),
                            "a line break and the indentation");
}

static bool known(struct schema *s, formula_id f, unsigned level, symbol_id *out) {
    return pair_map_get(&s->blocks, (uint64_t)f << 32 | level, out);
}

static void remember(struct schema *s, formula_id f, unsigned level, symbol_id symbol) {
    const enum quern_status st =
        pair_map_put(&s->blocks_budget, &s->blocks, (uint64_t)f << 32 | level, symbol);
    if (st != QUERN_OK)
        schema_fail(s, st, "it takes too much memory to work out");
}

/* Scalars and empty collections. */
static symbol_id flat(struct schema *s, formula_id f) {
    symbol_id out;
    if (known(s, f, FLAT, &out))
        return out;
    const struct value_set *x = formula_expand(s, f);
    if (!x)
        return GRAMMAR_NONE;
    expr_id e = emit_scalars(s, x);
    for (size_t i = 0; i < x->n_arrays; i++) {
        bool empty = x->arrays[i].min == 0;
        for (size_t k = 0; k < x->arrays[i].n_contains; k++)
            empty = empty && x->arrays[i].contains[k].min == 0;
        if (empty)
            e = expr_or(s->b, e, expr_text(s->b, "[]"));
    }
    for (size_t i = 0; i < x->n_objects; i++) {
        bool empty = x->objects[i].min == 0 && x->objects[i].n_some == 0;
        for (size_t k = 0; k < x->objects[i].n_properties; k++)
            empty = empty && !x->objects[i].properties[k].required;
        if (empty)
            e = expr_or(s->b, e, expr_text(s->b, "{}"));
    }
    out = grammar_terminal(s->b, e, emit_scalar_name(s, x));
    remember(s, f, FLAT, out);
    return out;
}

static symbol_id block(struct schema *s, formula_id f, unsigned level) {
    symbol_id rule;
    if (schema_failed(s))
        return GRAMMAR_NONE;
    if (known(s, f, level, &rule))
        return rule;
    const struct value_set *x = formula_expand(s, f);
    if (!x)
        return GRAMMAR_NONE;
    rule = grammar_rule(s->b, "a block of the schema");
    remember(s, f, level, rule);
    grammar_produce1(s->b, rule, grammar_terminal(s->b, expr_nothing(s->b), "nothing"));
    const struct emit_style outer = s->style;
    const symbol_id none = grammar_empty(s->b);
    s->style = (struct emit_style){.comma = line_break(s, level),
                                   .open_object = none,
                                   .close_object = none,
                                   .open_array = none,
                                   .close_array = none,
                                   .colon = expr_text(s->b, ":"),
                                   .is_block = true,
                                   .level = level};
    for (size_t i = 0; i < x->n_arrays; i++) {
        struct array_set a = x->arrays[i];
        a.min = a.min > 1 ? a.min : 1;
        if (a.max >= a.min)
            grammar_produce1(s->b, rule, emit_array(s, &a));
    }
    for (size_t i = 0; i < x->n_objects; i++) {
        struct object_set o = x->objects[i];
        o.min = o.min > 1 ? o.min : 1;
        if (o.max >= o.min)
            grammar_produce1(s->b, rule, emit_object(s, &o));
    }
    s->style = outer;
    return rule;
}

static bool has_collections(struct schema *s, formula_id f) {
    const struct value_set *x = formula_expand(s, f);
    return x && x->n_arrays + x->n_objects > 0;
}

/* In JSON's way, on one line. */
static symbol_id flow(struct schema *s, formula_id f) {
    const struct emit_style outer = s->style;
    s->style = s->flow_style;
    const symbol_id out = emit_formula(s, f);
    s->style = outer;
    return out;
}

symbol_id yaml_part(struct schema *s, formula_id f, bool member) {
    struct grammar_builder *b = s->b;
    const unsigned level = s->style.level + 1;
    const symbol_id lead = grammar_literal(b, member ? " " : "- ");
    if (level > YAML_LEVELS_MAX)
        return grammar_sequence2(b, lead, flow(s, f));
    const symbol_id here = grammar_sequence2(b, lead, flat(s, f));
    if (!has_collections(s, f))
        return here;
    const symbol_id rest = block(s, f, level);
    return grammar_alternatives2(b, here,
                                 grammar_sequence2(b, member ? line_break(s, level) : lead, rest));
}

symbol_id yaml_document(struct schema *s, formula_id f) {
    symbol_id value = flat(s, f);
    if (has_collections(s, f))
        value = grammar_alternatives2(s->b, value, block(s, f, 0));
    const expr_id end = expr_optional(s->b, expr_text(s->b, "\n"));
    return grammar_sequence2(s->b, value, grammar_terminal(s->b, end, "the last line break"));
}
