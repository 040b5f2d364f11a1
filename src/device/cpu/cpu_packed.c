/* cpu_packed.c - packing coded matrices, and products with them. */
#include "device/cpu/device_cpu.h"

#include <stdlib.h>

#include "base/pages.h"

/* Tokens whose activations are prepared at a time: all of a usual chunk of a prompt, 25 MB in float32 at
 * 12,288 columns. PREPARE_TOKENS are one task. */
enum { INPUT_TOKENS = 512, PREPARE_TOKENS = 16 };

/* ---- products ---------------------------------------------------------------------- */

/* One run of the pool: first the activations, then, when all are ready, the panels. */
struct packed_run {
    struct device_cpu *cpu;
    const float *x;
    const struct linear_out *outs;
    size_t n_outs, n_panels; /* of all outs */
    size_t first, n;         /* tokens */
    size_t n_parts;          /* pieces the tokens are cut into where panels are few */
    struct packed_input input;
    size_t n_prepare;
    atomic_size_t next_prepare, prepared, next_task;
};

static void prepare_some(struct packed_run *run) {
    const struct packed_matrix *w = run->outs[0].w->packed;
    size_t i;
    while ((i = atomic_fetch_add_explicit(&run->next_prepare, 1, memory_order_relaxed)) < run->n_prepare) {
        const size_t begin = i * PREPARE_TOKENS;
        const struct packed_prepare_args args = {
            .out = &run->input,
            .x = run->x + run->first * w->cols,
            .x_stride = w->cols,
            .cols = w->cols,
            .col_order = w->col_order,
            .token_begin = begin,
            .token_end = run->n - begin < PREPARE_TOKENS ? run->n : begin + PREPARE_TOKENS};
        run->cpu->kernels->packed->prepare[w->math](&args);
        atomic_fetch_add_explicit(&run->prepared, 1, memory_order_release);
    }
    for (unsigned k = 0; atomic_load_explicit(&run->prepared, memory_order_acquire) < run->n_prepare; k++)
        thread_pause(k);
}

/* Panels [begin, end) of all outs together. */
static void multiply(const struct packed_run *run, size_t begin, size_t end, size_t part, int worker) {
    size_t blocks = (run->n + PACKED_BLOCK_TOKENS - 1) / PACKED_BLOCK_TOKENS;
    size_t from = blocks * part / run->n_parts * PACKED_BLOCK_TOKENS;
    size_t to = blocks * (part + 1) / run->n_parts * PACKED_BLOCK_TOKENS;
    for (size_t i = 0, base = 0; i < run->n_outs && base < end; i++) {
        const struct linear_out *out = &run->outs[i];
        const struct packed_matrix *w = out->w->packed;
        const size_t n = packed_n_panels(w);
        if (begin < base + n) {
            const struct packed_args args = {
                .y = out->y + run->first * w->rows,
                .w = w,
                .x = &run->input,
                .bias = out->bias,
                .y_stride = w->rows,
                .panel_begin = begin > base ? begin - base : 0,
                .panel_end = end - base < n ? end - base : n,
                .token_begin = from,
                .token_end = to < run->n ? to : run->n,
                .scratch = run->cpu->packed.worker[worker]};
            run->cpu->kernels->packed->matmul[w->math](&args);
        }
        base += n;
    }
}

