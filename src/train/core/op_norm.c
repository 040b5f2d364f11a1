/* RMS norm of rows: y = x r w, r = 1 / sqrt(mean(x^2) + eps). */
#include "train/core/pass.h"

struct norm_call {
    struct pass *p;
    const struct scaling *s;
    const float *w;
    float *y, *r, *dx, *dw;
    const float *x, *dy, *kept_r;
    size_t n;
};

static const float *weight_of(const struct pass *p, const struct scaling *s) {
    return s->w ? net_value(p->net, s->w) : s->fixed;
}

static void norm_share(void *ctx, size_t begin, size_t end) {
    const struct norm_call *c = ctx;
    const size_t d = c->s->n;
    const float eps = c->p->net->model->config.rms_norm_eps;
    for (size_t i = begin; i < end; i++)
        c->r[i] = c->p->c->train->norm(c->y + i * d, c->x + i * d, c->w, d, eps);
}

void op_norm(struct pass *p, const struct scaling *s, float *y, const float *x, float *r, size_t n) {
    struct norm_call c = {.p = p, .s = s, .w = weight_of(p, s), .y = y, .x = x, .r = r, .n = n};
    compute_for(p->c, n, 4, norm_share, &c);
}

static void norm_back_share(void *ctx, size_t begin, size_t end) {
    const struct norm_call *c = ctx;
    const size_t d = c->s->n;
    for (size_t i = begin; i < end; i++)
        c->p->c->train->norm_back(c->dx + i * d, c->dy + i * d, c->x + i * d, c->w, d, c->kept_r[i]);
}

/* Columns are shared out: a sum over rows goes in their order. */
static void norm_weight_share(void *ctx, size_t begin, size_t end) {
    const struct norm_call *c = ctx;
    const size_t d = c->s->n;
    float *dw = c->dw;
    for (size_t i = 0; i < c->n; i++)
        c->p->c->train->norm_weight(dw + begin, c->dy + i * d + begin, c->x + i * d + begin, end - begin,
                                    c->kept_r[i]);
}

/* dx = r (dy w - x r mean(dy w x r)), dw += sum of dy x r. With add, dy is used up. */
void op_norm_back(struct pass *p, const struct scaling *s, float *dx, float *dy, const float *x,
                  const float *r, size_t n, bool add) {
    struct norm_call c = {.p = p, .s = s, .w = weight_of(p, s), .dy = dy, .x = x, .kept_r = r, .n = n};
    c.dx = add ? dy : dx;
    c.dw = grad_of(p, s->w);
    if (c.dw)
        compute_for(p->c, s->n, 16, norm_weight_share, &c);
    compute_for(p->c, n, 4, norm_back_share, &c);
    if (add)
        compute_axpy(p->c, dx, dy, 1.0f, n * s->n);
}
