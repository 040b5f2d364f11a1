#include "model/kv_pool.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"

/* Blocks begin on pages, so that the memory of one can be given back by itself. */
enum { PAGE_BYTES = 4096 };

static enum quern_status measure(struct kv_pool *p, const struct hf_config *c, enum kv_type type,
                                 struct quern_error *err) {
    size_t padded;
    if (p->n_blocks <= INT32_MAX &&
        kv_layout_init(&p->layout, type, (size_t)c->n_layers, (size_t)c->n_kv_heads,
                       (size_t)c->head_dim) &&
        checked_add(p->layout.block_bytes, PAGE_BYTES - 1, &padded)) {
        p->stride = padded / PAGE_BYTES * PAGE_BYTES;
        if (checked_mul(p->stride, p->n_blocks, &p->storage_bytes))
            return QUERN_OK;
    }
    return error_set(err, QUERN_ERR_LIMIT, "%zu blocks of keys and values cannot be addressed",
                     p->n_blocks);
}

enum quern_status kv_pool_create(const struct model *m, enum kv_type type, size_t n_blocks,
                                 struct kv_pool **out, struct quern_error *err) {
    struct kv_pool *p = calloc(1, sizeof *p);
    if (!p)
        return error_nomem(err);
    p->device = m->device;
    p->n_blocks = p->n_free = n_blocks;
    enum quern_status st = measure(p, &m->config, type, err);
    if (st != QUERN_OK)
        goto fail;
    p->refs = calloc(n_blocks, sizeof *p->refs);
    p->free = calloc(n_blocks, sizeof *p->free);
    p->storage = p->refs && p->free ? p->device->ops->alloc(p->device, p->storage_bytes) : NULL;
    if (!p->storage) {
        st = error_set(err, QUERN_ERR_NOMEM,
                       "out of memory: %zu blocks of keys and values need %zu MiB", n_blocks,
                       p->storage_bytes >> 20);
        goto fail;
    }
    for (size_t i = 0; i < n_blocks; i++)
        p->free[i] = (int32_t)i;
    *out = p;
    return QUERN_OK;
fail:
    kv_pool_destroy(p);
    return st;
}

void kv_pool_destroy(struct kv_pool *p) {
    if (!p)
        return;
    if (p->storage)
        p->device->ops->release(p->device, p->storage, p->storage_bytes);
    free(p->refs);
    free(p->free);
    free(p);
}

int32_t kv_pool_take(struct kv_pool *p) {
    if (p->n_free == 0)
        return KV_NO_BLOCK;
    /* What has memory first: it may even still be in a cache. */
    int32_t block = p->n_warm > 0 ? p->free[--p->n_warm] : p->free[p->n_blocks - p->n_free];
    p->n_free--;
    p->refs[block] = 1;
    return block;
}

void kv_pool_ref(struct kv_pool *p, int32_t block) {
    p->refs[block]++;
}

void kv_pool_unref(struct kv_pool *p, int32_t block) {
    if (--p->refs[block] > 0)
        return;
    p->free[p->n_warm++] = block;
    p->n_free++;
}

void kv_pool_copy(struct kv_pool *p, int32_t to, int32_t from) {
    p->device->ops->copy(p->device, kv_pool_block(p, to), kv_pool_block(p, from),
                         p->layout.block_bytes);
}

size_t kv_pool_trim(struct kv_pool *p, size_t keep) {
    size_t n_cold = p->n_free - p->n_warm, given = 0;
    while (p->n_warm > keep) {
        int32_t block = p->free[--p->n_warm];
        p->device->ops->discard(p->device, kv_pool_block(p, block), p->stride);
        p->free[p->n_blocks - ++n_cold] = block;
        given += p->stride;
    }
    return given;
}

size_t kv_pool_bytes(const struct kv_pool *p) {
    return (p->n_blocks - p->n_free + p->n_warm) * p->stride;
}

void kv_pool_read(const struct kv_pool *p, int32_t block, void *host) {
    p->device->ops->download(p->device, host, kv_pool_block(p, block), p->layout.block_bytes);
}

void kv_pool_write(struct kv_pool *p, int32_t block, const void *host) {
    p->device->ops->write(p->device, kv_pool_block(p, block), host, p->layout.block_bytes);
}

void kv_pool_describe(const struct kv_pool *p, char *text, size_t room) {
    const struct kv_layout *l = &p->layout;
    snprintf(text, room, "kv1 %s layers %zu heads %zu dim %zu block %d bytes %zu",
             kv_type_name(l->type), l->n_layers, l->n_kv_heads, l->head_dim, (int)KV_BLOCK_TOKENS,
             l->block_bytes);
}
