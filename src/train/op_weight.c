/* Matrices as the products take them. */
#include "train/pass.h"

struct decode_call {
    const struct weight *w;
    float *out32;
};

static void decode_share(void *ctx, size_t begin, size_t end) {
    const struct decode_call *c = ctx;
    const size_t cols = c->w->cols;
    for (size_t i = begin; i < end; i++)
        packed_row(c->w->packed, i, c->out32 + i * cols);
}

struct operand op_weight(struct pass *p, const struct linear *l) {
    if (l->w)
        return (struct operand){net_value(p->net, l->w), DTYPE_F32};
    if (!l->fixed->packed)
        return (struct operand){l->fixed->data, l->fixed->dtype};
    struct decode_call c = {.w = l->fixed, .out32 = p->dense};
    compute_for(p->c, l->rows, 64, decode_share, &c);
    return (struct operand){p->dense, DTYPE_F32};
}
