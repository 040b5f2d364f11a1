/* Lion and Adafactor. */
#include <float.h>
#include <math.h>

#include "train/optimizer/optimizer.h"

struct element_call {
    const struct optimizer *p;
    float *value, *m;
    const float *grad;
    float clip, decay, rate;
};

/* p = decay p - rate sign(b1 m + (1-b1) g);  m = b2 m + (1-b2) g */
static void lion_share(void *ctx, size_t begin, size_t end) {
    const struct element_call *c = ctx;
    const float b1 = c->p->o->beta1, b2 = c->p->o->beta2;
    for (size_t i = begin; i < end; i++) {
        const float g = c->grad[i] * c->clip, u = b1 * c->m[i] + (1.0f - b1) * g;
        const float sign = u > 0 ? 1.0f : u < 0 ? -1.0f : 0.0f;
        c->value[i] = c->value[i] * c->decay - c->rate * sign;
        c->m[i] = b2 * c->m[i] + (1.0f - b2) * g;
    }
}

void lion_step(const struct optimizer *p, const struct param *w, const float *grads, float clip, double lr,
               double weight_decay) {
    struct element_call c = {.p = p,
                             .value = p->n->values + w->offset,
                             .m = p->m + w->offset,
                             .grad = grads + w->offset,
                             .clip = clip,
                             .decay = (float)(1.0 - lr * weight_decay),
                             .rate = (float)lr};
    compute_for(p->c, w->n, 4096, lion_share, &c);
}

/* ---- Adafactor ------------------------------------------------------------------------------------ */

/* As torch.optim.Adafactor: mean squares of rows and columns instead of a square for each element. They
 * lie at the beginning of the parameter's place in v, rows first. Vectors keep all their squares. */
struct factors {
    const struct optimizer *p;
    const struct param *w;
    const float *grad;
    float *rows, *cols;
    float clip, blend, mean, rate, decay, least;
    size_t n_rows, n_cols;
};

static void rows_share(void *ctx, size_t begin, size_t end) {
    const struct factors *f = ctx;
    for (size_t i = begin; i < end; i++) {
        const float *g = f->grad + i * f->n_cols;
        const float mean = f->p->c->train->dot(g, g, f->n_cols) * f->clip * f->clip / (float)f->n_cols;
        f->rows[i] += f->blend * (mean - f->rows[i]);
    }
}

static void cols_share(void *ctx, size_t begin, size_t end) {
    const struct factors *f = ctx;
    for (size_t j = begin; j < end; j++) {
        double sum = 0;
        for (size_t i = 0; i < f->n_rows; i++)
            sum += (double)f->grad[i * f->n_cols + j] * (double)f->grad[i * f->n_cols + j];
        const float mean = (float)(sum / (double)f->n_rows) * f->clip * f->clip;
        f->cols[j] += f->blend * (mean - f->cols[j]);
    }
}

static float direction(const struct factors *f, size_t i, size_t j) {
    const float v = f->cols ? f->rows[i] * f->cols[j] / f->mean : f->rows[i];
    return f->grad[i * f->n_cols + j] * f->clip / sqrtf(v > f->least ? v : f->least);
}

static void apply_share(void *ctx, size_t begin, size_t end) {
    const struct factors *f = ctx;
    float *x = f->p->n->values + f->w->offset;
    for (size_t i = begin; i < end; i++)
        for (size_t j = 0; j < f->n_cols; j++)
            x[i * f->n_cols + j] = x[i * f->n_cols + j] * f->decay - f->rate * direction(f, i, j);
}

/* Root mean square of the direction, rows in order. */
static double direction_size(const struct factors *f) {
    double sum = 0;
    for (size_t i = 0; i < f->n_rows; i++)
        for (size_t j = 0; j < f->n_cols; j++) {
            const double d = (double)direction(f, i, j);
            sum += d * d;
        }
    return sqrt(sum / (double)f->w->n);
}

static void update_squares(struct factors *f) {
    double sum = 0;
    if (!f->cols) {
        for (size_t i = 0; i < f->n_rows; i++) {
            const float g = f->grad[i] * f->clip;
            f->rows[i] += f->blend * (g * g - f->rows[i]);
        }
        return;
    }
    compute_for(f->p->c, f->n_rows, 16, rows_share, f);
    compute_for(f->p->c, f->n_cols, 16, cols_share, f);
    for (size_t i = 0; i < f->n_rows; i++)
        sum += (double)f->rows[i];
    f->mean = (float)(sum / (double)f->n_rows);
    f->mean = f->mean > FLT_EPSILON ? f->mean : FLT_EPSILON;
}

void adafactor_step(const struct optimizer *p, const struct param *w, const float *grads, float clip,
                    double lr, double weight_decay) {
    const double t = (double)p->steps, rho = lr < 1.0 / sqrt(t) ? lr : 1.0 / sqrt(t);
    const bool factored = w->rank == 2 && w->shape[0] > 1 && w->shape[1] > 1;
    struct factors f = {.p = p, .w = w, .grad = grads + w->offset, .rows = p->v + w->offset, .clip = clip,
                        .blend = (float)pow(t, -0.8), .decay = (float)(1.0 - lr * weight_decay),
                        .least = FLT_EPSILON * FLT_EPSILON,
                        .n_rows = factored ? w->shape[0] : w->n, .n_cols = factored ? w->shape[1] : 1};
    f.cols = factored ? f.rows + w->shape[0] : NULL;
    const double size = sqrt(compute_square_sum(p->c, p->n->values + w->offset, w->n) / (double)w->n);
    update_squares(&f);
    const double norm = direction_size(&f);
    f.rate = (float)((size > 1e-3 ? size : 1e-3) * rho / (norm > 1 ? norm : 1));
    compute_for(p->c, f.n_rows, 16, apply_share, &f);
}
