#include "tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "tokenizer/hash.h"

enum {
    /* Up to here looking through all pairs beats a queue; measured. */
    SHORT_WORD_MAX = 96,
    CACHE_WORD_MAX = 15,
    CACHE_IDS_MAX = 11,
    CACHE_SLOTS_MAX = 1 << 14, /* 1 MB: the share of the second-level cache it may take */
    CACHE_TEXT_MIN = 256,      /* shorter texts hardly repeat themselves */
    CUT_WORD_MIN = 16,         /* longer than what the cache holds */
};

enum whole_word { WHOLE_UNKNOWN, WHOLE_YES, WHOLE_NO };

/* One cache line. A word of at most 15 bytes, zero-padded, its length in the last byte. */
struct bpe_cache_slot {
    uint64_t key[2]; /* key[1] 0: free */
    uint32_t n;
    uint32_t ids[CACHE_IDS_MAX];
};
_Static_assert(sizeof(struct bpe_cache_slot) == 64, "a slot is a cache line");

void token_ids_release(struct token_ids *t) {
    if (!t)
        return;
    free(t->ids);
    *t = (struct token_ids){0};
}

enum quern_status token_ids_reserve(struct token_ids *t, size_t extra) {
    if (extra <= t->capacity - t->n)
        return QUERN_OK;
    if (extra > SIZE_MAX / sizeof *t->ids / 4 - t->n)
        return QUERN_ERR_NOMEM;
    size_t capacity = t->n + extra > 2 * t->capacity ? t->n + extra : 2 * t->capacity;
    int32_t *ids = realloc(t->ids, capacity * sizeof *ids);
    if (!ids)
        return QUERN_ERR_NOMEM;
    t->ids = ids;
    t->capacity = capacity;
    return QUERN_OK;
}

/* ---- the merges ---------------------------------------------------------------- */

enum quern_status bpe_add_merge(struct bpe *b, struct bpe_merge m, struct quern_error *err) {
    if (b->n_merges == b->capacity) {
        uint32_t capacity = b->capacity ? 2 * b->capacity : 1024;
        if (capacity >= BPE_NO_MERGE / 2)
            return error_set(err, QUERN_ERR_LIMIT, "model.merges: more than 2^29 merges");
        struct bpe_merge *merges = realloc(b->merges, capacity * sizeof *merges);
        if (!merges)
            return error_nomem(err);
        b->merges = merges;
        b->capacity = capacity;
    }
    b->merges[b->n_merges++] = m;
    return QUERN_OK;
}

static uint64_t pair_hash(const struct bpe *b, uint32_t left, uint32_t right) {
    return hash_fold(((uint64_t)left << 32 | right) ^ b->seed, 0x9e3779b97f4a7c15u);
}

static size_t find_slot(const struct bpe *b, uint32_t left, uint32_t right) {
    uint64_t hash = pair_hash(b, left, right);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t i = (size_t)hash & b->mask;; i = (i + 1) & b->mask) {
        struct bpe_slot slot = b->slots[i];
        if (slot.rank == BPE_NO_MERGE)
            return i;
        const struct bpe_merge *m = &b->merges[slot.rank];
        if (slot.tag == tag && m->left == left && m->right == right)
            return i;
    }
}

uint32_t bpe_find_merge(const struct bpe *b, uint32_t left, uint32_t right) {
    return b->slots[find_slot(b, left, right)].rank;
}

/* False when a byte has no token. */
static bool fill_byte_tables(struct bpe *b) {
    bool all = true;
    for (int i = 0; i < 256; i++) {
        unsigned char byte = (unsigned char)i;
        b->byte_ids[i] = vocab_find(b->vocab, &byte, 1, false);
        all = all && b->byte_ids[i] >= 0;
    }
    for (int i = 0; i < 256; i++)
        for (int j = 0; j < 256; j++) {
            bool both = b->byte_ids[i] >= 0 && b->byte_ids[j] >= 0;
            b->byte_pairs[i * 256 + j] =
                both ? bpe_find_merge(b, (uint32_t)b->byte_ids[i], (uint32_t)b->byte_ids[j])
                     : BPE_NO_MERGE;
        }
    return all;
}

