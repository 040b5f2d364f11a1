/* prefix_cache.h - which keys and values are known already: a tree whose edges are blocks of token
 * ids. A path from a root spells a sequence that was computed; a block's content depends on the
 * whole path, so that a node is reached only by the tokens from the very beginning. Each salt has
 * a root of its own.
 *
 * Nodes hold one reference to their block; sequences that use it hold theirs. A full node may have
 * children; a tail of fewer tokens than a block is a leaf. Eviction takes the leaf used least
 * recently that nobody else refers to.
 *
 * One thread at a time. */
#ifndef QUERN_ENGINE_PREFIX_CACHE_H
#define QUERN_ENGINE_PREFIX_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    PREFIX_BLOCK_TOKENS = 32, /* as the KV pool's blocks */
    PREFIX_TAIL_MIN = 4,      /* fewer tokens of a block are computed sooner than it is copied */
};

struct prefix_cache;

/* Where the blocks come from: ids and reference counts. */
struct prefix_blocks {
    void *user;
    void (*retain)(void *user, int32_t block);
    void (*release)(void *user, int32_t block);
    uint32_t (*refs)(void *user, int32_t block);
};

enum quern_status prefix_cache_create(const struct prefix_blocks *blocks, struct prefix_cache **out,
                                      struct quern_error *err);
void prefix_cache_destroy(struct prefix_cache *pc); /* NULL is fine; releases all blocks */

struct prefix_match {
    size_t n_blocks;  /* whole blocks found */
    int32_t partial;  /* a block whose first n_partial tokens come next: to be copied */
    size_t n_partial; /* 0: none */
};

/* Finds the longest beginning of tokens[n] and writes the ids of its whole blocks, with a reference
 * for the caller to each and to `partial`, to blocks[n / PREFIX_BLOCK_TOKENS]. */
void prefix_cache_match(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                        int32_t *blocks, struct prefix_match *out);
/* How many tokens a match would find, without references or an effect on what is evicted. *n_in_use
 * (may be NULL): whole blocks among them that others refer to as well. */
size_t prefix_cache_peek(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                         size_t *n_in_use);

/* tokens[n] are computed in `blocks`; the last may be a partial one. Where the tree has a whole
 * block already, the caller's is exchanged for it: blocks[i] changes, and so does who is referred
 * to. When memory is short the rest is not remembered. */
void prefix_cache_insert(struct prefix_cache *pc, const char *salt, const int32_t *tokens, size_t n,
                         int32_t *blocks);

/* Lets go of one block. False: every one is in use. */
bool prefix_cache_evict(struct prefix_cache *pc);
/* Blocks in the tree, and those of them that eviction could free. */
size_t prefix_cache_n_blocks(const struct prefix_cache *pc);
size_t prefix_cache_n_evictable(const struct prefix_cache *pc);

#endif
