/* grammar_cache.h - compiled grammars that requests share, by what they were compiled from; the
 * least used ones are dropped. Any number of threads; a grammar itself is used under its lock. */
#ifndef QUERN_GRAMMAR_GRAMMAR_CACHE_H
#define QUERN_GRAMMAR_GRAMMAR_CACHE_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/sync.h"
#include "grammar/grammar.h"

struct shared_grammar {
    struct grammar *grammar;
    struct mutex lock;    /* of the grammar, its matchers and its masks */
    struct buffer report; /* what compiling it reported */
    size_t references;    /* under the cache's lock */
    atomic_size_t bytes;  /* when it was last used */
};

enum { GRAMMAR_CACHE_BYTES = 256 << 20, GRAMMAR_CACHE_ENTRIES = 128 };

struct grammar_cache *grammar_cache_create(void);
/* Everything must have been given back. NULL is fine. */
void grammar_cache_destroy(struct grammar_cache *c);

/* Takes over the grammar, with one reference for the caller. NULL: no memory, and it is gone. */
struct shared_grammar *shared_grammar_create(struct grammar *g);
/* The one under this key, with a reference for the caller, or NULL. */
struct shared_grammar *grammar_cache_take(struct grammar_cache *c, struct str key);
/* Offers it to others, unless there is one under the key or no room. */
void grammar_cache_put(struct grammar_cache *c, struct str key, struct shared_grammar *g);
/* Gives a reference back; NULL is fine. */
void grammar_cache_drop(struct grammar_cache *c, struct shared_grammar *g);
size_t grammar_cache_count(struct grammar_cache *c);

/* Around every use of the grammar. */
static inline void shared_grammar_lock(struct shared_grammar *g) {
    mutex_lock(&g->lock);
}
void shared_grammar_unlock(struct shared_grammar *g);

#endif
