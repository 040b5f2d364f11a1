/* adapter_add.c - adapters in the forward pass. */
#include "model/adapter.h"
#include "model/workspace.h"

static const struct adapter_linear *linear_at(const struct quern_adapter *a,
                                              struct adapter_place place) {
    if (place.layer == SIZE_MAX)
        return a->head;
    const struct adapter_layer *layer = &a->layers[place.layer];
    if (place.expert < 0)
        return layer->linears[place.site];
    return layer->experts ? layer->experts[place.expert][place.site - SITE_GATE] : NULL;
}

/* y[n, out], the sequences of all n rows having the same set. R rank. */
static void add_rows(const struct model *m, struct workspace *ws, const struct adapter_linear **on,
                     size_t n_on, float *y, const float *x, const float *bias, size_t n) {
    struct device *d = m->device;
    const struct device_ops *ops = d->ops;
    const size_t out = on[0]->b.rows;
    for (size_t i = 0; i < n_on; i++) {
        const struct adapter_linear *l = on[i];
        ops->linear(d, ws->adapter_low, x, &l->a, NULL, n); /* [n,R] = [n,in][R,in]^T */
        ops->linear(d, ws->adapter_out, ws->adapter_low, &l->b, NULL,
                    n); /* [n,out] = [n,R][out,R]^T */
        if (l->gain)
            ops->add_dora(d, y, ws->adapter_out, l->scale, l->gain, bias, n, out);
        else
            ops->add_scaled(d, y, ws->adapter_out, l->scale, n * out);
    }
}

static const struct adapter_set *set_of(const struct workspace *ws, const int32_t *rows, size_t i) {
    return ws->row_adapters[rows ? (size_t)rows[i] : i];
}

void adapters_add(const struct model *m, struct workspace *ws, struct adapter_place place, float *y,
                  const float *x, const float *bias, const int32_t *rows, size_t n) {
    if (!ws->has_adapters)
        return;
    for (size_t i = 0, end; i < n; i = end) {
        const struct adapter_linear *on[ADAPTERS_MAX];
        const struct adapter_set *set = set_of(ws, rows, i);
        size_t n_on = 0;
        for (end = i + 1; end < n && adapter_set_equal(set_of(ws, rows, end), set); end++)
            ;
        for (size_t k = 0; set && k < set->n; k++) {
            on[n_on] = linear_at(set->items[k], place);
            n_on += on[n_on] != NULL;
        }
        if (n_on == 0)
            continue;
        const size_t in = on[0]->a.cols, out = on[0]->b.rows;
        size_t most = ws->adapter_out_floats / out;
        most = most < ws->adapter_rows ? most : ws->adapter_rows;
        for (size_t at = i; at < end; at += most) {
            const size_t g = end - at < most ? end - at : most;
            add_rows(m, ws, on, n_on, y + at * out, x + at * in, bias, g);
        }
    }
}
