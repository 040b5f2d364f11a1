#include "grammar/grammar_cache.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    struct shared_grammar *shared;
    char *key;
    size_t n;
    uint64_t used;
};

struct grammar_cache {
    struct mutex lock;
    struct entry entries[GRAMMAR_CACHE_ENTRIES];
    size_t n;
    uint64_t clock;
};

/* What a matcher adds to its grammar stays there; one that has grown so far is compiled anew. */
enum { WORN_BYTES = 96 << 20, REPORT_BYTES = 1 << 20 };

struct grammar_cache *grammar_cache_create(void) {
    struct grammar_cache *c = calloc(1, sizeof *c);
    if (c && mutex_init(&c->lock, NULL) != QUERN_OK) {
        free(c);
        return NULL;
    }
    return c;
}

static void destroy(struct shared_grammar *g) {
    grammar_destroy(g->grammar);
    buffer_release(&g->report);
    mutex_release(&g->lock);
    free(g);
}

struct shared_grammar *shared_grammar_create(struct grammar *g) {
    struct shared_grammar *s = calloc(1, sizeof *s);
    if (!s || mutex_init(&s->lock, NULL) != QUERN_OK) {
        free(s);
        grammar_destroy(g);
        return NULL;
    }
    s->grammar = g;
    s->references = 1;
    buffer_init(&s->report, REPORT_BYTES);
    atomic_init(&s->bytes, grammar_bytes(g));
    return s;
}

void shared_grammar_unlock(struct shared_grammar *g) {
    atomic_store_explicit(&g->bytes, grammar_bytes(g->grammar), memory_order_relaxed);
    mutex_unlock(&g->lock);
}

static size_t bytes_of(struct shared_grammar *g) {
    return atomic_load_explicit(&g->bytes, memory_order_relaxed);
}

/* All below: under the cache's lock. The grammar is returned when nobody holds it any more. */
static struct shared_grammar *remove_entry(struct grammar_cache *c, size_t i) {
    struct shared_grammar *g = c->entries[i].shared;
    free(c->entries[i].key);
    c->entries[i] = c->entries[--c->n];
    return --g->references ? NULL : g;
}

static size_t total_bytes(const struct grammar_cache *c) {
    size_t total = 0;
    for (size_t i = 0; i < c->n; i++)
        total += bytes_of(c->entries[i].shared) + c->entries[i].n;
    return total;
}

/* Drops one when there are too many; *out is to be destroyed outside of the lock. */
static bool shrink(struct grammar_cache *c, struct shared_grammar **out) {
    size_t oldest = 0;
    if (c->n == 0 || (c->n < GRAMMAR_CACHE_ENTRIES && total_bytes(c) <= (size_t)GRAMMAR_CACHE_BYTES))
        return false;
    for (size_t i = 1; i < c->n; i++)
        if (c->entries[i].used < c->entries[oldest].used)
            oldest = i;
    *out = remove_entry(c, oldest);
    return true;
}

static size_t find(const struct grammar_cache *c, struct str key) {
    size_t i = 0;
    while (i < c->n &&
           (c->entries[i].n != key.len || memcmp(c->entries[i].key, key.ptr, key.len) != 0))
        i++;
    return i;
}

static void shrink_all(struct grammar_cache *c) {
    struct shared_grammar *gone = NULL;
    for (bool more = true; more;) {
        mutex_lock(&c->lock);
        gone = NULL;
        more = shrink(c, &gone);
        mutex_unlock(&c->lock);
        if (gone)
            destroy(gone);
    }
}

struct shared_grammar *grammar_cache_take(struct grammar_cache *c, struct str key) {
    struct shared_grammar *out = NULL, *gone = NULL;
    mutex_lock(&c->lock);
    const size_t i = find(c, key);
    if (i < c->n && bytes_of(c->entries[i].shared) > WORN_BYTES) {
        gone = remove_entry(c, i);
    } else if (i < c->n) {
        out = c->entries[i].shared;
        out->references++;
        c->entries[i].used = ++c->clock;
    }
    mutex_unlock(&c->lock);
    if (gone)
        destroy(gone);
    return out;
}

void grammar_cache_put(struct grammar_cache *c, struct str key, struct shared_grammar *g) {
    char *copy = malloc(key.len + 1);
    if (!copy)
        return;
    memcpy(copy, key.ptr, key.len);
    shrink_all(c);
    mutex_lock(&c->lock);
    const bool fits = c->n < GRAMMAR_CACHE_ENTRIES && find(c, key) == c->n;
    if (fits) {
        c->entries[c->n++] = (struct entry){g, copy, key.len, ++c->clock};
        g->references++;
    }
    mutex_unlock(&c->lock);
    if (!fits)
        free(copy);
}

void grammar_cache_drop(struct grammar_cache *c, struct shared_grammar *g) {
    if (!g)
        return;
    mutex_lock(&c->lock);
    const bool last = --g->references == 0;
    mutex_unlock(&c->lock);
    if (last)
        destroy(g);
    shrink_all(c); /* what it grew by while it was used counts too */
}

size_t grammar_cache_count(struct grammar_cache *c) {
    mutex_lock(&c->lock);
    const size_t n = c->n;
    mutex_unlock(&c->lock);
    return n;
}

void grammar_cache_destroy(struct grammar_cache *c) {
    if (!c)
        return;
    while (c->n) {
        struct shared_grammar *gone = remove_entry(c, c->n - 1);
        if (gone)
            destroy(gone);
    }
    mutex_release(&c->lock);
    free(c);
}
