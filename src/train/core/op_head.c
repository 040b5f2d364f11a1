/* Final norm, head, cross entropy: loss = sum of w_t (log sum exp(z_t) - z_t[label]),
 * z = Whead norm(x). Only labelled tokens go through the head, head_rows at a time, forward and back in
 * one go: logits of more tokens never exist. */
#include <math.h>

#include "train/core/pass.h"

struct loss_call {
    struct pass *p;
    const size_t *rows; /* the n tokens of this chunk */
    size_t n;
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

/* The loss without its weight; the logits become their gradients. */
static double token_loss(struct loss_call *c, size_t i) {
    const struct train_kernels *k = c->p->c->train;
    const size_t V = c->p->net->head.rows, t = c->rows[i], label = (size_t)c->p->row->labels[t];
    float *z = c->p->logits + i * V;
    const float weight = weight_of(&c->w, kind_of(c->p->row, t));
    const float most = k->largest(z, V), said = z[label];
    const float sum = k->exp_sum(z, V, 1.0f, most);
    if (c->p->grads) {
        k->scale(z, z, weight / sum, V);
        z[label] -= weight;
    }
    return log((double)sum) + ((double)most - (double)said);
}

/* Strips of tokens, packed while they are in the cache. */
static void loss_share(void *ctx, size_t begin, size_t end) {
    struct loss_call *c = ctx;
    const struct gemm_tiles *t = panel_tiles(c->p->c, false);
    const size_t V = c->p->net->head.rows;
    const struct panel_source s = {.data = c->p->logits, .dtype = DTYPE_F32, .ld = V, .count = c->n, .k = V};
    for (size_t i = begin; i < end; i++) {
        for (size_t j = i * t->mr; j < (i + 1) * t->mr && j < c->n; j++)
            c->loss[j] = token_loss(c, j);
        if (c->p->grads)
            panel_pack_part(t, (char *)c->p->logit_panels + i * panel_bytes(t, t->mr, t->mr, V), t->mr, &s, i, 1, 0, V);
    }
}

/* One chunk: dz from picked rows of h; dh = dz Whead, dWhead += dz^T h. */
static void chunk(struct pass *p, struct loss_call *call, size_t at) {
    const struct linear *l = &p->net->head;
    const struct gemm_tiles *t = panel_tiles(p->c, false);
    const size_t H = l->cols, V = l->rows, n = call->n;
    const float *h = p->picked + at * H;
    struct panel_sum z = {.c = p->logits, .ldc = V, .m = n, .n = V, .terms = {{.a = p->input_panels}}}; /* [n,V] */
    struct panel_sum dh = {.c = p->dpicked + at * H, .ldc = H, .m = n, .n = H, /* [n,H] */
                           .terms = {{.a = p->logit_panels}}};
    op_input(p, h, n, H);
    op_weight_term(p, l, false, &z);
    panel_sum_run(p->c, t, &z);
    compute_for(p->c, (n + t->mr - 1) / t->mr, 1, loss_share, call);
    if (!p->grads)
        return;
    op_weight_term(p, l, true, &dh);
    panel_sum_run(p->c, t, &dh);
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
        struct loss_call call = {.p = p, .rows = rows + i, .n = some, .w = w};
        chunk(p, &call, i);
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
