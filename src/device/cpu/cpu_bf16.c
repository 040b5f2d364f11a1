/* cpu_bf16.c - products with plain bfloat16 matrices whose activations are rounded to bfloat16. */
#include "device/cpu/device_cpu.h"

#include "base/checked.h"

/* Tokens whose activations are prepared at a time: all of a usual chunk of a prompt, 12 MB at 12,288 columns.
 * PREPARE_TOKENS are one task. */
enum { INPUT_TOKENS = 512, PREPARE_TOKENS = 16 };
/* Rows of a task: whole panels of the kernels, but fewer for a few tokens, which go by smaller strips. Parts
 * of the tokens are cut at a multiple of all tiles' sizes. */
enum { ROW_GRAIN = 16, FEW_TOKENS = 32, PART_TOKENS = 60 };

/* One run of the pool: first the activations, then, when all are ready, the rows. */
struct bf16_run {
    struct device_cpu *cpu;
    const float *x;
    const struct linear_out *outs;
    size_t n_outs, grain, n_grains; /* of the rows of all outs */
    size_t first, n;                /* tokens */
    size_t n_parts;                 /* pieces the tokens are cut into where rows are few */
    uint16_t *input;                /* [n][stride] */
    size_t stride;
    size_t n_prepare;
    atomic_size_t next_prepare, prepared, next_task;
};

static size_t input_stride(size_t cols) {
    return (cols + 1) / 2 * 2;
}

static void prepare_tokens(const struct bf16_run *run, size_t begin, size_t end) {
    const size_t cols = run->outs[0].w->cols;
    for (size_t t = begin; t < end; t++) {
        uint16_t *to = run->input + t * run->stride;
        run->cpu->kernels->to_bf16(to, run->x + (run->first + t) * cols, cols);
        if (cols < run->stride)
            to[cols] = 0;
    }
}

static void prepare_some(struct bf16_run *run) {
    size_t i;
    while ((i = atomic_fetch_add_explicit(&run->next_prepare, 1, memory_order_relaxed)) < run->n_prepare) {
        const size_t begin = i * PREPARE_TOKENS, end = begin + PREPARE_TOKENS;
        prepare_tokens(run, begin, end < run->n ? end : run->n);
        atomic_fetch_add_explicit(&run->prepared, 1, memory_order_release);
    }
    for (unsigned k = 0; atomic_load_explicit(&run->prepared, memory_order_acquire) < run->n_prepare; k++)
        thread_pause(k);
}

static size_t grains_of(const struct bf16_run *run, const struct weight *w) {
    return (w->rows + run->grain - 1) / run->grain;
}

/* Grains [begin, end) of all outs together, one part of the tokens. */
static void multiply(const struct bf16_run *run, size_t begin, size_t end, size_t part, int worker) {
    const size_t pieces = (run->n + PART_TOKENS - 1) / PART_TOKENS;
    const size_t from = pieces * part / run->n_parts * PART_TOKENS;
    const size_t to = pieces * (part + 1) / run->n_parts * PART_TOKENS;
    for (size_t i = 0, base = 0; i < run->n_outs && base < end; i++) {
        const struct linear_out *out = &run->outs[i];
        const size_t rows = out->w->rows, n = grains_of(run, out->w);
        if (begin < base + n) {
            const size_t row_end = (end - base) * run->grain;
            const struct matmul_bf16_args args = {
                .y = out->y + (run->first + from) * rows,
                .x = run->input + from * run->stride,
                .w = out->w->data,
                .bias = out->bias,
                .y_stride = rows,
                .x_stride = run->stride,
                .n_tokens = (to < run->n ? to : run->n) - from,
                .n_cols = out->w->cols,
                .row_begin = begin > base ? (begin - base) * run->grain : 0,
                .row_end = row_end < rows ? row_end : rows,
                .scratch = run->cpu->packed.worker[worker]};
            run->cpu->kernels->matmul_bf16(&args);
        }
        base += n;
    }
}

/* Tasks are handed out in pieces that shrink towards the end, of one part each. */
static void bf16_worker(void *ctx, int worker, int n_workers) {
    struct bf16_run *run = ctx;
    const size_t n_tasks = run->n_grains * run->n_parts, pieces = 2 * (size_t)n_workers;
    prepare_some(run);
    size_t begin = atomic_load_explicit(&run->next_task, memory_order_relaxed);
    while (begin < n_tasks) {
        const size_t part = begin / run->n_grains, part_end = (part + 1) * run->n_grains;
        size_t end = begin + (n_tasks - begin + pieces - 1) / pieces;
        end = end < part_end ? end : part_end;
        if (!atomic_compare_exchange_weak_explicit(&run->next_task, &begin, end, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        multiply(run, begin - part * run->n_grains, end - part * run->n_grains, part, worker);
        begin = atomic_load_explicit(&run->next_task, memory_order_relaxed);
    }
}

static void run_tokens(struct device_cpu *cpu, const float *x, const struct linear_out *outs,
                       size_t n_outs, size_t first, size_t n) {
    struct bf16_run run = {.cpu = cpu, .x = x, .outs = outs, .n_outs = n_outs, .first = first, .n = n,
                           .grain = n <= FEW_TOKENS ? ROW_GRAIN : MATMUL_BF16_ROWS,
                           .stride = input_stride(outs[0].w->cols),
                           .n_prepare = (n + PREPARE_TOKENS - 1) / PREPARE_TOKENS};
    for (size_t i = 0; i < n_outs; i++)
        run.n_grains += grains_of(&run, outs[i].w);
    /* Rows are the better cut, each weight being read by one core. */
    const bool few_rows = run.n_grains < 8 * (size_t)thread_pool_size(cpu->pool);
    run.n_parts = few_rows ? (n + PART_TOKENS - 1) / PART_TOKENS : 1;
    run.input = cpu->packed.input;
    atomic_init(&run.next_prepare, 0);
    atomic_init(&run.prepared, 0);
    atomic_init(&run.next_task, 0);
    /* Always in the pool: it uses scratch. */
    if (run.n_grains > 0)
        thread_pool_run(cpu->pool, bf16_worker, &run);
}

void cpu_bf16_linears(struct device_cpu *cpu, const float *x, const struct linear_out *outs, size_t n_outs,
                      size_t n) {
    const size_t runs = (n + INPUT_TOKENS - 1) / INPUT_TOKENS;
    for (size_t i = 0, first = 0, some; i < runs; i++, first += some) {
        some = (n - first) / (runs - i);
        run_tokens(cpu, x, outs, n_outs, first, some);
    }
}

enum quern_status cpu_use_bf16_math(struct device *d, struct weight *w, struct quern_error *err) {
    struct device_cpu *cpu = cpu_of(d);
    size_t bytes;
    if (!cpu->kernels->matmul_bf16)
        return QUERN_OK;
    if (!checked_mul(w->cols + 1, INPUT_TOKENS * sizeof(uint16_t), &bytes))
        return error_nomem(err);
    enum quern_status status = cpu_packed_grow(cpu, bytes, err);
    if (!status)
        w->math = MATH_BF16;
    return status;
}
