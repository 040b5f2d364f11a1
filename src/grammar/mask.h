/* mask.h - which tokens may follow, cached for each lexer state and each (row, lexer) pair. */
#ifndef QUERN_GRAMMAR_MASK_H
#define QUERN_GRAMMAR_MASK_H

#include "grammar/grammar_engine.h"
#include "grammar/token_image.h"

/* Caches of a grammar belong to one image. */
struct mask_cache *mask_cache_create(const struct token_image *image);
/* From now on every mask is made anew, token by token: what the caches must agree with. The
 * grammar has a matcher with an image. */
void mask_cache_turn_off(struct grammar *g);
/* Sets the bits of the tokens that `set` allows in bits[(n_tokens + 31) / 32], which are ORed.
 * False: g->b.re has failed. */
bool mask_of_set(struct grammar *g, const struct token_image *image, uint32_t set, uint32_t *bits);

#endif
