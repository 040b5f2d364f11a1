/* tokenizer_write.h - tokenizer.json of a trained byte pair encoding with Qwen's normalizer, pattern
 * and decoder, as Hugging Face's `tokenizers` saves it. */
#ifndef QUERN_TOKENIZER_TOKENIZER_WRITE_H
#define QUERN_TOKENIZER_TOKENIZER_WRITE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "tokenizer/bpe_train.h"

struct token_to_add {
    struct str content;
    bool special;
};

/* Qwen3's 26: ids follow those of the vocabulary, so they must be asked for with their number. */
const struct token_to_add *tokenizer_qwen3_added(size_t *n);

/* An added token that the vocabulary has is that one; the others get the ids after it. A failure
 * is in *out. */
void tokenizer_write(const struct bpe_trained *t, const struct token_to_add *added, size_t n_added,
                     struct buffer *out);

#endif
