/* device_cpu.c - the CPU as a device: a kernel table and a thread pool.
 *
 * Work is cut along outputs only, never along a sum, so results do not depend on
 * the number of threads. Callers on several threads are safe: operations share nothing but the
 * attention scratch, and that is touched only inside a run of the pool, of which there is one at
 * a time. */
#include "device/device_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
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

void cpu_run_job(struct device_cpu *cpu, struct job *job) {
    job->cpu = cpu;
    atomic_init(&job->next, 0);
    thread_pool_run(cpu->pool, job_worker, job);
}

void cpu_run_small_job(struct device_cpu *cpu, struct job *job, bool parallel) {
    job->cpu = cpu;
    if (parallel && thread_pool_size(cpu->pool) > 1)
        cpu_run_job(cpu, job);
    else
        job->fn(job, 0, job->n, 0);
}

/* ---- row by row --------------------------------------------------------------- */

struct rows_args {
    float *out;
    const float *x, *y;
    const float *w, *cos, *sin;
    const struct weight *table;
    const int32_t *ids;
    size_t cols, n_heads;
    float eps;
};

static void run_rows(struct device *d, const struct rows_args *args, size_t n, size_t floats_per_row,
                     void (*fn)(const struct job *, size_t, size_t, int)) {
    struct job job = {.fn = fn, .args = args, .n = n, .grain = 1};
    size_t floats;
    bool parallel = !checked_mul(n, floats_per_row, &floats) || floats >= PARALLEL_MIN_FLOATS;
    cpu_run_small_job(cpu_of(d), &job, n > 1 && parallel);
}

static void embed_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    size_t row_bytes = a->cols * dtype_size_bytes(a->table->dtype);
    for (size_t i = begin; i < end; i++) {
        if (a->table->packed)
            packed_row(a->table->packed, (size_t)a->ids[i], a->out + i * a->cols);
        else
            job->cpu->kernels->to_f32[a->table->dtype](
                a->out + i * a->cols,
                (const unsigned char *)a->table->data + (size_t)a->ids[i] * row_bytes, a->cols);
    }
}

static void cpu_embed(struct device *d, float *out, const struct weight *table, const int32_t *ids,
                      size_t n) {
    struct rows_args a = {.out = out, .table = table, .ids = ids, .cols = table->cols};
    run_rows(d, &a, n, a.cols, embed_rows);
}

static void rms_norm_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        job->cpu->kernels->rms_norm(a->out + i * a->cols, a->x + i * a->cols, a->w, a->cols, a->eps);
}

static void cpu_rms_norm(struct device *d, float *out, const float *x, const float *w, size_t n,
                         size_t cols, float eps) {
    struct rows_args a = {.out = out, .x = x, .w = w, .cols = cols, .eps = eps};
    run_rows(d, &a, n, cols, rms_norm_rows);
}

static void norm_rope_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    const struct kernels *k = job->cpu->kernels;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        for (size_t h = 0; h < a->n_heads; h++) {
            float *x = a->out + (i * a->n_heads + h) * a->cols;
            if (a->w)
                k->rms_norm(x, x, a->w, a->cols, a->eps);
            k->rope(x, a->cos + i * (a->cols / 2), a->sin + i * (a->cols / 2), a->cols);
        }
    }
}

static void cpu_norm_rope(struct device *d, float *x, const float *norm_w, float eps, const float *cos,
                          const float *sin, size_t n, size_t n_heads, size_t head_dim) {
    struct rows_args a = {.out = x, .w = norm_w, .cos = cos, .sin = sin, .cols = head_dim,
                          .n_heads = n_heads, .eps = eps};
    run_rows(d, &a, n, n_heads * head_dim, norm_rope_rows);
}

static void softmax_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        job->cpu->kernels->softmax(a->out + i * a->cols, a->cols);
}

static void cpu_softmax(struct device *d, float *x, size_t n, size_t cols) {
    struct rows_args a = {.out = x, .cols = cols};
    if (cols > 0)
        run_rows(d, &a, n, cols, softmax_rows);
}

static void gather_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        memcpy(a->out + i * a->cols, a->x + (size_t)a->ids[i] * a->cols, a->cols * sizeof(float));
}

static void cpu_gather(struct device *d, float *out, const float *x, const int32_t *rows, size_t n,
                       size_t cols) {
    struct rows_args a = {.out = out, .x = x, .ids = rows, .cols = cols};
    run_rows(d, &a, n, cols, gather_rows);
}

/* ---- element by element --------------------------------------------------------- */

enum { ELEMENT_GRAIN = 1024 };

