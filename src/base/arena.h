/* arena.h - memory that is freed all at once. Chunks grow on demand up to a
 * maximum. Not thread-safe. */
#ifndef QUERN_BASE_ARENA_H
#define QUERN_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *head; /* newest chunk; older ones are linked from it */
    size_t used_bytes;        /* handed out so far, with alignment */
    size_t max_bytes;         /* arena_alloc fails beyond it; 0: no maximum */
};

#define ARENA_INIT(max) {NULL, 0, (max)}

void arena_init(struct arena *a, size_t max_bytes);
void arena_release(struct arena *a); /* a zeroed arena is fine */

/* `size` bytes, not zeroed, aligned for any C type. NULL when out of memory or
 * over the maximum. Size 0 gives a valid, unique pointer. */
void *arena_alloc(struct arena *a, size_t size);
/* After a failure, of not very large sizes: was it the maximum, or is there no memory? */
static inline int arena_is_full(const struct arena *a) {
    return a->max_bytes && a->used_bytes > a->max_bytes / 2;
}
/* n * size bytes, zeroed; the product is checked. */
void *arena_calloc(struct arena *a, size_t n, size_t size);
/* A copy with a NUL after it. `s` may be NULL when len is 0. */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);

#endif
