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
