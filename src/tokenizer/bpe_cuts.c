/* Places in a long word that no merge can ever cross: what lies on either side of them is encoded
 * on its own, with the same result. Chinese without a space falls apart into characters and pairs
 * of them. A merge of L and R crosses a place when the bytes before it end with L and those after
 * it begin with R; remembered are the last bytes of every L with the first bytes of its R. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer/bpe.h"
#include "tokenizer/hash.h"

enum { REACH = 3 }; /* bytes remembered of either side: a character of Chinese */

struct bpe_cuts {
    uint64_t
        byte_pairs[256 * 256 / 64]; /* bit: some L ends with the one, its R begins with the other */
    uint64_t mask;
    uint64_t bits[]; /* a Bloom filter of the sides; it may only hide a cut */
};

/* n bytes as a number, with a mark above them. */
static uint64_t side(const unsigned char *p, size_t n) {
    uint64_t value = 1;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

static uint64_t bit_of(const struct bpe_cuts *c, uint64_t left, uint64_t right) {
    return hash_fold(left << 32 | right, 0x9e3779b97f4a7c15u) & c->mask;
}

static void remember(struct bpe_cuts *c, struct str left, struct str right) {
    const unsigned char *l = (const unsigned char *)left.ptr, *r = (const unsigned char *)right.ptr;
    size_t n_left = left.len < REACH ? left.len : REACH;
    size_t n_right = right.len < REACH ? right.len : REACH;
    unsigned pair = (unsigned)l[left.len - 1] << 8 | r[0];
    c->byte_pairs[pair / 64] |= (uint64_t)1 << pair % 64;
    uint64_t bit = bit_of(c, side(l + left.len - n_left, n_left), side(r, n_right));
    c->bits[bit / 64] |= (uint64_t)1 << bit % 64;
}

bool bpe_cuts_create(const struct bpe *b, struct bpe_cuts **out) {
    size_t n_bits = 1 << 12;
    while (n_bits / 8 < b->n_merges)
        n_bits *= 2;
    struct bpe_cuts *c = calloc(1, sizeof *c + n_bits / 8);
    if (!c)
        return false;
    c->mask = n_bits - 1;
    for (uint32_t rank = 0; rank < b->n_merges; rank++) {
        const struct bpe_merge *m = &b->merges[rank];
        struct str left = vocab_bytes(b->vocab, m->left), right = vocab_bytes(b->vocab, m->right);
        if (left.len && right.len)
            remember(c, left, right);
    }
    *out = c;
    return true;
}

static bool may_cross(const struct bpe_cuts *c, const unsigned char *word, size_t len, size_t at) {
    unsigned pair = (unsigned)word[at - 1] << 8 | word[at];
    if (!(c->byte_pairs[pair / 64] >> pair % 64 & 1))
        return false;
    /* The look at more bytes pays between characters that are not ASCII. */
    if (word[at - 1] < 0x80 || word[at] < 0xC0)
        return true;
    for (size_t n_left = 1; n_left <= REACH && n_left <= at; n_left++) {
        uint64_t left = side(word + at - n_left, n_left);
        for (size_t n_right = 1; n_right <= REACH && n_right <= len - at; n_right++) {
            uint64_t bit = bit_of(c, left, side(word + at, n_right));
            if (c->bits[bit / 64] >> bit % 64 & 1)
                return true;
        }
    }
    return false;
}

size_t bpe_next_cut(const struct bpe_cuts *c, const unsigned char *word, size_t len, size_t from) {
    for (size_t at = from + 1; at < len; at++)
        if (!may_cross(c, word, len, at))
            return at;
    return len;
}
