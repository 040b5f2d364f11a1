/* y = x W^T + bias, with LoRA y += s B A dropout(x), with DoRA y = (m / n)(x W^T + s B A x) + bias,
 * n the norms of the rows of W + s B A, which count as constants on the way back. */
#include <math.h>

#include "train/core/pass.h"

struct column_call {
    struct pass *p;
    float *y;
    const float *x, *by;
    size_t n, cols;
};

static const float *bias_of(const struct pass *p, const struct linear *l) {
    return l->b ? net_value(p->net, l->b) : l->fixed_bias;
}

static void bias_share(void *ctx, size_t begin, size_t end) {
    const struct column_call *c = ctx;
    for (size_t t = begin; t < end; t++)
        c->p->c->train->axpy(c->y + t * c->cols, c->by, 1.0f, c->cols);
}

static void column_sum_share(void *ctx, size_t begin, size_t end) {
    const struct column_call *c = ctx;
    for (size_t t = 0; t < c->n; t++)
        c->p->c->train->axpy(c->y + begin, c->x + t * c->cols + begin, 1.0f, end - begin);
}

/* y[cols] += the sum over rows of x[n][cols] */
static void column_sum(struct pass *p, float *y, const float *x, size_t n, size_t cols) {
    struct column_call c = {.p = p, .y = y, .x = x, .n = n, .cols = cols};
    compute_for(p->c, cols, 16, column_sum_share, &c);
}

/* ---- DoRA's gain ------------------------------------------------------------------------------- */

static void gain_share(void *ctx, size_t begin, size_t end) {
    const struct column_call *c = ctx;
    for (size_t t = begin; t < end; t++) {
        float *y = c->y + t * c->cols;
        memcpy(y, c->x + t * c->cols, c->cols * sizeof *y);
        c->p->c->train->mul(y, c->by, c->cols);
    }
}

static void gain_back_share(void *ctx, size_t begin, size_t end) {
    const struct column_call *c = ctx;
    for (size_t t = 0; t < c->n; t++)
        c->p->c->train->mul_add(c->y + begin, c->x + t * c->cols + begin, c->by + t * c->cols + begin,
                                end - begin);
}

/* y = pre * gain */
static void gain(struct pass *p, const struct adapter *a, float *y, const float *pre, size_t n, size_t cols) {
    struct column_call c = {.p = p, .y = y, .x = pre, .by = a->gain, .n = n, .cols = cols};
    compute_for(p->c, n, 1, gain_share, &c);
}

/* dm += sum of dy pre / n;  dy *= gain */
static void gain_back(struct pass *p, const struct adapter *a, float *dy, const float *pre, size_t n,
                      size_t cols) {
    float *dm = grad_of(p, a->magnitude), *sum = p->drank;
    struct column_call c = {.p = p, .y = sum, .x = dy, .by = pre, .n = n, .cols = cols};
    memset(sum, 0, cols * sizeof *sum);
    compute_for(p->c, cols, 16, gain_back_share, &c);
    for (size_t i = 0; i < cols; i++)
        dm[i] += sum[i] / a->norm[i];
    gain(p, a, dy, dy, n, cols);
}

struct norms_call {
    struct pass *p;
    const struct linear *l;
};

/* Norms of this worker's rows of W + s B A; its scratch is longer than any row. */
static void norms_share(void *ctx, int worker, int n_workers) {
    const struct norms_call *c = ctx;
    const struct linear *l = c->l;
    const struct adapter *a = l->adapter;
    const struct train_kernels *k = c->p->c->train;
    const float *A = net_value(c->p->net, a->a), *B = net_value(c->p->net, a->b);
    float *row = compute_scratch(c->p->c, worker);
    size_t begin, end;
    thread_share(l->rows, 1, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        net_fixed_rows(l->fixed, i, 1, row);
        for (size_t j = 0; j < a->rank; j++)
            k->axpy(row, A + j * l->cols, a->scale * B[i * a->rank + j], l->cols);
        a->norm[i] = sqrtf(k->dot(row, row, l->cols));
        a->gain[i] = net_value(c->p->net, a->magnitude)[i] / a->norm[i];
    }
}

