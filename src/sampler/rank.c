#include "sampler/rank.h"

#include <stdlib.h>

/* How far to shift keys right so that the highest differing bits are the low 8. */
static int top_digit_shift(const struct ranked *items, size_t n) {
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++)
        differ |= items[i].key ^ items[0].key;
    int shift = 0;
    while (differ >> shift > 255)
        shift++;
    return shift;
}

/* Radix selection from the top: one digit of 8 bits decides among at least two groups
 * each round, so at most 8 rounds, each over what the last one left. */
struct ranked rank_select(struct ranked *items, size_t n, uint64_t target, uint64_t *before) {
    uint64_t skipped = 0;
    while (n > 1) {
        int shift = top_digit_shift(items, n);
        uint64_t mass[256] = {0};
        for (size_t i = 0; i < n; i++)
            mass[items[i].key >> shift & 255] += items[i].weight;
        size_t digit = 0; /* above it all keys are equal */
        while (digit < 255 && target - skipped >= mass[digit])
            skipped += mass[digit++];
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if ((items[i].key >> shift & 255) == digit)
                items[kept++] = items[i];
        n = kept;
    }
    *before = skipped;
    return items[0];
}

static int compare_keys(const void *a, const void *b) {
    uint64_t x = ((const struct ranked *)a)->key, y = ((const struct ranked *)b)->key;
    return (x > y) - (x < y);
}

void rank_sort(struct ranked *items, size_t n) {
    qsort(items, n, sizeof *items, compare_keys);
}
