/* Random grammars and texts. The input is a program for a stack of expressions, then rules,
 * then the text. Whatever it builds: nothing crashes, forks agree, a byte that must follow
 * does, and the fuel ends everything. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "grammar/matcher.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STACK = 16, SYMBOLS = 12 };

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "fuzz_grammar: %s\n", what);
    abort();
}

static expr_id one(struct grammar_builder *b, unsigned op, unsigned arg, expr_id x, expr_id y) {
    switch (op % 11) {
    case 0:
        return expr_byte_range(b, arg, arg | 15);
    case 1:
        return expr_literal(b, (struct str){(const char[]){(char)arg, 'b', 'a'}, arg % 4 % 3 + 1});
    case 2:
        return expr_concat(b, x, y);
    case 3:
        return expr_or(b, x, y);
    case 4:
        return expr_and(b, x, y);
    case 5:
        return expr_not(b, x);
    case 6:
        return expr_repeat(b, x, arg % 5, arg & 128 ? GRAMMAR_INF : arg % 5 + arg / 32);
    case 7:
        return expr_json_escaped(b, expr_and(b, x, expr_chars_any(b)));
    case 8:
        return expr_multiple_of(b, arg + 1, 0);
    case 9:
        return expr_char_range(b, arg, 0x10ffff - arg);
    default:
        return expr_optional(b, x);
    }
}

static size_t build(struct grammar_builder *b, const uint8_t *p, size_t n) {
    expr_id stack[STACK] = {0};
    symbol_id symbols[SYMBOLS];
    size_t i = 0, top = 2;
    stack[0] = expr_text(b, "ab");
    stack[1] = expr_char_any(b);
    for (; i + 1 < n && p[i] != 0xff; i += 2) {
        expr_id x = one(b, p[i], p[i + 1], stack[(top - 1) % STACK], stack[(top - 2) % STACK]);
        stack[top++ % STACK] = x;
    }
    size_t half = SYMBOLS / 2;
    for (size_t k = 0; k < SYMBOLS; k++)
        symbols[k] = k < half ? grammar_terminal(b, stack[(top - 1 - k % 2) % STACK], "t")
                              : grammar_rule(b, "r");
    for (size_t k = half; k < SYMBOLS; k++)
        grammar_produce1(b, symbols[k], symbols[k % half]);
    for (i += i < n; i + 3 < n && p[i] != 0xff; i += 4) {
        symbol_id rhs[3] = {symbols[p[i + 1] % SYMBOLS], symbols[p[i + 2] % SYMBOLS],
                            symbols[p[i + 3] % SYMBOLS]};
        grammar_produce(b, symbols[half + p[i] % half], rhs, p[i] / 16 % 4);
    }
    grammar_start(b, symbols[half]);
    return i + (i < n);
}

static void run(struct grammar *g, struct str text) {
    struct matcher m, fork;
    check(matcher_init(&m, g, NULL, NULL, 0, NULL) == QUERN_OK, "init");
    for (size_t i = 0; i < text.len; i++) {
        struct buffer forced;
        buffer_init(&forced, 64);
        if (matcher_forced_bytes(&m, 8, &forced, NULL) == QUERN_OK && forced.len) {
            fork = m;
            enum quern_status st = matcher_accept_bytes(&fork, buffer_str(&forced), NULL, NULL);
            check(st == QUERN_OK || st == QUERN_ERR_LIMIT, "forced bytes are refused");
        }
        buffer_release(&forced);
        fork = m;
        struct str byte = {text.ptr + i, 1};
        enum quern_status st = matcher_accept_bytes(&m, byte, NULL, NULL);
        if (matcher_accept_bytes(&fork, byte, NULL, NULL) == QUERN_OK && st == QUERN_OK)
            check(fork.state.set == m.state.set, "a fork differs");
        if (st != QUERN_OK)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct grammar_limits limits = grammar_default_limits();
    limits.max_exprs = 20000;
    limits.max_bytes = 32u << 20;
    limits.compile_fuel = limits.step_fuel = 200000;
    struct grammar_builder *b;
    struct grammar *g = NULL;
    if (grammar_builder_create(&limits, &b, NULL))
        return 0;
    size_t used = size < 4096 ? build(b, data, size) : size;
    used = used < size ? used : size;
    if (size < 4096 && grammar_compile(b, &g, NULL) == QUERN_OK)
        run(g, (struct str){(const char *)data + used, size - used});
    grammar_destroy(g);
    grammar_builder_destroy(b);
    return 0;
}
