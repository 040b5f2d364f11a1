/* quantized.h - a matrix stored as small codes, however a file lays it out: what readers of
 * published checkpoints (formats/) and the quantizers hand to the packers of the kernels.
 *
 * Columns come in groups of `group`; the last group of a row may be shorter. Element (r, c) of
 * group g = c / group has code q in [0, 2^bits) and the exact value
 *     QUANT_INT     w = scale[r][g] * (q - zero[r][g])     zero an integer in [0, 2^bits], as a float
 *     QUANT_AFFINE  w = scale[r][g] * q - zero[r][g]
 *     QUANT_CODE    w = scale[r][g] * code[q]              (NF4, FP4, FP8: code has 2^bits entries)
 * computed in float32, each operation rounded once. Nothing is rounded a second time on the way
 * to the kernels: scales are float32. */
#ifndef QUERN_QUANT_QUANTIZED_H
#define QUERN_QUANT_QUANTIZED_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum quant_kind { QUANT_INT, QUANT_AFFINE, QUANT_CODE };

/* How the elements of one matrix are coded. */
struct quant_spec {
    enum quant_kind kind;
    int bits;           /* 4 or 8 */
    size_t group;       /* columns that share a scale; > 0; cols: one scale a row */
    const float *code;  /* [1 << bits], QUANT_CODE only; lives as long as who gave it */
};

static inline size_t quant_n_groups(const struct quant_spec *spec, size_t cols) {
    return (cols + spec->group - 1) / spec->group;
}

/* A matrix to be read in blocks of rows. Reading is thread-safe. */
struct quant_source {
    struct quant_spec spec;
    size_t rows, cols;
    /* NULL, or [cols]: stored column j holds the matrix's column col_order[j] (GPTQ's desc_act).
     * Groups, and what read_rows gives, count stored columns. */
    const uint32_t *col_order;
    /* Rows [first, first + n): q[n][cols], scale[n][n_groups], zero[n][n_groups] (untouched for
     * QUANT_CODE). */
    void (*read_rows)(const struct quant_source *s, size_t first, size_t n, uint8_t *q, float *scale,
                      float *zero);
    /* The same without codes, for those who look at scales only; NULL: read_rows tells. */
    void (*read_numbers)(const struct quant_source *s, size_t first, size_t n, float *scale, float *zero);
    const void *ctx[4]; /* the reader's own: mapped tensors and so on */
    float number[2];
};

/* y[n][cols] = the exact values of rows [first, first + n), columns in the matrix's order.
 * `scratch`: quant_dequantize_scratch_bytes. */
size_t quant_dequantize_scratch_bytes(const struct quant_source *s, size_t n);
void quant_dequantize_rows(const struct quant_source *s, size_t first, size_t n, float *y,
                           void *scratch);

#endif
