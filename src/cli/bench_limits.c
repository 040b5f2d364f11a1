#include "cli/bench_limits.h"

#include <string.h>

#include "base/os.h"
#include "base/pages.h"

/* Of 256 MB, a seventh still came from caches of 32 MB. */
static const size_t max_buffer_bytes = (size_t)1 << 30, min_buffer_bytes = (size_t)16 << 20;
enum { READS = 8, COMPUTES = 8, ROUNDS = 200000, READ_GRAIN = 4096 };

struct limit_job {
    const struct peaks *peaks;
    enum peak_kind kind;
    unsigned char *buffer;
    size_t buffer_bytes;
    double ops; /* of one worker */
};

/* Written by the workers that read it: on a machine with several memories, each has its part near. */
static void fill_share(void *ctx, int worker, int n_workers) {
    struct limit_job *job = ctx;
    size_t begin, end;
    thread_share(job->buffer_bytes, READ_GRAIN, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i += sizeof(uint64_t)) {
        const uint64_t value = i * 0x9E3779B97F4A7C15u; /* no two pages alike */
        memcpy(job->buffer + i, &value, sizeof value);
    }
}

static void read_share(void *ctx, int worker, int n_workers) {
    struct limit_job *job = ctx;
    size_t begin, end;
    thread_share(job->buffer_bytes, READ_GRAIN, worker, n_workers, &begin, &end);
    job->peaks->read(job->buffer + begin, end - begin);
}

static void compute(void *ctx, int worker, int n_workers) {
    struct limit_job *job = ctx;
    double ops = job->peaks->compute[job->kind](ROUNDS);
    (void)n_workers;
    if (worker == 0)
        job->ops = ops;
}

static double fastest(struct thread_pool *pool, void (*fn)(void *, int, int), struct limit_job *job,
                      int n) {
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < n; i++) {
        uint64_t start = os_now_ns();
        thread_pool_run(pool, fn, job);
        uint64_t ns = os_now_ns() - start;
        best = ns < best ? ns : best;
    }
    return (double)best * 1e-9;
}

double bench_limits_compute(struct thread_pool *pool, enum peak_kind kind) {
    const struct peaks peaks = peaks_of_cpu();
    struct limit_job job = {.peaks = &peaks, .kind = kind};
    if (!peaks.compute[kind])
        return 0;
    double seconds = fastest(pool, compute, &job, COMPUTES);
    return job.ops * thread_pool_size(pool) / seconds;
}

enum quern_status bench_limits_measure(struct thread_pool *pool, struct bench_limits *out,
                                       struct quern_error *err) {
    const struct peaks peaks = peaks_of_cpu();
    struct limit_job job = {.peaks = &peaks};
    *out = (struct bench_limits){.read_bytes_s = 0};
    for (int k = 0; k < PEAK_KINDS; k++)
        out->compute_ops_s[k] = bench_limits_compute(pool, (enum peak_kind)k);
    if (!peaks.read)
        return QUERN_OK;
    const size_t quarter = os_memory_available_bytes() / 4 / READ_GRAIN * READ_GRAIN;
    job.buffer_bytes = quarter > max_buffer_bytes   ? max_buffer_bytes
                       : quarter < min_buffer_bytes ? min_buffer_bytes
                                                    : quarter;
    job.buffer = pages_alloc(job.buffer_bytes);
    if (!job.buffer)
        return error_nomem(err);
    thread_pool_run(pool, fill_share, &job);
    out->read_bytes_s = (double)job.buffer_bytes / fastest(pool, read_share, &job, READS);
    pages_free(job.buffer, job.buffer_bytes);
    return QUERN_OK;
}
