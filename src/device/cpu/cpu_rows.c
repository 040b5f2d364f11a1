/* cpu_rows.c - operations row by row and element by element. */
#include "device/cpu/device_cpu.h"

#include <string.h>

#include "base/checked.h"

/* ---- row by row --------------------------------------------------------------- */

struct rows_args {
    float *out;
    const float *x, *y;
    const float *w, *cos, *sin;
    const struct weight *table;
    const int32_t *ids;
    size_t cols, n_heads;
    float eps; /* or a scale */
};

static void run_rows(struct device *d, const struct rows_args *args, size_t n, size_t floats_per_row,
                     void (*fn)(const struct job *, size_t, size_t, int)) {
    struct job job = {.fn = fn, .args = args, .n = n, .grain = 1};
    size_t floats;
    bool parallel = !checked_mul(n, floats_per_row, &floats) || floats >= PARALLEL_MIN_FLOATS;
    run_small_job(cpu_of(d), &job, n > 1 && parallel);
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

void cpu_embed(struct device *d, float *out, const struct weight *table, const int32_t *ids,
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

void cpu_rms_norm(struct device *d, float *out, const float *x, const float *w, size_t n,
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

void cpu_norm_rope(struct device *d, float *x, const float *norm_w, float eps, const float *cos,
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

void cpu_softmax(struct device *d, float *x, size_t n, size_t cols) {
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

void cpu_gather(struct device *d, float *out, const float *x, const int32_t *rows, size_t n,
                       size_t cols) {
    struct rows_args a = {.out = out, .x = x, .ids = rows, .cols = cols};
    run_rows(d, &a, n, cols, gather_rows);
}

/* ---- element by element --------------------------------------------------------- */

enum { ELEMENT_GRAIN = 1024 };

static void run_elements(struct device *d, const struct rows_args *args, size_t n,
                         void (*fn)(const struct job *, size_t, size_t, int)) {
    struct job job = {.fn = fn, .args = args, .n = n, .grain = ELEMENT_GRAIN};
    run_small_job(cpu_of(d), &job, n >= PARALLEL_MIN_FLOATS);
}

static void silu_mul_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    job->cpu->kernels->silu_mul(a->out + begin, a->x + begin, a->y + begin, end - begin);
}

void cpu_silu_mul(struct device *d, float *y, const float *gate, const float *up, size_t n) {
    struct rows_args a = {.out = y, .x = gate, .y = up};
    run_elements(d, &a, n, silu_mul_range);
}

static void add_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    job->cpu->kernels->add(a->out + begin, a->x + begin, end - begin);
}

void cpu_add(struct device *d, float *y, const float *x, size_t n) {
    struct rows_args a = {.out = y, .x = x};
    run_elements(d, &a, n, add_range);
}

static void add_scaled_range(const struct job *job, size_t begin, size_t end, int worker) {
    const struct rows_args *a = job->args;
    (void)worker;
    job->cpu->kernels->axpy(a->out + begin, a->eps, a->x + begin, end - begin);
}

void cpu_add_scaled(struct device *d, float *y, const float *x, float scale, size_t n) {
    struct rows_args a = {.out = y, .x = x, .eps = scale};
    run_elements(d, &a, n, add_scaled_range);
}

struct dora_args {
    float *y;
    const float *x, *gain, *bias;
    float scale;
    size_t cols;
};

static void add_dora_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct dora_args *a = job->args;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        float *y = a->y + i * a->cols;
        const float *x = a->x + i * a->cols;
        for (size_t j = 0; j < a->cols; j++) {
            const float own = a->bias ? y[j] - a->bias[j] : y[j];
            y[j] += (a->gain[j] - 1) * own + a->gain[j] * (a->scale * x[j]);
        }
    }
}

void cpu_add_dora(struct device *d, float *y, const float *x, float scale, const float *gain,
                  const float *bias, size_t n, size_t cols) {
    struct dora_args a = {y, x, gain, bias, scale, cols};
    struct job job = {.fn = add_dora_rows, .args = &a, .n = n, .grain = 1};
    run_small_job(cpu_of(d), &job, n > 1 && n * cols >= PARALLEL_MIN_FLOATS);
}

void cpu_zero(struct device *d, float *x, size_t n) {
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

void cpu_scatter_add(struct device *d, float *y, const float *x, const int32_t *rows,
                            const float *scale, size_t n, size_t cols) {
    struct scatter_args a = {.y = y, .x = x, .scale = scale, .rows = rows, .n = n, .cols = cols};
    struct job job = {.fn = scatter_add_range, .args = &a, .n = cols, .grain = 64};
    run_small_job(cpu_of(d), &job, n * cols >= PARALLEL_MIN_FLOATS);
}