/* Tasks are handed out in pieces that shrink towards the end, of one part each. */
static void packed_worker(void *ctx, int worker, int n_workers) {
    struct packed_run *run = ctx;
    const size_t n_tasks = run->n_panels * run->n_parts, pieces = 2 * (size_t)n_workers;
    prepare_some(run);
    size_t begin = atomic_load_explicit(&run->next_task, memory_order_relaxed);
    while (begin < n_tasks) {
        const size_t part = begin / run->n_panels, part_end = (part + 1) * run->n_panels;
        size_t end = begin + (n_tasks - begin + pieces - 1) / pieces;
        end = end < part_end ? end : part_end;
        if (!atomic_compare_exchange_weak_explicit(&run->next_task, &begin, end, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        multiply(run, begin - part * run->n_panels, end - part * run->n_panels, part, worker);
        begin = atomic_load_explicit(&run->next_task, memory_order_relaxed);
    }
}

static void run_tokens(struct device_cpu *cpu, const float *x, const struct linear_out *outs,
                       size_t n_outs, size_t first, size_t n) {
    struct packed_run run = {.cpu = cpu, .x = x, .outs = outs, .n_outs = n_outs, .first = first, .n = n,
                             .n_prepare = (n + PREPARE_TOKENS - 1) / PREPARE_TOKENS};
    const size_t workers = (size_t)thread_pool_size(cpu->pool);
    const size_t blocks = (n + PACKED_BLOCK_TOKENS - 1) / PACKED_BLOCK_TOKENS;
    for (size_t i = 0; i < n_outs; i++)
        run.n_panels += packed_n_panels(outs[i].w->packed);
    /* Panels are the better cut, each code being read by one core. */
    run.n_parts = run.n_panels < 8 * workers ? blocks : 1;
    atomic_init(&run.next_prepare, 0);
    atomic_init(&run.prepared, 0);
    atomic_init(&run.next_task, 0);
    run.input = packed_input_place(outs[0].w->packed, n, cpu->packed.input);
    /* Always in the pool: it uses scratch. */
    thread_pool_run(cpu->pool, packed_worker, &run);
}

void cpu_packed_linears(struct device_cpu *cpu, const float *x, const struct linear_out *outs,
                        size_t n_outs, size_t n) {
    for (size_t first = 0; first < n; first += INPUT_TOKENS)
        run_tokens(cpu, x, outs, n_outs, first, n - first < INPUT_TOKENS ? n - first : INPUT_TOKENS);
}

/* ---- packing ----------------------------------------------------------------------- */

/* Rows read at a time: whole panels, and whole blocks of 128 x 128 for what is coded in such. */
enum { PACK_ROWS = 2 * PACKED_ROWS };

struct pack_job {
    struct device_cpu *cpu;
    const struct quant_source *source;
    const struct packed_matrix *m; /* NULL: only look at the numbers */
    unsigned char *data;
    struct packed_survey *survey; /* [n_threads] */
    atomic_size_t next;
    atomic_bool failed, nan_code;
};

static void pack_worker(void *ctx, int worker, int n_workers) {
    struct pack_job *job = ctx;
    const struct quant_source *s = job->source;
    void *scratch = malloc(packed_scratch_bytes(s, PACK_ROWS) + 1);
    (void)n_workers;
    if (!scratch) {
        atomic_store(&job->failed, true);
        return;
    }
    size_t i;
    while ((i = atomic_fetch_add_explicit(&job->next, PACK_ROWS, memory_order_relaxed)) < s->rows) {
        const size_t n = s->rows - i < PACK_ROWS ? s->rows - i : PACK_ROWS;
        if (!job->m)
            packed_survey_rows(&job->survey[worker], s, i, n, scratch);
        else if (packed_write_rows(job->m, job->data, s, i, n, scratch))
            atomic_store(&job->nan_code, true);
    }
    free(scratch);
}

static enum quern_status run_pack(struct device_cpu *cpu, struct pack_job *job, struct quern_error *err) {
    job->cpu = cpu;
    atomic_init(&job->next, 0);
    atomic_init(&job->failed, false);
    atomic_init(&job->nan_code, false);
    thread_pool_run(cpu->pool, pack_worker, job);
    return atomic_load(&job->failed) ? error_nomem(err) : QUERN_OK;
}

static enum quern_status survey_all(struct device_cpu *cpu, const struct quant_source *s,
                                    struct packed_survey *out, struct quern_error *err) {
    const int n = thread_pool_size(cpu->pool);
    struct pack_job job = {.source = s, .survey = calloc((size_t)n, sizeof *job.survey)};
    if (!job.survey)
        return error_nomem(err);
    enum quern_status status = run_pack(cpu, &job, err);
    *out = job.survey[0];
    for (int i = 1; i < n; i++)
        packed_survey_join(out, &job.survey[i]);
    free(job.survey);
    return status;
}

/* Grown by the pool, so that no product is under way. */
struct grow_job {
    struct device_cpu *cpu;
    size_t input_bytes;
    atomic_bool failed;
};

static void grow_worker(void *ctx, int worker, int n_workers) {
    struct grow_job *job = ctx;
    struct cpu_packed *p = &job->cpu->packed;
    (void)n_workers;
    if (!p->worker[worker])
        p->worker[worker] = pages_alloc(WORKER_SCRATCH);
    if (!p->worker[worker])
        atomic_store(&job->failed, true);
    if (worker != 0 || p->input_bytes >= job->input_bytes)
        return;
    void *grown = pages_alloc(job->input_bytes);
    if (!grown) {
        atomic_store(&job->failed, true);
        return;
    }
    pages_free(p->input, p->input_bytes);
    p->input = grown;
    p->input_bytes = job->input_bytes;
}

enum quern_status cpu_packed_grow(struct device_cpu *cpu, size_t input_bytes, struct quern_error *err) {
    struct grow_job job = {.cpu = cpu, .input_bytes = input_bytes};
    atomic_init(&job.failed, false);
    if (!cpu->packed.worker) {
        cpu->packed.worker = calloc((size_t)thread_pool_size(cpu->pool), sizeof *cpu->packed.worker);
        if (!cpu->packed.worker)
            return error_nomem(err);
    }
    thread_pool_run(cpu->pool, grow_worker, &job);
    return atomic_load(&job.failed) ? error_nomem(err) : QUERN_OK;
}

/* Codes without kernels for their fast form are computed exactly. */
static enum packed_math math_here(const struct device_cpu *cpu, enum packed_math math) {
    return cpu->kernels->packed->matmul[math] ? math : MATH_EXACT;
}

enum quern_status cpu_pack_plan(struct device *d, struct packed_matrix *out, const struct quant_source *s,
                                const struct packed_survey *known, enum packed_math math, size_t *bytes,
                                struct quern_error *err) {
    struct device_cpu *cpu = cpu_of(d);
    struct packed_survey survey = {0};
    enum quern_status status = QUERN_OK;
    if (known)
        survey = *known;
    else
        status = survey_all(cpu, s, &survey, err);
    if (!status)
        status = packed_plan(out, s, &survey, math_here(cpu, math), bytes, err);
    return status ? status : cpu_packed_grow(cpu, packed_input_bytes(out, INPUT_TOKENS), err);
}

enum quern_status cpu_pack(struct device *d, struct packed_matrix *m, void *memory,
                           const struct quant_source *s, struct quern_error *err) {
    struct pack_job job = {.source = s, .m = m, .data = memory};
    enum quern_status status = run_pack(cpu_of(d), &job, err);
    m->data = memory;
    m->is_e4m3 = m->kind == QUANT_CODE && m->bits == 8 && !atomic_load(&job.nan_code) &&
                 packed_code_is_e4m3(m->code);
    return status;
}

enum quern_status cpu_adopt(struct device *d, struct packed_matrix *m, enum packed_math math,
                            struct quern_error *err) {
    m->math = math_here(cpu_of(d), math);
    return cpu_packed_grow(cpu_of(d), packed_input_bytes(m, INPUT_TOKENS), err);
}

void cpu_packed_release(struct device_cpu *cpu) {
    for (int i = 0; cpu->packed.worker && i < thread_pool_size(cpu->pool); i++)
        pages_free(cpu->packed.worker[i], WORKER_SCRATCH);
    free(cpu->packed.worker);
    pages_free(cpu->packed.input, cpu->packed.input_bytes);
}
