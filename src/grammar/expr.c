/* The expressions of grammar.h, on top of the store. */
#include <stdlib.h>

#include "grammar/builder.h"
#include "text/unicode.h"

expr_id expr_nothing(struct grammar_builder *b) {
    return b->re.failed ? GRAMMAR_NONE : RE_ID_NOTHING;
}

expr_id expr_empty(struct grammar_builder *b) {
    return b->re.failed ? GRAMMAR_NONE : RE_ID_EMPTY;
}

expr_id expr_anything(struct grammar_builder *b) {
    return b->re.failed ? GRAMMAR_NONE : RE_ID_ANYTHING;
}

expr_id expr_byte_set(struct grammar_builder *b, const uint64_t set[4]) {
    return re_bytes(&b->re, set);
}

expr_id expr_byte_range(struct grammar_builder *b, unsigned lo, unsigned hi) {
    return re_range(&b->re, lo, hi);
}

expr_id expr_literal(struct grammar_builder *b, struct str text) {
    return b->re.failed ? GRAMMAR_NONE : re_literal(&b->re, text);
}

expr_id expr_text(struct grammar_builder *b, const char *text) {
    return expr_literal(b, str_from(text));
}

expr_id expr_concat(struct grammar_builder *b, expr_id x, expr_id y) {
    return re_concat(&b->re, x, y);
}

expr_id expr_concat_n(struct grammar_builder *b, const expr_id *x, size_t n) {
    expr_id out = expr_empty(b);
    while (n > 0)
        out = re_concat(&b->re, x[--n], out);
    return out;
}

expr_id expr_or(struct grammar_builder *b, expr_id x, expr_id y) {
    return re_pair(&b->re, RE_OR, x, y);
}

expr_id expr_or_n(struct grammar_builder *b, const expr_id *x, size_t n) {
    return re_nary(&b->re, RE_OR, x, n);
}

expr_id expr_and(struct grammar_builder *b, expr_id x, expr_id y) {
    return re_pair(&b->re, RE_AND, x, y);
}

expr_id expr_and_n(struct grammar_builder *b, const expr_id *x, size_t n) {
    return re_nary(&b->re, RE_AND, x, n);
}

expr_id expr_not(struct grammar_builder *b, expr_id x) {
    return re_not(&b->re, x);
}

expr_id expr_repeat(struct grammar_builder *b, expr_id x, uint32_t min, uint32_t max) {
    return re_repeat(&b->re, x, min, max);
}

expr_id expr_optional(struct grammar_builder *b, expr_id x) {
    return re_pair(&b->re, RE_OR, x, RE_ID_EMPTY);
}

expr_id expr_star(struct grammar_builder *b, expr_id x) {
    return re_repeat(&b->re, x, 0, GRAMMAR_INF);
}

expr_id expr_plus(struct grammar_builder *b, expr_id x) {
    return re_repeat(&b->re, x, 1, GRAMMAR_INF);
}

expr_id expr_contains(struct grammar_builder *b, expr_id x) {
    expr_id any = expr_chars_any(b);
    return re_concat(&b->re, any, re_concat(&b->re, x, any));
}

expr_id expr_char(struct grammar_builder *b, uint32_t code_point) {
    return expr_char_range(b, code_point, code_point);
}

expr_id expr_char_range(struct grammar_builder *b, uint32_t lo, uint32_t hi) {
    if (b->re.failed)
        return GRAMMAR_NONE;
    if (lo > hi || hi > 0x10ffff)
        return regex_fail(&b->re, QUERN_ERR_ARG, "a range of characters is out of order");
    return re_char_range(&b->re, lo, hi);
}

static int compare_ranges(const void *a, const void *b) {
    const struct char_range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorted and merged ranges, or the gaps between them. */
static expr_id union_of(struct grammar_builder *b, const struct char_range *r, size_t n,
                        bool negated) {
    struct regex_store *s = &b->re;
    size_t base = s->scratch.n;
    uint32_t next = 0; /* the first character not yet looked at */
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i <= n && st == QUERN_OK; i++) {
        uint32_t lo = i < n ? r[i].lo : 0x110000, hi = i < n ? r[i].hi : 0x10ffff;
        if (negated && lo > next)
            st = u32s_push(&s->budget, &s->scratch, re_char_range(s, next, lo - 1));
        else if (!negated && i < n)
            st = u32s_push(&s->budget, &s->scratch, re_char_range(s, lo, hi));
        if (i < n && hi >= next)
            next = hi + 1;
    }
    expr_id out = st == QUERN_OK ? re_nary_scratch(s, RE_OR, base)
                                 : regex_fail(s, st, "out of its limit of bytes");
    s->scratch.n = base;
    return out;
}

