/* expand_scalar.c - the keywords of strings and numbers. */
#include "grammar/regex/regex_emit.h"
#include "grammar/regex/regex_syntax.h"
#include "grammar/schema/number_expr.h"
#include "grammar/schema/set_parts.h"

/* Everything, but of strings (numbers) only these. */
static const struct value_set *only(struct schema *s, expr_id number, expr_id string) {
    struct value_set *x = schema_alloc(s, 1, sizeof *x);
    if (!x)
        return NULL;
    *x = *s->everything;
    x->number = number;
    x->string = string;
    return x;
}

bool expand_count(struct schema *s, const struct sj_node *node, const char *keyword,
                  uint32_t *out) {
    const struct sj_node *k = sj_get(node, keyword);
    if (!k)
        return false;
    if (sj_count(k, out))
        return true;
    schema_fail(s, QUERN_ERR_FORMAT, "\"%s\" is no whole number from 0 up", keyword);
    return false;
}

bool expand_pattern(struct schema *s, const struct sj_node *node, const char *keyword,
                    struct str pattern, expr_id *out) {
    struct quern_error why;
    const unsigned flags = REGEX_ECMA | REGEX_SEARCH;
    if (expr_regex(s->b, pattern, flags, out, &why) == QUERN_OK)
        return true;
    schema_report(s, node, keyword, why.message);
    return false;
}

const struct value_set *expand_string_keywords(struct schema *s, const struct sj_node *node) {
    expr_id x = s->any_string, more;
    unsigned loose = 0;
    uint32_t min = 0, max = GRAMMAR_INF;
    const struct sj_node *k = sj_get(node, "pattern");
    if (sj_is(k, SJ_STRING)) {
        if (expand_pattern(s, node, "pattern", k->text, &more))
            x = expr_and(s->b, x, more);
        else
            loose = LOOSE_STRING;
    }
    k = sj_get(node, "format");
    if (sj_is(k, SJ_STRING) && s->options->assert_formats) {
        if (schema_format(s, node, k->text, &more))
            x = expr_and(s->b, x, more);
        else
            loose = LOOSE_STRING;
    }
    const bool has_min = expand_count(s, node, "minLength", &min),
               has_max = expand_count(s, node, "maxLength", &max);
    if ((has_min && min > 0) || has_max) {
        if (min > max)
            x = SET_NO_TEXT;
        else
            x = expr_and(s->b, x, expr_repeat(s->b, expr_char_any(s->b), min, max));
    }
    const struct value_set *out =
        x == s->any_string ? s->everything : only(s, s->everything->number, x);
    return set_loose(s, out, loose);
}

/* The number at `keyword`; false when it is not there. *loose grows when it cannot be had. */
static bool bound(struct schema *s, const struct sj_node *node, const char *keyword,
                  struct decimal *out, unsigned *loose) {
    const struct sj_node *k = sj_get(node, keyword);
    if (!k || k->kind == SJ_TRUE || k->kind == SJ_FALSE)
        return false;
    if (k->kind != SJ_NUMBER) {
        schema_fail(s, QUERN_ERR_FORMAT, "\"%s\" is no number", keyword);
        return false;
    }
    if (decimal_parse(k->text, out))
        return true;
    schema_report(s, node, keyword, "the number has too many digits");
    *loose |= LOOSE_NUMBER;
    return false;
}

static expr_id multiples(struct schema *s, const struct sj_node *node, const struct decimal *d,
                         unsigned *loose) {
    expr_id x = s->everything->number;
    if (d->n == 0 || d->negative) {
        schema_fail(s, QUERN_ERR_FORMAT, "\"multipleOf\" is not greater than 0");
    } else if (!number_multiple_of(s->b, d, &x)) {
        schema_report(s, node, "multipleOf", "the divisor has too many digits");
        *loose |= LOOSE_NUMBER;
    }
    return x;
}

const struct value_set *expand_number_keywords(struct schema *s, const struct sj_node *node) {
    const expr_id all = s->everything->number;
    unsigned loose = 0;
    expr_id x = all;
    struct decimal d;
    if (bound(s, node, "minimum", &d, &loose)) { /* draft 4: exclusiveMinimum is true or false */
        const bool open = sj_is(sj_get(node, "exclusiveMinimum"), SJ_TRUE);
        x = expr_and(s->b, x, (open ? number_greater : number_at_least)(s->b, &d));
    }
    if (bound(s, node, "exclusiveMinimum", &d, &loose))
        x = expr_and(s->b, x, number_greater(s->b, &d));
    if (bound(s, node, "maximum", &d, &loose)) {
        const bool open = sj_is(sj_get(node, "exclusiveMaximum"), SJ_TRUE);
        expr_id beyond = (open ? number_at_least : number_greater)(s->b, &d);
        x = expr_and(s->b, x, expr_not(s->b, beyond));
    }
    if (bound(s, node, "exclusiveMaximum", &d, &loose))
        x = expr_and(s->b, x, expr_not(s->b, number_at_least(s->b, &d)));
    if (bound(s, node, "multipleOf", &d, &loose))
        x = expr_and(s->b, x, multiples(s, node, &d, &loose));
    const struct value_set *out =
        x == all ? s->everything : only(s, expr_and(s->b, all, x), s->any_string);
    return set_loose(s, out, loose);
}
