/* vocab.h - tokens by id and by bytes. */
#ifndef QUERN_TOKENIZER_VOCAB_H
#define QUERN_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

/* A token spelled only with GPT-2's alphabet is kept as the bytes it stands for; any other
 * as its spelling: it matches no text, but merges and added tokens may name it. */
struct vocab_token {
    uint32_t offset; /* into bytes */
    uint32_t len : 30;
    uint32_t literal : 1; /* kept as its spelling */
    uint32_t used : 1;
};

struct vocab_slot {
    uint32_t tag; /* high half of the hash */
    uint32_t id;  /* UINT32_MAX: free */
};

struct vocab {
    unsigned char *bytes; /* readable for 16 bytes beyond n_bytes */
    size_t n_bytes;
    struct vocab_token *tokens; /* [n_ids] */
    uint32_t n_ids;             /* largest id + 1 */
    uint32_t n_tokens;          /* ids in use */
    struct vocab_slot *slots;   /* a power of two of them */
    size_t mask;
    uint64_t seed; /* of the hashes; drawn, so that no file can make them collide */
};

enum { VOCAB_NONE = -1 };

/* What vocab_build takes: tokens' bytes lie one after another in `bytes`. */
struct vocab_entry {
    struct vocab_token token;
    uint32_t id;
};

/* Takes over `bytes` (malloc'ed, 16 readable bytes beyond n_bytes), also on failure. */
enum quern_status vocab_build(struct vocab *v, unsigned char *bytes, size_t n_bytes,
                              const struct vocab_entry *entries, size_t n_entries,
                              struct quern_error *err);
void vocab_release(struct vocab *v); /* zeroed is fine */

int32_t vocab_find(const struct vocab *v, const unsigned char *bytes, size_t len, bool literal);
/* Whether the token `id` (any number) is these bytes. */
bool vocab_is(const struct vocab *v, int32_t id, const unsigned char *bytes, size_t len);
/* As tokenizer.json spells it. `scratch` has room for spelling.len bytes. */
int32_t vocab_find_spelling(const struct vocab *v, struct str spelling, unsigned char *scratch);

static inline struct str vocab_bytes(const struct vocab *v, uint32_t id) {
    return (struct str){(const char *)v->bytes + v->tokens[id].offset, v->tokens[id].len};
}

#endif
