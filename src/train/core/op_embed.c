/* Embedding: rows of a table, with NEFTune's noise. */
#include <math.h>

#include "base/rng.h"
#include "train/core/pass.h"

struct embed_call {
    struct pass *p;
    float *x;
    const float *dx;
    float *grad;
};

/* U(-alpha / sqrt(L d), +) on every element; L tokens of the row. */
static void add_noise(const struct pass *p, float *x, size_t token, size_t H) {
    const float size = p->neftune / sqrtf((float)p->T * (float)H);
    const uint64_t stream = p->step << 24 | p->grain;
    for (size_t i = 0; i < H; i++) {
        uint32_t r[4];
        rng_block(p->seed, stream, (uint64_t)1 << 62 | (token * H + i), r);
        x[i] += size * ((float)(r[0] >> 8) * 0x1p-23f - 1.0f);
    }
}

static void embed_share(void *ctx, size_t begin, size_t end) {
    const struct embed_call *e = ctx;
    const struct net *net = e->p->net;
    const size_t H = net->embed.cols;
    for (size_t t = begin; t < end; t++) {
        const size_t id = (size_t)e->p->row->tokens[t];
        if (net->embed.w)
            memcpy(e->x + t * H, net_value(net, net->embed.w) + id * H, H * sizeof *e->x);
        else
            net_fixed_rows(net->embed.fixed, id, 1, e->x + t * H);
        if (e->p->is_training && e->p->neftune > 0)
            add_noise(e->p, e->x + t * H, t, H);
    }
}

/* x[T,H] = table[tokens]. A mapped table of its own is let go again: over a run its rows would all come
 * to stay in memory. */
void op_embed(struct pass *p, float *x) {
    const struct net *net = p->net;
    const struct weight *w = net->embed.fixed;
    struct embed_call e = {p, x, NULL, NULL};
    compute_for(p->c, p->T, 1, embed_share, &e);
    if (!net->embed.w && w != net->head.fixed && net->embed_is_mapped)
        checkpoint_forget(net->model->checkpoint, w->data, weight_bytes(w));
}

/* Columns are shared out, so that a token that comes twice is added up by one. */
static void embed_back_share(void *ctx, size_t begin, size_t end) {
    const struct embed_call *e = ctx;
    const size_t H = e->p->net->embed.cols;
    float *grad = e->grad;
    for (size_t t = 0; t < e->p->T; t++) {
        const size_t id = (size_t)e->p->row->tokens[t];
        for (size_t i = begin; i < end; i++)
            grad[id * H + i] += e->dx[t * H + i];
    }
}

/* dtable[tokens] += dx */
void op_embed_back(struct pass *p, const float *dx) {
    struct embed_call e = {p, NULL, dx, grad_of(p, p->net->embed.w)};
    if (e.grad)
        compute_for(p->c, p->net->embed.cols, 16, embed_back_share, &e);
}
