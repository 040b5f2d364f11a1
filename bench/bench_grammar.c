/* bench_grammar - times masks of a JSON grammar:
 *     bench_grammar TOKENIZER_DIR [--ids TEXT_FILE]
 * The text, JSON, is tokenized and walked token by token: a mask before each token. It is made
 * here when no file is named. One JSON line: microseconds, cold (empty caches) and warm. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "grammar/matcher.h"

static symbol_id json_grammar(struct grammar_builder *b) {
    expr_id digits = expr_plus(b, expr_byte_range(b, '0', '9'));
    expr_id integer = expr_or(
        b, expr_text(b, "0"),
        expr_concat(b, expr_byte_range(b, '1', '9'), expr_star(b, expr_byte_range(b, '0', '9'))));
    expr_id sign = expr_or(b, expr_text(b, "+"), expr_text(b, "-"));
    expr_id e = expr_or(b, expr_text(b, "e"), expr_text(b, "E"));
    expr_id exponent = expr_concat(b, e, expr_concat(b, expr_optional(b, sign), digits));
    expr_id fraction = expr_concat(b, expr_text(b, "."), digits);
    expr_id number =
        expr_concat_n(b,
                      (expr_id[]){expr_optional(b, expr_text(b, "-")), integer,
                                  expr_optional(b, fraction), expr_optional(b, exponent)},
                      4);
    expr_id quote = expr_text(b, "\"");
    expr_id text =
        expr_concat(b, quote, expr_concat(b, expr_json_escaped(b, expr_chars_any(b)), quote));
    symbol_id string = grammar_terminal(b, text, "string"), value = grammar_rule(b, "value");
    symbol_id comma = grammar_literal(b, ", ");
    symbol_id member = grammar_sequence3(b, string, grammar_literal(b, ": "), value);
    symbol_id members = grammar_separated(b, member, comma, 0, GRAMMAR_INF);
    symbol_id elements = grammar_separated(b, value, comma, 0, GRAMMAR_INF);
    grammar_produce1(b, value, string);
    grammar_produce1(b, value, grammar_terminal(b, number, "number"));
    grammar_produce1(b, value, grammar_literal(b, "true"));
    grammar_produce1(b, value, grammar_literal(b, "false"));
    grammar_produce1(b, value, grammar_literal(b, "null"));
    grammar_produce3(b, value, grammar_literal(b, "{"), members, grammar_literal(b, "}"));
    grammar_produce3(b, value, grammar_literal(b, "["), elements, grammar_literal(b, "]"));
    return value;
}

static void make_text(struct buffer *out) {
    buffer_puts(out, "[");
    for (int i = 0; i < 60; i++)
        buffer_printf(
            out,
            "%s{\"id\": %d, \"name\": \"person number %d, caf\\u00e9\", \"tags\": [\"a\", "
            "\"b c\", \"\\\"q\\\"\"], \"score\": %d.%de-3, \"ok\": %s, \"none\": null}",
            i ? ", " : "", i * 37, i, i, i * 7, i % 2 ? "true" : "false");
    buffer_puts(out, "]");
}

static int compare(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static int walk(struct grammar *g, const struct token_image *image, const struct token_ids *ids,
                double *us, struct quern_error *err) {
    int32_t n_vocab = 151936;
    if (image->n_tokens > n_vocab)
        n_vocab = image->n_tokens;
    uint32_t *mask = calloc((size_t)n_vocab / 32 + 1, 4);
    struct matcher m;
    int bad = !mask || matcher_init(&m, g, image, NULL, 0, err);
    for (size_t i = 0; i < ids->n && !bad; i++) {
        uint64_t start = os_now_ns();
        bad = matcher_mask(&m, mask, n_vocab, err) != QUERN_OK;
        us[i] = (double)(os_now_ns() - start) * 1e-3;
        int32_t t = ids->ids[i];
        if (!bad && !(mask[t / 32] >> (t % 32) & 1)) {
            fprintf(stderr, "token %d of the text is not in its mask\n", (int)t);
            bad = 1;
        }
        bad = bad || matcher_accept_token(&m, t, err);
    }
    free(mask);
    return bad;
}

int main(int argc, char **argv) {
    struct quern_error err = {0};
    struct tokenizer *t = NULL;
    struct token_image *image = NULL;
    struct grammar_builder *b = NULL;
    struct grammar *g = NULL;
    struct token_ids ids = {0};
    struct buffer text;
    double *us = NULL, image_ms = 0, compile_us = 0;
    int bad = 1;
    buffer_init(&text, (size_t)1 << 28);
    if (argc < 2 || tokenizer_open(argv[1], &t, &err))
        goto done;
    uint64_t start = os_now_ns();
    if (token_image_create(t, &image, &err))
        goto done;
    image_ms = (double)(os_now_ns() - start) * 1e-6;
    if (argc == 4 && os_read_file(argv[3], text.max, &text, &err))
        goto done;
    if (argc != 4)
        make_text(&text);
    struct encode_options options = {0};
    if (tokenizer_encode(t, buffer_str(&text), options, &ids, &err))
        goto done;
    start = os_now_ns();
    if (grammar_builder_create(NULL, &b, &err))
        goto done;
    grammar_start(b, json_grammar(b));
    if (grammar_compile(b, &g, &err))
        goto done;
    compile_us = (double)(os_now_ns() - start) * 1e-3;
    us = calloc(ids.n + 1, sizeof *us);
    printf("{\"nodes\": %zu, \"image_ms\": %.1f, \"compile_us\": %.0f, \"tokens\": %zu",
           image->n_nodes, image_ms, compile_us, ids.n);
    for (int warm = 0; warm < 2 && us; warm++) {
        if (walk(g, image, &ids, us, &err))
            goto done;
        double first = us[0];
        qsort(us, ids.n, sizeof *us, compare);
        printf(", \"%s\": {\"first\": %.1f, \"p50\": %.2f, \"p99\": %.1f, \"p999\": %.1f, \"max\": "
               "%.1f}",
               warm ? "warm" : "cold", first, us[ids.n / 2], us[ids.n * 99 / 100],
               us[ids.n * 999 / 1000], us[ids.n - 1]);
    }
    printf(", \"grammar_bytes\": %zu}\n", grammar_bytes(g));
    bad = 0;
done:
    if (bad)
        fprintf(stderr, "bench_grammar: %s\n",
                argc < 2 ? "name a tokenizer's directory" : err.message);
    free(us);
    grammar_destroy(g);
    grammar_builder_destroy(b);
    token_image_destroy(image);
    free(ids.ids);
    tokenizer_close(t);
    buffer_release(&text);
    return bad;
}
