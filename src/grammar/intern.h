/* intern.h - growth under a byte limit, and sets of ids found by their content. */
#ifndef QUERN_GRAMMAR_INTERN_H
#define QUERN_GRAMMAR_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct budget {
    size_t used, max; /* bytes */
};

/* Makes room for n elements in *data; *capacity counts elements. */
enum quern_status budget_grow(struct budget *b, void *data, size_t *capacity, size_t n,
                              size_t element);

/* Growable array of 32-bit numbers. */
struct u32s {
    uint32_t *v;
    size_t n, capacity;
};
enum quern_status u32s_push(struct budget *b, struct u32s *s, uint32_t x);
void u32s_release(struct u32s *s);

/* A multiset of (hash, id). The caller compares contents. Zeroed is empty. */
struct id_table {
    uint64_t *slots; /* hash in the high half, id + 1 in the low; 0 is free */
    size_t capacity, count;
};
/* The next id with this hash, GRAMMAR_NONE at the end; *cursor starts at SIZE_MAX. */
uint32_t id_table_next(const struct id_table *t, uint32_t hash, size_t *cursor);
enum quern_status id_table_add(struct budget *b, struct id_table *t, uint32_t hash, uint32_t id);
void id_table_release(struct id_table *t);

/* A map from 64-bit keys to 32-bit values. Zeroed is empty. */
/* One line of the cache for a look-up. */
struct pair_slot {
    uint64_t key; /* + 1; 0 is free */
    uint32_t value;
};

struct pair_map {
    struct pair_slot *slots;
    size_t capacity, count;
};
bool pair_map_get(const struct pair_map *m, uint64_t key, uint32_t *value);
enum quern_status pair_map_put(struct budget *b, struct pair_map *m, uint64_t key, uint32_t value);
void pair_map_release(struct pair_map *m);

/* Ascending. Most lists are short and nearly sorted. */
void sort_ids(uint32_t *v, size_t n);

uint32_t intern_hash(const void *bytes, size_t n, uint32_t seed);

#endif
