/* tiles.h - what the instruction sets share: how matrix products are cut into
 * register tiles. A folder supplies the tiles; the cutting is plain C (tiles.c). */
#ifndef QUERN_KERNELS_TILES_H
#define QUERN_KERNELS_TILES_H

#include "kernels/kernels.h"

/* Most tokens a tile takes at once; an instruction set may stop earlier. */
enum { TILE_TOKENS_MAX = 6 };

/* y[t][r] = dot(x[t], row r of w) (+ bias[r]), r in [0, n_rows), t in [0, the tile's tokens). */
struct tile {
    const float *x[TILE_TOKENS_MAX];
    float *y[TILE_TOKENS_MAX];
    const unsigned char *w; /* the first row */
    size_t w_stride;        /* bytes between rows */
    const float *bias;      /* of the first row, or NULL */
    size_t n_cols, n_rows;
    ptrdiff_t ahead;        /* bytes from a row to what should be fetched meanwhile */
};
typedef void tile_fn(const struct tile *a);

/* Tables of functions are indexed by the number of tokens, 1..n_tokens. */
struct tile_set {
    tile_fn *const *dot;
    size_t n_tokens, row_multiple; /* rows are taken so many at a time */
    size_t element_bytes;
};

/* Starts loading the cache line at p; any address is fine. */
static inline void fetch(const void *p) {
#if defined(__GNUC__)
    __builtin_prefetch(p);
#else
    (void)p;
#endif
}

void tiles_matmul(const struct matmul_args *a, const struct tile_set *set);

/* M(0) .. M(n-1): the sums of a tile need names, since gcc 12 keeps arrays of vectors in
 * memory. */
#define EACH_1(M) M(0)
#define EACH_2(M) M(0) M(1)
#define EACH_3(M) M(0) M(1) M(2)
#define EACH_4(M) M(0) M(1) M(2) M(3)
#define EACH_5(M) M(0) M(1) M(2) M(3) M(4)
#define EACH_6(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define EACH_7(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6)
#define EACH_8(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)

#endif
