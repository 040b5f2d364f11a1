/* unicode_tables.h - the tables behind unicode.c and normalize.c, made by
 * scripts/make_unicode_tables.py. */
#ifndef QUERN_TEXT_UNICODE_TABLES_H
#define QUERN_TEXT_UNICODE_TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Bits of a code point's entry. */
enum {
    UNICODE_LETTER = 1, /* \p{L} */
    UNICODE_NUMBER = 2, /* \p{N} */
    UNICODE_SPACE = 4,  /* \s */
    UNICODE_WORD = 8,   /* \w of Rust's regex */
    /* Shifted by enum unicode_form: the form changes the character, moves it, or
     * may join it with what stands before. */
    UNICODE_UNSTABLE = 16,
};

enum { UNICODE_BLOCK_BITS = 7 };
extern const uint16_t unicode_stage1[]; /* code point >> UNICODE_BLOCK_BITS -> block */
extern const uint8_t unicode_stage2[];  /* block, low bits -> entry */

/* Sorted by the first field, like all that follow. */
struct unicode_ccc {
    uint32_t first, last;
    uint8_t value;
};
extern const struct unicode_ccc unicode_ccc[];
extern const size_t unicode_n_ccc;

/* Full decompositions. unicode_compatible holds those that differ from the canonical one. */
struct unicode_mapping {
    uint32_t from;
    uint16_t offset; /* into unicode_mapping_data */
    uint16_t len;
};
extern const struct unicode_mapping unicode_canonical[], unicode_compatible[];
extern const size_t unicode_n_canonical, unicode_n_compatible;
extern const uint32_t unicode_mapping_data[];

struct unicode_pair {
    uint32_t first, second, composed;
};
extern const struct unicode_pair unicode_pairs[];
extern const size_t unicode_n_pairs;

/* \p{L} and \p{N} beyond Unicode 14. */
struct unicode_range {
    uint32_t first, last;
};
extern const struct unicode_range unicode_new_letters[], unicode_new_numbers[];
extern const size_t unicode_n_new_letters, unicode_n_new_numbers;

static inline unsigned unicode_entry(int32_t code_point) {
    uint32_t c = (uint32_t)code_point;
    if (c > 0x10FFFF)
        return 0;
    return unicode_stage2[((size_t)unicode_stage1[c >> UNICODE_BLOCK_BITS] << UNICODE_BLOCK_BITS) |
                          (c & ((1u << UNICODE_BLOCK_BITS) - 1))];
}

#endif
