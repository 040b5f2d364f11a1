/* packed_kernels.h - products with packed matrices (quant/packed.h), and the activations as these want them.
 * A table a set of instructions, as in kernels.h, whose rules hold here too: the order of operations is
 * part of the contract, and all tables give the same bits.
 *
 * MATH_INT8. Activations are rounded by token and group of the matrix: with top = max |x| of the
 * group, s = top / 127, i = 127 / top, code = x * i rounded to the nearest integer, ties to even; each
 * operation in float32. top below 2^-100 gives s = 0 and codes 0; an infinity or NaN gives s = NaN
 * and codes 0. Then, with q a row's codes, in integers,
 *     QUANT_INT     n = sum(q * x) - zero * sum(x)             |n| < 2^24: exact also as a float
 *     QUANT_AFFINE  n = sum(q * x)
 * and group after group, from y = +0, with a = scale * s,
 *     QUANT_INT     y = fma(n, a, y)
 *     QUANT_AFFINE  y = fma(n, a, y); y = fma(-zero, s * sum(x), y)
 *
 * MATH_EXACT. Activations stay float32. Group after group, from y = +0,
 *     QUANT_INT     t = sum(x * (q - zero)), y = fma(t, scale, y)      q - zero is exact
 *     QUANT_AFFINE  t = sum(x * (scale * q - zero)), y = y + t         the value rounded twice, as the
 *                                                                      file's reader would round it
 *     QUANT_CODE    t = sum(x * code[q]), y = fma(t, scale, y)
 * where the sum runs over the group's columns in increasing order, one fma a term, from +0.
 *
 * MATH_BF16. QUANT_CODE only. Activations and the entries of the code book are rounded to bfloat16, to
 * nearest, ties to even. Group after group, from y = +0,
 *     t = sum(x * code[q]), y = mac(t, scale, y)
 * where the sum is that of matmul_bf16 (kernels.h) over the group's pairs of columns, filled up with code
 * 0 and activations 0 to a whole chunk, and mac, as there, flushes subnormals.
 *
 * A bias is added last. Since a row's numbers depend on that row and on the token alone, neither tokens
 * in a call nor panels nor threads matter. */
#ifndef QUERN_KERNELS_PACKED_KERNELS_H
#define QUERN_KERNELS_PACKED_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/packed.h"

/* Activations of n_tokens tokens in the form of one kind of arithmetic and one width of groups.
 * Group g begins at element g * group * n_tokens; within, [n_tokens][padded columns of the group].
 * The padding holds zeros. All groups but the last are as wide as `group` filled up to 8 columns. */
struct packed_input {
    enum packed_math math;
    size_t n_tokens, group, n_groups;
    void *x;       /* MATH_EXACT: float; MATH_INT8: int8_t; MATH_BF16: uint16_t */
    float *scale;  /* [n_groups][n_tokens]; MATH_INT8 */
    int32_t *sum;  /* [n_groups][n_tokens] of the codes; MATH_INT8 */
};

enum { PACKED_INPUT_PAD = 8 };

static inline size_t packed_input_cols(size_t group_cols) {
    return (group_cols + PACKED_INPUT_PAD - 1) / PACKED_INPUT_PAD * PACKED_INPUT_PAD;
}

/* Elements before group g. */
static inline size_t packed_input_at(const struct packed_input *in, size_t g) {
    return g * packed_input_cols(in->group) * in->n_tokens;
}

/* Memory of an input for n_tokens; a multiple of 64. */
size_t packed_input_bytes(const struct packed_matrix *m, size_t n_tokens);
/* Lays it out in `memory`, 64-byte aligned. */
struct packed_input packed_input_place(const struct packed_matrix *m, size_t n_tokens, void *memory);

/* Can an input prepared for `a` serve `b`? */
bool packed_same_input(const struct packed_matrix *a, const struct packed_matrix *b);

/* Of the largest magnitude in a group, given by its bits. */
struct int8_scale {
    float scale, inverse; /* inverse 0: all codes are 0 */
};

static inline struct int8_scale int8_scale_of(uint32_t top_bits) {
    float top;
    memcpy(&top, &top_bits, sizeof top);
    if (top_bits >= 0x7f800000)
        return (struct int8_scale){top - top, 0}; /* NaN */
    if (top < 0x1p-100f)
        return (struct int8_scale){0, 0};
    return (struct int8_scale){top / 127.0f, 127.0f / top};
}

struct packed_prepare_args {
    const struct packed_input *out;
    const float *x; /* [n_tokens][cols], x_stride floats between tokens */
    size_t x_stride, cols;
    const uint32_t *col_order;     /* of the matrix, or NULL */
    size_t token_begin, token_end; /* these only */
};
typedef void packed_prepare_fn(const struct packed_prepare_args *a);

struct packed_args {
    float *y; /* [n_tokens][>= rows], y_stride floats between tokens */
    const struct packed_matrix *w;
    const struct packed_input *x;
    const float *bias; /* [rows] or NULL */
    size_t y_stride;
    size_t panel_begin, panel_end, token_begin, token_end; /* these rows and tokens of y only */
    void *scratch;                 /* PACKED_KERNEL_SCRATCH bytes, 64-byte aligned */
};
typedef void packed_matmul_fn(const struct packed_args *a);

/* Tokens that share a group of codes while it lies unpacked in a cache. */
enum {
    PACKED_BLOCK_TOKENS = 96,
    PACKED_UNPACKED_BYTES = PACKED_ROWS * PACKED_GROUP_MAX * 16, /* a group in float32, or 4,096 columns in bytes */
    PACKED_SUMS_BYTES = PACKED_BLOCK_TOKENS * PACKED_ROWS * 4,
    PACKED_KERNEL_SCRATCH = PACKED_UNPACKED_BYTES + PACKED_SUMS_BYTES,
};

/* NULL where a kind of arithmetic is missing. */
struct packed_kernels {
    packed_prepare_fn *prepare[MATH_COUNT];
    packed_matmul_fn *matmul[MATH_COUNT];
};

#endif
