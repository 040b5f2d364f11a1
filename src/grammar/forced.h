/* forced.h - text without a choice, cut into tokens as the tokenizer cuts it. */
#ifndef QUERN_GRAMMAR_FORCED_H
#define QUERN_GRAMMAR_FORCED_H

#include "grammar/grammar_engine.h"
#include "grammar/token_image.h"

/* The byte that must follow `set`: FORCED_NONE where several may, or the text may end, or a token
 * terminal may come. */
enum { FORCED_NONE = -1, FORCED_FAILED = -2 };
int forced_byte(struct grammar *g, uint32_t set);

/* The token that must follow `set` if the text is to be cut as the tokenizer cuts it, and the set
 * after it. FORCED_NONE: there is a choice of bytes within the token or right behind it, so that
 * another token might have spanned both; a token terminal is forced where nothing else may follow.
 * A function of the set alone: the same whoever asks, and when. */
int32_t forced_token(struct grammar *g, const struct token_image *image, uint32_t set,
                     uint32_t *next);

#endif
