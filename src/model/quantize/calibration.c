#include "model/quantize/calibration.h"

#include <stdlib.h>

#include "base/checked.h"
#include "model/forward.h"
#include "model/quantize/observer.h"

static size_t n_experts_of(const struct hf_config *c, size_t layer) {
    return c->layer_is_moe[layer] ? (size_t)c->n_experts : 1;
}

static size_t site_cols(const struct hf_config *c, size_t layer, enum calibration_site site) {
    switch (site) {
    case SITE_ATTENTION_OUT:
        return (size_t)c->n_heads * (size_t)c->head_dim;
    case SITE_MLP_OUT:
        return (size_t)(c->layer_is_moe[layer] ? c->moe_intermediate_size : c->intermediate_size);
    case SITE_ATTENTION_IN:
    case SITE_MLP_IN:
    case N_SITES:
        break;
    }
    return (size_t)c->hidden_size;
}

/* Elements of the blocks along the diagonal. */
static size_t sums_elements(size_t cols) {
    const size_t rest = cols % CALIBRATION_BLOCK;
    return (cols - rest) * CALIBRATION_BLOCK + rest * rest;
}

size_t calibration_layer_bytes(const struct hf_config *c, size_t layer) {
    const size_t n = n_experts_of(c, layer);
    return sizeof(float) * (sums_elements(site_cols(c, layer, SITE_ATTENTION_IN)) +
                            sums_elements(site_cols(c, layer, SITE_ATTENTION_OUT)) +
                            n * (sums_elements(site_cols(c, layer, SITE_MLP_IN)) +
                                 sums_elements(site_cols(c, layer, SITE_MLP_OUT))));
}

/* ---- the inputs of some layers ------------------------------------------------------- */

/* Inputs of the layers before `layer`, counted from c->first: two for attention, two an expert. */
static size_t first_input(const struct calibration *c, size_t layer) {
    size_t n = 0;
    for (size_t i = c->first; i < layer; i++)
        n += 2 + 2 * n_experts_of(&c->model->config, i);
    return n;
}

struct calibration_input *calibration_find(const struct calibration *c, size_t layer, size_t expert,
                                           enum calibration_site site) {
    if (layer < c->first || layer >= c->end || !c->inputs)
        return NULL;
    const size_t at = first_input(c, layer);
    return &c->inputs[site >= SITE_MLP_IN ? at + 2 + 2 * expert + (site == SITE_MLP_OUT)
                                          : at + (site == SITE_ATTENTION_OUT)];
}

static const struct weight *observed_weight(const struct layer_weights *w, size_t expert,
                                            enum calibration_site site) {
    switch (site) {
    case SITE_ATTENTION_IN:
        return &w->q;
    case SITE_ATTENTION_OUT:
        return &w->o;
    case SITE_MLP_IN:
        return w->experts ? &w->experts[expert].gate : &w->gate;
    case SITE_MLP_OUT:
    case N_SITES:
        break;
    }
    return w->experts ? &w->experts[expert].down : &w->down;
}

static bool init_input(struct calibration *c, size_t layer, size_t expert,
                       enum calibration_site site) {
    struct calibration_input *in = calibration_find(c, layer, expert, site);
    in->seen = observed_weight(&c->model->layers[layer], expert, site);
    in->cols = site_cols(&c->model->config, layer, site);
    in->sums = calloc(sums_elements(in->cols), sizeof *in->sums);
    in->importance = calloc(in->cols, sizeof *in->importance);
    in->order = calloc(in->cols, sizeof *in->order);
    return in->sums && in->importance && in->order;
}

static size_t most_cols(const struct hf_config *c) {
    size_t most = 0;
    for (size_t layer = 0; layer < (size_t)c->n_layers; layer++)
        for (int s = 0; s < N_SITES; s++)
            if (site_cols(c, layer, (enum calibration_site)s) > most)
                most = site_cols(c, layer, (enum calibration_site)s);
    return most;
}

enum quern_status calibration_init(struct calibration *c, const struct model *m, size_t first,
                                   size_t end, size_t chunk, struct quern_error *err) {
    *c = (struct calibration){.model = m, .first = first, .end = end, .chunk = chunk};
    c->n_inputs = first_input(c, end);
    c->inputs = calloc(c->n_inputs, sizeof *c->inputs);
    bool ok = c->inputs != NULL;
    for (size_t layer = first; ok && layer < end; layer++) {
        ok = init_input(c, layer, 0, SITE_ATTENTION_IN) && init_input(c, layer, 0, SITE_ATTENTION_OUT);
        for (size_t e = 0; ok && e < n_experts_of(&m->config, layer); e++)
            ok = init_input(c, layer, e, SITE_MLP_IN) && init_input(c, layer, e, SITE_MLP_OUT);
    }
    if (ok) {
        struct device *d = m->device;
        const size_t block = CALIBRATION_BLOCK;
        c->turned = d->ops->alloc(d, most_cols(&m->config) * chunk * sizeof(float));
        c->products = d->ops->alloc(d, block * block * sizeof(float));
        ok = c->turned && c->products;
    }
    if (!ok)
        calibration_release(c);
    return ok ? QUERN_OK : error_nomem(err);
}

