/* device_cpu.h - shared by the files of the CPU device: a kernel table, a thread pool, and how an
 * operation's work is shared out.
 *
 * Work is cut along outputs only, never along a sum, so results do not depend on
 * the number of threads. Callers on several threads are safe: operations share nothing but the
 * attention scratch, and that is touched only inside a run of the pool, of which there is one at
 * a time. */
#ifndef QUERN_DEVICE_CPU_DEVICE_CPU_H
#define QUERN_DEVICE_CPU_DEVICE_CPU_H

#include <stdatomic.h>

#include "base/threads.h"
#include "device/device.h"
#include "kernels/kernels.h"
#include "kernels/packed_kernels.h"

/* Waking the pool costs about 2 us; below this size of element-wise work (about 4 us) one thread is
 * done sooner. */
enum { PARALLEL_MIN_FLOATS = 16384 };

struct scratch {
    float *data;
    size_t bytes;
};

/* Attention cut into chunks of positions: their results, and for each unit of work how many of its
 * chunks are done (0 between operations). Touched inside runs of the pool only. */
struct cpu_parts {
    struct scratch buffer;
    atomic_size_t room;  /* buffer.bytes, for who asks outside of a run: it only grows */
    atomic_size_t *done; /* [n_done] */
    size_t n_done;
};

/* What products need that round activations: these in the form the kernels want, for as many
 * tokens as are done at a time, and a place for each worker. Touched inside runs of the pool only. */
struct cpu_packed {
    void *input;
    size_t input_bytes;
    void **worker; /* [n_threads], WORKER_SCRATCH bytes each; NULL until a matrix asks for it */
};

enum {
    WORKER_SCRATCH = (int)PACKED_KERNEL_SCRATCH > (int)MATMUL_BF16_SCRATCH_BYTES
                         ? (int)PACKED_KERNEL_SCRATCH
                         : (int)MATMUL_BF16_SCRATCH_BYTES
};

struct device_cpu {
    struct device base; /* first: the two convert */
    const struct kernels *kernels;
    struct thread_pool *pool;
    struct scratch *scratch; /* [n_threads] */
    struct cpu_packed packed;
    struct cpu_parts parts;
    char name[32];
};

static inline struct device_cpu *cpu_of(struct device *d) {
    return (struct device_cpu *)d;
}

/* A job over [0, n), handed out in pieces that shrink towards the end: a core that is slow or
 * busy elsewhere takes fewer. */
struct job {
    void (*fn)(const struct job *job, size_t begin, size_t end, int worker);
    const void *args;
    struct device_cpu *cpu;
    size_t n, grain;
    atomic_size_t next;
};

void run_job(struct device_cpu *cpu, struct job *job);
/* For jobs that use no scratch: on the calling thread when there is too little to share. */
void run_small_job(struct device_cpu *cpu, struct job *job, bool parallel);

/* The operations, as described in device.h. */
void cpu_embed(struct device *d, float *out, const struct weight *table, const int32_t *ids, size_t n);
void cpu_rms_norm(struct device *d, float *out, const float *x, const float *w, size_t n, size_t cols,
                  float eps);
void cpu_norm_rope(struct device *d, float *x, const float *norm_w, float eps, const float *cos,
                   const float *sin, size_t n, size_t n_heads, size_t head_dim);
void cpu_softmax(struct device *d, float *x, size_t n, size_t cols);
void cpu_gather(struct device *d, float *out, const float *x, const int32_t *rows, size_t n, size_t cols);
void cpu_silu_mul(struct device *d, float *y, const float *gate, const float *up, size_t n);
void cpu_add(struct device *d, float *y, const float *x, size_t n);
void cpu_add_scaled(struct device *d, float *y, const float *x, float scale, size_t n);
void cpu_add_dora(struct device *d, float *y, const float *x, float scale, const float *gain,
                  const float *bias, size_t n, size_t cols);
void cpu_zero(struct device *d, float *x, size_t n);
void cpu_scatter_add(struct device *d, float *y, const float *x, const int32_t *rows, const float *scale,
                     size_t n, size_t cols);
void cpu_linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
                size_t n);
void cpu_linears(struct device *d, const float *x, const struct linear_out *outs, size_t n_outs,
                 size_t n);
enum quern_status cpu_pack_plan(struct device *d, struct packed_matrix *out, const struct quant_source *s,
                                const struct packed_survey *known, enum packed_math math, size_t *bytes,
                                struct quern_error *err);
enum quern_status cpu_pack(struct device *d, struct packed_matrix *m, void *memory,
                           const struct quant_source *s, struct quern_error *err);
enum quern_status cpu_adopt(struct device *d, struct packed_matrix *m, enum packed_math math,
                            struct quern_error *err);
void cpu_kv_store(struct device *d, const struct attention_shape *shape, const struct attention_seq *seqs,
                  size_t n_seqs, const float *k, const float *v);
void cpu_attention(struct device *d, const struct attention_shape *shape, const struct attention_seq *seqs,
                   size_t n_seqs, float *out, const float *q);
enum quern_status cpu_reserve(struct device *d, size_t n_positions, size_t n_rep, size_t head_dim,
                              struct quern_error *err);
enum quern_status cpu_attention_init(struct device_cpu *cpu, struct quern_error *err);
void cpu_attention_release(struct device_cpu *cpu);

/* For matrices that are packed and share their input (packed_same_input). */
void cpu_packed_linears(struct device_cpu *cpu, const float *x, const struct linear_out *outs,
                        size_t n_outs, size_t n);
void cpu_packed_release(struct device_cpu *cpu);
/* Makes room for prepared activations and for what workers need, if it is not there. */
enum quern_status cpu_packed_grow(struct device_cpu *cpu, size_t input_bytes, struct quern_error *err);

/* For plain matrices of MATH_BF16 with the same number of columns. */
void cpu_bf16_linears(struct device_cpu *cpu, const float *x, const struct linear_out *outs, size_t n_outs,
                      size_t n);
enum quern_status cpu_use_bf16_math(struct device *d, struct weight *w, struct quern_error *err);

#endif
