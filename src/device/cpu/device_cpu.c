/* device_cpu.c - the CPU as a device: memory, how work is shared out, the table of operations. */
#include "device/cpu/device_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "base/pages.h"

/* ---- memory ----------------------------------------------------------------- */

static void *cpu_alloc(struct device *d, size_t bytes) {
    (void)d;
    return pages_alloc(bytes);
}

static void cpu_release(struct device *d, void *p, size_t bytes) {
    (void)d;
    pages_free(p, bytes);
}

static size_t cpu_memory_bytes(struct device *d) {
    (void)d;
    return os_memory_bytes();
}

static const void *cpu_upload(struct device *d, const void *host, size_t bytes) {
    (void)d;
    (void)bytes;
    return host;
}

static void cpu_download(struct device *d, void *host, const void *p, size_t bytes) {
    (void)d;
    memcpy(host, p, bytes);
}

static void cpu_write(struct device *d, void *p, const void *host, size_t bytes) {
    (void)d;
    memcpy(p, host, bytes);
}

static void cpu_copy(struct device *d, void *to, const void *from, size_t bytes) {
    (void)d;
    memcpy(to, from, bytes);
}

static void cpu_discard(struct device *d, void *p, size_t bytes) {
    (void)d;
    pages_discard(p, bytes);
}

/* ---- sharing work out -------------------------------------------------------- */

static void job_worker(void *ctx, int worker, int n_workers) {
    struct job *job = ctx;
    size_t pieces = 2 * (size_t)n_workers;
    size_t begin = atomic_load_explicit(&job->next, memory_order_relaxed);
    while (begin < job->n) {
        size_t grains = (job->n - begin + job->grain - 1) / job->grain;
        size_t end = begin + (grains + pieces - 1) / pieces * job->grain;
        if (end > job->n)
            end = job->n;
        if (!atomic_compare_exchange_weak_explicit(&job->next, &begin, end, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        job->fn(job, begin, end, worker);
        begin = atomic_load_explicit(&job->next, memory_order_relaxed);
    }
}

void run_job(struct device_cpu *cpu, struct job *job) {
    job->cpu = cpu;
    atomic_init(&job->next, 0);
    thread_pool_run(cpu->pool, job_worker, job);
}

void run_small_job(struct device_cpu *cpu, struct job *job, bool parallel) {
    job->cpu = cpu;
    if (parallel && thread_pool_size(cpu->pool) > 1)
        run_job(cpu, job);
    else
        job->fn(job, 0, job->n, 0);
}

/* ---- life --------------------------------------------------------------------------- */

static void cpu_destroy(struct device *d) {
    struct device_cpu *cpu = cpu_of(d);
    for (int i = 0; cpu->scratch && i < thread_pool_size(cpu->pool); i++)
        pages_free(cpu->scratch[i].data, cpu->scratch[i].bytes);
    cpu_packed_release(cpu);
    cpu_attention_release(cpu);
    thread_pool_destroy(cpu->pool);
    free(cpu->scratch);
    free(cpu);
}

static const struct device_ops cpu_ops = {
    .alloc = cpu_alloc,
    .release = cpu_release,
    .memory_bytes = cpu_memory_bytes,
    .upload = cpu_upload,
    .download = cpu_download,
    .write = cpu_write,
    .copy = cpu_copy,
    .discard = cpu_discard,
    .embed = cpu_embed,
    .rms_norm = cpu_rms_norm,
    .linear = cpu_linear,
    .linears = cpu_linears,
    .pack_plan = cpu_pack_plan,
    .pack = cpu_pack,
    .adopt = cpu_adopt,
    .use_bf16_math = cpu_use_bf16_math,
    .norm_rope = cpu_norm_rope,
    .kv_store = cpu_kv_store,
    .attention = cpu_attention,
    .silu_mul = cpu_silu_mul,
    .add = cpu_add,
    .add_scaled = cpu_add_scaled,
    .add_dora = cpu_add_dora,
    .gather = cpu_gather,
    .scatter_add = cpu_scatter_add,
    .softmax = cpu_softmax,
    .zero = cpu_zero,
    .reserve = cpu_reserve,
    .destroy = cpu_destroy,
};

enum quern_status device_cpu_create(int n_threads, const char *cpu_name, struct device **out,
                                    struct quern_error *err) {
    const struct kernels *kernels;
    enum quern_status status = kernels_select(cpu_name, &kernels, err);
    if (status)
        return status;
    struct device_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return error_nomem(err);
    cpu->kernels = kernels;
    cpu->base.ops = &cpu_ops;
    cpu->base.name = cpu->name;
    cpu->base.is_host = true;
    snprintf(cpu->name, sizeof cpu->name, "cpu/%s", kernels->name);
    status = thread_pool_create(n_threads, &cpu->pool, err);
    if (status)
        goto fail;
    cpu->scratch = calloc((size_t)thread_pool_size(cpu->pool), sizeof *cpu->scratch);
    status = cpu->scratch ? cpu_attention_init(cpu, err) : error_nomem(err);
    if (status)
        goto fail;
    *out = &cpu->base;
    return QUERN_OK;
fail:
    cpu_destroy(&cpu->base);
    return status;
}

void device_destroy(struct device *d) {
    if (d)
        d->ops->destroy(d);
}
