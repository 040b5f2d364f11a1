#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { MIN_CHUNK_BYTES = 4096, MAX_CHUNK_BYTES = 1 << 20, ALIGNMENT = alignof(max_align_t) };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, capacity;
    alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *a, size_t max_bytes) {
    *a = (struct arena)ARENA_INIT(max_bytes);
}

void arena_release(struct arena *a) {
    if (!a)
        return;
    for (struct arena_chunk *c = a->head; c;) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    a->head = NULL;
    a->used_bytes = 0;
}

static struct arena_chunk *add_chunk(struct arena *a, size_t size) {
    size_t capacity = a->head ? a->head->capacity * 2 : MIN_CHUNK_BYTES;
    if (capacity > MAX_CHUNK_BYTES)
        capacity = MAX_CHUNK_BYTES;
    if (capacity < size)
        capacity = size;
    size_t total;
    if (!checked_add(sizeof(struct arena_chunk), capacity, &total))
        return NULL;
    struct arena_chunk *c = malloc(total);
    if (!c)
        return NULL;
    c->next = a->head;
    c->used = 0;
    c->capacity = capacity;
    a->head = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t size) {
    if (size == 0)
        size = 1;
    if (size > SIZE_MAX - (ALIGNMENT - 1))
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (a->max_bytes && (size > a->max_bytes || a->used_bytes > a->max_bytes - size))
        return NULL;
    struct arena_chunk *c = a->head;
    if (!c || c->capacity - c->used < size) {
        c = add_chunk(a, size);
        if (!c)
            return NULL;
    }
    void *p = c->data + c->used;
    c->used += size;
    a->used_bytes += size;
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size) {
    size_t total;
    if (!checked_mul(n, size, &total))
        return NULL;
    void *p = arena_alloc(a, total);
    if (p)
        memset(p, 0, total);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len) {
    if (len == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(a, len + 1);
    if (!copy)
        return NULL;
    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s) {
    return arena_strndup(a, s, strlen(s));
}
