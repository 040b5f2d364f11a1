/* kv_cache.h - keys and values of one sequence: a list of blocks of a pool. Blocks may be shared
 * with other caches and with whoever else holds a reference; a shared block is copied before a
 * position in it is written. */
#ifndef QUERN_MODEL_KV_CACHE_H
#define QUERN_MODEL_KV_CACHE_H

#include "model/kv_pool.h"

struct kv_cache {
    struct kv_pool *pool;
    const void **blocks; /* [n_blocks] device pointers, for attention */
    int32_t *ids;         /* [n_blocks] the same as blocks of the pool; a reference on each */
    size_t n_blocks;
    size_t n_tokens;   /* positions filled; may end within the last block, or before it */
    size_t max_tokens; /* most positions it will hold */
    bool owns_pool;
};

/* An empty cache for up to max_tokens (> 0) positions. */
enum quern_status kv_cache_init_in(struct kv_cache *kv, struct kv_pool *pool, size_t max_tokens,
                                   struct quern_error *err);
/* The same with a pool of its own, just large enough. */
enum quern_status kv_cache_init(struct kv_cache *kv, const struct model *m, enum kv_type type,
                                size_t max_tokens, struct quern_error *err);
/* Lets go of all blocks. NULL and zeroed are fine. */
void kv_cache_release(struct kv_cache *kv);

/* The type asked for; QUERN_KV_AUTO: float32. */
enum kv_type kv_type_of(const struct model *m, enum quern_kv_type asked);

/* What the blocks of max_tokens positions take once they are full. */
enum quern_status kv_cache_bytes(const struct hf_config *c, enum kv_type type, size_t max_tokens,
                                 size_t *bytes, struct quern_error *err);

/* Makes n more positions writable: takes blocks, and copies a shared last one. forward() does it by
 * itself for the tokens it appends. QUERN_ERR_CONTEXT beyond max_tokens, QUERN_ERR_LIMIT when the
 * pool has too few free blocks; the cache is then as it was. */
enum quern_status kv_cache_reserve(struct kv_cache *kv, size_t n, struct quern_error *err);
/* Free blocks that reserving n would take. */
size_t kv_cache_blocks_needed(const struct kv_cache *kv, size_t n);

/* Drops positions from n_tokens (at most those held) on, and the blocks that no position is left
 * in. Blocks that were reserved and not filled go too. */
void kv_cache_truncate(struct kv_cache *kv, size_t n_tokens);

/* Appends a full block of the same pool, with a reference of the cache's own. The cache must hold
 * whole blocks only, have room for another, and the block must hold what comes at these
 * positions. */
void kv_cache_append_block(struct kv_cache *kv, int32_t block);

/* Makes an empty cache hold the first n_tokens positions of another of the same pool, without
 * copying (a last block that is not full is copied when one of them writes to it). n_tokens is at
 * most what `from` holds and max_tokens of the cache. */
void kv_cache_share(struct kv_cache *kv, const struct kv_cache *from, size_t n_tokens);

#endif
