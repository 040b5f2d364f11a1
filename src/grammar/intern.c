#include "grammar/intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "grammar/grammar.h"

enum quern_status budget_grow(struct budget *b, void *data, size_t *capacity, size_t n,
                              size_t element) {
    if (n <= *capacity)
        return QUERN_OK;
    size_t want = *capacity ? *capacity * 2 : 16;
    if (want < n)
        want = n;
    size_t bytes;
    if (!checked_mul(want, element, &bytes))
        return QUERN_ERR_NOMEM;
    size_t extra = bytes - *capacity * element;
    if (extra > b->max - b->used)
        return QUERN_ERR_LIMIT;
    void *old, *grown;
    memcpy(&old, data, sizeof old);
    grown = realloc(old, bytes);
    if (!grown)
        return QUERN_ERR_NOMEM;
    memcpy(data, &grown, sizeof grown);
    *capacity = want;
    b->used += extra;
    return QUERN_OK;
}

enum quern_status u32s_push(struct budget *b, struct u32s *s, uint32_t x) {
    enum quern_status st = budget_grow(b, &s->v, &s->capacity, s->n + 1, sizeof *s->v);
    if (st == QUERN_OK)
        s->v[s->n++] = x;
    return st;
}

void u32s_release(struct u32s *s) {
    free(s->v);
    *s = (struct u32s){0};
}

uint32_t intern_hash(const void *bytes, size_t n, uint32_t seed) {
    const unsigned char *p = bytes;
    uint64_t h = 0x9e3779b97f4a7c15u ^ seed;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t word;
        memcpy(&word, p, sizeof word);
        h = (h ^ word) * 0xd6e8feb86659fd93u;
        h ^= h >> 32;
    }
    for (; n > 0; n--, p++)
        h = (h ^ *p) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32);
}

uint32_t id_table_next(const struct id_table *t, uint32_t hash, size_t *cursor) {
    if (!t->capacity)
        return GRAMMAR_NONE;
    size_t mask = t->capacity - 1;
    size_t i = *cursor == SIZE_MAX ? hash & mask : (*cursor + 1) & mask;
    for (; t->slots[i]; i = (i + 1) & mask) {
        if ((uint32_t)(t->slots[i] >> 32) == hash) {
            *cursor = i;
            return (uint32_t)t->slots[i] - 1;
        }
    }
    return GRAMMAR_NONE;
}

enum quern_status id_table_add(struct budget *b, struct id_table *t, uint32_t hash, uint32_t id) {
    if ((t->count + 1) * 2 > t->capacity) {
        size_t want = t->capacity ? t->capacity * 2 : 32;
        size_t extra = (want - t->capacity) * sizeof *t->slots;
        if (extra > b->max - b->used)
            return QUERN_ERR_LIMIT;
        uint64_t *slots = calloc(want, sizeof *slots);
        if (!slots)
            return QUERN_ERR_NOMEM;
        for (size_t k = 0; k < t->capacity; k++) {
            if (!t->slots[k])
                continue;
            size_t i = (t->slots[k] >> 32) & (want - 1);
            while (slots[i])
                i = (i + 1) & (want - 1);
            slots[i] = t->slots[k];
        }
        free(t->slots);
        t->slots = slots;
        t->capacity = want;
        b->used += extra;
    }
    size_t i = hash & (t->capacity - 1);
    while (t->slots[i])
        i = (i + 1) & (t->capacity - 1);
    t->slots[i] = (uint64_t)hash << 32 | (id + 1);
    t->count++;
    return QUERN_OK;
}

void id_table_release(struct id_table *t) {
    free(t->slots);
    *t = (struct id_table){0};
}

static size_t find_pair(const struct pair_slot *slots, size_t capacity, uint64_t key) {
    uint64_t h = (key + 1) * 0x9e3779b97f4a7c15u;
    size_t i = (size_t)(h >> 32) & (capacity - 1);
    while (slots[i].key && slots[i].key != key + 1)
        i = (i + 1) & (capacity - 1);
    return i;
}

bool pair_map_get(const struct pair_map *m, uint64_t key, uint32_t *value) {
    if (!m->capacity)
        return false;
    const struct pair_slot *slot = &m->slots[find_pair(m->slots, m->capacity, key)];
    if (!slot->key)
        return false;
    *value = slot->value;
    return true;
}

static enum quern_status pair_map_grow(struct budget *b, struct pair_map *m) {
    size_t want = m->capacity ? m->capacity * 2 : 64;
    size_t extra = (want - m->capacity) * sizeof *m->slots;
    if (extra > b->max - b->used)
        return QUERN_ERR_LIMIT;
    struct pair_slot *slots = calloc(want, sizeof *slots);
    if (!slots)
        return QUERN_ERR_NOMEM;
    for (size_t k = 0; k < m->capacity; k++)
        if (m->slots[k].key)
            slots[find_pair(slots, want, m->slots[k].key - 1)] = m->slots[k];
    free(m->slots);
    *m = (struct pair_map){slots, want, m->count};
    b->used += extra;
    return QUERN_OK;
}

enum quern_status pair_map_put(struct budget *b, struct pair_map *m, uint64_t key, uint32_t value) {
    if ((m->count + 1) * 2 > m->capacity) {
        enum quern_status st = pair_map_grow(b, m);
        if (st != QUERN_OK)
            return st;
    }
    struct pair_slot *slot = &m->slots[find_pair(m->slots, m->capacity, key)];
    m->count += slot->key == 0;
    *slot = (struct pair_slot){key + 1, value};
    return QUERN_OK;
}

void pair_map_release(struct pair_map *m) {
    free(m->slots);
    *m = (struct pair_map){0};
}

static int compare_ids(const void *a, const void *b) {
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

void sort_ids(uint32_t *v, size_t n) {
    if (n > 32) {
        qsort(v, n, sizeof *v, compare_ids);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const uint32_t x = v[i];
        size_t k = i;
        for (; k > 0 && v[k - 1] > x; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}
