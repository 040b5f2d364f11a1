/* checksum.h - finds accidents in data of any size, at memory's speed. No protection against anyone
 * who wants to be found right. Depends on the machine's order of bytes. */
#ifndef QUERN_BASE_CHECKSUM_H
#define QUERN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Different for different seeds; chains by taking the checksum so far for the seed. */
uint64_t checksum64(uint64_t seed, const void *data, size_t n);

/* The same of data that come in pieces, each but the last a multiple of CHECKSUM_PIECE bytes. */
enum { CHECKSUM_PIECE = 32 };
struct checksum {
    uint64_t seed, lane[4];
    size_t n;
    unsigned char rest[CHECKSUM_PIECE];
};
void checksum_begin(struct checksum *c, uint64_t seed);
void checksum_add(struct checksum *c, const void *data, size_t n);
uint64_t checksum_end(const struct checksum *c);

#endif
