#include "base/checksum.h"

#include <string.h>

enum { LANES = 4 };

static uint64_t mix(uint64_t h, uint64_t value) {
    h = (h ^ value) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* Blocks are the machine's own numbers: in its order of bytes. */
static uint64_t load_word(const unsigned char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* Four independent lanes: a chain of multiplications waits for itself. */
uint64_t checksum64(uint64_t seed, const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t lane[LANES] = {seed ^ 1, seed ^ 2, seed ^ 3, seed ^ 4};
    const size_t n_whole = n / (8 * LANES);
    for (size_t i = 0; i < n_whole; i++, p += 8 * LANES)
        for (size_t k = 0; k < LANES; k++)
            lane[k] = mix(lane[k], load_word(p + 8 * k));
    uint64_t h = mix(seed, n);
    for (size_t k = 0; k < LANES; k++)
        h = mix(h, lane[k]);
    for (size_t i = n_whole * 8 * LANES; i < n; i++, p++)
        h = mix(h, *p);
    return mix(h, h >> 17);
}
