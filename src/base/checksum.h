/* checksum.h - finds accidents in data of any size, at memory's speed. No protection against anyone
 * who wants to be found right. Depends on the machine's order of bytes. */
#ifndef QUERN_BASE_CHECKSUM_H
#define QUERN_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Different for different seeds; chains by taking the checksum so far for the seed. */
uint64_t checksum64(uint64_t seed, const void *data, size_t n);

#endif
