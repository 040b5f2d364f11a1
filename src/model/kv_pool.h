/* kv_pool.h - memory for keys and values on a device, in blocks of KV_BLOCK_TOKENS positions with
 * reference counts. A block holds all layers (the layout is kernels/kv_layout.h's), so that a
 * sequence is a list of blocks (kv_cache.h) and sequences can share them.
 *
 * Taking, referring and letting go are O(1) and allocate nothing. The pool reserves address space
 * for all blocks; a block takes memory from its first use on, also while it lies free, until
 * kv_pool_trim.
 *
 * One thread at a time for a pool together with all caches in it. forward() only reads and writes
 * the blocks of the sequences it is given; it counts as a use of their pool. */
#ifndef QUERN_MODEL_KV_POOL_H
#define QUERN_MODEL_KV_POOL_H

#include "kernels/kv_layout.h"
#include "model/model.h"

/* No block: what kv_pool_take answers when none is free. */
enum { KV_NO_BLOCK = -1 };

struct kv_pool {
    struct device *device;
    struct kv_layout layout;
    size_t n_blocks;
    size_t n_free;
    size_t stride; /* bytes from block to block: whole pages */

    char *storage;         /* device memory, [n_blocks] * stride */
    size_t storage_bytes;
    uint32_t *refs; /* [n_blocks] 0: free */
    /* Free blocks: [0, n_warm) have memory, the last let go on top; those without stand at the
     * end, the lowest on top. */
    int32_t *free;
    size_t n_warm;
};

/* `n_blocks` > 0. QUERN_ERR_LIMIT when the blocks cannot be addressed, QUERN_ERR_NOMEM. The model
 * is only asked for its shape and its device, which must outlive the pool. */
enum quern_status kv_pool_create(const struct model *m, enum kv_type type, size_t n_blocks,
                                 struct kv_pool **out, struct quern_error *err);
void kv_pool_destroy(struct kv_pool *p); /* NULL is fine; blocks still referred to are gone */

/* A block with one reference, its contents unspecified (whatever they are, attention reads only
 * positions that were stored), or KV_NO_BLOCK. */
int32_t kv_pool_take(struct kv_pool *p);
void kv_pool_ref(struct kv_pool *p, int32_t block);
/* Free at the last reference. */
void kv_pool_unref(struct kv_pool *p, int32_t block);
/* Copies all of a block's contents. */
void kv_pool_copy(struct kv_pool *p, int32_t to, int32_t from);

static inline uint32_t kv_pool_refs(const struct kv_pool *p, int32_t block) {
    return p->refs[block];
}

/* Device memory of a block, layout.block_bytes long. */
static inline void *kv_pool_block(const struct kv_pool *p, int32_t block) {
    return p->storage + (size_t)block * p->stride;
}

/* Gives the memory of free blocks back to the system, all but `keep` of them; the number of bytes.
 * They stay free and may be taken again. */
size_t kv_pool_trim(struct kv_pool *p, size_t keep);
/* Memory in use, free blocks that were not given back included. */
size_t kv_pool_bytes(const struct kv_pool *p);

/* ---- keeping blocks elsewhere (a disk) ---------------------------------------------
 * A block's contents as layout.block_bytes bytes of host memory. They mean the same to another pool
 * whose description is the same string, provided that the model, its rope settings and the way
 * it was computed (math, kernel table where that matters) are the same: the description does not
 * know those. Anything read back is safe, if wrong: contents are numbers, never sizes. */
void kv_pool_read(const struct kv_pool *p, int32_t block, void *host);
void kv_pool_write(struct kv_pool *p, int32_t block, const void *host);

/* "kv1 f32 layers 28 heads 8 dim 128 block 32 bytes 7340032"; `room` bytes at `text`, 128 are
 * enough. */
void kv_pool_describe(const struct kv_pool *p, char *text, size_t room);

#endif
