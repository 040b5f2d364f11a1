#include "model/kv_cache.h"

#include <stdlib.h>

#include "base/checked.h"

static size_t blocks_for(size_t n_tokens) {
    return n_tokens / KV_BLOCK_TOKENS + (n_tokens % KV_BLOCK_TOKENS != 0);
}

enum kv_type kv_type_of(const struct model *m, enum quern_kv_type asked) {
    switch (asked) {
    case QUERN_KV_BF16:
        return KV_BF16;
    case QUERN_KV_INT8:
        return KV_INT8;
    case QUERN_KV_F32:
        return KV_F32;
    default:
        /* With fast math it could be bfloat16 (m->fast_math), were that fast on every CPU: it needs
         * AVX512_BF16 so far, and the choice may not depend on the CPU. */
        (void)m;
        return KV_F32;
    }
}

enum quern_status kv_cache_bytes(const struct hf_config *c, enum kv_type type, size_t max_tokens,
                                 size_t *bytes, struct quern_error *err) {
    struct kv_layout l;
    if (kv_layout_init(&l, type, (size_t)c->n_layers, (size_t)c->n_kv_heads,
                       (size_t)c->head_dim) &&
        checked_mul(l.block_bytes, blocks_for(max_tokens), bytes))
        return QUERN_OK;
    return error_set(err, QUERN_ERR_LIMIT, "a KV cache for %zu tokens is too large", max_tokens);
}

enum quern_status kv_cache_init_in(struct kv_cache *kv, struct kv_pool *pool, size_t max_tokens,
                                   struct quern_error *err) {
    size_t most = blocks_for(max_tokens);
    struct kv_cache made = {.pool = pool, .max_tokens = max_tokens};
    made.blocks = calloc(most, sizeof *made.blocks);
    made.ids = calloc(most, sizeof *made.ids);
    if (!made.blocks || !made.ids) {
        kv_cache_release(&made);
        return error_nomem(err);
    }
    *kv = made;
    return QUERN_OK;
}

enum quern_status kv_cache_init(struct kv_cache *kv, const struct model *m, enum kv_type type,
                                size_t max_tokens, struct quern_error *err) {
    size_t bytes;
    struct kv_pool *pool = NULL;
    enum quern_status st = kv_cache_bytes(&m->config, type, max_tokens, &bytes, err);
    if (st == QUERN_OK)
        st = kv_pool_create(m, type, blocks_for(max_tokens), &pool, err);
    if (st == QUERN_OK)
        st = kv_cache_init_in(kv, pool, max_tokens, err);
    if (st != QUERN_OK) {
        kv_pool_destroy(pool);
        return st;
    }
    kv->owns_pool = true;
    return QUERN_OK;
}

void kv_cache_release(struct kv_cache *kv) {
    if (!kv)
        return;
    for (size_t i = 0; i < kv->n_blocks; i++)
        kv_pool_unref(kv->pool, kv->ids[i]);
    if (kv->owns_pool)
        kv_pool_destroy(kv->pool);
    free(kv->blocks);
    free(kv->ids);
    *kv = (struct kv_cache){0};
}

static void set_block(struct kv_cache *kv, size_t i, int32_t block) {
    kv->ids[i] = block;
    kv->blocks[i] = kv_pool_block(kv->pool, block);
}

/* The next position lies in a block that somebody else reads too. */
static bool must_copy(const struct kv_cache *kv) {
    size_t at = kv->n_tokens / KV_BLOCK_TOKENS;
    return kv->n_tokens % KV_BLOCK_TOKENS != 0 && kv_pool_refs(kv->pool, kv->ids[at]) > 1;
}

size_t kv_cache_blocks_needed(const struct kv_cache *kv, size_t n) {
    if (n == 0)
        return 0;
    size_t in_all = blocks_for(kv->n_tokens + n);
    return (in_all > kv->n_blocks ? in_all - kv->n_blocks : 0) + must_copy(kv);
}

enum quern_status kv_cache_reserve(struct kv_cache *kv, size_t n, struct quern_error *err) {
    struct kv_pool *p = kv->pool;
    if (n > kv->max_tokens - kv->n_tokens)
        return error_set(err, QUERN_ERR_CONTEXT,
                         "the context is full: %zu of %zu tokens held, %zu more do not fit",
                         kv->n_tokens, kv->max_tokens, n);
    size_t need = kv_cache_blocks_needed(kv, n);
    if (need > p->n_free)
        return error_set(err, QUERN_ERR_LIMIT,
                         "%zu more tokens need %zu blocks of KV memory, %zu of %zu are free", n, need,
                         p->n_free, p->n_blocks);
    if (n > 0 && must_copy(kv)) {
        size_t at = kv->n_tokens / KV_BLOCK_TOKENS;
        int32_t own = kv_pool_take(p);
        kv_pool_copy(p, own, kv->ids[at]);
        kv_pool_unref(p, kv->ids[at]);
        set_block(kv, at, own);
        need--;
    }
    for (; need > 0; need--)
        set_block(kv, kv->n_blocks++, kv_pool_take(p));
    return QUERN_OK;
}

void kv_cache_truncate(struct kv_cache *kv, size_t n_tokens) {
    size_t keep = blocks_for(n_tokens);
    while (kv->n_blocks > keep)
        kv_pool_unref(kv->pool, kv->ids[--kv->n_blocks]);
    kv->n_tokens = n_tokens;
}

void kv_cache_append_block(struct kv_cache *kv, int32_t block) {
    kv_pool_ref(kv->pool, block);
    set_block(kv, kv->n_blocks++, block);
    kv->n_tokens += KV_BLOCK_TOKENS;
}

void kv_cache_share(struct kv_cache *kv, const struct kv_cache *from, size_t n_tokens) {
    size_t n = blocks_for(n_tokens);
    for (size_t i = 0; i < n; i++) {
        kv_pool_ref(kv->pool, from->ids[i]);
        set_block(kv, i, from->ids[i]);
    }
    kv->n_blocks = n;
    kv->n_tokens = n_tokens;
}
