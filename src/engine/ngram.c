#include "engine/ngram.h"

#include <stdlib.h>
#include <string.h>

static size_t slot_of(const struct ngram_index *x, const int32_t *tokens) {
    uint64_t h = 0;
    for (size_t i = 0; i < NGRAM_TOKENS; i++)
        h = (h ^ (uint32_t)tokens[i]) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 32) & (x->n_slots - 1);
}

enum quern_status ngram_init(struct ngram_index *x, size_t capacity, struct quern_error *err) {
    size_t n = 64;
    while (n < capacity && n < (size_t)1 << 24)
        n *= 2;
    *x = (struct ngram_index){.n_slots = n};
    x->last = calloc(n, sizeof *x->last);
    return x->last ? QUERN_OK : error_nomem(err);
}

void ngram_release(struct ngram_index *x) {
    free(x->last);
    *x = (struct ngram_index){0};
}

const int32_t *ngram_guess(struct ngram_index *x, const int32_t *tokens, size_t n, size_t most,
                           size_t *n_found) {
    *n_found = 0;
    /* The n-gram at the end must not find itself: it goes in with the next token. */
    size_t end = x->n_indexed > NGRAM_TOKENS ? x->n_indexed : NGRAM_TOKENS;
    for (; end < n; end++)
        x->last[slot_of(x, tokens + end - NGRAM_TOKENS)] = (uint32_t)end + 1;
    x->n_indexed = n;
    if (n < NGRAM_TOKENS + 1)
        return NULL;
    const int32_t *key = tokens + n - NGRAM_TOKENS;
    const size_t found = x->last[slot_of(x, key)];
    if (!found || memcmp(tokens + found - 1 - NGRAM_TOKENS, key, NGRAM_TOKENS * sizeof *key) != 0)
        return NULL;
    *n_found = n - (found - 1) < most ? n - (found - 1) : most;
    return tokens + found - 1;
}