enum quern_status bpe_finish(struct bpe *b, const struct vocab *vocab, struct quern_error *err) {
    size_t capacity = 64;
    while (capacity / 8 * 5 < b->n_merges) /* at most 5/8 full */
        capacity *= 2;
    b->vocab = vocab;
    b->seed = os_random();
    b->mask = capacity - 1;
    b->slots = malloc(capacity * sizeof *b->slots);
    b->byte_pairs = malloc(256 * 256 * sizeof *b->byte_pairs);
    b->whole = calloc(vocab->n_ids + 1, sizeof *b->whole);
    if (!b->slots || !b->byte_pairs || !b->whole)
        return error_nomem(err);
    for (size_t i = 0; i < capacity; i++)
        b->slots[i] = (struct bpe_slot){0, BPE_NO_MERGE};
    for (uint32_t rank = 0; rank < b->n_merges; rank++) {
        const struct bpe_merge *m = &b->merges[rank];
        /* A pair listed twice has its last rank, as in Hugging Face's map. */
        b->slots[find_slot(b, m->left, m->right)] =
            (struct bpe_slot){(uint32_t)(pair_hash(b, m->left, m->right) >> 32), rank};
    }
    bool all_bytes = fill_byte_tables(b);
    if (all_bytes && !bpe_cuts_create(b, &b->cuts))
        return error_nomem(err);
    return QUERN_OK;
}

void bpe_release(struct bpe *b) {
    free(b->merges);
    free(b->slots);
    free(b->byte_pairs);
    free(b->whole);
    free(b->cuts);
    *b = (struct bpe){0};
}

/* ---- words ----------------------------------------------------------------------- */

/* The tokens a word starts from. Bytes that have none become unk_id or vanish. */
static size_t split_bytes(const struct bpe *b, const unsigned char *word, size_t len,
                          uint32_t *ids) {
    size_t n = 0;
    bool after_unk = false;
    for (size_t i = 0; i < len; i++) {
        int32_t id = b->byte_ids[word[i]];
        bool unk = id < 0;
        if (unk) {
            id = b->unk_id;
            if (id < 0 || (after_unk && b->fuse_unk))
                continue;
        }
        after_unk = unk;
        ids[n++] = (uint32_t)id;
    }
    return n;
}

/* ids[n], ranks[n - 1]: the rank of each token's merge with the next. */
static size_t merge_short(const struct bpe *b, uint32_t *ids, uint32_t *ranks, size_t n) {
    while (n > 1) {
        uint32_t best = ranks[0];
        size_t at = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < best) {
                best = ranks[i];
                at = i;
            }
        if (best == BPE_NO_MERGE)
            break;
        ids[at] = b->merges[best].id;
        n--;
        for (size_t i = at + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            ranks[i - 1] = ranks[i];
        }
        if (at > 0)
            ranks[at - 1] = bpe_find_merge(b, ids[at - 1], ids[at]);
        if (at + 1 < n)
            ranks[at] = bpe_find_merge(b, ids[at], ids[at + 1]);
    }
    return n;
}

static size_t encode_short(const struct bpe *b, const unsigned char *word, size_t len,
                           uint32_t *ids) {
    uint32_t ranks[SHORT_WORD_MAX];
    size_t n = split_bytes(b, word, len, ids);
    if (n == len && b->unk_id < 0) {
        for (size_t i = 0; i + 1 < n; i++)
            ranks[i] = b->byte_pairs[word[i] * 256 + word[i + 1]];
    } else {
        for (size_t i = 0; i + 1 < n; i++)
            ranks[i] = bpe_find_merge(b, ids[i], ids[i + 1]);
    }
    return merge_short(b, ids, ranks, n);
}

/* Does the token's own text become the token again? Most do; then a look-up saves the merging. */
static bool is_whole(const struct bpe *b, uint32_t id) {
    if (b->ignore_merges)
        return true;
    uint8_t known = atomic_load_explicit(&b->whole[id], memory_order_relaxed);
    if (known == WHOLE_UNKNOWN) {
        struct str bytes = vocab_bytes(b->vocab, id);
        uint32_t ids[SHORT_WORD_MAX];
        bool whole = bytes.len <= SHORT_WORD_MAX &&
                     encode_short(b, (const unsigned char *)bytes.ptr, bytes.len, ids) == 1 &&
                     ids[0] == id;
        known = whole ? WHOLE_YES : WHOLE_NO;
        atomic_store_explicit(&b->whole[id], known, memory_order_relaxed);
    }
    return known == WHOLE_YES;
}

static enum quern_status encode_long(struct bpe_encoder *e, const unsigned char *word, size_t len) {
    if (len > BPE_WORD_MAX)
        return QUERN_ERR_LIMIT;
    uint32_t *ids = malloc(len * sizeof *ids);
    if (!ids)
        return QUERN_ERR_NOMEM;
    size_t n = split_bytes(e->bpe, word, len, ids);
    enum quern_status status = bpe_merge_long(e->bpe, &e->queue, ids, n, &n);
    if (!status)
        status = token_ids_reserve(e->out, n);
    for (size_t i = 0; !status && i < n; i++)
        e->out->ids[e->out->n++] = (int32_t)ids[i];
    free(ids);
    return status;
}

