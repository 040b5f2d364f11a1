/* map.h - strings to 32-bit values; open addressing, keys borrowed. Reading from several
 * threads is fine while nobody writes. */
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
    uint64_t seed[2];       /* of the hash, drawn at random for each map */
};

/* Room for n entries without growing. False when memory runs out. */
bool map_init(struct map *m, size_t n);
void map_release(struct map *m); /* NULL and zeroed are fine */
/* A zeroed map grows from nothing. Inserts or overwrites; *existed (may be NULL) tells
 * which. False: out of memory, and the map is as it was. */
bool map_put(struct map *m, struct str key, uint32_t value, bool *existed);
/* False when absent; `value` may be NULL. */
bool map_get(const struct map *m, struct str key, uint32_t *value);

#endif
