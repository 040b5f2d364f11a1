/* bpe.h - byte pair encoding of one word after another, exactly as Hugging Face's: again and
 * again the pair of neighbours whose merge comes first in the file, the leftmost of equals. */
#ifndef QUERN_TOKENIZER_BPE_H
#define QUERN_TOKENIZER_BPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"

enum { BPE_NO_MERGE = 0x7FFFFFFF }; /* above every rank */

struct bpe_merge {
    uint32_t left, right, id; /* its index is its rank */
};

struct bpe_slot {
    uint32_t tag;  /* high half of the hash */
    uint32_t rank; /* BPE_NO_MERGE: free */
};

struct bpe {
    const struct vocab *vocab;
    struct bpe_merge *merges; /* [n_merges] */
    uint32_t n_merges, capacity;
    struct bpe_slot *slots; /* (left, right) -> rank */
    size_t mask;
    uint64_t seed;
    int32_t byte_ids[256]; /* VOCAB_NONE: the byte has no token */
    uint32_t *byte_pairs;  /* [256 * 256] rank of the merge of two bytes' tokens */
    int32_t unk_id;        /* stands for bytes without a token; VOCAB_NONE: they vanish */
    bool fuse_unk, ignore_merges;
    /* [n_ids] Whether the token's own bytes are encoded as that token alone. Found out when
     * first asked, by whichever thread; all find the same. */
    _Atomic uint8_t *whole;
    struct bpe_cuts *cuts; /* NULL when some byte has no token */
};

/* Merges are added in the order of their ranks; then bpe_finish makes the tables. */
enum quern_status bpe_add_merge(struct bpe *b, struct bpe_merge m, struct quern_error *err);
enum quern_status bpe_finish(struct bpe *b, const struct vocab *vocab, struct quern_error *err);
void bpe_release(struct bpe *b); /* zeroed is fine */

struct bpe_cache_slot;
struct bpe_queue;

/* The state of one call to tokenizer_encode. */
struct bpe_encoder {
    const struct bpe *bpe;
    struct token_ids *out;
    const unsigned char *limit;   /* end of the text that words are taken from: readable up to it */
    struct bpe_cache_slot *cache; /* words of this call; NULL: none */
    size_t cache_mask;
    struct bpe_queue *queue; /* for long words, made when the first is met */
};

/* `text_bytes`: how much is going to be encoded. */
enum quern_status bpe_encoder_init(struct bpe_encoder *e, const struct bpe *b, size_t text_bytes,
                                   struct token_ids *out);
void bpe_encoder_release(struct bpe_encoder *e);
/* Appends the ids of a word (len > 0). Fails only when memory runs out or the word is
 * beyond BPE_WORD_MAX bytes. */
enum { BPE_WORD_MAX = 1 << 30 };
enum quern_status bpe_encode_word(struct bpe_encoder *e, const unsigned char *word, size_t len);

enum quern_status token_ids_reserve(struct token_ids *t, size_t extra);

/* ---- between bpe.c, bpe_cuts.c and bpe_long.c ---------------------------------- */

/* Every byte must have a token of its own. */
bool bpe_cuts_create(const struct bpe *b, struct bpe_cuts **out);
/* The first place after `from` that no merge crosses, or len. */
size_t bpe_next_cut(const struct bpe_cuts *c, const unsigned char *word, size_t len, size_t from);

uint32_t bpe_find_merge(const struct bpe *b, uint32_t left, uint32_t right);
/* Merges ids[n] in place in time that grows with n alone; returns how many remain. */
enum quern_status bpe_merge_long(const struct bpe *b, struct bpe_queue **queue, uint32_t *ids,
                                 size_t n, size_t *n_left);
void bpe_queue_destroy(struct bpe_queue *q); /* NULL is fine */

#endif
