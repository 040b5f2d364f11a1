/* Final norm, head, cross entropy: loss = sum of w_t (log sum exp(z_t) - z_t[label]),
 * z = Whead norm(x). Only labelled tokens go through the head, head_rows at a time, forward and back in
 * one go: logits of more tokens never exist. */
#include <math.h>

#include "train/core/pass.h"

/* Logits of one token become their gradients; the loss without its weight. */
struct loss_call {
    struct pass *p;
    const size_t *rows; /* tokens of this chunk */
    struct row_weights w;
    double loss[HEAD_ROWS_MAX];
};

static enum train_label_kind kind_of(const struct train_row *row, size_t t) {
    return row->kinds ? (enum train_label_kind)row->kinds[t] : TRAIN_LABEL_ANSWER;
}

static bool is_prompt(const struct train_row *row, size_t t) {
    return kind_of(row, t) == TRAIN_LABEL_PROMPT;
}

static float weight_of(const struct row_weights *w, enum train_label_kind kind) {
    return kind == TRAIN_LABEL_PROMPT       ? w->prompt
           : kind == TRAIN_LABEL_EMPHASIZED ? w->emphasized
                                            : w->answer;
}

static void loss_share(void *ctx, size_t begin, size_t end) {
    struct loss_call *c = ctx;
    const struct train_kernels *k = c->p->c->train;
    const size_t V = c->p->net->head.rows;
    for (size_t i = begin; i < end; i++) {
        float *z = c->p->logits + i * V;
        const size_t t = c->rows[i], label = (size_t)c->p->row->labels[t];
        const float weight = weight_of(&c->w, kind_of(c->p->row, t));
        const float most = k->largest(z, V), said = z[label];
        const float sum = k->exp_sum(z, V, 1.0f, most);
        c->loss[i] = log((double)sum) + ((double)most - (double)said);
        if (c->p->grads) {
            k->scale(z, z, weight / sum, V);
            z[label] -= weight;
        }
    }
}

/* One chunk: dz from picked rows of h; dh = dz Whead, dWhead += dz^T h. */
static void chunk(struct pass *p, struct loss_call *call, size_t at, size_t n) {
    const struct linear *l = &p->net->head;
    const size_t H = l->cols, V = l->rows;
    const struct operand w = op_weight(p, l);
    const float *h = p->picked + at * H;
    const struct gemm z = {.c = p->logits, .ldc = V, .m = n, .n = V, .k = H, /* [n,V] */
                           .a = h, .lda = H, .b = w.data, .b_type = w.dtype, .ldb = H};
    gemm_run(p->c, &z);
    compute_for(p->c, n, 1, loss_share, call);
    if (!p->grads)
        return;
    const struct gemm dh = {.c = p->dpicked + at * H, .ldc = H, .m = n, .n = H, .k = V, /* [n,H] */
                            .a = p->logits, .lda = V,
                            .b = w.data, .b_type = w.dtype, .ldb = H, .b_across = true};
    gemm_run(p->c, &dh);
    bool adds = false;
    float *to = grad_to_write(p, l->w, &adds);
    if (!to)
        return;
    const struct gemm dw = {.c = to, .ldc = H, .m = V, .n = H, .k = n, /* [V,H] */
                            .a = p->logits, .lda = V, .a_across = true,
                            .b = h, .ldb = H, .b_across = true, .add = adds};
    gemm_run(p->c, &dw);
}

struct row_losses op_head(struct pass *p, float *dx, const float *x, struct row_weights w) {
    const size_t H = p->net->embed.cols;
    struct row_losses sum = {0, 0};
    size_t *rows = p->labelled, n = 0;
    for (size_t t = 0; t < p->T; t++)
        if (p->row->labels[t] >= 0 && !(w.prompt == 0 && is_prompt(p->row, t))) {
            memcpy(p->gathered + n * H, x + t * H, H * sizeof *x);
            rows[n++] = t;
        }
    op_norm(p, &p->net->final_norm, p->picked, p->gathered, p->rhead, n);
    for (size_t i = 0; i < n; i += p->head_rows) {
        const size_t some = n - i < p->head_rows ? n - i : p->head_rows;
        struct loss_call call = {.p = p, .rows = rows + i, .w = w};
        chunk(p, &call, i, some);
        for (size_t j = 0; j < some; j++)
            *(is_prompt(p->row, rows[i + j]) ? &sum.prompt : &sum.answer) += call.loss[j];
    }
    if (!p->grads)
        return sum;
    op_norm_back(p, &p->net->final_norm, p->picked, p->dpicked, p->gathered, p->rhead, n, false);
    memset(dx, 0, p->T * H * sizeof *dx);
    for (size_t i = 0; i < n; i++)
        memcpy(dx + rows[i] * H, p->picked + i * H, H * sizeof *dx);
    return sum;
}
