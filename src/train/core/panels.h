/* panels.h - operands packed once, whole, and multiplied many times: what is packed does not depend on who
 * multiplies it, so all workers share it.
 *
 * A panel operand is a row of strips as the tiles take them (train_kernels.h), each with all k: of a in strips of
 * mr rows, of b in strips of nr columns. */
#ifndef QUERN_TRAIN_PANELS_H
#define QUERN_TRAIN_PANELS_H

#include "train/core/compute.h"

/* A matrix as it is stored: [count][k] with ld elements between rows, or [k][count] when across. */
struct panel_source {
    const void *data;
    enum dtype dtype;
    size_t ld, count, k;
    bool across;
};

/* The tiles of products: float32's when exact or where bfloat16 is not asked for. */
const struct gemm_tiles *panel_tiles(const struct compute *c, bool exact);

/* What an operand of `count` rows (width mr) or columns (nr) takes. */
size_t panel_bytes(const struct gemm_tiles *t, size_t width, size_t count, size_t k);
/* Strips [first, first + n) of elements [k0, k0 + k), one behind the other, by the calling thread. */
void panel_pack_part(const struct gemm_tiles *t, void *dst, size_t width, const struct panel_source *s,
                     size_t first, size_t n, size_t k0, size_t k);
/* Packs on all workers; dst has panel_bytes. */
void panel_pack(const struct compute *c, const struct gemm_tiles *t, void *dst, size_t width,
                const struct panel_source *s);

struct panel_term {
    const void *a, *b; /* packed */
    size_t k;          /* 0: the term is not there */
};
enum { PANEL_TERMS = 2 };

/* c[m][n] = sum of the terms, or += with add. An output is one chain over the k of the first term, then over
 * those of the second: the same bits as a product after the other. Only the first may be long. */
struct panel_sum {
    float *c;
    size_t ldc, m, n;
    struct panel_term terms[PANEL_TERMS];
    struct panel_source raw; /* the first term's b, packed by blocks on the way, when b is NULL */
    bool add;
};
void panel_sum_run(const struct compute *c, const struct gemm_tiles *t, const struct panel_sum *s);

#endif
