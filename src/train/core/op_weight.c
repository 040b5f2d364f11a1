/* Matrices as the products take them. */
#include "train/core/pass.h"

struct decode_call {
    const struct compute *c;
    const struct weight *w;
    void *out;
};

static void rows_share(void *ctx, size_t begin, size_t end) {
    const struct decode_call *d = ctx;
    for (size_t i = begin; i < end; i++)
        packed_row(d->w->packed, i, (float *)d->out + i * d->w->cols);
}

static void blocks_share(void *ctx, size_t begin, size_t end) {
    const struct decode_call *d = ctx;
    for (size_t i = begin; i < end; i += 16)
        d->c->train->decode(d->w->packed, i, (uint16_t *)d->out + i * d->w->cols);
}

/* Rounded to bfloat16 where products round anyway. */
static bool as_bf16(const struct pass *p, const struct linear *l) {
    return p->c->bf16 && !l->exact && p->c->train->decode && decodes_by_16(l->fixed->packed);
}

size_t op_weight_bytes(const struct pass *p, const struct linear *l) {
    if (l->w || !l->rows || !l->fixed->packed)
        return 0;
    return l->rows * l->cols * (as_bf16(p, l) ? sizeof(uint16_t) : sizeof(float));
}

struct operand op_weight(struct pass *p, const struct linear *l) {
    if (l->w)
        return (struct operand){net_value(p->net, l->w), DTYPE_F32};
    if (!l->fixed->packed)
        return (struct operand){l->fixed->data, l->fixed->dtype};
    struct decode_call d = {p->c, l->fixed, p->dense};
    if (as_bf16(p, l)) {
        compute_for(p->c, l->rows, 64, blocks_share, &d);
        return (struct operand){p->dense, DTYPE_BF16};
    }
    compute_for(p->c, l->rows, 64, rows_share, &d);
    return (struct operand){p->dense, DTYPE_F32};
}

/* ---- as panels ------------------------------------------------------------------------------------ */

size_t op_weight_panel_bytes(const struct pass *p, const struct linear *l, bool columns) {
    const struct gemm_tiles *t = panel_tiles(p->c, false);
    return panel_bytes(t, t->nr, columns ? l->cols : l->rows, columns ? l->rows : l->cols);
}

struct panels_call {
    struct pass *p;
    const struct linear *l;
    char *to;
    bool columns;
};

/* `count` rows from `row` on as they lie in memory, or decoded by this worker. */
static struct operand some_rows(const struct panels_call *c, int worker, size_t row, size_t count) {
    const struct linear *l = c->l;
    char *room = c->p->decoded + (size_t)worker * c->p->decoded_bytes;
    const struct operand w = l->w ? (struct operand){net_value(c->p->net, l->w), DTYPE_F32}
                                  : (struct operand){l->fixed->data, l->fixed->dtype};
    if (l->w || !l->fixed->packed)
        return (struct operand){(const char *)w.data + row * l->cols * dtype_size_bytes(w.dtype), w.dtype};
    if (as_bf16(c->p, l)) {
        for (size_t i = 0; i < count; i += 16)
            c->p->c->train->decode(l->fixed->packed, row + i, (uint16_t *)(void *)room + i * l->cols);
        return (struct operand){room, DTYPE_BF16};
    }
    for (size_t i = 0; i < count; i++)
        packed_row(l->fixed->packed, row + i, (float *)(void *)room + i * l->cols);
    return (struct operand){room, DTYPE_F32};
}

/* Rows come in as many as a strip is wide, so that each is read (and decoded) once in both directions: they are
 * a strip, or a piece of every strip. */
static void panels_share(void *ctx, int worker, int n_workers) {
    const struct panels_call *c = ctx;
    const struct linear *l = c->l;
    const struct gemm_tiles *t = panel_tiles(c->p->c, false);
    const size_t width = t->nr, row_bytes = width * t->element;
    const size_t strip_k = ((c->columns ? l->rows : l->cols) + 1) / 2 * 2;
    size_t begin, end;
    thread_share(l->rows, width, worker, n_workers, &begin, &end);
    for (size_t row = begin; row < end; row += width) {
        const size_t count = end - row < width ? end - row : width;
        const struct operand w = some_rows(c, worker, row, count);
        struct gemm_strip s = {.src = w.data, .dtype = w.dtype, .ld = l->cols, .width = width,
                               .count = count, .k = l->cols,
                               .dst = c->to + row / width * strip_k * row_bytes};
        if (!c->columns)
            t->pack(&s);
        s.across = true;
        s.k = count;
        for (size_t col = 0; c->columns && col < l->cols; col += width) {
            s.src = (const char *)w.data + col * dtype_size_bytes(w.dtype);
            s.dst = c->to + (col / width * strip_k + row) * row_bytes;
            s.count = l->cols - col < width ? l->cols - col : width;
            t->pack(&s);
        }
    }
}

const void *op_weight_panels(struct pass *p, const struct linear *l, bool columns) {
    const void *kept = columns ? l->column_panels : l->row_panels;
    struct panels_call c = {p, l, p->dense, columns};
    if (kept)
        return kept;
    thread_pool_run(p->c->pool, panels_share, &c);
    return p->dense;
}