static void run_elements(struct device *d, const struct rows_args *args, size_t n,
                         void (*fn)(const struct job *, size_t, size_t, int)) {
    struct job job = {.fn = fn, .args = args, .n = n, .grain = ELEMENT_GRAIN};
    cpu_run_small_job(cpu_of(d), &job, n >= PARALLEL_MIN_FLOATS);
}

static void silu_mul_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    job->cpu->kernels->silu_mul(a->out + begin, a->x + begin, a->y + begin, end - begin);
}

static void cpu_silu_mul(struct device *d, float *y, const float *gate, const float *up, size_t n) {
    struct rows_args a = {.out = y, .x = gate, .y = up};
    run_elements(d, &a, n, silu_mul_range);
}

static void add_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    job->cpu->kernels->add(a->out + begin, a->x + begin, end - begin);
}

static void cpu_add(struct device *d, float *y, const float *x, size_t n) {
    struct rows_args a = {.out = y, .x = x};
    run_elements(d, &a, n, add_range);
}

static void cpu_zero(struct device *d, float *x, size_t n) {
    (void)d;
    memset(x, 0, n * sizeof *x);
}

/* Rows may repeat, so their order counts: cut along columns. */
struct scatter_args {
    float *y;
    const float *x, *scale;
    const int32_t *rows;
    size_t n, cols;
};

static void scatter_add_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct scatter_args *a = job->args;
    (void)worker;
    for (size_t i = 0; i < a->n; i++)
        job->cpu->kernels->axpy(a->y + (size_t)a->rows[i] * a->cols + begin, a->scale[i],
                                a->x + i * a->cols + begin, end - begin);
}

static void cpu_scatter_add(struct device *d, float *y, const float *x, const int32_t *rows,
                            const float *scale, size_t n, size_t cols) {
    struct scatter_args a = {.y = y, .x = x, .scale = scale, .rows = rows, .n = n, .cols = cols};
    struct job job = {.fn = scatter_add_range, .args = &a, .n = cols, .grain = 64};
    cpu_run_small_job(cpu_of(d), &job, n * cols >= PARALLEL_MIN_FLOATS);
}

/* ---- attention --------------------------------------------------------------------- */

struct seqs_args {
    const struct attention_shape *shape;
    const struct attention_seq *seqs;
    size_t n_seqs;
    float *out;
    const float *q, *k, *v;
    size_t n_rep, tile; /* query heads of a KV head; tokens of a query tile */
};

static size_t seq_tiles(const struct seqs_args *a, size_t seq) {
    return (a->seqs[seq].n_tokens + a->tile - 1) / a->tile;
}

static void attend_tile(const struct seqs_args *a, const struct job *job, const struct attention_seq *seq,
                        size_t kv_head, size_t tile, int worker) {
    const struct attention_shape *s = a->shape;
    size_t row_floats = s->n_heads * s->head_dim;
    size_t first = tile * a->tile;
    size_t rest = seq->n_tokens - first;
    size_t head = kv_head * a->n_rep * s->head_dim;
    struct attention_args args = {
        .out = a->out + (seq->first_row + first) * row_floats + head,
        .q = a->q + (seq->first_row + first) * row_floats + head,
        .blocks = seq->blocks,
        .k_offset = s->k_offset + kv_head * KV_BLOCK_TOKENS * s->head_dim,
        .v_offset = s->v_offset + kv_head * KV_BLOCK_TOKENS * s->head_dim,
        .out_stride = row_floats,
        .q_stride = row_floats,
        .n_tokens = rest < a->tile ? rest : a->tile,
        .n_rep = a->n_rep,
        .head_dim = s->head_dim,
        .first_position = seq->first_position + first,
        .window = s->window,
        .scale = s->scale,
        .scratch = job->cpu->scratch[worker].data,
    };
    job->cpu->kernels->attention(&args);
}

/* Task numbers run over sequences, then tiles from the last (the longest) to the first, then
 * KV heads. */
static void attention_tasks(const struct job *job, size_t begin, size_t end, int worker) {
    const struct seqs_args *a = job->args;
    size_t n_kv = a->shape->n_kv_heads;
    size_t seq = 0, base = 0;
    for (size_t task = begin; task < end; task++) {
        while (task - base >= seq_tiles(a, seq) * n_kv)
            base += seq_tiles(a, seq++) * n_kv;
        size_t tile = seq_tiles(a, seq) - 1 - (task - base) / n_kv;
        attend_tile(a, job, &a->seqs[seq], (task - base) % n_kv, tile, worker);
    }
}

