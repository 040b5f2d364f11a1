#include <stdlib.h>
#include <string.h>

#include "grammar/answer_guard.h"
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

enum { END_TOKEN = 488, N_VOCAB = 512, LIMIT = 30 };

/* Bounded strings (loops), a pattern under `not` (searched for its shortest text), fixed keys (forced). */
static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", \"maxLength\": 5}, "
    "\"code\": {\"type\": \"string\", \"pattern\": \"^[a-c]+$\", \"not\": {\"pattern\": \"^a\"}}, "
    "\"list\": {\"type\": \"array\", \"items\": {\"enum\": [1, \"one\"]}}}, "
    "\"required\": [\"name\", \"code\", \"list\"], \"additionalProperties\": false}";

/* One token: a forced one, or the last of the mask; another where time is short. */
static enum quern_status one_token(struct constraint *c, uint32_t *mask, size_t n_left,
                                   int32_t *token, struct quern_error *err) {
    if (c->ops->forced(c->state, token, 1, n_left) == 0) {
        enum quern_status st = c->ops->mask(c->state, mask, N_VOCAB, err);
        if (st)
            return st;
        *token = N_VOCAB - 1;
        while (*token > 0 && !(mask[*token / 32] >> (*token % 32) & 1))
            --*token;
    }
    *token = c->ops->settle(c->state, *token, n_left);
    return c->ops->accept(c->state, *token, err);
}

static enum quern_status answer_in_time(enum answer_form form, struct str text,
                                        struct quern_error *err) {
    static const int32_t end = END_TOKEN;
    struct tokenizer *t = NULL;
    struct token_image *image = NULL;
    struct answer_guard *g = NULL;
    uint32_t mask[N_VOCAB / 32];
    const struct answer_rules rules = {.form = form, .text = text, .close_in_time = true};
    int32_t token = -1;
    enum quern_status st = tokenizer_open("tests/fixtures/qwen3-tiny", &t, err);
    if (!st)
        st = token_image_create(t, &image, err);
    if (!st)
        st = answer_guard_create(image, &end, 1, &rules, NULL, &g, err);
    for (size_t n_left = LIMIT; n_left > 0 && !st && token != end; n_left--)
        st = one_token(answer_guard_constraint(g), mask, n_left, &token, err);
    answer_guard_destroy(g);
    token_image_destroy(image);
    tokenizer_close(t);
    return st;
}

static enum quern_status close_json_in_time(struct quern_error *err) {
    return answer_in_time(ANSWER_SCHEMA, STR_LIT(schema), err);
}

static enum quern_status close_yaml_in_time(struct quern_error *err) {
    return answer_in_time(ANSWER_YAML, STR_LIT(schema), err);
}

static enum quern_status close_xml_in_time(struct quern_error *err) {
    return answer_in_time(
        ANSWER_XML,
        STR_LIT("<!ELEMENT a (b+)><!ELEMENT b (#PCDATA)><!ATTLIST b c (x|y) #REQUIRED>"), err);
}

static enum quern_status close_lark_in_time(struct quern_error *err) {
    return answer_in_time(
        ANSWER_LARK, STR_LIT("start: x+\nx: \"(\" start \")\" | /[a-z]{2,9}/"), err);
}

static enum quern_status close_tags_in_time(struct quern_error *err) {
    return answer_in_time(
        ANSWER_TAGS,
        STR_LIT("{\"type\": \"structural_tag\", \"format\": {\"type\": \"tag\", \"begin\": \"<t>\", "
                "\"content\": {\"type\": \"regex\", \"pattern\": \"[0-9]+(a|b)\"}, \"end\": \"</t>\"}}"),
        err);
}

const struct scenario grammar_scenarios[] = {
    {"close_tags_in_time", close_tags_in_time},
    {"close_json_in_time", close_json_in_time},
    {"close_yaml_in_time", close_yaml_in_time},
    {"close_xml_in_time", close_xml_in_time},
    {"close_lark_in_time", close_lark_in_time},
    {"match_a_text_of_a_grammar", match_a_text},
    {"mask_the_next_token_of_a_grammar", mask_the_next_token},
    {NULL, NULL},
};
