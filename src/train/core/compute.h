/* compute.h - what the operations of training run on: kernels, threads, room for packed operands. */
#ifndef QUERN_TRAIN_COMPUTE_H
#define QUERN_TRAIN_COMPUTE_H

#include "base/threads.h"
#include "kernels/kernels.h"
#include "kernels/train_kernels.h"

struct compute {
    const struct kernels *kernels;
    const struct train_kernels *train;
    struct thread_pool *pool; /* owned */
    int n_workers;
    bool bf16;          /* products with .bf16 set round to bfloat16 */
    char *scratch;      /* owned: a piece for each worker */
    size_t scratch_bytes;
};

/* threads 0: all cores; cpu NULL: the best kernels. bf16 without the instruction is float32. */
enum quern_status compute_init(struct compute *c, int threads, const char *cpu, bool bf16,
                               struct quern_error *err);
void compute_release(struct compute *c); /* zeroed is fine */

/* A worker's piece of scratch; products use it too. */
static inline void *compute_scratch(const struct compute *c, int worker) {
    return c->scratch + (size_t)worker * c->scratch_bytes;
}

/* c[m][n] = a b, or += with add. What is transposed is stored [k][m], or [n][k]. */
struct gemm {
    float *c;
    const void *a, *b;
    size_t ldc, lda, ldb; /* elements between rows as stored */
    size_t m, n, k;
    enum dtype a_type, b_type;
    bool a_across; /* a is [k][m], else [m][k] */
    bool b_across; /* b is [k][n], else [n][k] */
    bool add;
    bool exact;    /* float32 even when compute.bf16 */
};

/* On all workers, or on the calling worker alone. No sum is divided among workers. */
void gemm_run(const struct compute *c, const struct gemm *g);
void gemm_one(const struct compute *c, int worker, const struct gemm *g);

/* fn(ctx, begin, end) over shares of [0, n), multiples of grain, on all workers. */
typedef void compute_fn(void *ctx, size_t begin, size_t end);
void compute_for(const struct compute *c, size_t n, size_t grain, compute_fn *fn, void *ctx);

/* ---- elementwise, in shares ---------------------------------------------------------------- */
void compute_axpy(const struct compute *c, float *y, const float *x, float a, size_t n);
void compute_scale(const struct compute *c, float *y, const float *x, float a, size_t n);
/* Sum of squares: partial sums of 4,096 elements in float32, these in double in order. */
double compute_square_sum(const struct compute *c, const float *x, size_t n);

#endif
