#include "model/dora.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"

enum { BLOCK_ROWS = 64 };

void weight_row(const struct weight *w, size_t r, float *out) {
    if (w->packed) {
        packed_row(w->packed, r, out);
        return;
    }
    const size_t row_bytes = w->cols * dtype_size_bytes(w->dtype);
    dtype_to_f32(w->dtype, (const unsigned char *)w->data + r * row_bytes, out, w->cols);
}

/* Device memory for products of a block of rows of B with A. */
struct product {
    float *at;    /* [in, rank] A transposed: a matrix whose product with B's rows is B A */
    float *b;     /* [BLOCK_ROWS, rank] */
    float *delta; /* [BLOCK_ROWS, in] */
    float *row;   /* [in] host */
    float *host;  /* [BLOCK_ROWS, in] host */
    size_t at_bytes, b_bytes, delta_bytes;
};

static void product_release(struct device *d, struct product *p) {
    if (p->at)
        d->ops->release(d, p->at, p->at_bytes);
    if (p->b)
        d->ops->release(d, p->b, p->b_bytes);
    if (p->delta)
        d->ops->release(d, p->delta, p->delta_bytes);
    free(p->row);
    free(p->host);
}

static enum quern_status product_init(struct device *d, struct product *p,
                                      const struct peft_module *m, struct quern_error *err) {
    const size_t r = m->rank, in = m->in;
    if (!checked_mul(in, r * sizeof(float), &p->at_bytes) ||
        !checked_mul(in, BLOCK_ROWS * sizeof(float), &p->delta_bytes))
        return error_nomem(err);
    p->b_bytes = BLOCK_ROWS * r * sizeof(float);
    p->at = d->ops->alloc(d, p->at_bytes);
    p->b = d->ops->alloc(d, p->b_bytes);
    p->delta = d->ops->alloc(d, p->delta_bytes);
    p->row = calloc(in, sizeof *p->row);
    p->host = malloc(p->at_bytes > p->delta_bytes ? p->at_bytes : p->delta_bytes);
    if (!p->at || !p->b || !p->delta || !p->row || !p->host)
        return error_nomem(err);
    for (size_t k = 0; k < r; k++) {
        dtype_to_f32(m->a->dtype,
                     (const unsigned char *)m->a->data + k * in * dtype_size_bytes(m->a->dtype),
                     p->row, in);
        for (size_t j = 0; j < in; j++)
            p->host[j * r + k] = p->row[j];
    }
    d->ops->write(d, p->at, p->host, p->at_bytes);
    return QUERN_OK;
}

static void norm_block(struct device *d, const struct product *p, const struct weight *w,
                       const struct peft_module *m, float scale, size_t first, size_t n,
                       double *norms) {
    const struct weight at = {.dtype = DTYPE_F32, .rows = m->in, .cols = m->rank, .data = p->at};
    const size_t b_row = m->rank * dtype_size_bytes(m->b->dtype);
    dtype_to_f32(m->b->dtype, (const unsigned char *)m->b->data + first * b_row, p->host,
                 n * m->rank);
    d->ops->write(d, p->b, p->host, n * m->rank * sizeof(float));
    d->ops->linear(d, p->delta, p->b, &at, NULL, n); /* [n,in] = [n,r][in,r]^T */
    d->ops->download(d, p->host, p->delta, n * m->in * sizeof(float));
    for (size_t i = 0; i < n; i++) {
        const float *delta = p->host + i * m->in;
        double sum = 0;
        weight_row(w, first + i, p->row);
        for (size_t j = 0; j < m->in; j++) {
            const double x = (double)p->row[j] + (double)scale * (double)delta[j];
            sum += x * x;
        }
        norms[i] = sqrt(sum);
    }
}

enum quern_status dora_gain(struct device *d, const struct weight *w,
                            const struct peft_module *module, float scale, struct arena *arena,
                            const float **out, struct quern_error *err) {
    struct product p = {0};
    double norms[BLOCK_ROWS];
    float *gain = arena_calloc(arena, module->out, sizeof *gain);
    enum quern_status status = gain ? product_init(d, &p, module, err) : error_nomem(err);
    if (!status)
        dtype_to_f32(module->magnitude->dtype, module->magnitude->data, gain, module->out);
    for (size_t i = 0; i < module->out && !status; i += BLOCK_ROWS) {
        const size_t left = module->out - i, n = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        norm_block(d, &p, w, module, scale, i, n, norms);
        for (size_t k = 0; k < n; k++)
            gain[i + k] = (float)((double)gain[i + k] / norms[k]);
    }
    product_release(d, &p);
    *out = gain;
    return status;
}
