/* mask_walk.h - walks over the trie with a lexer state. */
#ifndef QUERN_GRAMMAR_MASK_WALK_H
#define QUERN_GRAMMAR_MASK_WALK_H

#include "grammar/mask_cache.h"

struct walk {
    struct grammar *g;
    const struct token_image *image;
    struct lexer_mask *out;
    struct u32s *ranks;    /* instead of bits: (from, to) */
    struct u32s *replaced; /* with a base: nodes (from, to) whose part of it is not taken */
    const struct u32s *avoided; /* without one: nodes, ascending, that are left out; or NULL */
    uint32_t base;         /* the lexer state whose mask is there already, or dead */
    struct budget *budget;
};

/* All: false when g->b.re has failed. */
bool walk_fail(struct walk *w, enum quern_status st);
bool walk_add_exit(struct walk *w, uint32_t node, uint32_t lexer, uint32_t twin);
bool walk_take_ranks(struct walk *w, uint32_t from, uint32_t to);
/* Nodes `from` to `to`, all below one that was reached with `lexer`. */
bool walk_nodes(struct walk *w, uint32_t lexer, uint32_t from, uint32_t to);

/* A terminal that is such a loop now. */
struct loop_state {
    symbol_id terminal;
    struct loop_place place;
    struct loop_mask *mask;
    uint64_t tail_first[4];
};
/* out->mask NULL: no loop, or one whose end is not told by the next byte. */
bool loop_of_pair(struct grammar *g, const struct token_image *m, symbol_id terminal, expr_id x,
                  struct loop_state *out);

/* fixed_mask.c: reads from node `start` on what of `lexer` is fixed texts. *rest: the state of
 * what is left; `lexer` itself when there are none. */
bool walk_fixed(struct walk *w, uint32_t lexer, uint32_t start, uint32_t *rest);

#endif
