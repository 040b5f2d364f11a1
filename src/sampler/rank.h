/* rank.h - the order of tokens (larger score first, among equals the smaller id) and
 * selection by it without a sort. */
#ifndef QUERN_SAMPLER_RANK_H
#define QUERN_SAMPLER_RANK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ranked {
    uint64_t key; /* smaller is better */
    uint64_t weight;
};

/* Distinct for distinct ids. -0 and +0 are equal scores; NaN has no place here. */
static inline uint64_t rank_key(float score, int32_t id) {
    float positive_zero = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &positive_zero, sizeof bits);
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)(uint32_t)~ascending << 32 | (uint32_t)id;
}

static inline int32_t rank_id(uint64_t key) {
    return (int32_t)(uint32_t)key;
}

static inline float rank_score(uint64_t key) {
    uint32_t ascending = ~(uint32_t)(key >> 32);
    uint32_t bits = ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* Lays the weights end to end in order of key and finds the entry in which `target`
 * falls: before <= target < before + weight. Keys must be distinct, n > 0 and target below the sum
 * of the weights (at most 2^63). Reorders items. O(n), whatever the keys are. */
struct ranked rank_select(struct ranked *items, size_t n, uint64_t target, uint64_t *before);

/* Ascending by key. */
void rank_sort(struct ranked *items, size_t n);

#endif
