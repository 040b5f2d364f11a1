/* shortest.h - the shortest texts of expressions and how long they are. */
#ifndef QUERN_GRAMMAR_SHORTEST_H
#define QUERN_GRAMMAR_SHORTEST_H

#include "grammar/regex.h"

#define SHORTEST_NONE UINT32_MAX /* there is no text, or none was found within the fuel */

/* What is known of a store's expressions. Zeroed is nothing; counted among the store's bytes. */
struct shortest {
    struct pair_map low;   /* at least so many bytes */
    struct pair_map exact; /* just so many; SHORTEST_NONE where a search gave up */
    struct pair_map next;  /* the first byte of a shortest text, where only a search finds it */
};

/* A sum that stays below SHORTEST_NONE unless a part is that. */
static inline uint32_t shortest_add(uint32_t a, uint32_t b) {
    if (a == SHORTEST_NONE || b == SHORTEST_NONE)
        return SHORTEST_NONE;
    return a > SHORTEST_NONE - 1 - b ? SHORTEST_NONE - 1 : a + b;
}

/* Bounds are found without derivatives. A search spends the store's fuel; one that runs out of it
 * is no failure of the store. */
uint32_t shortest_low(struct shortest *t, struct regex_store *re, expr_id x);
uint32_t shortest_length(struct shortest *t, struct regex_store *re, expr_id x);
/* Appends the bytes of a shortest text, one a number; at most `max` numbers in all. */
bool shortest_write(struct shortest *t, struct regex_store *re, expr_id x, size_t max,
                    struct budget *b, struct u32s *out);
void shortest_release(struct shortest *t);

#endif
