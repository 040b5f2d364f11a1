/* Symbols and productions. */
#include "grammar/builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct grammar_limits grammar_default_limits(void) {
    return (struct grammar_limits){
        .max_exprs = 1u << 22,
        .max_symbols = 1u << 18,
        .max_productions = 1u << 20,
        .max_bytes = (size_t)256 << 20,
        .compile_fuel = 50u * 1000 * 1000,
        .step_fuel = 2u * 1000 * 1000,
    };
}

enum quern_status grammar_builder_create(const struct grammar_limits *limits,
                                         struct grammar_builder **out, struct quern_error *err) {
    struct grammar_builder *b = calloc(1, sizeof *b);
    if (!b)
        return error_nomem(err);
    b->limits = limits ? *limits : grammar_default_limits();
    b->start = b->empty = GRAMMAR_NONE;
    if (regex_store_init(&b->re, &b->limits) != QUERN_OK) {
        enum quern_status st = grammar_builder_status(b, err);
        grammar_builder_destroy(b);
        return st;
    }
    *out = b;
    return QUERN_OK;
}

void builder_release(struct grammar_builder *b) {
    regex_store_release(&b->re);
    free(b->symbols);
    free(b->productions);
    u32s_release(&b->rhs);
    free(b->names);
    pair_map_release(&b->terminals);
    id_table_release(&b->repeats);
    u32s_release(&b->repeat_keys);
}

void grammar_builder_destroy(struct grammar_builder *b) {
    if (!b)
        return;
    builder_release(b);
    free(b);
}

bool grammar_builder_failed(const struct grammar_builder *b) {
    return b->re.failed;
}

enum quern_status grammar_builder_status(const struct grammar_builder *b, struct quern_error *err) {
    if (!b->re.failed)
        return QUERN_OK;
    return error_set(err, b->re.error.code, "%s", b->re.error.message);
}

