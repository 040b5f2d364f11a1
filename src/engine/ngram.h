/* ngram.h - guesses by prompt lookup: what followed the last few tokens when they occurred
 * before in the same sequence. */
#ifndef QUERN_ENGINE_NGRAM_H
#define QUERN_ENGINE_NGRAM_H

#include <stdint.h>

#include "base/error.h"

enum { NGRAM_TOKENS = 3 };

struct ngram_index {
    uint32_t *last;   /* [n_slots] by hash of NGRAM_TOKENS tokens: where they last ended, + 1 */
    size_t n_slots;   /* a power of two, or 0 */
    size_t n_indexed; /* tokens whose n-grams are in the table, the very last one excepted */
};

/* For sequences of up to `capacity` tokens. */
enum quern_status ngram_init(struct ngram_index *x, size_t capacity, struct quern_error *err);
void ngram_release(struct ngram_index *x); /* zeroed is fine */

/* Points at what followed the last occurrence of the last tokens of tokens[n]; *n_found of at most
 * `most`, 0 when there was none. tokens must be the sequence of the call before and what was
 * appended since. */
const int32_t *ngram_guess(struct ngram_index *x, const int32_t *tokens, size_t n, size_t most,
                           size_t *n_found);

#endif
