/* bpe_train.h - learning byte pair encoding: the merges that Hugging Face's BpeTrainer finds, ties
 * and all. */
#ifndef QUERN_TOKENIZER_BPE_TRAIN_H
#define QUERN_TOKENIZER_BPE_TRAIN_H

#include "base/arena.h"
#include "tokenizer/word_count.h"

enum { BPE_ALPHABET = 256 };

struct bpe_train_options {
    size_t vocab_size;       /* with the 256 bytes, without added tokens */
    uint64_t min_frequency;  /* of a pair that is merged */
    size_t max_token_length; /* tokens are shorter than this many bytes; 0: no limit. As
                                BpeTrainer(max_token_length) has it, pairs of bytes pass always */
    void (*on_progress)(void *user, double fraction); /* may be NULL */
    void *user;
};

struct bpe_trained_merge {
    uint32_t left, right;
};

struct bpe_trained {
    struct arena arena;
    struct str *tokens; /* [n_tokens] the bytes of each */
    size_t n_tokens;
    struct bpe_trained_merge *merges; /* [n_merges] */
    size_t n_merges;
};

/* The order of `words` does not matter. *out is released also after a failure. */
enum quern_status bpe_train(const struct word_count *words, size_t n,
                            const struct bpe_train_options *options, struct bpe_trained *out,
                            struct quern_error *err);
void bpe_trained_release(struct bpe_trained *t); /* zeroed is fine */

#endif
