/* device_cpu.h - what the files of the CPU device share. */
#ifndef QUERN_DEVICE_DEVICE_CPU_H
#define QUERN_DEVICE_DEVICE_CPU_H

#include <stdatomic.h>

#include "base/threads.h"
#include "device/device.h"
#include "kernels/packed_kernels.h"
#include "kernels/kernels.h"

/* Waking the pool costs about 2 us; below these sizes one thread is done sooner. */
enum {
    PARALLEL_MIN_FLOATS = 16384,      /* of element-wise work, about 4 us */
    PARALLEL_MIN_PRODUCTS = 1 << 17,  /* multiply-adds of a linear, about 4 us as bf16 from memory */
};

struct scratch {
    float *data;
    size_t bytes;
};

/* What products with packed matrices need: activations as the kernels want them, for as many
 * tokens as are done at a time, and a place for each worker. Touched inside runs of the pool only. */
struct cpu_packed {
    void *input;
    size_t input_bytes;
    void **worker; /* [n_threads], PACKED_KERNEL_SCRATCH bytes each; NULL until a matrix is packed */
};

struct device_cpu {
    struct device base; /* first: the two convert */
    const struct kernels *kernels;
    struct thread_pool *pool;
    struct scratch *scratch; /* [n_threads] */
    struct cpu_packed packed;
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

void cpu_run_job(struct device_cpu *cpu, struct job *job);
/* For jobs that use no scratch: on the calling thread when there is too little to share. */
void cpu_run_small_job(struct device_cpu *cpu, struct job *job, bool parallel);

/* device_cpu_linear.c */
void cpu_linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
                size_t n);
void cpu_linears(struct device *d, const float *x, const struct linear_out *outs, size_t n_outs,
                 size_t n);

/* device_cpu_packed.c */
void cpu_packed_linears(struct device_cpu *cpu, const float *x, const struct linear_out *outs,
                        size_t n_outs, size_t n);
enum quern_status cpu_pack_plan(struct device *d, struct packed_matrix *out, const struct quant_source *s,
                                const struct packed_survey *known, enum packed_math math, size_t *bytes,
                                struct quern_error *err);
enum quern_status cpu_pack(struct device *d, struct packed_matrix *m, void *memory,
                           const struct quant_source *s, struct quern_error *err);
void cpu_packed_release(struct device_cpu *cpu);

#endif
