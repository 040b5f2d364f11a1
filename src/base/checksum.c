#include "base/checksum.h"

#include <string.h>

enum { LANES = 4 };
_Static_assert(CHECKSUM_PIECE == 8 * LANES, "a word a lane");

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
void checksum_begin(struct checksum *c, uint64_t seed) {
    *c = (struct checksum){.seed = seed, .lane = {seed ^ 1, seed ^ 2, seed ^ 3, seed ^ 4}};
}

void checksum_add(struct checksum *c, const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t lane[LANES];
    memcpy(lane, c->lane, sizeof lane);
    for (size_t i = 0; i < n / CHECKSUM_PIECE; i++, p += CHECKSUM_PIECE)
        for (size_t k = 0; k < LANES; k++)
            lane[k] = mix(lane[k], load_word(p + 8 * k));
    memcpy(c->lane, lane, sizeof lane);
    if (n % CHECKSUM_PIECE)
        memcpy(c->rest, p, n % CHECKSUM_PIECE);
    c->n += n;
}

uint64_t checksum_end(const struct checksum *c) {
    uint64_t h = mix(c->seed, c->n);
    for (size_t k = 0; k < LANES; k++)
        h = mix(h, c->lane[k]);
    for (size_t i = 0; i < c->n % CHECKSUM_PIECE; i++)
        h = mix(h, c->rest[i]);
    return mix(h, h >> 17);
}

uint64_t checksum64(uint64_t seed, const void *data, size_t n) {
    struct checksum c;
    checksum_begin(&c, seed);
    checksum_add(&c, data, n);
    return checksum_end(&c);
}
