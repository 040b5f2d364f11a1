/* grammar_engine.h - a compiled grammar: an Earley recogniser whose rows and sets of positions are
 * interned, so that equal ids mean equal futures.
 *
 *   item      a production with a dot; item + 1 is the dot one further
 *   row       the items at a place where a terminal has just ended, each with its origin row;
 *             completed items are left out, so left recursion repeats the same row
 *   lexer     the terminals being read, each with what is left of its expression
 *   set       all (row, lexer) pairs alive after the bytes so far: every way of cutting them
 *             into terminals at once; and whether the text may end here */
#ifndef QUERN_GRAMMAR_GRAMMAR_ENGINE_H
#define QUERN_GRAMMAR_GRAMMAR_ENGINE_H

#include "grammar/builder.h"

struct span {
    uint32_t start, n;
};

struct row {
    struct span kernel; /* in pool: (item, origin) ascending */
    struct span items;  /* in pool: (item, origin) ascending by the symbol after the dot */
    uint32_t lexer;     /* where reading starts; 0: nothing may follow */
    bool accepts;
};

struct lexer_state {
    struct span pairs;   /* in pool: (symbol, expression) ascending */
    struct span accepts; /* in pool: terminals that may end here */
    uint32_t next;       /* in pool: a state for each byte class (lexer.c) */
};

enum { SET_DEAD = 0, LEXER_DEAD = 0 };

struct mask_cache;
struct distances; /* ending.c */

struct grammar {
    struct grammar_builder b;
    struct span *productions; /* of each rule: in rule_items */
    uint32_t *rule_items, *dots, *item_rules;
    size_t n_items;
    bool *nullable; /* of each symbol */
    struct u32s pool, work, list;
    uint32_t *stamps, stamp; /* of each item, while predicting */
    struct row *rows;
    size_t n_rows, rows_capacity;
    struct lexer_state *lexers;
    size_t n_lexers, lexers_capacity;
    struct span *sets; /* in pool: can end, then (row, lexer) ascending */
    size_t n_sets, sets_capacity;
    struct span *advances; /* in pool: accepts, then (item, origin) */
    size_t n_advances, advances_capacity;
    struct id_table row_table, lexer_table, set_table;
    struct pair_map advance_map, step_map, exit_map;
    struct pair_map forced_map; /* set -> the token that must follow + 1, or 0 (forced.c) */
    uint32_t start_set;
    struct mask_cache *masks;
    struct distances *distances; /* NULL: not worked out yet */
};

#define DOT_END GRAMMAR_NONE

/* All: GRAMMAR_NONE when g->b.re has failed. */
uint32_t lexer_intern(struct grammar *g, struct u32s *pairs);
uint32_t lexer_derive(struct grammar *g, uint32_t lexer, unsigned byte); /* lexer_step's work */
uint32_t row_start(struct grammar *g);
uint32_t set_of_row(struct grammar *g, uint32_t row);
uint32_t set_step(struct grammar *g, uint32_t set, unsigned byte);
/* After `terminal` ended in `set` at this very place: the token terminals. */
uint32_t set_token(struct grammar *g, uint32_t set, uint32_t token);
/* The row that follows `row` when any of the terminals `lexer` accepts ends. */
uint32_t row_exit(struct grammar *g, uint32_t row, uint32_t lexer);
void mask_cache_destroy(struct mask_cache *c);
void distances_destroy(struct distances *d); /* NULL is fine */

/* An entry of a lexer's table not known yet: the least of them, and the number of the class of bytes
 * that this state does not tell apart. */
#define LEXER_UNKNOWN 0xffffff00u

static inline uint32_t lexer_step(struct grammar *g, uint32_t lexer, unsigned byte) {
    const uint32_t next = g->pool.v[g->lexers[lexer].next + (size_t)g->b.re.class_of[byte]];
    return next < LEXER_UNKNOWN ? next : lexer_derive(g, lexer, byte);
}
static inline bool set_can_end(const struct grammar *g, uint32_t set) {
    return g->pool.v[g->sets[set].start] != 0;
}
static inline uint32_t grammar_fail(struct grammar *g, enum quern_status st) {
    return regex_fail(&g->b.re, st, "the matcher passes the limit of bytes");
}

#endif
