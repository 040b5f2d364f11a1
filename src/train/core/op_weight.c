/* Matrices as the products take them. */
#include "base/os.h"
#include "base/pages.h"
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

static bool is_coded(const struct linear *l) {
    return !l->w && l->fixed->packed;
}

struct decode_panels_call {
    struct pass *p;
    const struct linear *l;
    char *to;
    bool columns;
};

/* `count` rows from `row` on, decoded by this worker. */
static struct operand decoded_rows(const struct decode_panels_call *c, int worker, size_t row, size_t count) {
    const struct linear *l = c->l;
    char *room = c->p->decoded + (size_t)worker * c->p->decoded_bytes;
    const bool bf16 = as_bf16(c->p, l);
    for (size_t i = 0; i < count && bf16; i += 16)
        c->p->c->train->decode(l->fixed->packed, row + i, (uint16_t *)(void *)room + i * l->cols);
    for (size_t i = 0; i < count && !bf16; i++)
        packed_row(l->fixed->packed, row + i, (float *)(void *)room + i * l->cols);
    return (struct operand){room, bf16 ? DTYPE_BF16 : DTYPE_F32};
}

/* Rows come in as many as a strip is wide, so that each is decoded once in both directions: they are a strip, or
 * a piece of every strip. */
static void decode_to_strip(const struct decode_panels_call *c, size_t row, size_t count, char *to) {
    for (size_t i = 0; i < count; i += 16)
        c->p->c->train->decode_strip(c->l->fixed->packed, row + i, (uint16_t *)(void *)to + 2 * i);
}

static void decode_panels_share(void *ctx, int worker, int n_workers) {
    const struct decode_panels_call *c = ctx;
    const struct linear *l = c->l;
    const struct gemm_tiles *t = panel_tiles(c->p->c, false);
    const size_t width = t->nr, k_bytes = width * t->element;
    const size_t strip_bytes = ((c->columns ? l->rows : l->cols) + 1) / 2 * 2 * k_bytes;
    size_t begin, end;
    thread_share(l->rows, width, worker, n_workers, &begin, &end);
    for (size_t row = begin; row < end; row += width) {
        const size_t count = end - row < width ? end - row : width;
        /* What a last strip lacks may hold anything: its columns reach beyond c's edge. */
        if (!c->columns && as_bf16(c->p, l)) {
            decode_to_strip(c, row, count, c->to + row / width * strip_bytes);
            continue;
        }
        const struct operand w = decoded_rows(c, worker, row, count);
        struct panel_source s = {.data = w.data, .dtype = w.dtype, .ld = l->cols, .count = count, .k = l->cols};
        if (!c->columns) {
            panel_pack_part(t, c->to + row / width * strip_bytes, width, &s, 0, 1, 0, l->cols);
            continue;
        }
        s.across = true;
        s.count = l->cols;
        for (size_t i = 0; i * width < l->cols; i++)
            panel_pack_part(t, c->to + i * strip_bytes + row * k_bytes, width, &s, i, 1, 0, count);
    }
}

static struct panel_source source_of(const struct pass *p, const struct linear *l, bool columns) {
    return (struct panel_source){.data = l->w ? (const void *)net_value(p->net, l->w) : l->fixed->data,
                                 .dtype = l->w ? DTYPE_F32 : l->fixed->dtype,
                                 .ld = l->cols,
                                 .count = columns ? l->cols : l->rows,
                                 .k = columns ? l->rows : l->cols,
                                 .across = columns};
}

void op_weight_term(struct pass *p, const struct linear *l, bool columns, struct panel_sum *s) {
    struct panel_term *term = &s->terms[0];
    struct decode_panels_call c = {p, l, p->dense, columns};
    term->k = columns ? l->rows : l->cols;
    term->b = columns ? l->column_panels : l->row_panels;
    if (!term->b && is_coded(l)) {
        thread_pool_run(p->c->pool, decode_panels_share, &c);
        term->b = p->dense;
    } else if (!term->b) {
        s->raw = source_of(p, l, columns);
    }
}

/* ---- kept panels ---------------------------------------------------------------------------------- */

struct keep {
    struct pass *p;
    size_t used; /* bytes */
    bool forget; /* nobody else reads the matrices */
};

/* Pieces begin on lines of the cache. */
static char *next_piece(struct keep *k, const struct linear *l, bool columns) {
    char *piece = k->p->kept_panels ? k->p->kept_panels + k->used : NULL;
    k->used += (op_weight_panel_bytes(k->p, l, columns) + 63) / 64 * 64;
    return piece;
}

static enum quern_status keep_one(void *ctx, struct linear *l, size_t layer, const char *module,
                                  struct quern_error *err) {
    struct keep *k = ctx;
    const struct gemm_tiles *t = panel_tiles(k->p->c, false);
    const struct checkpoint *c = k->p->net->model->checkpoint;
    (void)layer, (void)module, (void)err;
    if (l->w) /* trained whole */
        return QUERN_OK;
    char *rows = next_piece(k, l, false), *columns = next_piece(k, l, true);
    if (!rows)
        return QUERN_OK;
    const struct panel_source by_rows = source_of(k->p, l, false), by_columns = source_of(k->p, l, true);
    panel_pack(k->p->c, t, rows, t->nr, &by_rows);
    panel_pack(k->p->c, t, columns, t->nr, &by_columns);
    l->row_panels = rows;
    l->column_panels = columns;
    if (k->forget && checkpoint_safetensors(c)) {
        checkpoint_forget(c, l->fixed->data, weight_bytes(l->fixed));
        k->p->let_go_bytes += weight_bytes(l->fixed);
    }
    return QUERN_OK;
}

static enum quern_status keep_all(struct keep *k, struct quern_error *err) {
    struct net *n = k->p->net;
    enum quern_status st = net_each_linear(n, keep_one, k, err);
    return st == QUERN_OK ? keep_one(k, &n->head, 0, "lm_head", err) : st;
}

enum quern_status op_weight_keep(struct pass *p, const struct train_options *o, struct quern_error *err) {
    struct keep k = {.p = p, .forget = !o->lora.use_dora};
    const struct net *n = p->net;
    if (!o->pack_weights || o->method != TRAIN_LORA || !p->c->bf16 || n->layers[0].q.fixed->packed ||
        n->head.fixed->packed || n->model->config.n_experts)
        return QUERN_OK;
    enum quern_status st = keep_all(&k, err); /* how much it is */
    if (st != QUERN_OK || k.used > os_memory_available_bytes() / 2)
        return st;
    p->kept_bytes = k.used;
    p->kept_panels = pages_alloc(k.used);
    if (!p->kept_panels)
        return error_nomem(err);
    k.used = 0;
    return keep_all(&k, err);
}
