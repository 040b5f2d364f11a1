/* cpu_linear.c - a matrix product shared out over the pool. */
#include "device/cpu/device_cpu.h"

/* Multiply-adds of a linear below which one thread is done sooner: about 4 us as bf16 from memory. */
enum { PARALLEL_MIN_PRODUCTS = 1 << 17 };

/* Rows and tokens of the kernels' tiles: cuts at multiples leave no ragged tiles. */
enum { ROW_GRAIN = 16, TOKEN_GRAIN = 24 };

struct linear_args {
    struct matmul_args matmul;
    enum dtype dtype;
};

static void linear_rows(const struct job *job, size_t begin, size_t end, int worker) {
    const struct linear_args *a = job->args;
    struct matmul_args m = a->matmul;
    (void)worker;
    m.row_begin = begin;
    m.row_end = end;
    job->cpu->kernels->matmul[a->dtype](&m);
}

static void linear_tokens(const struct job *job, size_t begin, size_t end, int worker) {
    const struct linear_args *a = job->args;
    struct matmul_args m = a->matmul;
    (void)worker;
    m.x += begin * m.x_stride;
    m.y += begin * m.y_stride;
    m.n_tokens = end - begin;
    job->cpu->kernels->matmul[a->dtype](&m);
}

void cpu_linear(struct device *d, float *y, const float *x, const struct weight *w, const float *bias,
                size_t n) {
    struct device_cpu *cpu = cpu_of(d);
    struct linear_args a = {
        .matmul = {.y = y, .x = x, .w = w->data, .bias = bias, .y_stride = w->rows, .x_stride = w->cols,
                   .n_tokens = n, .n_cols = w->cols, .row_begin = 0, .row_end = w->rows},
        .dtype = w->dtype};
    if (n == 0 || w->rows == 0)
        return;
    if (w->packed || w->math == MATH_BF16) {
        const struct linear_out out = {y, w, bias};
        (w->packed ? cpu_packed_linears : cpu_bf16_linears)(cpu, x, &out, 1, n);
        return;
    }
    /* Rows are the better cut, each weight being read by one core; tokens when there are too few
     * rows to go round. */
    size_t fair = 8 * ROW_GRAIN * (size_t)thread_pool_size(cpu->pool);
    bool by_tokens = w->rows < fair && n > w->rows;
    struct job job = {.fn = by_tokens ? linear_tokens : linear_rows, .args = &a,
                      .n = by_tokens ? n : w->rows, .grain = by_tokens ? TOKEN_GRAIN : ROW_GRAIN};
    run_small_job(cpu, &job, n * w->rows * w->cols >= PARALLEL_MIN_PRODUCTS);
}

static bool shares_input(const struct weight *a, const struct weight *b) {
    if (a->packed || b->packed)
        return a->packed && b->packed && packed_same_input(a->packed, b->packed);
    return a->math == MATH_BF16 && b->math == MATH_BF16 && a->cols == b->cols;
}

void cpu_linears(struct device *d, const float *x, const struct linear_out *outs, size_t n_outs,
                 size_t n) {
    for (size_t i = 0, end; i < n_outs; i = end) {
        end = i + 1;
        while (end < n_outs && shares_input(outs[i].w, outs[end].w))
            end++;
        if (end == i + 1)
            cpu_linear(d, outs[i].y, x, outs[i].w, outs[i].bias, n);
        else
            (outs[i].w->packed ? cpu_packed_linears : cpu_bf16_linears)(cpu_of(d), x, outs + i, end - i, n);
    }
}
