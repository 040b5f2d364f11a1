/* device.h - where tensors live and where the forward pass is computed: the CPU today,
 * CUDA beside it. The forward pass (model/forward.c) speaks only to this table.
 *
 * Tensor pointers are device pointers from `alloc`/`upload`; on the CPU they are
 * ordinary ones. Arrays called `ids`, `positions`, `rows` and the structs describing
 * a batch are host memory. Calls are queued in order; `download` waits for them. No
 * call but alloc, upload, release and reserve allocates. Shapes are [rows, columns], row-major, packed. */
#ifndef QUERN_DEVICE_DEVICE_H
#define QUERN_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "kernels/kv_layout.h"
#include "quant/packed.h"

/* A matrix of a model: [rows, cols], y = x * W^T. */
struct weight {
    enum dtype dtype; /* DTYPE_F32, F16 or BF16 */
    size_t rows, cols;
    const void *data; /* device pointer */
    const struct packed_matrix *packed; /* not NULL: a coded matrix; data is its data, dtype means nothing */
    enum packed_math math; /* of a plain matrix: MATH_EXACT, or what use_bf16_math made it */
};

/* How products with it are computed. */
static inline enum packed_math weight_math(const struct weight *w) {
    return w->packed ? w->packed->math : w->math;
}

/* Bytes a product reads. */
static inline size_t weight_bytes(const struct weight *w) {
    if (w->packed)
        return packed_n_panels(w->packed) * w->packed->panel_bytes;
    return w->rows * w->cols * dtype_size_bytes(w->dtype);
}

/* "BF16", "int4", "nf4": for reports. */
static inline const char *weight_type_name(const struct weight *w) {
    static const char *const ints[] = {"int4", "int8"}, *const codes[] = {"nf4", "fp8"};
    if (!w->packed)
        return dtype_name(w->dtype);
    return (w->packed->kind == QUANT_CODE ? codes : ints)[w->packed->bits == 8];
}

/* One of several products with the same x: y[n, w.rows] = x[n, w.cols] * W^T + bias */
struct linear_out {
    float *y;
    const struct weight *w;
    const float *bias; /* or NULL */
};

/* Queries of one sequence in a batch. */
struct attention_seq {
    const void *const *blocks; /* the sequence's KV blocks, in order (kernels/kv_layout.h) */
    size_t first_row;          /* its first token's row in the batch */
    size_t n_tokens;
    size_t first_position;     /* that token's position */
};

struct attention_shape {
    size_t n_heads, n_kv_heads, window; /* window 0: full */
    const struct kv_layout *layout;     /* of the blocks */
    size_t layer;
    float scale;
};

struct device;

struct device_ops {
    void *(*alloc)(struct device *d, size_t bytes); /* 64-byte aligned, zero-filled; NULL: no memory */
    void (*release)(struct device *d, void *p, size_t bytes);
    size_t (*memory_bytes)(struct device *d); /* all that alloc could ever give; 0: unknown */
    /* Makes `bytes` at `host` usable by the device for as long as it lives. The CPU
     * returns `host` itself. */
    const void *(*upload)(struct device *d, const void *host, size_t bytes);
    void (*download)(struct device *d, void *host, const void *p, size_t bytes);
    /* Copies `bytes` at `host` into the allocated `p`; `host` may be reused afterwards. */
    void (*write)(struct device *d, void *p, const void *host, size_t bytes);
    void (*copy)(struct device *d, void *to, const void *from, size_t bytes);
    /* `bytes` at `p`, a part of an allocation that begins and ends on pages of 4096 bytes, are not
     * needed any more: their memory goes back to the system until they are touched again. */
    void (*discard)(struct device *d, void *p, size_t bytes);

