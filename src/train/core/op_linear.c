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

/* ---- operands -------------------------------------------------------------------------------------- */

static const struct gemm_tiles *tiles_of(const struct pass *p) {
    return panel_tiles(p->c, false);
}

/* [n][k] as an operand of a. */
static void pack_a(const struct pass *p, void *to, const float *x, size_t n, size_t k) {
    const struct panel_source s = {.data = x, .dtype = DTYPE_F32, .ld = k, .count = n, .k = k};
    panel_pack(p->c, tiles_of(p), to, tiles_of(p)->mr, &s);
}

/* [n][k], across: [k][n], as an operand of b. */
static const void *pack_b(const struct pass *p, void *to, const float *x, size_t n, size_t k, bool across) {
    const struct panel_source s = {.data = x, .dtype = DTYPE_F32, .ld = across ? n : k, .count = n, .k = k,
                                   .across = across};
    panel_pack(p->c, tiles_of(p), to, tiles_of(p)->nr, &s);
    return to;
}

void op_input(struct pass *p, const float *x, size_t n, size_t cols) {
    p->in = (struct input){x, n, cols};
    pack_a(p, p->input_panels, x, n, cols);
}

/* ---- LoRA ---------------------------------------------------------------------------------------- */

static bool drops(const struct pass *p, const struct adapter *a) {
    return a->dropout > 0 && p->is_training;
}

/* xa = s A dropout(x) [n,r], packed too */
static void lora_down(struct pass *p, const struct linear *l, float *xa) {
    const struct adapter *a = l->adapter;
    const float *A = net_value(p->net, a->a);
    const size_t n = p->in.n;
    if (drops(p, a)) {
        op_dropout(p, p->dropped, p->in.x, n * l->cols, a->dropout, a->site);
        const struct gemm down = {.c = xa, .ldc = a->rank, .m = n, .n = a->rank, .k = l->cols,
                                  .a = p->dropped, .lda = l->cols, .b = A, .ldb = l->cols};
        gemm_run(p->c, &down);
    } else {
        const void *b = pack_b(p, p->side_panels, A, a->rank, l->cols, false);
        const struct panel_sum down = {.c = xa, .ldc = a->rank, .m = n, .n = a->rank,
                                       .terms = {{p->input_panels, b, l->cols}}};
        panel_sum_run(p->c, tiles_of(p), &down);
    }
    compute_scale(p->c, xa, xa, a->scale, n * a->rank);
    pack_a(p, p->rank_panels, xa, n, a->rank);
}

struct lying_call {
    const float *from;
    float *to;
    size_t rows, rank;
    bool add;
};

static void stand_up(void *ctx, size_t begin, size_t end) {
    const struct lying_call *c = ctx;
    for (size_t i = begin; i < end; i++)
        for (size_t j = 0; j < c->rank; j++) {
            float *to = c->to + i * c->rank + j;
            const float v = c->from[j * c->rows + i];
            *to = c->add ? *to + v : v;
        }
}

/* dB += dy^T xa, computed lying, since tiles are longer along the columns */
static void lora_up_grad(struct pass *p, const struct linear *l, const float *dy, size_t n, const float *xa) {
    const struct adapter *a = l->adapter;
    bool adds = false;
    float *to = grad_to_write(p, a->b, &adds);
    if (!to)
        return;
    const struct gemm db = {.c = p->dside, .ldc = l->rows, .m = a->rank, .n = l->rows, .k = n, /* [r,rows] */
                            .a = xa, .lda = a->rank, .a_across = true,
                            .b = dy, .ldb = l->rows, .b_across = true};
    struct lying_call c = {p->dside, to, l->rows, a->rank, adds};
    gemm_run(p->c, &db);
    compute_for(p->c, l->rows, 64, stand_up, &c);
}

/* dxa = s dy B, packed too;  dA += dxa^T dropout(x) */
static void lora_down_grad(struct pass *p, const struct linear *l, const float *x, size_t n) {
    const struct adapter *a = l->adapter;
    float *dxa = p->drank;
    const void *b = pack_b(p, p->side_panels, net_value(p->net, a->b), a->rank, l->rows, true);
    const struct panel_sum dr = {.c = dxa, .ldc = a->rank, .m = n, .n = a->rank,
                                 .terms = {{p->grad_panels, b, l->rows}}};
    panel_sum_run(p->c, tiles_of(p), &dr);
    compute_scale(p->c, dxa, dxa, a->scale, n * a->rank);
    pack_a(p, p->rank_panels, dxa, n, a->rank);
    if (drops(p, a))
        op_dropout(p, p->dropped, x, n * l->cols, a->dropout, a->site);
    bool adds = false;
    float *to = grad_to_write(p, a->a, &adds);
    const struct gemm da = {.c = to, .ldc = l->cols, .m = a->rank, .n = l->cols, .k = n,
                            .a = dxa, .lda = a->rank, .a_across = true,
                            .b = drops(p, a) ? p->dropped : x, .ldb = l->cols, .b_across = true,
                            .add = adds};
    if (to)
        gemm_run(p->c, &da);
}

