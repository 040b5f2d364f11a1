#include "model/low_rank.h"

#include <math.h>
#include <stdlib.h>

#include "base/checked.h"

void weight_row(const struct weight *w, size_t r, float *out) {
    if (w->packed) {
        packed_row(w->packed, r, out);
        return;
    }
    const size_t row_bytes = w->cols * dtype_size_bytes(w->dtype);
    dtype_to_f32(w->dtype, (const unsigned char *)w->data + r * row_bytes, out, w->cols);
}

/* Row r of a tensor of two dimensions. */
static void tensor_rows(const struct tensor *t, size_t first, size_t n, float *out) {
    const size_t row_bytes = t->shape[1] * dtype_size_bytes(t->dtype);
    dtype_to_f32(t->dtype, (const unsigned char *)t->data + first * row_bytes, out,
                 n * t->shape[1]);
}

enum quern_status low_rank_init(struct low_rank *p, struct device *d,
                                const struct peft_module *module, struct quern_error *err) {
    const size_t r = module->rank, in = module->in;
    *p = (struct low_rank){.device = d, .module = module};
    if (!checked_mul(in, r * sizeof(float), &p->at_bytes) ||
        !checked_mul(in, LOW_RANK_ROWS * sizeof(float), &p->delta_bytes))
        return error_nomem(err);
    p->b_bytes = LOW_RANK_ROWS * r * sizeof(float);
    p->at = d->ops->alloc(d, p->at_bytes);
    p->b = d->ops->alloc(d, p->b_bytes);
    p->delta = d->ops->alloc(d, p->delta_bytes);
    p->host = malloc(p->at_bytes > p->delta_bytes ? p->at_bytes : p->delta_bytes);
    float *row = malloc(in * sizeof *row + 1);
    const bool ok = p->at && p->b && p->delta && p->host && row;
    for (size_t k = 0; ok && k < r; k++) {
        tensor_rows(module->a, k, 1, row);
        for (size_t j = 0; j < in; j++)
            p->host[j * r + k] = row[j];
    }
    if (ok)
        d->ops->write(d, p->at, p->host, p->at_bytes);
    free(row);
    return ok ? QUERN_OK : error_nomem(err);
}

void low_rank_release(struct low_rank *p) {
    struct device *d = p->device;
    if (p->at)
        d->ops->release(d, p->at, p->at_bytes);
    if (p->b)
        d->ops->release(d, p->b, p->b_bytes);
    if (p->delta)
        d->ops->release(d, p->delta, p->delta_bytes);
    free(p->host);
    *p = (struct low_rank){0};
}

const float *low_rank_rows(struct low_rank *p, size_t first, size_t n) {
    struct device *d = p->device;
    const struct peft_module *m = p->module;
    const struct weight at = {.dtype = DTYPE_F32, .rows = m->in, .cols = m->rank, .data = p->at};
    tensor_rows(m->b, first, n, p->host);
    d->ops->write(d, p->b, p->host, n * m->rank * sizeof(float));
    d->ops->linear(d, p->delta, p->b, &at, NULL, n); /* [n,in] = [n,r][in,r]^T */
    d->ops->download(d, p->host, p->delta, n * m->in * sizeof(float));
    return p->host;
}

double low_rank_norm(const float *w, const float *delta, float scale, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++) {
        const double x = (double)w[j] + (double)scale * (double)delta[j];
        sum += x * x;
    }
    return sqrt(sum);
}

enum quern_status dora_gain(struct device *d, const struct weight *w,
                            const struct peft_module *module, float scale, struct arena *arena,
                            const float **out, struct quern_error *err) {
    struct low_rank p = {0};
    float *gain = arena_calloc(arena, module->out, sizeof *gain);
    float *row = malloc(module->in * sizeof *row + 1);
    enum quern_status status = gain && row ? low_rank_init(&p, d, module, err) : error_nomem(err);
    if (!status)
        dtype_to_f32(module->magnitude->dtype, module->magnitude->data, gain, module->out);
    for (size_t i = 0; i < module->out && !status; i += LOW_RANK_ROWS) {
        const size_t left = module->out - i, n = left < LOW_RANK_ROWS ? left : LOW_RANK_ROWS;
        const float *delta = low_rank_rows(&p, i, n);
        for (size_t k = 0; k < n; k++) {
            weight_row(w, i + k, row);
            gain[i + k] = (float)((double)gain[i + k] /
                                  low_rank_norm(row, delta + k * module->in, scale, module->in));
        }
    }
    low_rank_release(&p);
    free(row);
    *out = gain;
    return status;
}

bool low_rank_base_agrees(const struct peft_module *module, size_t r, const float *row,
                          float *scratch) {
    if (!module->base)
        return true;
    tensor_rows(module->base, r, 1, scratch);
    for (size_t j = 0; j < module->in; j++)
        if (!(fabsf(row[j] - scratch[j]) <= 0x1p-8f * fabsf(scratch[j]) + 0x1p-24f))
            return false;
    return true;
}
