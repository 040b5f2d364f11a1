/* map.h - strings to 32-bit values; open addressing, keys borrowed. */
#ifndef QUERN_BASE_MAP_H
#define QUERN_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t count, capacity; /* capacity: a power of two, or 0 */
};

/* Room for n entries without growing. False when memory runs out. */
bool map_init(struct map *m, size_t n);
void map_release(struct map *m); /* zeroed is fine */
/* Inserts or overwrites; *existed (may be NULL) tells which. False: out of memory. */
bool map_put(struct map *m, struct str key, uint32_t value, bool *existed);
bool map_get(const struct map *m, struct str key, uint32_t *value);

#endif
