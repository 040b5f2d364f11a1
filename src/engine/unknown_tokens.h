/* unknown_tokens.h - ids a model has and its tokenizer does not: padding at the end of the
 * vocabulary, gaps within. What cannot be decoded must never be sampled. */
#ifndef QUERN_ENGINE_UNKNOWN_TOKENS_H
#define QUERN_ENGINE_UNKNOWN_TOKENS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct unknown_tokens {
    int32_t n_known;     /* ids from here up are padding */
    const int32_t *gaps; /* [n_gaps] and so are these; borrowed */
    size_t n_gaps;
};

static inline void unknown_tokens_forbid(const struct unknown_tokens *u, float *logits,
                                         int32_t n_vocab) {
    for (int32_t i = u->n_known; i < n_vocab; i++)
        logits[i] = -INFINITY;
    for (size_t i = 0; i < u->n_gaps; i++)
        if (u->gaps[i] < n_vocab)
            logits[u->gaps[i]] = -INFINITY;
}

#endif
