/* ending.h - the shortest way to a text's end, for answers that must be whole in time. */
#ifndef QUERN_GRAMMAR_ENDING_H
#define QUERN_GRAMMAR_ENDING_H

#include "grammar/matcher.h"

enum { ENDING_MAX = 1 << 20, ENDING_TOKEN = 256 };

/* What may follow to end the text soonest: bytes, and tokens as ENDING_TOKEN + id. Zeroed is
 * empty. */
struct ending {
    uint32_t *steps;
    size_t n, at;
};

/* Works out how soon each rule and terminal can end, once for a grammar, of which the size says how
 * long that takes: milliseconds for most. ending_find does it where it was not done. */
bool ending_prepare(struct grammar *g);
/* Replaces *out, which is released by ending_release. False: there is no memory, or the search for
 * the shortest text of an expression gave up; the matcher is as it was. */
bool ending_find(struct matcher *m, struct ending *out);
void ending_release(struct ending *e);
/* How many steps it has, without writing it down: at least as many as tokens. False as above. */
bool ending_length(struct matcher *m, uint32_t *n_steps);
/* The next token of it: the longest whose bytes come next. -1: it is over. Advance `at` by what
 * the token covers, which is at least one step. */
int32_t ending_next_token(const struct ending *e, const struct token_image *image, size_t *n_steps);
/* The tokens from `at` to its end. */
size_t ending_count(const struct ending *e, const struct token_image *image);

#endif