/* Appends the ids of a word by merging. */
static enum quern_status encode_merging(struct bpe_encoder *e, const unsigned char *word,
                                        size_t len) {
    if (len > SHORT_WORD_MAX)
        return encode_long(e, word, len);
    uint32_t ids[SHORT_WORD_MAX];
    size_t n = encode_short(e->bpe, word, len, ids);
    if (token_ids_reserve(e->out, n))
        return QUERN_ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        e->out->ids[e->out->n++] = (int32_t)ids[i];
    return QUERN_OK;
}

static enum quern_status encode_cached(struct bpe_encoder *e, const unsigned char *word, size_t len,
                                       bool may_cut);

/* Appends the ids of a word that the cache does not know. */
static enum quern_status encode_anew(struct bpe_encoder *e, const unsigned char *word, size_t len,
                                     bool may_cut) {
    int32_t id = vocab_find(e->bpe->vocab, word, len, false);
    if (id >= 0 && is_whole(e->bpe, (uint32_t)id)) {
        if (token_ids_reserve(e->out, 1))
            return QUERN_ERR_NOMEM;
        e->out->ids[e->out->n++] = id;
        return QUERN_OK;
    }
    if (!may_cut || len < CUT_WORD_MIN || !e->bpe->cuts)
        return encode_merging(e, word, len);
    enum quern_status status = QUERN_OK;
    for (size_t begin = 0, end; !status && begin < len; begin = end) {
        end = bpe_next_cut(e->bpe->cuts, word, len, begin);
        /* With ignore_merges words that are tokens are taken whole, but not pieces of words. */
        status = end - begin == len || e->bpe->ignore_merges
                     ? encode_merging(e, word + begin, end - begin)
                     : encode_cached(e, word + begin, end - begin, false);
    }
    return status;
}

/* ---- the cache --------------------------------------------------------------------- */

enum quern_status bpe_encoder_init(struct bpe_encoder *e, const struct bpe *b, size_t text_bytes,
                                   struct token_ids *out) {
    *e = (struct bpe_encoder){.bpe = b, .out = out};
    if (token_ids_reserve(out, text_bytes / 4 + 16))
        return QUERN_ERR_NOMEM;
    if (text_bytes < CACHE_TEXT_MIN)
        return QUERN_OK;
    size_t n = 32;
    while (n < text_bytes / 16 && n < CACHE_SLOTS_MAX)
        n *= 2;
    e->cache = aligned_alloc(sizeof *e->cache, n * sizeof *e->cache);
    if (!e->cache)
        return QUERN_ERR_NOMEM;
    memset(e->cache, 0, n * sizeof *e->cache);
    e->cache_mask = n - 1;
    return QUERN_OK;
}

void bpe_encoder_release(struct bpe_encoder *e) {
    free(e->cache);
    bpe_queue_destroy(e->queue);
    *e = (struct bpe_encoder){0};
}

static void word_key(const unsigned char *word, size_t len, const unsigned char *limit,
                     uint64_t key[2]) {
    if (limit - word >= 16) {
        memcpy(key, word, 16);
        if (len < 8) {
            key[0] &= ((uint64_t)1 << (8 * len)) - 1;
            key[1] = 0;
        } else {
            key[1] &= ((uint64_t)1 << (8 * (len - 8))) - 1;
        }
    } else {
        key[0] = key[1] = 0;
        memcpy(key, word, len);
    }
    key[1] |= (uint64_t)len << 56;
}

static enum quern_status encode_cached(struct bpe_encoder *e, const unsigned char *word, size_t len,
                                       bool may_cut) {
    if (len > CACHE_WORD_MAX || !e->cache)
        return encode_anew(e, word, len, may_cut);
    uint64_t key[2];
    word_key(word, len, e->limit, key);
    uint64_t hash = hash_fold(key[0] ^ e->bpe->seed, key[1] ^ 0x8bb84b93962eacc9u);
    struct bpe_cache_slot *slot = &e->cache[(size_t)hash & e->cache_mask];
    if (token_ids_reserve(e->out, CACHE_IDS_MAX))
        return QUERN_ERR_NOMEM;
    if (slot->key[0] == key[0] && slot->key[1] == key[1]) {
        int32_t *to = e->out->ids + e->out->n;
        to[0] = (int32_t)slot->ids[0];
        for (uint32_t i = 1; i < slot->n; i++)
            to[i] = (int32_t)slot->ids[i];
        e->out->n += slot->n;
        return QUERN_OK;
    }
    size_t before = e->out->n;
    enum quern_status status = encode_anew(e, word, len, may_cut);
    size_t n = e->out->n - before;
    if (!status && n <= CACHE_IDS_MAX) {
        memcpy(slot->key, key, sizeof key);
        slot->n = (uint32_t)n;
        for (size_t i = 0; i < n; i++)
            slot->ids[i] = (uint32_t)e->out->ids[before + i];
    }
    return status;
}

enum quern_status bpe_encode_word(struct bpe_encoder *e, const unsigned char *word, size_t len) {
    return encode_cached(e, word, len, true);
}
