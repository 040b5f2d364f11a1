/* builder.h - what a builder holds; compile.c takes it over. */
#ifndef QUERN_GRAMMAR_BUILDER_H
#define QUERN_GRAMMAR_BUILDER_H

#include "grammar/regex.h"

enum symbol_kind { SYMBOL_TERMINAL, SYMBOL_TOKEN, SYMBOL_RULE };

struct symbol {
    uint8_t kind;
    uint32_t value;          /* the expression; the token id; for a rule its first production + 1 */
    uint32_t name, name_len; /* in builder.names */
};

struct production {
    uint32_t rule, next; /* the next of the same rule + 1, newest first */
    uint32_t rhs, n;     /* in builder.rhs */
};

struct grammar_builder {
    struct grammar_limits limits;
    struct regex_store re;
    struct symbol *symbols;
    size_t n_symbols, symbols_capacity;
    struct production *productions;
    size_t n_productions, productions_capacity;
    struct u32s rhs;
    char *names;
    size_t n_names, names_capacity;
    struct pair_map terminals; /* kind << 32 | value -> symbol */
    struct id_table repeats;   /* of (symbol, min, max) -> symbol */
    struct u32s repeat_keys;   /* four a piece */
    symbol_id start, empty;
};

void builder_release(struct grammar_builder *b);
struct str symbol_name(const struct grammar_builder *b, symbol_id x);

#endif