enum quern_status grammar_builder_fail(struct grammar_builder *b, enum quern_status code,
                                       const char *fmt, ...) {
    if (b->re.failed)
        return b->re.error.code;
    char message[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    b->re.failed = true;
    return error_set(&b->re.error, code, "%s", message);
}

void grammar_builder_fail_arena(struct grammar_builder *b, const struct arena *a,
                                const char *name) {
    if (arena_is_full(a))
        grammar_builder_fail(b, QUERN_ERR_LIMIT, "%s: it takes too much memory", name);
    else
        grammar_builder_fail(b, QUERN_ERR_NOMEM, "%s: out of memory", name);
}

static symbol_id fail(struct grammar_builder *b, enum quern_status code) {
    return regex_fail(&b->re, code, "the symbols pass the limit of bytes");
}

struct str symbol_name(const struct grammar_builder *b, symbol_id x) {
    const struct symbol *s = &b->symbols[x];
    if (!s->name_len)
        return STR_LIT("(unnamed)");
    return (struct str){b->names + s->name, s->name_len};
}

static symbol_id add_symbol(struct grammar_builder *b, enum symbol_kind kind, uint32_t value,
                            const char *name) {
    if (b->re.failed)
        return GRAMMAR_NONE;
    if (b->n_symbols >= b->limits.max_symbols)
        return regex_fail(&b->re, QUERN_ERR_LIMIT, "too many symbols");
    size_t len = name ? strlen(name) : 0;
    if (len > 200)
        len = 200;
    enum quern_status st = budget_grow(&b->re.budget, &b->symbols, &b->symbols_capacity,
                                       b->n_symbols + 1, sizeof *b->symbols);
    if (st == QUERN_OK && len)
        st = budget_grow(&b->re.budget, &b->names, &b->names_capacity, b->n_names + len, 1);
    if (st == QUERN_OK && b->n_names + len > UINT32_MAX)
        st = QUERN_ERR_LIMIT;
    if (st != QUERN_OK)
        return fail(b, st);
    if (len)
        memcpy(b->names + b->n_names, name, len);
    b->symbols[b->n_symbols] =
        (struct symbol){(uint8_t)kind, value, (uint32_t)b->n_names, (uint32_t)len};
    b->n_names += len;
    return (symbol_id)b->n_symbols++;
}

static symbol_id shared_symbol(struct grammar_builder *b, enum symbol_kind kind, uint32_t value,
                               const char *name) {
    uint64_t key = (uint64_t)kind << 32 | value;
    uint32_t id;
    if (b->re.failed)
        return GRAMMAR_NONE;
    if (pair_map_get(&b->terminals, key, &id))
        return id;
    id = add_symbol(b, kind, value, name);
    if (id == GRAMMAR_NONE)
        return id;
    enum quern_status st = pair_map_put(&b->re.budget, &b->terminals, key, id);
    return st == QUERN_OK ? id : fail(b, st);
}

symbol_id grammar_terminal(struct grammar_builder *b, expr_id x, const char *name) {
    return x == GRAMMAR_NONE ? x : shared_symbol(b, SYMBOL_TERMINAL, x, name);
}

symbol_id grammar_literal(struct grammar_builder *b, const char *text) {
    return grammar_terminal(b, expr_text(b, text), text);
}

symbol_id grammar_token(struct grammar_builder *b, int32_t token, const char *name) {
    if (token < 0)
        return regex_fail(&b->re, QUERN_ERR_ARG, "a token's id is negative");
    return shared_symbol(b, SYMBOL_TOKEN, (uint32_t)token, name);
}

symbol_id grammar_rule(struct grammar_builder *b, const char *name) {
    return add_symbol(b, SYMBOL_RULE, 0, name);
}

void grammar_produce(struct grammar_builder *b, symbol_id rule, const symbol_id *rhs, size_t n) {
    if (b->re.failed || rule == GRAMMAR_NONE)
        return;
    bool fine = rule < b->n_symbols && b->symbols[rule].kind == SYMBOL_RULE;
    for (size_t i = 0; i < n && fine; i++)
        fine = rhs[i] < b->n_symbols;
    if (!fine) {
        regex_fail(&b->re, QUERN_ERR_ARG, "a production names an unknown symbol");
        return;
    }
    if (b->rhs.n + n + b->n_productions >= b->limits.max_productions) {
        regex_fail(&b->re, QUERN_ERR_LIMIT, "too many productions");
        return;
    }
    enum quern_status st = budget_grow(&b->re.budget, &b->productions, &b->productions_capacity,
                                       b->n_productions + 1, sizeof *b->productions);
    uint32_t start = (uint32_t)b->rhs.n;
    for (size_t i = 0; i < n && st == QUERN_OK; i++)
        st = u32s_push(&b->re.budget, &b->rhs, rhs[i]);
    if (st != QUERN_OK) {
        fail(b, st);
        return;
    }
    b->productions[b->n_productions++] =
        (struct production){rule, b->symbols[rule].value, start, (uint32_t)n};
    b->symbols[rule].value = (uint32_t)b->n_productions;
}

void grammar_produce1(struct grammar_builder *b, symbol_id rule, symbol_id x) {
    grammar_produce(b, rule, &x, 1);
}

void grammar_produce2(struct grammar_builder *b, symbol_id rule, symbol_id x, symbol_id y) {
    grammar_produce(b, rule, (symbol_id[]){x, y}, 2);
}

void grammar_produce3(struct grammar_builder *b, symbol_id rule, symbol_id x, symbol_id y,
                      symbol_id z) {
    grammar_produce(b, rule, (symbol_id[]){x, y, z}, 3);
}

symbol_id grammar_empty(struct grammar_builder *b) {
    if (b->empty == GRAMMAR_NONE) {
        b->empty = grammar_rule(b, "nothing");
        grammar_produce(b, b->empty, NULL, 0);
    }
    return b->empty;
}

symbol_id grammar_sequence(struct grammar_builder *b, const symbol_id *x, size_t n) {
    if (n == 0)
        return grammar_empty(b);
    if (n == 1)
        return x[0];
    symbol_id rule = grammar_rule(b, NULL);
    grammar_produce(b, rule, x, n);
    return rule;
}

symbol_id grammar_sequence2(struct grammar_builder *b, symbol_id x, symbol_id y) {
    return grammar_sequence(b, (symbol_id[]){x, y}, 2);
}

symbol_id grammar_sequence3(struct grammar_builder *b, symbol_id x, symbol_id y, symbol_id z) {
    return grammar_sequence(b, (symbol_id[]){x, y, z}, 3);
}

symbol_id grammar_alternatives(struct grammar_builder *b, const symbol_id *x, size_t n) {
    if (n == 1)
        return x[0];
    if (n == 0)
        return grammar_terminal(b, RE_ID_NOTHING, "nothing");
    symbol_id rule = grammar_rule(b, NULL);
    for (size_t i = 0; i < n; i++)
        grammar_produce1(b, rule, x[i]);
    return rule;
}

symbol_id grammar_alternatives2(struct grammar_builder *b, symbol_id x, symbol_id y) {
    return grammar_alternatives(b, (symbol_id[]){x, y}, 2);
}

symbol_id grammar_optional(struct grammar_builder *b, symbol_id x) {
    return grammar_repeat(b, x, 0, 1);
}

static symbol_id repeat_get(struct grammar_builder *b, symbol_id x, uint32_t min, uint32_t max);

/* The productions of x{min,max}, halved so that each is unambiguous and the depth log max:
 *   x{n}     = x{n/2} x{n - n/2}
 *   x{0,n}   = x{0,h-1} | x{h} x{0,n-h}   with h = n/2 rounded up
 *   x{m,n}   = x{m} x{0,n-m}     x{0,inf} = empty | x{0,inf} x */
static void repeat_define(struct grammar_builder *b, symbol_id rule, symbol_id x, uint32_t min,
                          uint32_t max) {
    if (min == 0 && max == GRAMMAR_INF) {
        grammar_produce(b, rule, NULL, 0);
        grammar_produce2(b, rule, rule, x);
    } else if (min == max) {
        grammar_produce2(b, rule, repeat_get(b, x, min / 2, min / 2),
                         repeat_get(b, x, min - min / 2, min - min / 2));
    } else if (min == 0) {
        uint32_t h = max - max / 2;
        grammar_produce1(b, rule, repeat_get(b, x, 0, h - 1));
        grammar_produce2(b, rule, repeat_get(b, x, h, h), repeat_get(b, x, 0, max - h));
    } else {
        grammar_produce2(b, rule, repeat_get(b, x, min, min),
                         repeat_get(b, x, 0, max == GRAMMAR_INF ? max : max - min));
    }
}

static symbol_id repeat_get(struct grammar_builder *b, symbol_id x, uint32_t min, uint32_t max) {
    if (b->re.failed || x == GRAMMAR_NONE)
        return GRAMMAR_NONE;
    if (max == 0)
        return grammar_empty(b);
    if (min == 1 && max == 1)
        return x;
    uint32_t key[3] = {x, min, max}, hash = intern_hash(key, sizeof key, 7);
    size_t cursor = SIZE_MAX;
    for (uint32_t id; (id = id_table_next(&b->repeats, hash, &cursor)) != GRAMMAR_NONE;)
        if (memcmp(b->repeat_keys.v + 4 * (size_t)id, key, sizeof key) == 0)
            return b->repeat_keys.v[4 * (size_t)id + 3];
    symbol_id rule = grammar_rule(b, NULL);
    enum quern_status st =
        id_table_add(&b->re.budget, &b->repeats, hash, (uint32_t)(b->repeat_keys.n / 4));
    for (int i = 0; i < 4 && st == QUERN_OK; i++)
        st = u32s_push(&b->re.budget, &b->repeat_keys, i < 3 ? key[i] : rule);
    if (st != QUERN_OK)
        return fail(b, st);
    repeat_define(b, rule, x, min, max);
    return rule;
}

symbol_id grammar_repeat(struct grammar_builder *b, symbol_id x, uint32_t min, uint32_t max) {
    if (min > max || min == GRAMMAR_INF)
        return regex_fail(&b->re, QUERN_ERR_ARG, "a repetition has a minimum above its maximum");
    return repeat_get(b, x, min, max);
}

symbol_id grammar_separated(struct grammar_builder *b, symbol_id x, symbol_id separator,
                            uint32_t min, uint32_t max) {
    if (min > max)
        return regex_fail(&b->re, QUERN_ERR_ARG, "a repetition has a minimum above its maximum");
    if (max == 0)
        return grammar_empty(b);
    symbol_id more = grammar_repeat(b, grammar_sequence2(b, separator, x), min ? min - 1 : 0,
                                    max == GRAMMAR_INF ? max : max - 1);
    symbol_id some = grammar_sequence2(b, x, more);
    return min ? some : grammar_optional(b, some);
}

void grammar_start(struct grammar_builder *b, symbol_id start) {
    b->start = start;
}
