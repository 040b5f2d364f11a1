#include "tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/hash.h"

/* Ids far beyond the number of tokens would only reserve memory. */
static uint64_t max_ids(size_t n_entries) {
    return 8 * (uint64_t)n_entries + 65536;
}

static uint64_t token_hash(const struct vocab *v, const unsigned char *bytes, size_t len,
                           bool literal) {
    return hash_bytes(bytes, len, literal ? ~v->seed : v->seed);
}

static bool token_is(const struct vocab *v, uint32_t id, const unsigned char *bytes, size_t len,
                     bool literal) {
    const struct vocab_token *t = &v->tokens[id];
    return t->len == len && t->literal == literal && memcmp(v->bytes + t->offset, bytes, len) == 0;
}

static enum quern_status make_tables(struct vocab *v, const struct vocab_entry *entries,
                                     size_t n_entries, struct quern_error *err) {
    uint64_t n_ids = 0;
    for (size_t i = 0; i < n_entries; i++)
        if (entries[i].id >= n_ids)
            n_ids = (uint64_t)entries[i].id + 1;
    if (n_ids > max_ids(n_entries))
        return error_set(err, QUERN_ERR_FORMAT, "model.vocab: id %llu, but only %zu tokens",
                         (unsigned long long)n_ids - 1, n_entries);
    size_t capacity = 64;
    while (capacity / 8 * 5 < n_entries) /* at most 5/8 full */
        capacity *= 2;
    v->tokens = calloc(n_ids ? n_ids : 1, sizeof *v->tokens);
    v->slots = malloc(capacity * sizeof *v->slots);
    if (!v->tokens || !v->slots)
        return error_nomem(err);
    memset(v->slots, 0xFF, capacity * sizeof *v->slots);
    v->n_ids = (uint32_t)n_ids;
    v->mask = capacity - 1;
    return QUERN_OK;
}

static enum quern_status insert(struct vocab *v, const struct vocab_entry *e,
                                struct quern_error *err) {
    struct vocab_token t = e->token;
    const unsigned char *bytes = v->bytes + t.offset;
    if (v->tokens[e->id].used)
        return error_set(err, QUERN_ERR_FORMAT, "model.vocab: id %u is given to two tokens", e->id);
    uint64_t hash = token_hash(v, bytes, t.len, t.literal);
    uint32_t tag = (uint32_t)(hash >> 32);
    size_t i = (size_t)hash & v->mask;
    for (; v->slots[i].id != UINT32_MAX; i = (i + 1) & v->mask)
        if (v->slots[i].tag == tag && token_is(v, v->slots[i].id, bytes, t.len, t.literal))
            return error_set(err, QUERN_ERR_FORMAT, "model.vocab: ids %u and %u are the same token",
                             v->slots[i].id, e->id);
    v->slots[i] = (struct vocab_slot){tag, e->id};
    v->tokens[e->id] = t;
    v->tokens[e->id].used = 1;
    v->n_tokens++;
    return QUERN_OK;
}

enum quern_status vocab_build(struct vocab *v, unsigned char *bytes, size_t n_bytes,
                              const struct vocab_entry *entries, size_t n_entries,
                              struct quern_error *err) {
    *v = (struct vocab){.bytes = bytes, .n_bytes = n_bytes, .seed = os_random()};
    enum quern_status status = make_tables(v, entries, n_entries, err);
    for (size_t i = 0; !status && i < n_entries; i++)
        status = insert(v, &entries[i], err);
    return status;
}

void vocab_release(struct vocab *v) {
    free(v->bytes);
    free(v->tokens);
    free(v->slots);
    *v = (struct vocab){0};
}

int32_t vocab_find(const struct vocab *v, const unsigned char *bytes, size_t len, bool literal) {
    uint64_t hash = token_hash(v, bytes, len, literal);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t i = (size_t)hash & v->mask;; i = (i + 1) & v->mask) {
        struct vocab_slot slot = v->slots[i];
        if (slot.id == UINT32_MAX)
            return VOCAB_NONE;
        if (slot.tag == tag && token_is(v, slot.id, bytes, len, literal))
            return (int32_t)slot.id;
    }
}

bool vocab_is(const struct vocab *v, int32_t id, const unsigned char *bytes, size_t len) {
    return id >= 0 && (uint32_t)id < v->n_ids && v->tokens[id].used &&
           token_is(v, (uint32_t)id, bytes, len, false);
}

int32_t vocab_find_spelling(const struct vocab *v, struct str spelling, unsigned char *scratch) {
    size_t len;
    if (byte_level_decode(spelling, scratch, &len))
        return vocab_find(v, scratch, len, false);
    return vocab_find(v, (const unsigned char *)spelling.ptr, spelling.len, true);
}
