/* tiles.c - cuts matrix products into the register tiles of an instruction set, and orders the
 * tiles so that what is read again is still in a cache. */
#include "kernels/tiles.h"

/* Weights that stay in the second-level cache while all tokens pass by; what a tile, its rows and
 * the next rows may fill of the first-level cache. */
enum { BLOCK_BYTES = 384 * 1024, L1_BYTES = 40 * 1024, AHEAD_BYTES = 8 * 1024 };

/* The first tile of tokens takes the weights from memory and meanwhile fetches the next group of rows: with
 * one token 40 GB/s instead of 31, with six 240 GFLOP/s instead of 132. Later tiles find them in
 * the second-level cache; fetching them from there gains 6 %, but where tokens spill from the
 * first level it loses 20 %. */
void tiles_matmul(const struct matmul_args *m, const struct tile_set *set) {
    size_t row_bytes = m->n_cols * set->element_bytes;
    size_t block_rows = (BLOCK_BYTES / (row_bytes + 1) / set->row_multiple + 1) * set->row_multiple;
    size_t group_bytes = set->row_multiple * row_bytes;
    /* Far enough for memory to answer: 8 KB take 0.2 us. */
    size_t ahead = (AHEAD_BYTES / (group_bytes + 1) + 1) * group_bytes;
    bool in_l1 = set->n_tokens * m->n_cols * sizeof(float) + 2 * group_bytes <= L1_BYTES;
    for (size_t r = m->row_begin; r < m->row_end; r += block_rows) {
        size_t rest = m->row_end - r;
        struct tile a = {.w = (const unsigned char *)m->w + r * row_bytes,
                         .w_stride = row_bytes,
                         .bias = m->bias ? m->bias + r : NULL,
                         .n_cols = m->n_cols,
                         .n_rows = rest < block_rows ? rest : block_rows};
        for (size_t t = 0; t < m->n_tokens; t += set->n_tokens) {
            size_t n = m->n_tokens - t < set->n_tokens ? m->n_tokens - t : set->n_tokens;
            for (size_t i = 0; i < n; i++) {
                a.x[i] = m->x + (t + i) * m->x_stride;
                a.y[i] = m->y + (t + i) * m->y_stride + r;
            }
            a.ahead = t == 0 || in_l1 ? (ptrdiff_t)ahead : 0;
            set->dot[n](&a);
        }
    }
}
