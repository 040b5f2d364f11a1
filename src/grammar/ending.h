/* ending.h - the shortest way to a text's end, for answers that must be whole in time. */
#ifndef QUERN_GRAMMAR_ENDING_H
#define QUERN_GRAMMAR_ENDING_H

#include "grammar/matcher.h"

enum { ENDING_MAX = 4096, ENDING_TOKEN = 256 };

/* What may follow to end the text soonest: bytes, and tokens as ENDING_TOKEN + id. */
struct ending {
    uint32_t steps[ENDING_MAX];
    size_t n, at;
};

/* False: none was found within the limits of the search; the matcher is as it was. */
bool ending_find(struct matcher *m, struct ending *out);
/* The next token of it: the longest whose bytes come next. -1: it is over. Advance `at` by what
 * the token covers, which is at least one step. */
int32_t ending_next_token(const struct ending *e, const struct token_image *image, size_t *n_steps);

#endif
