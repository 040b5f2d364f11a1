/* Muon as torch.optim.Muon has it, adjust_lr_fn "original": momentum, and its direction made
 * orthogonal by five steps of a Newton-Schulz iteration. */
#include <math.h>

#include "train/optimizer/optimizer.h"

enum { STEPS = 5 };
static const float A = 3.4445f, B = -4.7750f, C = 2.0315f, TINY = 1e-7f;

struct muon_call {
    const struct optimizer *p;
    const struct param *w;
    const float *grad;
    float *m, *x;
    float clip;
    bool across; /* x is the transpose */
};

size_t muon_room_floats(const struct param *w) {
    const size_t small = w->shape[0] < w->shape[1] ? w->shape[0] : w->shape[1];
    return 2 * w->n + 2 * small * small;
}

/* Nesterov's momentum of rows [begin, end) to x: m += (1 - mu)(g - m);  x = g + mu (m - g). */
static void momentum_share(void *ctx, size_t begin, size_t end) {
    const struct muon_call *c = ctx;
    const size_t rows = c->w->shape[0], cols = c->w->shape[1];
    const float mu = c->p->o->muon_momentum;
    for (size_t i = begin; i < end; i++)
        for (size_t j = 0; j < cols; j++) {
            const size_t at = i * cols + j;
            const float g = c->grad[at] * c->clip;
            c->m[at] += (1.0f - mu) * (g - c->m[at]);
            c->x[c->across ? j * rows + i : at] = g + mu * (c->m[at] - g);
        }
}

struct apply_call {
    const struct muon_call *m;
    float *value;
    float decay, rate;
};

static void apply_share(void *ctx, size_t begin, size_t end) {
    const struct apply_call *c = ctx;
    const size_t rows = c->m->w->shape[0], cols = c->m->w->shape[1];
    for (size_t i = begin; i < end; i++)
        for (size_t j = 0; j < cols; j++) {
            const size_t at = i * cols + j;
            const float x = c->m->x[c->m->across ? j * rows + i : at];
            c->value[at] = c->value[at] * c->decay - c->rate * x;
        }
}

/* x [r,c], r <= c: x = A x + (B s + C s s) x, s = x x^T. The result is where it is told. */
static float *orthogonalize(const struct compute *c, float *x, float *other, float *s, float *ss, size_t r,
                            size_t cols) {
    const float norm = (float)sqrt(compute_square_sum(c, x, r * cols));
    compute_scale(c, x, x, 1.0f / (norm > TINY ? norm : TINY), r * cols);
    for (int i = 0; i < STEPS; i++) {
        const struct gemm gram = {.c = s, .ldc = r, .m = r, .n = r, .k = cols, .a = x, .lda = cols,
                                  .b = x, .ldb = cols};
        const struct gemm square = {.c = ss, .ldc = r, .m = r, .n = r, .k = r, .a = s, .lda = r,
                                    .b = s, .ldb = r, .b_across = true};
        const struct gemm next = {.c = other, .ldc = cols, .m = r, .n = cols, .k = r, .a = ss, .lda = r,
                                  .b = x, .ldb = cols, .b_across = true};
        gemm_run(c, &gram);
        gemm_run(c, &square);
        compute_scale(c, ss, ss, C, r * r);
        compute_axpy(c, ss, s, B, r * r);
        gemm_run(c, &next);
        compute_axpy(c, other, x, A, r * cols);
        float *was = x;
        x = other;
        other = was;
    }
    return x;
}

void muon_step(const struct optimizer *p, const struct param *w, const float *grads, float clip,
               float lr_scale) {
    const size_t rows = w->shape[0], cols = w->shape[1], small = rows < cols ? rows : cols;
    float *x = p->room, *s = x + 2 * w->n;
    struct muon_call c = {.p = p, .w = w, .grad = grads + w->offset, .m = p->m + w->offset, .x = x,
                          .clip = clip, .across = rows > cols};
    compute_for(p->c, rows, 16, momentum_share, &c);
    c.x = orthogonalize(p->c, x, x + w->n, s, s + small * small, small, rows > cols ? rows : cols);
    const double lr = (double)p->o->muon_learning_rate * (double)lr_scale;
    const double shape = rows > cols ? sqrt((double)rows / (double)cols) : 1.0;
    struct apply_call apply = {.m = &c,
                               .value = p->n->values + w->offset,
                               .decay = (float)(1.0 - lr * (double)p->o->muon_weight_decay),
                               .rate = (float)(lr * shape)};
    compute_for(p->c, rows, 16, apply_share, &apply);
}
