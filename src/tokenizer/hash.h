/* hash.h - fast hashes of short keys under a secret seed: 64 x 64 -> 128 bit products, folded
 * (the scheme of wyhash and of Rust's rapidhash). */
#ifndef QUERN_TOKENIZER_HASH_H
#define QUERN_TOKENIZER_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_fold(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t hash_words(uint64_t a, uint64_t b, uint64_t seed) {
    uint64_t x = hash_fold(a ^ 0x2d358dccaa6c78a5u ^ seed, b ^ 0x8bb84b93962eacc9u);
    return hash_fold(x ^ 0x4b33a62ed433d4a3u, seed ^ 0x9e3779b97f4a7c15u);
}

/* 1 to 16 bytes as two words that overlap, so that no byte outside is read. */
static inline void hash_load(const unsigned char *p, size_t len, uint64_t *a, uint64_t *b) {
    if (len >= 8) {
        memcpy(a, p, 8);
        memcpy(b, p + len - 8, 8);
    } else if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        *a = low;
        *b = high;
    } else {
        *a = len ? (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1] : 0;
        *b = 0;
    }
}

static inline uint64_t hash_bytes(const unsigned char *p, size_t len, uint64_t seed) {
    uint64_t a, b;
    seed ^= len * 0xd6e8feb86659fd93u;
    while (len > 16) {
        memcpy(&a, p, 8);
        memcpy(&b, p + 8, 8);
        seed = hash_words(a, b, seed);
        p += 16;
        len -= 16;
    }
    hash_load(p, len, &a, &b);
    return hash_words(a, b, seed);
}

#endif
