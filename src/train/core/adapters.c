/* Adapters: which modules have one, and what they begin with. */
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "train/core/network.h"

enum { COLS_MAX = 100000 }; /* that a worker's scratch holds */

static bool is_target(const struct train_lora_options *o, const char *module, size_t layer) {
    const char *dot = strrchr(module, '.');
    bool named = !o->targets, here = !o->layers;
    for (size_t i = 0; i < o->n_targets && !named; i++)
        named = strcmp(o->targets[i], module) == 0 || strcmp(o->targets[i], dot + 1) == 0;
    for (size_t i = 0; i < o->n_layers && !here; i++)
        here = o->layers[i] == layer;
    return named && here;
}

struct adding {
    struct net *n;
    const struct train_lora_options *o;
    size_t count;
};

static const struct param *add_part(struct net *n, enum param_kind kind, const char *module, size_t layer,
                                    const char *part, int rank, size_t rows, size_t cols) {
    char name[PARAM_NAME_MAX];
    snprintf(name, sizeof name, "model.layers.%zu.%s.%s", layer, module, part);
    return net_add_param(n, kind, name, rank, rows, cols);
}

static enum quern_status add_one(void *ctx, struct linear *l, size_t layer, const char *module,
                                 struct quern_error *err) {
    struct adding *add = ctx;
    const struct train_lora_options *o = add->o;
    if (!is_target(o, module, layer))
        return QUERN_OK;
    if (o->use_dora && l->cols > COLS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%s has %zu columns; DoRA takes up to %d", module, l->cols,
                         COLS_MAX);
    struct adapter *a = arena_calloc(&add->n->arena, 1, sizeof *a);
    if (!a)
        return error_nomem(err);
    a->rank = o->rank;
    a->scale = o->use_rslora ? o->alpha / sqrtf((float)o->rank) : o->alpha / (float)o->rank;
    a->dropout = o->dropout;
    a->site = (uint32_t)(++add->count);
    a->a = add_part(add->n, PARAM_LORA_A, module, layer, "lora_A.weight", 2, o->rank, l->cols);
    a->b = add_part(add->n, PARAM_LORA_B, module, layer, "lora_B.weight", 2, l->rows, o->rank);
    if (o->use_dora) {
        a->magnitude =
            add_part(add->n, PARAM_MAGNITUDE, module, layer, "lora_magnitude_vector", 1, l->rows, 1);
        a->gain = arena_calloc(&add->n->arena, l->rows, sizeof *a->gain);
        a->norm = arena_calloc(&add->n->arena, l->rows, sizeof *a->norm);
        if (!a->gain || !a->norm)
            return error_nomem(err);
    }
    l->adapter = a;
    return QUERN_OK;
}

static enum quern_status check(const struct train_lora_options *o, struct quern_error *err) {
    if (o->rank == 0 || o->rank > 4096)
        return error_set(err, QUERN_ERR_ARG, "the adapters' rank is %zu; it must be 1 to 4096", o->rank);
    if (!(o->dropout >= 0 && o->dropout < 1))
        return error_set(err, QUERN_ERR_ARG, "lora_dropout is %g; it must be at least 0 and below 1",
                         (double)o->dropout);
    if (o->use_dora && o->init == TRAIN_LORA_PISSA)
        return error_set(err, QUERN_ERR_UNSUPPORTED, "use_dora together with PiSSA is not supported");
    if (o->use_dora && o->dropout > 0)
        return error_set(err, QUERN_ERR_UNSUPPORTED, "use_dora together with lora_dropout is not supported");
    return QUERN_OK;
}

enum quern_status net_add_adapters(struct net *n, const struct train_options *o, struct quern_error *err) {
    struct adding add = {n, &o->lora, 0};
    enum quern_status st = check(&o->lora, err);
    if (st == QUERN_OK)
        st = net_each_linear(n, add_one, &add, err);
    if (st == QUERN_OK && add.count == 0)
        return error_set(err, QUERN_ERR_ARG, "no module of the model has a name among the adapters' targets");
    return st;
}

/* ---- values ----------------------------------------------------------------------------------------------- */

struct starting {
    struct net *n;
    const struct train_options *o;
    const struct compute *c;
};

struct row_norms {
    const struct compute *c;
    const struct weight *w;
    float *out;
};

static void norms_share(void *ctx, int worker, int n_workers) {
    const struct row_norms *r = ctx;
    float *row = compute_scratch(r->c, worker);
    size_t begin, end;
    thread_share(r->w->rows, 1, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        net_fixed_rows(r->w, i, 1, row);
        r->out[i] = sqrtf(r->c->train->dot(row, row, r->w->cols));
    }
}

/* A is U(-1 / sqrt(cols), +), B stays 0, DoRA's magnitudes are the rows' norms. */
static enum quern_status start_one(void *ctx, struct linear *l, size_t layer, const char *module,
                                   struct quern_error *err) {
    const struct starting *s = ctx;
    const struct adapter *a = l->adapter;
    (void)layer, (void)module;
    if (!a)
        return QUERN_OK;
    const double bound = 1.0 / sqrt((double)l->cols);
    float *values = s->n->values + a->a->offset;
    for (size_t i = 0; i < a->a->n; i++)
        values[i] = (float)((2.0 * rng_uniform(s->o->seed, (uint64_t)a->site << 32 | 1u, i) - 1.0) * bound);
    if (s->o->lora.init == TRAIN_LORA_PISSA) {
        enum quern_status st = pissa_start(s->n, l, s->o, s->c, err);
        if (st != QUERN_OK)
            return st;
    }
    if (a->magnitude) {
        struct row_norms norms = {s->c, l->fixed, s->n->values + a->magnitude->offset};
        thread_pool_run(s->c->pool, norms_share, &norms);
    }
    return QUERN_OK;
}

enum quern_status net_init_adapters(struct net *n, const struct train_options *o, const struct compute *c,
                                    struct quern_error *err) {
    struct starting s = {n, o, c};
    return net_each_linear(n, start_one, &s, err);
}