    /* out[n, cols] = table[ids[i]], as float32 */
    void (*embed)(struct device *d, float *out, const struct weight *table, const int32_t *ids, size_t n);
    /* out[n, cols] = RMSNorm of each row; out may be x */
    void (*rms_norm)(struct device *d, float *out, const float *x, const float *w, size_t n, size_t cols,
                     float eps);
    /* y[n, w.rows] = x[n, w.cols] * W^T + bias; bias NULL: none */
    void (*linear)(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
                   size_t n);
    /* The same for several matrices of as many columns, which are not empty: what is prepared of x
     * serves all of them. */
    void (*linears)(struct device *d, const float *x, const struct linear_out *outs, size_t n_outs,
                    size_t n);
    /* The form a coded matrix takes on the device, and its size. `known`: numbers of the source as
     * packed_survey_rows finds them; NULL: they are looked for, which reads all of it. */
    enum quern_status (*pack_plan)(struct device *d, struct packed_matrix *out,
                                   const struct quant_source *s, const struct packed_survey *known,
                                   enum packed_math math, size_t *bytes, struct quern_error *err);
    /* Fills `memory` (of `alloc`, or a part of it that begins at 64 bytes), and with it m->data. From
     * then on products with it are possible; m must stay where it is as long as a weight names it. */
    enum quern_status (*pack)(struct device *d, struct packed_matrix *m, void *memory,
                              const struct quant_source *s, struct quern_error *err);
    /* For a matrix that was packed before and lies somewhere in the process's memory: what pack_plan and
     * pack would do besides filling it, m->math included. NULL: the device needs its own memory. */
    enum quern_status (*adopt)(struct device *d, struct packed_matrix *m, enum packed_math math,
                               struct quern_error *err);
    /* Products with the plain bfloat16 matrix *w round activations to bfloat16 from now on (matmul_bf16 in
     * kernels/kernels.h), where the device has kernels for it. */
    enum quern_status (*use_bf16_math)(struct device *d, struct weight *w, struct quern_error *err);
    /* For each of n rows and n_heads heads of x[n, n_heads*head_dim]: RMSNorm with norm_w
     * (NULL: none), then RoPE with cos/sin[n, head_dim/2] */
    void (*norm_rope)(struct device *d, float *x, const float *norm_w, float eps, const float *cos,
                      const float *sin, size_t n, size_t n_heads, size_t head_dim);
    /* Stores k and v [n, n_kv_heads*head_dim] of a batch into the sequences' blocks */
    void (*kv_store)(struct device *d, const struct attention_shape *shape,
                     const struct attention_seq *seqs, size_t n_seqs, const float *k, const float *v);
    /* out[n, n_heads*head_dim] = attention of q[n, n_heads*head_dim] over the sequences */
    void (*attention)(struct device *d, const struct attention_shape *shape,
                      const struct attention_seq *seqs, size_t n_seqs, float *out, const float *q);
    /* y[n] = silu(gate) * up; y may be gate */
    void (*silu_mul)(struct device *d, float *y, const float *gate, const float *up, size_t n);
    void (*add)(struct device *d, float *y, const float *x, size_t n);
    /* y[n] = fma(scale, x, y) */
    void (*add_scaled)(struct device *d, float *y, const float *x, float scale, size_t n);
    /* For each of n rows y += (gain - 1) * (y - bias) + gain * (scale * x); bias NULL: none */
    void (*add_dora)(struct device *d, float *y, const float *x, float scale, const float *gain,
                     const float *bias, size_t n, size_t cols);
    /* out[i] = x[rows[i]] */
    void (*gather)(struct device *d, float *out, const float *x, const int32_t *rows, size_t n, size_t cols);
    /* y[rows[i]] = fma(scale[i], x[i], y[rows[i]]), i in order; `scale` is host memory */
    void (*scatter_add)(struct device *d, float *y, const float *x, const int32_t *rows,
                        const float *scale, size_t n, size_t cols);
    /* x = softmax of each row, in place */
    void (*softmax)(struct device *d, float *x, size_t n, size_t cols);
    void (*zero)(struct device *d, float *x, size_t n);
    /* Called before the first attention over sequences of up to n_positions with n_rep query heads
     * of head_dim to a KV head: scratch grows here, so that attention itself allocates nothing. */
    enum quern_status (*reserve)(struct device *d, size_t n_positions, size_t n_rep, size_t head_dim,
                                 struct quern_error *err);
    void (*destroy)(struct device *d); /* called by device_destroy */
};

struct device {
    const struct device_ops *ops;
    const char *name; /* "cpu/avx512" */
    bool is_host;     /* device pointers are the process's own: results may go straight where they belong */
};

/* n_threads 0: all cores; cpu NULL: the best kernels. Calls from several threads queue. */
enum quern_status device_cpu_create(int n_threads, const char *cpu, struct device **out,
                                    struct quern_error *err);
void device_destroy(struct device *d); /* NULL is fine */

#endif
