/* kv_cache.h - keys and values of one sequence in blocks of KV_BLOCK_TOKENS positions. A
 * block holds all layers:
 *     [n_layers][2 (K,V)][n_kv_heads][KV_BLOCK_TOKENS][head_dim] float32
 * so that a sequence is a list of block pointers, and blocks can later be shared. */
#ifndef QUERN_MODEL_KV_CACHE_H
#define QUERN_MODEL_KV_CACHE_H

#include "model/model.h"

struct kv_cache {
    struct device *device;
    const float **blocks; /* [n_blocks] device pointers */
    size_t n_blocks;
    size_t n_tokens;     /* positions filled */
    size_t max_tokens;   /* n_blocks * KV_BLOCK_TOKENS, cut to what was asked */
    size_t layer_floats; /* from a layer's K to the next layer's K */
    size_t v_floats;     /* from a layer's K to its V */
    void *storage;
    size_t storage_bytes;
};

/* Address space for max_tokens (> 0); pages are touched as they fill. */
enum quern_status kv_cache_init(struct kv_cache *kv, const struct model *m, size_t max_tokens,
                                struct quern_error *err);
/* What its blocks take once they are full. */
enum quern_status kv_cache_bytes(const struct hf_config *c, size_t max_tokens, size_t *bytes,
                                 struct quern_error *err);
void kv_cache_release(struct kv_cache *kv); /* NULL and zeroed are fine */

#endif
