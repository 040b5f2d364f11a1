#include "base/map.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/os.h"

enum { MIN_CAPACITY = 16 };

struct map_slot {
    struct str key;
    uint32_t hash; /* high bits of the full hash, compared before the key */
    uint32_t value;
    bool used;
};

/* SipHash-1-3 (Aumasson and Bernstein, 2012) under a key drawn for each map: keys come
 * from files, and a file must not be able to make every key collide. */
struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

static void sip_round(struct sip *s) {
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word) {
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static uint64_t hash_bytes(const uint64_t seed[2], struct str key) {
    struct sip s = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                    seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
    size_t whole = key.len / 8 * 8;
    uint64_t word;
    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, key.ptr + i, 8);
        sip_word(&s, word);
    }
    word = 0;
    if (key.len > whole)
        memcpy(&word, key.ptr + whole, key.len - whole);
    sip_word(&s, word);
    sip_word(&s, key.len);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

/* The slot that holds `key`, or the free one where it belongs. */
static struct map_slot *find_slot(const struct map *m, struct str key, uint64_t hash) {
    size_t mask = m->capacity - 1;
    uint32_t high = (uint32_t)(hash >> 32);
    for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
        struct map_slot *slot = &m->slots[i];
        if (!slot->used || (slot->hash == high && str_eq(slot->key, key)))
            return slot;
    }
}

static bool resize(struct map *m, size_t capacity) {
    struct map bigger = {.capacity = capacity, .count = m->count};
    memcpy(bigger.seed, m->seed, sizeof bigger.seed);
    bigger.slots = calloc(capacity, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < m->capacity; i++) {
        const struct map_slot *old = &m->slots[i];
        if (old->used)
            *find_slot(&bigger, old->key, hash_bytes(bigger.seed, old->key)) = *old;
    }
    free(m->slots);
    *m = bigger;
    return true;
}

bool map_init(struct map *m, size_t n) {
    *m = (struct map){.seed = {os_random(), os_random()}};
    size_t need;
    if (!checked_mul(n, 2, &need))
        return false;
    size_t capacity = MIN_CAPACITY;
    while (capacity < need) {
        if (!checked_mul(capacity, 2, &capacity))
            return false;
    }
    return resize(m, capacity);
}

void map_release(struct map *m) {
    if (!m)
        return;
    free(m->slots);
    *m = (struct map){0};
}

bool map_put(struct map *m, struct str key, uint32_t value, bool *existed) {
    if (m->capacity == 0 && !map_init(m, 0))
        return false;
    /* At most half full: probes stay short. */
    if (m->count >= m->capacity / 2) {
        size_t capacity;
        if (!checked_mul(m->capacity, 2, &capacity) || !resize(m, capacity))
            return false;
    }
    uint64_t hash = hash_bytes(m->seed, key);
    struct map_slot *slot = find_slot(m, key, hash);
    if (existed)
        *existed = slot->used;
    if (!slot->used) {
        *slot = (struct map_slot){.key = key, .hash = (uint32_t)(hash >> 32), .used = true};
        m->count++;
    }
    slot->value = value;
    return true;
}

bool map_get(const struct map *m, struct str key, uint32_t *value) {
    if (m->count == 0)
        return false;
    const struct map_slot *slot = find_slot(m, key, hash_bytes(m->seed, key));
    if (!slot->used)
        return false;
    if (value)
        *value = slot->value;
    return true;
}