void op_linear_prepare(struct pass *p, const struct linear *l) {
    struct norms_call c = {p, l};
    if (l->adapter && l->adapter->magnitude)
        thread_pool_run(p->c->pool, norms_share, &c);
}

/* ---- LoRA ---------------------------------------------------------------------------------------- */

/* xa = s A dropout(x) */
static void lora_down(struct pass *p, const struct linear *l, const float *x, size_t n, float *xa) {
    const struct adapter *a = l->adapter;
    if (a->dropout > 0 && p->is_training) {
        op_dropout(p, p->dropped, x, n * l->cols, a->dropout, a->site);
        x = p->dropped;
    }
    const struct gemm down = {.c = xa, .ldc = a->rank, .m = n, .n = a->rank, .k = l->cols, /* [n,r] */
                              .a = x, .lda = l->cols,
                              .b = net_value(p->net, a->a), .ldb = l->cols};
    gemm_run(p->c, &down);
    compute_scale(p->c, xa, xa, a->scale, n * a->rank);
}

/* y += B xa */
static void lora_up(struct pass *p, const struct linear *l, float *y, size_t n, const float *xa) {
    const struct adapter *a = l->adapter;
    const struct gemm up = {.c = y, .ldc = l->rows, .m = n, .n = l->rows, .k = a->rank, /* [n,rows] */
                            .a = xa, .lda = a->rank,
                            .b = net_value(p->net, a->b), .ldb = a->rank, .add = true};
    gemm_run(p->c, &up);
}

/* dB += dy^T xa;  dxa = s dy B;  dA += dxa^T dropout(x);  dx += dropout(dxa A) */
static void lora_back(struct pass *p, const struct linear *l, float *dx, const float *dy, const float *x,
                      size_t n, const float *xa) {
    const struct adapter *a = l->adapter;
    const bool drops = a->dropout > 0 && p->is_training;
    float *dxa = p->drank;
    const struct gemm db = {.c = grad_of(p, a->b), .ldc = a->rank, .m = l->rows, .n = a->rank, .k = n,
                            .a = dy, .lda = l->rows, .a_across = true,
                            .b = xa, .ldb = a->rank, .b_across = true, .add = true};
    const struct gemm dr = {.c = dxa, .ldc = a->rank, .m = n, .n = a->rank, .k = l->rows,
                            .a = dy, .lda = l->rows,
                            .b = net_value(p->net, a->b), .ldb = a->rank, .b_across = true};
    gemm_run(p->c, &db);
    gemm_run(p->c, &dr);
    compute_scale(p->c, dxa, dxa, a->scale, n * a->rank);
    if (drops)
        op_dropout(p, p->dropped, x, n * l->cols, a->dropout, a->site);
    const struct gemm da = {.c = grad_of(p, a->a), .ldc = l->cols, .m = a->rank, .n = l->cols, .k = n,
                            .a = dxa, .lda = a->rank, .a_across = true,
                            .b = drops ? p->dropped : x, .ldb = l->cols, .b_across = true, .add = true};
    gemm_run(p->c, &da);
    if (!dx)
        return;
    const struct gemm in = {.c = drops ? p->dropped : dx, .ldc = l->cols, .m = n, .n = l->cols,
                            .k = a->rank, .a = dxa, .lda = a->rank,
                            .b = net_value(p->net, a->a), .ldb = l->cols, .b_across = true,
                            .add = !drops};
    gemm_run(p->c, &in);
    if (drops)
        op_dropout_back(p, dx, p->dropped, n * l->cols, a->dropout, a->site);
}

/* ---- PiSSA ------------------------------------------------------------------------------------------- */

/* y -= s B0 A0 x */
static void start_off(struct pass *p, const struct linear *l, float *y, const float *x, size_t n) {
    const struct adapter *a = l->adapter;
    const struct gemm down = {.c = p->drank, .ldc = a->rank, .m = n, .n = a->rank, .k = l->cols,
                              .a = x, .lda = l->cols, .b = a->start_a, .ldb = l->cols};
    const struct gemm up = {.c = y, .ldc = l->rows, .m = n, .n = l->rows, .k = a->rank,
                            .a = p->drank, .lda = a->rank, .b = a->start_b, .ldb = a->rank, .add = true};
    gemm_run(p->c, &down);
    compute_scale(p->c, p->drank, p->drank, -a->scale, n * a->rank);
    gemm_run(p->c, &up);
}