static void cpu_attention(struct device *d, const struct attention_shape *shape,
                          const struct attention_seq *seqs, size_t n_seqs, float *out, const float *q) {
    struct seqs_args a = {.shape = shape, .seqs = seqs, .n_seqs = n_seqs, .out = out, .q = q,
                          .n_rep = shape->n_heads / shape->n_kv_heads};
    a.tile = attention_tile_tokens(a.n_rep);
    struct job job = {.fn = attention_tasks, .args = &a, .grain = 1};
    for (size_t i = 0; i < n_seqs; i++)
        job.n += seq_tiles(&a, i) * shape->n_kv_heads;
    cpu_run_job(cpu_of(d), &job); /* always in the pool: it uses scratch */
}

static void store_seq(const struct seqs_args *a, const struct attention_seq *seq) {
    size_t head_dim = a->shape->head_dim, n_kv = a->shape->n_kv_heads;
    for (size_t t = 0; t < seq->n_tokens; t++) {
        size_t position = seq->first_position + t;
        /* The cache is read-only to everyone but its owner, whose call this is. */
        float *block = (float *)(uintptr_t)seq->blocks[position / KV_BLOCK_TOKENS];
        size_t from = (seq->first_row + t) * n_kv * head_dim;
        for (size_t h = 0; h < n_kv; h++) {
            size_t to = (h * KV_BLOCK_TOKENS + position % KV_BLOCK_TOKENS) * head_dim;
            memcpy(block + a->shape->k_offset + to, a->k + from + h * head_dim,
                   head_dim * sizeof(float));
            memcpy(block + a->shape->v_offset + to, a->v + from + h * head_dim,
                   head_dim * sizeof(float));
        }
    }
}

static void cpu_kv_store(struct device *d, const struct attention_shape *shape,
                         const struct attention_seq *seqs, size_t n_seqs, const float *k,
                         const float *v) {
    struct seqs_args a = {.shape = shape, .k = k, .v = v};
    (void)d;
    for (size_t i = 0; i < n_seqs; i++)
        store_seq(&a, &seqs[i]);
}

struct reserve_args {
    struct device_cpu *cpu;
    size_t bytes;
    atomic_bool failed;
};

static void reserve_worker(void *ctx, int worker, int n_workers) {
    struct reserve_args *a = ctx;
    struct scratch *s = &a->cpu->scratch[worker];
    (void)n_workers;
    if (s->bytes >= a->bytes)
        return;
    float *grown = pages_alloc(a->bytes);
    if (!grown) {
        atomic_store(&a->failed, true);
        return;
    }
    pages_free(s->data, s->bytes);
    s->data = grown;
    s->bytes = a->bytes;
}

static enum quern_status cpu_reserve(struct device *d, size_t n_positions, size_t n_rep,
                                     struct quern_error *err) {
    struct reserve_args a = {.cpu = cpu_of(d)};
    atomic_init(&a.failed, false);
    /* attention_scratch_floats pads 31 positions at most and has at most TILE_ROWS - 1 more rows. */
    size_t rows, floats, bytes;
    if (n_rep == 0 || !checked_add(n_rep, ATTENTION_TILE_ROWS, &rows) ||
        !checked_add(n_positions, 32, &floats) || !checked_mul(rows, floats, &floats) ||
        !checked_mul(floats, sizeof(float), &bytes))
        return error_set(err, QUERN_ERR_LIMIT,
                         "attention over %zu positions with %zu query heads to a KV head cannot be "
                         "addressed", n_positions, n_rep);
    a.bytes = attention_scratch_floats(n_rep, n_positions) * sizeof(float);
    /* Run by the pool, so that no attention is under way. */
    thread_pool_run(a.cpu->pool, reserve_worker, &a);
    return atomic_load(&a.failed) ? error_nomem(err) : QUERN_OK;
}

/* ---- life --------------------------------------------------------------------------- */

static void cpu_destroy(struct device *d) {
    struct device_cpu *cpu = cpu_of(d);
    for (int i = 0; cpu->scratch && i < thread_pool_size(cpu->pool); i++)
        pages_free(cpu->scratch[i].data, cpu->scratch[i].bytes);
    cpu_packed_release(cpu);
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
    .embed = cpu_embed,
    .rms_norm = cpu_rms_norm,
    .linear = cpu_linear,
    .linears = cpu_linears,
    .pack_plan = cpu_pack_plan,
    .pack = cpu_pack,
    .norm_rope = cpu_norm_rope,
    .kv_store = cpu_kv_store,
    .attention = cpu_attention,
    .silu_mul = cpu_silu_mul,
    .add = cpu_add,
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
    snprintf(cpu->name, sizeof cpu->name, "cpu/%s", kernels->name);
    status = thread_pool_create(n_threads, &cpu->pool, err);
    if (status)
        goto fail;
    cpu->scratch = calloc((size_t)thread_pool_size(cpu->pool), sizeof *cpu->scratch);
    if (!cpu->scratch) {
        status = error_nomem(err);
        goto fail;
    }
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
