/* kernels.h - the arithmetic of the forward pass as a table of functions, one table
 * per instruction set. A table is a value: a test holds two side by side.
 *
 * Canonical numerics. Every function defines the order of its operations, and every
 * instruction set follows it, so that all tables give the same bits (docs/NUMERICS.md):
 *   - all arithmetic is IEEE float32, round to nearest, without contraction except
 *     where fma() is named;
 *   - a sum over k keeps 16 partial sums; term k goes to partial sum k mod 16, in increasing k,
 *     by one fma; the partial sums start at +0 and are folded s[i] += s[i+8], then 4, 2, 1;
 *   - exp is the polynomial of kernels/math.h, step by step.
 * Since an output depends only on its own row and column, results do not depend on the
 * number of tokens in a call, on tiles, or on threads.
 *
 * Pointers to floats need a float's alignment, weights (`w`, `to_f32`'s x) none at all: files
 * align nothing. Functions write only what they name and read only the ranges
 * stated; they allocate nothing. NaN in gives NaN out, of any sign and payload. */
#ifndef QUERN_KERNELS_KERNELS_H
#define QUERN_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/kv_layout.h"
#include "quant/dtype.h"

/* y[t][r] = dot(x[t], w[r]) (+ bias[r])  for t in [0, n_tokens), r in [row_begin, row_end). */
struct matmul_args {
    float *y;          /* [n_tokens, >= row_end], y_stride floats between tokens */
    const float *x;    /* [n_tokens, n_cols], x_stride floats between tokens */
    const void *w;     /* [>= row_end, n_cols], row-major, element type by the table's slot */
    const float *bias; /* [>= row_end] or NULL; added last */
    size_t y_stride, x_stride;
    size_t n_tokens, n_cols;
    size_t row_begin, row_end;
};
typedef void matmul_fn(const struct matmul_args *a);

/* "Fast" products of bfloat16 weights with activations rounded to bfloat16, summed in float32 as
 * vdpbf16ps sums. One chain for an output, over pairs of columns in increasing order:
 *     s = +0;  s = mac(w[2i+1], x[2i+1], s), then s = mac(w[2i], x[2i], s)  for i = 0, 1, ...;  y = s (+ bias)
 * mac(a, b, c) is fma(a, b, c) that takes subnormal a, b, c for zeros of their sign and gives a zero of its
 * sign for a result that would be subnormal (below 2^-126 after rounding to 24 bits). An odd last column has
 * +0 * +0 for its partner. Bias is added by plain addition. */
struct matmul_bf16_args {
    float *y;          /* [n_tokens, >= row_end], y_stride floats between tokens */
    const uint16_t *x; /* [n_tokens, n_cols], x_stride (even) elements between tokens, 4-byte aligned;
                          after an odd number of columns a zero */
    const void *w;     /* [>= row_end, n_cols], row-major, at any address */
    const float *bias; /* [>= row_end] or NULL */
    size_t y_stride, x_stride;
    size_t n_tokens, n_cols;
    size_t row_begin, row_end;
    void *scratch;     /* MATMUL_BF16_SCRATCH_BYTES, 64-byte aligned; what it holds is of no account */
};
typedef void matmul_bf16_fn(const struct matmul_bf16_args *a);

/* Rows are best cut at multiples of MATMUL_BF16_ROWS. */
enum { MATMUL_BF16_SCRATCH_BYTES = 128 * 1024, MATMUL_BF16_ROWS = 64 };

/* Causal attention of one sequence and one KV head for n_tokens consecutive queries. Query i
 * has position first_position + i and sees positions [max(0, pos - window + 1), pos]; window 0:
 * all. Keys and values come in blocks: position p lives in row p % KV_BLOCK_TOKENS of
 * blocks[p / KV_BLOCK_TOKENS] + k_offset (or v_offset), rows of head_dim floats. For each
 * query head: s_j = dot(q, k_j) * scale; m = max s; p_j = exp(s_j - m); l = sum p_j (16 partial sums,
 * j counted from the first visible position); out = (sum over j, in order, of fma(p_j, v_j)) / l. */
struct attention_args {
    float *out;        /* [n_tokens][n_rep][head_dim], out_stride floats between tokens */
    const float *q;    /* same shape, q_stride floats between tokens */
    const float *const *blocks;
    size_t k_offset, v_offset; /* in floats */
    size_t out_stride, q_stride;
    size_t n_tokens, n_rep, head_dim;
    size_t first_position, window;
    float scale;
    float *scratch;    /* attention_scratch_floats(n_rep, last position + 1) */
};
typedef void attention_fn(const struct attention_args *a);

/* Queries (tokens x heads of one KV head) that share a walk over the keys and values: what the
 * 32 KB of a block cost to read is spread over them. */
enum { ATTENTION_TILE_ROWS = 24 };

/* Tokens in such a tile. A caller that splits a sequence over threads cuts at multiples of it. */
static inline size_t attention_tile_tokens(size_t n_rep) {
    return n_rep >= ATTENTION_TILE_ROWS ? 1 : ATTENTION_TILE_ROWS / n_rep;
}

static inline size_t attention_scratch_floats(size_t n_rep, size_t n_positions) {
    return attention_tile_tokens(n_rep) * n_rep * ((n_positions + 15) / 16 * 16 + 16);
}

struct packed_kernels;

struct kernels {
    const char *name; /* "generic", "avx2", "avx512", "avx512vnni", "neon" */
    const struct packed_kernels *packed; /* packed_kernels.h: quantized weights */

    /* Indexed by enum dtype; NULL for types that are not weights. */
    matmul_fn *matmul[DTYPE_COUNT];
    attention_fn *attention;
    matmul_bf16_fn *matmul_bf16;
    bool bf16_is_fast; /* matmul_bf16 by an instruction, several times as fast as matmul[DTYPE_BF16] */

    /* y = x rounded to bfloat16: to nearest, ties to even; NaN stays NaN, subnormals stay. */
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    /* y[i] = (x[i] * (1 / sqrt(sum(x^2)/n + eps))) * w[i].  y may be x. */
    void (*rms_norm)(float *y, const float *x, const float *w, size_t n, float eps);
    /* Rotates pairs (i, i + d/2) of x[d]: x_i' = x_i*cos_i - x_j*sin_i; x_j' = x_j*cos_i + x_i*sin_i, each
     * product and sum rounded by itself. cos and sin have d/2 entries. d is even. */
    void (*rope)(float *x, const float *cos, const float *sin, size_t d);
    /* y[i] = gate[i] / (1 + exp(-gate[i])) * up[i].  y may be gate or up. */
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);
    /* y[i] += x[i] */
    void (*add)(float *y, const float *x, size_t n);
    /* y[i] = fma(a, x[i], y[i]) */
    void (*axpy)(float *y, float a, const float *x, size_t n);
    /* x = exp(x - max) / sum, in place; n >= 1 */
    void (*softmax)(float *x, size_t n);
    /* Weights to float32, exactly. */
    void (*to_f32[DTYPE_COUNT])(float *y, const void *x, size_t n);
};

/* Instruction sets this build has and this CPU runs, best last; *n of them. The first
 * is always the generic C reference. */
const struct kernels *const *kernels_available(size_t *n);
/* The table by name; "auto" or NULL: the best. Unknown or unusable names are an error that
 * lists what is usable. */
enum quern_status kernels_select(const char *name, const struct kernels **out,
                                 struct quern_error *err);

#endif
