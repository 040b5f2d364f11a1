#include "model/kv_cache.h"

#include <stdlib.h>

#include "base/checked.h"
#include "kernels/kernels.h"

/* Floats of one block and of one layer's K within it; false on overflow. */
static bool block_size(const struct hf_config *c, size_t *block_floats, size_t *v_floats) {
    size_t v;
    return checked_mul((size_t)c->n_kv_heads, (size_t)c->head_dim, &v) &&
           checked_mul(v, KV_BLOCK_TOKENS, v_floats) &&
           checked_mul(*v_floats, 2 * (size_t)c->n_layers, block_floats);
}

enum quern_status kv_cache_init(struct kv_cache *kv, const struct model *m, size_t max_tokens,
                                struct quern_error *err) {
    struct kv_cache c = {.device = m->device, .max_tokens = max_tokens};
    size_t block_floats, all_floats;
    c.n_blocks = max_tokens / KV_BLOCK_TOKENS + (max_tokens % KV_BLOCK_TOKENS != 0);
    if (!block_size(&m->config, &block_floats, &c.v_floats) ||
        !checked_mul(block_floats, c.n_blocks, &all_floats) ||
        !checked_mul(all_floats, sizeof(float), &c.storage_bytes))
        return error_set(err, QUERN_ERR_LIMIT, "a KV cache for %zu tokens is too large",
                         max_tokens);
    c.layer_floats = 2 * c.v_floats;
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
