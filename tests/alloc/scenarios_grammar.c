#include <stdlib.h>
#include <string.h>

#include "grammar/matcher.h"
#include "scenarios.h"

/* pairs = "" | pairs pair ";"    pair = name "=" (escaped text | multiple of 3) */
static symbol_id pairs_grammar(struct grammar_builder *b) {
    struct char_range letters[] = {{'a', 'z'}, {0xe0, 0x17f}};
    expr_id name = expr_repeat(b, expr_chars(b, letters, 2, false), 1, 8);
    name = expr_and(b, name, expr_not(b, expr_text(b, "nil")));
    expr_id text = expr_json_escaped(b, expr_repeat(b, expr_char_any(b), 2, GRAMMAR_INF));
    expr_id quoted = expr_concat_n(b, (expr_id[]){expr_text(b, "\""), text, expr_text(b, "\"")}, 3);
    symbol_id value = grammar_alternatives2(b, grammar_terminal(b, quoted, "text"),
                                            grammar_terminal(b, expr_multiple_of(b, 3, 0), "n"));
    symbol_id pair =
        grammar_sequence3(b, grammar_terminal(b, name, "name"), grammar_literal(b, "="), value);
    return grammar_repeat(b, grammar_sequence2(b, pair, grammar_literal(b, ";")), 0, 5);
}

static enum quern_status compile(struct grammar **g, struct quern_error *err) {
    struct grammar_builder *b = NULL;
    enum quern_status st = grammar_builder_create(NULL, &b, err);
    if (st)
        return st;
    grammar_start(b, pairs_grammar(b));
    st = grammar_compile(b, g, err);
    grammar_builder_destroy(b);
    return st;
}

static enum quern_status match_a_text(struct quern_error *err) {
    struct grammar *g = NULL;
    struct matcher m;
    enum quern_status st = compile(&g, err);
    if (!st)
        st = matcher_init(&m, g, NULL, NULL, 0, err);
    if (!st)
        st = matcher_accept_bytes(&m, STR_LIT("ab=\"x\\u00e9\";c=12;"), NULL, err);
    if (!st && !matcher_can_end(&m))
        st = error_set(err, QUERN_ERR_STATE, "the text may not end");
    grammar_destroy(g);
    return st;
}

static enum quern_status mask_the_next_token(struct quern_error *err) {
    struct grammar *g = NULL;
    struct tokenizer *t = NULL;
    struct token_image *image = NULL;
    struct matcher m;
    uint32_t *mask = NULL;
    enum quern_status st = tokenizer_open("tests/fixtures/qwen3-tiny", &t, err);
    if (!st)
        st = token_image_create(t, &image, err);
    if (!st)
        st = compile(&g, err);
    if (!st)
        st = matcher_init(&m, g, image, NULL, 0, err);
    if (!st)
        st = matcher_accept_bytes(&m, STR_LIT("ab="), NULL, err);
    if (!st && !(mask = calloc((size_t)image->n_tokens / 32 + 1, 4)))
        st = error_nomem(err);
    if (!st)
        st = matcher_mask(&m, mask, image->n_tokens, err);
    free(mask);
    grammar_destroy(g);
    token_image_destroy(image);
    tokenizer_close(t);
    return st;
}

const struct scenario grammar_scenarios[] = {
    {"match_a_text_of_a_grammar", match_a_text},
    {"mask_the_next_token_of_a_grammar", mask_the_next_token},
    {NULL, NULL},
};