expr_id expr_chars(struct grammar_builder *b, const struct char_range *ranges, size_t n,
                   bool negated) {
    if (b->re.failed)
        return GRAMMAR_NONE;
    struct char_range *sorted = malloc((n + 1) * sizeof *sorted);
    if (!sorted)
        return regex_fail(&b->re, QUERN_ERR_NOMEM, "");
    for (size_t i = 0; i < n; i++) {
        sorted[i] = ranges[i];
        if (ranges[i].lo > ranges[i].hi || ranges[i].hi > 0x10ffff)
            regex_fail(&b->re, QUERN_ERR_ARG, "a range of characters is out of order");
    }
    expr_id out = GRAMMAR_NONE;
    if (!b->re.failed) {
        qsort(sorted, n, sizeof *sorted, compare_ranges);
        out = union_of(b, sorted, n, negated);
    }
    free(sorted);
    return out;
}

expr_id expr_char_any(struct grammar_builder *b) {
    return expr_char_range(b, 0, 0x10ffff);
}

expr_id expr_chars_any(struct grammar_builder *b) {
    const expr_id any = expr_star(b, expr_char_any(b));
    if (any != GRAMMAR_NONE)
        b->re.any_text = any;
    return any;
}

expr_id expr_multiple_of(struct grammar_builder *b, uint32_t div, uint32_t rem) {
    return re_remainder(&b->re, div, rem, 0);
}

expr_id expr_remainder(struct grammar_builder *b, uint32_t div, uint32_t rem) {
    return re_remainder(&b->re, div, 0, rem);
}

expr_id expr_json_escaped(struct grammar_builder *b, expr_id x) {
    return re_json(&b->re, x, 0, 0);
}

expr_id expr_json_usual(struct grammar_builder *b, expr_id x) {
    return re_json(&b->re, x, RE_JSON_USUAL, 0);
}

expr_id expr_json_bmp(struct grammar_builder *b, expr_id x) {
    return re_json(&b->re, x, RE_JSON_USUAL | RE_JSON_BMP, 0);
}

bool expr_nullable(const struct grammar_builder *b, expr_id x) {
    return x != GRAMMAR_NONE && re_nullable(&b->re, x);
}

/* A question's failure is the caller's to judge: it does not stick to the builder. */
static enum quern_status question_end(struct grammar_builder *b, uint64_t fuel,
                                      struct quern_error *err) {
    enum quern_status st = grammar_builder_status(b, err);
    b->re.fuel = fuel;
    b->re.failed = false;
    return st;
}

enum quern_status expr_is_nothing(struct grammar_builder *b, expr_id x, uint64_t max_fuel,
                                  bool *out, struct quern_error *err) {
    if (b->re.failed || x == GRAMMAR_NONE)
        return b->re.failed ? grammar_builder_status(b, err)
                            : error_set(err, QUERN_ERR_ARG, "grammar: no expression");
    uint64_t fuel = b->re.fuel;
    b->re.fuel = max_fuel;
    bool nothing = false;
    if (re_is_nothing(&b->re, x, &nothing))
        *out = nothing;
    return question_end(b, fuel, err);
}

enum quern_status expr_matches(struct grammar_builder *b, expr_id x, struct str text, bool *out,
                               struct quern_error *err) {
    if (b->re.failed || x == GRAMMAR_NONE)
        return b->re.failed ? grammar_builder_status(b, err)
                            : error_set(err, QUERN_ERR_ARG, "grammar: no expression");
    uint64_t fuel = b->re.fuel;
    for (size_t i = 0; i < text.len && x != GRAMMAR_NONE && x != RE_ID_NOTHING; i++)
        x = re_derive(&b->re, x, (unsigned char)text.ptr[i]);
    if (x != GRAMMAR_NONE)
        *out = re_nullable(&b->re, x);
    return question_end(b, fuel, err);
}
