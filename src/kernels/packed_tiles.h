/* packed_tiles.h - what the instruction sets share of packed_kernels.h: the walk over panels, groups
 * and tokens (packed_tiles.c). A folder supplies the inner products. */
#ifndef QUERN_KERNELS_PACKED_TILES_H
#define QUERN_KERNELS_PACKED_TILES_H

#include "kernels/packed_kernels.h"

/* Most tokens of a tile; an instruction set may stop earlier. */
enum { PACKED_TILE_TOKENS = 6 };

/* Scales and zeros of a group, each row's by itself and ready for arithmetic: tokens of a block share the
 * work. */
struct packed_numbers {
    _Alignas(64) float scale[PACKED_ROWS];
    union {
        float f[PACKED_ROWS];   /* QUANT_AFFINE */
        int32_t i[PACKED_ROWS]; /* QUANT_INT, where zeros differ */
    } zero;
};

/* Adds one group of a panel for a tile of tokens: sums[t][64], and x[t] as struct packed_input has it. */
struct packed_tile {
    float *sums;                /* [the tile's tokens][PACKED_ROWS] */
    const void *x;              /* the first token's; the others follow, `x_stride` elements each */
    const float *x_scale;       /* [tokens]; MATH_INT8 */
    const int32_t *x_sum;       /* [tokens]; MATH_INT8 */
    const struct packed_matrix *w;
    const void *table;          /* of struct packed_parts */
    const unsigned char *scales, *zeros;
    const struct packed_numbers *numbers; /* the same as `parts->numbers` makes them; NULL without */
    const void *codes;          /* packed, or what `unpack` made of them */
    size_t x_stride, n_cols;    /* of the group, without padding */
    size_t ahead;               /* bytes from a packed code to what should be fetched meanwhile; 0: nothing */
};
typedef void packed_tile_fn(const struct packed_tile *a);

/* The codes of a group as `dot` reads them. */
typedef void packed_unpack_fn(void *to, const struct packed_tile *group);

struct packed_parts {
    packed_tile_fn *const *dot; /* [1 .. n_tokens]: reads unpacked codes */
    size_t n_tokens;
    bool whole_tiles;           /* n_tokens each but the last; else of about the same size */
    packed_unpack_fn *unpack;   /* NULL: dot reads packed codes */
    /* [1 .. n_direct], or NULL: reads packed codes; for at most direct_most tokens, so few that
     * unpacking does not pay. */
    packed_tile_fn *const *direct;
    size_t n_direct, direct_most;
    void (*numbers)(struct packed_numbers *to, const struct packed_tile *group); /* or NULL */
    const void *table; /* for the functions: a code book in their form */
};

void packed_tiles_matmul(const struct packed_args *a, const struct packed_parts *parts);
/* y += bias, for kernels that computed in another mode than additions do. */
void packed_add_bias(const struct packed_args *a);

#endif
