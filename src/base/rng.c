#include "base/rng.h"

/* Constants of Philox4x32: two multipliers, and the Weyl sequence of the key. */
enum { ROUNDS = 10 };
static const uint32_t MULTIPLIER_0 = 0xD2511F53, MULTIPLIER_1 = 0xCD9E8D57;
static const uint32_t WEYL_0 = 0x9E3779B9, WEYL_1 = 0xBB67AE85;

void rng_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t b[4];
    rng_block(seed, stream, index, b);
    uint64_t bits = (uint64_t)b[1] << 32 | b[0];
    return (double)(bits >> 11) * 0x1p-53;
}

float rng_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t b[4];
    rng_block(seed, stream, index, b);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (int32_t)(b[i] & 0xFFFF) + (int32_t)(b[i] >> 16);
    /* A half is uniform on 0..65535: mean 32767.5, variance (2^32 - 1) / 12. The centred
     * sum is an integer below 2^24, so the one multiplication rounds once. */
    const int32_t mean = 8 * 65535 / 2;
    const float scale = 0x1.3988e2p-16f; /* 1 / sqrt(8 (2^32 - 1) / 12) */
    return (float)(sum - mean) * scale;
}