/* dx -= s dy B0 A0 */
static void start_off_back(struct pass *p, const struct linear *l, float *dx, const float *dy, size_t n) {
    const struct adapter *a = l->adapter;
    const struct gemm dr = {.c = p->drank, .ldc = a->rank, .m = n, .n = a->rank, .k = l->rows,
                            .a = dy, .lda = l->rows, .b = a->start_b, .ldb = a->rank, .b_across = true};
    const struct gemm in = {.c = dx, .ldc = l->cols, .m = n, .n = l->cols, .k = a->rank,
                            .a = p->drank, .lda = a->rank,
                            .b = a->start_a, .ldb = l->cols, .b_across = true, .add = true};
    gemm_run(p->c, &dr);
    compute_scale(p->c, p->drank, p->drank, -a->scale, n * a->rank);
    gemm_run(p->c, &in);
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void op_linear(struct pass *p, const struct linear *l, float *y, const float *x, size_t n,
               struct linear_kept *kept) {
    const struct operand w = op_weight(p, l);
    const struct adapter *a = l->adapter;
    const float *bias = bias_of(p, l);
    float *out = a && a->magnitude ? kept->pre : y;
    const struct gemm g = {.c = out, .ldc = l->rows, .m = n, .n = l->rows, .k = l->cols, /* [n,rows] */
                           .a = x, .lda = l->cols,
                           .b = w.data, .b_type = w.dtype, .ldb = l->cols, .exact = l->exact};
    gemm_run(p->c, &g);
    if (a) {
        lora_down(p, l, x, n, kept->xa);
        lora_up(p, l, out, n, kept->xa);
        if (a->start_a)
            start_off(p, l, out, x, n);
    }
    if (out != y)
        gain(p, a, y, out, n, l->rows);
    if (bias) {
        struct column_call c = {.p = p, .y = y, .by = bias, .n = n, .cols = l->rows};
        compute_for(p->c, n, 1, bias_share, &c);
    }
}

void op_linear_keep(struct pass *p, const struct linear *l, float *y, const float *x, size_t n,
                    struct linear_kept *kept) {
    if (l->adapter && l->adapter->magnitude)
        op_linear(p, l, y, x, n, kept);
    else if (l->adapter)
        lora_down(p, l, x, n, kept->xa);
}

/* dbias += sum of dy;  dW += dy^T x;  dx = dy W */
void op_linear_back(struct pass *p, const struct linear *l, float *dx, float *dy, const float *x, size_t n,
                    const struct linear_kept *kept, bool add) {
    const struct adapter *a = l->adapter;
    bool adds = false;
    float *dw = grad_to_write(p, l->w, &adds), *db = grad_of(p, l->b);
    if (db)
        column_sum(p, db, dy, n, l->rows);
    if (a && a->magnitude)
        gain_back(p, a, dy, kept->pre, n, l->rows);
    if (dw) {
        const struct gemm g = {.c = dw, .ldc = l->cols, .m = l->rows, .n = l->cols, .k = n,
                               .a = dy, .lda = l->rows, .a_across = true,
                               .b = x, .ldb = l->cols, .b_across = true, .add = adds,
                               .exact = l->exact};
        gemm_run(p->c, &g);
    }
    if (dx) {
        const struct operand w = op_weight(p, l);
        const struct gemm in = {.c = dx, .ldc = l->cols, .m = n, .n = l->cols, .k = l->rows,
                                .a = dy, .lda = l->rows,
                                .b = w.data, .b_type = w.dtype, .ldb = l->cols, .b_across = true,
                                .add = add, .exact = l->exact};
        gemm_run(p->c, &in);
    }
    if (a)
        lora_back(p, l, dx, dy, x, n, kept->xa);
    if (a && a->start_a && dx)
        start_off_back(p, l, dx, dy, n);
}