/* dx += dropout(dxa A) */
static void lora_dropped_back(struct pass *p, const struct linear *l, float *dx, size_t n) {
    const struct adapter *a = l->adapter;
    const struct gemm in = {.c = p->dropped, .ldc = l->cols, .m = n, .n = l->cols, .k = a->rank,
                            .a = p->drank, .lda = a->rank,
                            .b = net_value(p->net, a->a), .ldb = l->cols, .b_across = true};
    gemm_run(p->c, &in);
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

/* y = x W^T (+ B xa): the adapter's sum goes on where the other ends */
static void multiply(struct pass *p, const struct linear *l, float *y) {
    const struct adapter *a = l->adapter;
    struct panel_sum s = {.c = y, .ldc = l->rows, .m = p->in.n, .n = l->rows, /* [n,rows] */
                          .terms = {{.a = p->input_panels}}};
    op_weight_term(p, l, false, &s);
    if (a)
        s.terms[1] = (struct panel_term){
            p->rank_panels, pack_b(p, p->side_panels, net_value(p->net, a->b), l->rows, a->rank, false), a->rank};
    panel_sum_run(p->c, tiles_of(p), &s);
}

/* Of a layer that is exact: float32, no adapter. */
static void multiply_exactly(struct pass *p, const struct linear *l, float *y) {
    const struct operand w = op_weight(p, l);
    const struct gemm g = {.c = y, .ldc = l->rows, .m = p->in.n, .n = l->rows, .k = l->cols,
                           .a = p->in.x, .lda = l->cols,
                           .b = w.data, .b_type = w.dtype, .ldb = l->cols, .exact = true};
    gemm_run(p->c, &g);
}

void op_linear(struct pass *p, const struct linear *l, float *y, struct linear_kept *kept) {
    const struct adapter *a = l->adapter;
    const float *bias = bias_of(p, l);
    const size_t n = p->in.n;
    float *out = a && a->magnitude ? kept->pre : y;
    if (a)
        lora_down(p, l, kept->xa);
    if (l->exact)
        multiply_exactly(p, l, out);
    else
        multiply(p, l, out);
    if (a && a->start_a)
        start_off(p, l, out, p->in.x, n);
    if (out != y)
        gain(p, a, y, out, n, l->rows);
    if (bias) {
        struct column_call c = {.p = p, .y = y, .by = bias, .n = n, .cols = l->rows};
        compute_for(p->c, n, 1, bias_share, &c);
    }
}

void op_linear_keep(struct pass *p, const struct linear *l, float *y, struct linear_kept *kept) {
    if (l->adapter && l->adapter->magnitude)
        op_linear(p, l, y, kept);
    else if (l->adapter)
        lora_down(p, l, kept->xa);
}

/* dW += dy^T x */
static void weight_grad(struct pass *p, const struct linear *l, const float *dy, const float *x, size_t n) {
    bool adds = false;
    float *dw = grad_to_write(p, l->w, &adds);
    const struct gemm g = {.c = dw, .ldc = l->cols, .m = l->rows, .n = l->cols, .k = n,
                           .a = dy, .lda = l->rows, .a_across = true,
                           .b = x, .ldb = l->cols, .b_across = true, .add = adds, .exact = l->exact};
    if (dw)
        gemm_run(p->c, &g);
}

/* dx = dy W (+ dxa A) */
static void multiply_back(struct pass *p, const struct linear *l, float *dx, size_t n, bool add) {
    const struct adapter *a = l->adapter;
    struct panel_sum s = {.c = dx, .ldc = l->cols, .m = n, .n = l->cols, .add = add, /* [n,cols] */
                          .terms = {{.a = p->grad_panels}}};
    op_weight_term(p, l, true, &s);
    if (a && !drops(p, a))
        s.terms[1] = (struct panel_term){
            p->rank_panels, pack_b(p, p->side_panels, net_value(p->net, a->a), l->cols, a->rank, true), a->rank};
    panel_sum_run(p->c, tiles_of(p), &s);
}

static void multiply_back_exactly(struct pass *p, const struct linear *l, float *dx, const float *dy, size_t n,
                                  bool add) {
    const struct operand w = op_weight(p, l);
    const struct gemm g = {.c = dx, .ldc = l->cols, .m = n, .n = l->cols, .k = l->rows,
                           .a = dy, .lda = l->rows, .b = w.data, .b_type = w.dtype, .ldb = l->cols,
                           .b_across = true, .add = add, .exact = true};
    gemm_run(p->c, &g);
}

/* dbias += sum of dy, and what the products have */
void op_linear_back(struct pass *p, const struct linear *l, float *dx, float *dy, const float *x, size_t n,
                    const struct linear_kept *kept, bool add) {
    const struct adapter *a = l->adapter;
    float *db = grad_of(p, l->b);
    if (db)
        column_sum(p, db, dy, n, l->rows);
    if (a && a->magnitude)
        gain_back(p, a, dy, kept->pre, n, l->rows);
    weight_grad(p, l, dy, x, n);
    if (l->exact) {
        if (dx)
            multiply_back_exactly(p, l, dx, dy, n, add);
        return;
    }
    pack_a(p, p->grad_panels, dy, n, l->rows);
    if (a) {
        lora_up_grad(p, l, dy, n, kept->xa);
        lora_down_grad(p, l, x, n);
    }
    if (!dx)
        return;
    multiply_back(p, l, dx, n, add);
    if (a && drops(p, a))
        lora_dropped_back(p, l, dx, n);
    if (a && a->start_a)
        start_off_back(p, l, dx, dy, n);
}
