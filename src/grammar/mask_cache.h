/* mask_cache.h - what mask.c and lexer_mask.c share. */
#ifndef QUERN_GRAMMAR_MASK_CACHE_H
#define QUERN_GRAMMAR_MASK_CACHE_H

#include "grammar/loop_mask.h"
#include "grammar/mask.h"

/* A place where a terminal may end and a token goes on. Places with the same twin have the
 * same tokens below them. */
struct mask_exit {
    uint32_t node, lexer, twin;
};

struct lexer_mask {
    uint32_t *bits; /* tokens that stay within the terminals */
    struct mask_exit *exits;
    size_t n_exits, exits_capacity;
};

/* Of a pair: a lexer state's mask, and more. */
struct pair_mask {
    const uint32_t *bits; /* of its lexer state */
    uint32_t *own;        /* instead, where too many are added; or NULL */
    uint32_t *added;      /* tokens */
    size_t n_added;
};

/* All bytes of these groups lead from a lexer state to the same one, where no terminal ends. */
struct lexer_run {
    uint64_t groups;
    uint32_t next;
};

struct mask_cache {
    const struct token_image *image;
    unsigned nested; /* bases being made */
    bool off; /* nothing is remembered or taken from loops: for tests */
    struct pair_map by_lexer, by_pair, by_loop, by_groups, by_run; /* -> index */
    struct lexer_run *runs;
    size_t n_runs, runs_capacity;
    uint64_t *groups;
    size_t n_groups, groups_capacity;
    struct lexer_mask *lexer_masks;
    size_t n_lexer_masks, lexer_capacity;
    struct pair_mask *pair_masks;
    size_t n_pair_masks, pair_capacity;
    struct loop_mask **loops; /* NULL: such a loop is not read like a character */
    size_t n_loops, loops_capacity;
    struct budget budget;
};

enum { WALK_DEPTH = 512 };

static inline size_t mask_words(const struct token_image *m) {
    return ((size_t)m->n_tokens + 31) / 32;
}
static inline void mask_or(uint32_t *restrict to, const uint32_t *restrict from, size_t n) {
    for (; n >= 16; n -= 16, to += 16, from += 16)
        for (size_t k = 0; k < 16; k++)
            to[k] |= from[k];
    for (size_t k = 0; k < n; k++)
        to[k] |= from[k];
}
static inline void mask_set_ranks(const struct token_image *m, uint32_t from, uint32_t to,
                                  uint32_t *bits) {
    for (; from < to; from++) {
        uint32_t id = (uint32_t)m->tokens[from];
        bits[id / 32] |= 1u << (id % 32);
    }
}

/* The state whose mask is that of `lexer`: counts beyond all tokens do not matter. */
uint32_t lexer_mask_alias(struct grammar *g, const struct token_image *m, uint32_t lexer);
/* Groups of bytes: with which a lexer state goes on (and perhaps others), and which all lead back to
 * it. False: g->b.re has failed. */
bool lexer_first(struct grammar *g, const struct token_image *m, uint32_t lexer, uint64_t *out);
bool lexer_loop(struct grammar *g, const struct token_image *m, uint32_t lexer, uint64_t *out);
/* Valid until the cache is emptied or grows. NULL: g->b.re has failed. */
const struct lexer_mask *lexer_mask_get(struct grammar *g, const struct token_image *m,
                                        uint32_t lexer);
void lexer_mask_release(struct lexer_mask *lm);

#endif
