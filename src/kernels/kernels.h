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
 * +0 * +0 for its partner. Bias is added by plain addition.
 *
 * Tables with bf16_by_tiles sum as tdpbf16ps does, from y = +0, over each 32 columns filled up with +0:
 *     e = o = +0;  e = mac(w[2i], x[2i], e), o = mac(w[2i+1], x[2i+1], o)  for i = 0 .. 15;  y = y + (e + o)
 * subnormal results of additions being zeros of their sign. All else of such a table is as in the others. */
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

/* Causal attention of one sequence and one KV head for n_tokens consecutive queries of n_rep heads.
 * Query i has position first_position + i and sees positions [max(0, pos - window + 1), pos]; window
 * 0: all. Keys and values come in blocks (kv_layout.h): the head's part of the block of position p starts at
 * blocks[p / KV_BLOCK_TOKENS] + head_offset bytes. All of a block that holds a position somebody sees may be
 * read, other blocks are not touched.
 *
 * Positions are cut into chunks of ATTENTION_CHUNK at multiples of it, and a chunk counts for a query with the
 * positions it sees. Of one chunk, j in order:
 *     s_j = dot(q, k_j) * scale,  m = max s_j,  p_j = exp(s_j - m),
 *     l = sum p_j (16 partial sums by j mod 16),  o = sum p_j v_j
 * Chunks are joined in order: (M, L, O) starts as the first one's (m, l, o); then
 *     M' = max(M, m),  a = exp(M - M'),  b = exp(m - M'),  L' = fma(l, b, L * a),  O' = fma(o, b, O * a)
 * and the result is O / L. So neither the cut of a prompt nor that of the work changes a bit.
 *
 * What differs between the types of the cache:
 * f32   dot: 4 chains, term d goes to chain d mod 4 by fma; (c0 + c2) + (c1 + c3).
 *       o: a chain of fma(p_j, v_jd, o_d).
 * bf16  q is rounded to bfloat16, and so is p_j, l included. mac(a, b, c) is fma(a, b, c) that takes
 *       subnormal numbers for zeros, and gives zero of the same sign where the result is subnormal: what
 *       vdpbf16ps does, which is why odd goes first.
 *       dot: a chain of s = mac(q_2i+1, k_2i+1, s), s = mac(q_2i, k_2i, s).
 *       o: the same over pairs of positions (2i+1, 2i), that of an unseen one being mac(0, 0, o).
 * int8  q becomes integers: t = max |q_d|, u_d = rint(q_d * (16256 / t)).
 *       s_j = float(sum u_d * K_jd) * (kscale_j * ((t / 16256) * scale)), K codes, the sum exact.
 *       w_j = p_j * vscale_j, y = max w_j, c_j = rint(w_j * (32767 / y));
 *       o_d = float(sum c_j * V_jd) * (y / 32767).
 *       t or y below 2^-100 count as 0, with u or c all 0. A vscale that is NaN makes o NaN. */
enum { ATTENTION_CHUNK = 256 };

struct attention_args {
    float *out;        /* [n_tokens][n_rep][head_dim], out_stride floats between tokens: O, not divided */
    float *max, *sum;  /* [n_tokens][n_rep] M and L; L 0: no chunk yet, M and O are not read */
    const float *q;    /* shape of out, q_stride floats between tokens */
    const void *const *blocks;
    const struct kv_layout *layout;
    size_t head_offset;
    size_t out_stride, q_stride;
    size_t n_tokens, n_rep;
    size_t first_position, window;
    size_t chunk_begin, chunk_end; /* the chunks to join; those a query sees nothing of are left out */
    float scale;
    void *scratch;     /* attention_scratch_bytes(head_dim), 64-byte aligned; what it holds is of no account */
};
typedef void attention_fn(const struct attention_args *a);

/* A chunk's (m, l, o), l not 0, joined to (max, sum, out). */
struct attention_join {
    float *out, *max, *sum;
    const float *o;
    float m, l;
    size_t n; /* head_dim */
};

/* Queries that go through a chunk together. */
enum { ATTENTION_ROWS = 24 };

static inline size_t attention_scratch_bytes(size_t head_dim) {
    size_t padded = (head_dim + 15) / 16 * 16;
    /* A query packed, its scores, its sum of values. */
    return ATTENTION_ROWS * ((2 * padded + 16 + ATTENTION_CHUNK) * sizeof(float));
}

/* Stores n_rows keys and values of one head, k and v [n_rows][head_dim] with `stride` floats between
 * rows, as positions first_row .. of the block whose part of this head is `head`. Nothing of other positions
 * changes.
 * bf16: rounded to nearest even, subnormals to zero. int8: t = max |x_d|, scale = t / 127,
 * code = rint(x_d * (127 / t)); t below 2^-100: scale 0, codes 0; an infinity or NaN in x: scale NaN, codes 0. */
struct kv_store_args {
    unsigned char *head;
    const struct kv_layout *layout;
    const float *k, *v;
    size_t stride;
    size_t first_row, n_rows; /* within [0, KV_BLOCK_TOKENS] */
};
typedef void kv_store_fn(const struct kv_store_args *a);

struct packed_kernels;
struct train_kernels;

struct kernels {
    const char *name; /* "generic", "avx2", "avx512", "avx512vnni", "neon" */
    const struct packed_kernels *packed; /* packed_kernels.h: quantized weights */
    const struct train_kernels *train;   /* train_kernels.h */

    /* Indexed by enum dtype; NULL for types that are not weights. */
    matmul_fn *matmul[DTYPE_COUNT];
    attention_fn *attention[KV_TYPE_COUNT];
    void (*attention_join)(const struct attention_join *a);
    kv_store_fn *kv_store[KV_TYPE_COUNT];
    matmul_bf16_fn *matmul_bf16;
    bool bf16_is_fast; /* matmul_bf16 by an instruction, several times as fast as matmul[DTYPE_BF16] */
    bool bf16_by_tiles; /* matmul_bf16 in the order of tiles */

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
    /* x[i] /= by */
    void (*divide)(float *x, size_t n, float by);
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
