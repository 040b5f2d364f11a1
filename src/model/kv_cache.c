#include "model/kv_cache.h"

#include <stdlib.h>

#include "base/checked.h"
#include "kernels/kernels.h"

/* All of it but the pointers. */
static enum quern_status measure(struct kv_cache *kv, const struct hf_config *c, size_t max_tokens,
                                 size_t *block_floats, struct quern_error *err) {
    size_t row, all_floats;
    kv->max_tokens = max_tokens;
    kv->n_blocks = max_tokens / KV_BLOCK_TOKENS + (max_tokens % KV_BLOCK_TOKENS != 0);
    if (!checked_mul((size_t)c->n_kv_heads, (size_t)c->head_dim, &row) ||
        !checked_mul(row, KV_BLOCK_TOKENS, &kv->v_floats) ||
        !checked_mul(kv->v_floats, 2 * (size_t)c->n_layers, block_floats) ||
        !checked_mul(*block_floats, kv->n_blocks, &all_floats) ||
        !checked_mul(all_floats, sizeof(float), &kv->storage_bytes))
        return error_set(err, QUERN_ERR_LIMIT, "a KV cache for %zu tokens is too large",
                         max_tokens);
    kv->layer_floats = 2 * kv->v_floats;
    return QUERN_OK;
}

enum quern_status kv_cache_bytes(const struct hf_config *c, size_t max_tokens, size_t *bytes,
                                 struct quern_error *err) {
    struct kv_cache kv = {0};
    size_t block_floats;
    enum quern_status st = measure(&kv, c, max_tokens, &block_floats, err);
    if (st == QUERN_OK)
        *bytes = kv.storage_bytes;
    return st;
}

enum quern_status kv_cache_init(struct kv_cache *kv, const struct model *m, size_t max_tokens,
                                struct quern_error *err) {
    struct kv_cache c = {.device = m->device};
    size_t block_floats = 0;
    enum quern_status st = measure(&c, &m->config, max_tokens, &block_floats, err);
    if (st != QUERN_OK)
        return st;
    c.blocks = calloc(c.n_blocks, sizeof *c.blocks);
    c.storage = c.blocks ? m->device->ops->alloc(m->device, c.storage_bytes) : NULL;
    if (!c.storage) {
        free(c.blocks);
        return error_set(err, QUERN_ERR_NOMEM,
                         "out of memory: a KV cache for %zu tokens needs %zu MiB", max_tokens,
                         c.storage_bytes >> 20);
    }
    for (size_t b = 0; b < c.n_blocks; b++)
        c.blocks[b] = (const float *)c.storage + b * block_floats;
    *kv = c;
    return QUERN_OK;
}

void kv_cache_release(struct kv_cache *kv) {
    if (!kv)
        return;
    if (kv->storage)
        kv->device->ops->release(kv->device, kv->storage, kv->storage_bytes);
    free(kv->blocks);
    *kv = (struct kv_cache){0};
}