void calibration_release(struct calibration *c) {
    for (size_t i = 0; c->inputs && i < c->n_inputs; i++) {
        free(c->inputs[i].sums);
        free(c->inputs[i].importance);
        free(c->inputs[i].order);
    }
    free(c->inputs);
    if (c->model) {
        struct device *d = c->model->device;
        const size_t block = CALIBRATION_BLOCK;
        if (c->turned)
            d->ops->release(d, c->turned, most_cols(&c->model->config) * c->chunk * sizeof(float));
        if (c->products)
            d->ops->release(d, c->products, block * block * sizeof(float));
    }
    *c = (struct calibration){0};
}

/* ---- adding up ------------------------------------------------------------------------- */

struct run {
    struct calibration *c;
    struct linear_observer observer;
};

/* sums += x^T x, block by block, as a product of the device: rows of x^T with themselves. */
static void add_tokens(struct run *r, struct calibration_input *in, const float *x, size_t n) {
    struct calibration *c = r->c;
    struct device *d = c->model->device;
    float *sums = in->sums;
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < in->cols; k++)
            c->turned[k * n + t] = x[t * in->cols + k];
    for (size_t k = 0; k < in->cols; k += CALIBRATION_BLOCK) {
        const size_t b = in->cols - k < CALIBRATION_BLOCK ? in->cols - k : CALIBRATION_BLOCK;
        const struct weight w = {.dtype = DTYPE_F32, .rows = b, .cols = n, .data = c->turned + k * n};
        r->observer.inner->linear(d, c->products, c->turned + k * n, &w, NULL, b);
        for (size_t i = 0; i < b * b; i++)
            sums[i] += c->products[i];
        sums += b * b;
    }
    in->n_tokens += n;
}

static void on_linear(void *user, const struct weight *w, const float *x, size_t n) {
    struct run *r = user;
    for (size_t i = 0; i < r->c->n_inputs; i++)
        if (r->c->inputs[i].seen == w)
            add_tokens(r, &r->c->inputs[i], x, n);
}

static enum quern_status run_windows(struct calibration *c, struct kv_cache *kv,
                                     const struct rope *rope, struct workspace *ws,
                                     const int32_t *ids, size_t n_ids, size_t window,
                                     bool (*go_on)(void *user, double fraction), void *user,
                                     struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    for (size_t at = 0; at < n_ids && st == QUERN_OK;) {
        const size_t in_window = at % window, to_end = window - in_window, left = n_ids - at;
        size_t n = left < to_end ? left : to_end;
        n = n < c->chunk ? n : c->chunk;
        if (in_window == 0)
            kv_cache_truncate(kv, 0);
        if (go_on && !go_on(user, (double)at / (double)n_ids))
            return error_set(err, QUERN_ERR_CANCELLED, "interrupted while reading the text");
        const struct forward_seq seq = {
            .kv = kv, .rope = rope, .ids = ids + at, .n_ids = n, .no_logits = true};
        st = forward(c->model, ws, &seq, 1, NULL, err);
        at += n;
    }
    return st;
}

enum quern_status calibration_run(struct calibration *c, const int32_t *ids, size_t n_ids,
                                  size_t window, bool (*go_on)(void *user, double fraction),
                                  void *user, struct quern_error *err) {
    const struct model *m = c->model;
    struct run r = {.c = c};
    struct rope rope;
    struct kv_cache kv = {0};
    struct workspace *ws = NULL;
    enum quern_status st = rope_init(&rope, &m->config, window, false, err);
    if (st == QUERN_OK)
        st = kv_cache_init(&kv, m, KV_F32, window, err);
    if (st == QUERN_OK)
        st = workspace_create(m, c->chunk, window, &ws, err);
    if (st == QUERN_OK) {
        linear_observer_attach(&r.observer, m->device, on_linear, &r);
        st = run_windows(c, &kv, &rope, ws, ids, n_ids, window, go_on, user, err);
        linear_observer_detach(&r.observer);
    }
    workspace_destroy(ws);
    kv_cache_release(&kv);
    return st;
}
