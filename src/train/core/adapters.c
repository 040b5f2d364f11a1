/* Adapters: which modules have one, and what they begin with. */
#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "formats/peft_patterns.h"
#include "train/core/network.h"

enum { COLS_MAX = 100000 }; /* that a worker's scratch holds */

/* The experts' only where they are named: there may be very many. */
static const char *const seven[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};

struct peft_config net_peft_config(const struct train_lora_options *o) {
    const bool all = !o->targets && (!o->target_pattern || strcmp(o->target_pattern, "all-linear") == 0);
    return (struct peft_config){.rank = o->rank,
                                .alpha = (double)o->alpha,
                                .dropout = (double)o->dropout,
                                .use_rslora = o->use_rslora,
                                .use_dora = o->use_dora,
                                .ensure_weight_tying = o->tie_saved,
                                .targets = all ? seven : o->targets,
                                .n_targets = all ? 7 : o->n_targets,
                                .target_pattern = all ? NULL : o->target_pattern,
                                .excluded = o->excluded,
                                .n_excluded = o->n_excluded,
                                .exclude_pattern = o->exclude_pattern,
                                .layers = o->layers,
                                .n_layers = o->n_layers,
                                .ranks = o->ranks,
                                .n_ranks = o->n_ranks,
                                .alphas = o->alphas,
                                .n_alphas = o->n_alphas,
                                .saved = o->saved,
                                .n_saved = o->n_saved};
}

struct adding {
    struct net *n;
    const struct train_lora_options *o;
    struct peft_patterns *patterns;
    size_t count;
};

static const struct param *add_part(struct net *n, enum param_kind kind, const char *module, const char *part,
                                    int rank, size_t rows, size_t cols) {
    char name[PARAM_NAME_MAX];
    snprintf(name, sizeof name, "%s.%s", module, part);
    return net_add_param(n, kind, name, rank, rows, cols);
}

/* peft gives experts' weights no other kind of adapter (lora.ParamWrapper). */
static enum quern_status check_expert(const struct train_lora_options *o, const char *module,
                                      struct quern_error *err) {
    const char *what = o->use_dora ? "use_dora" : o->dropout > 0 ? "lora_dropout" : NULL;
    return what ? error_set(err, QUERN_ERR_UNSUPPORTED, "%s: experts take no %s", module, what) : QUERN_OK;
}

/* Whether it is a target, and of which rank and scale. */
static enum quern_status look_up(struct adding *add, const char *module, bool is_expert, struct adapter *a,
                                 bool *is_target, struct quern_error *err) {
    const struct train_lora_options *o = add->o;
    double alpha = 0;
    enum quern_status st = peft_patterns_is_target(add->patterns, module, is_target, err);
    if (st == QUERN_OK && is_expert && !o->targets && !o->target_pattern)
        *is_target = false;
    if (st != QUERN_OK || !*is_target)
        return st;
    st = peft_patterns_rank(add->patterns, module, &a->rank, err);
    if (st == QUERN_OK)
        st = peft_patterns_alpha(add->patterns, module, &alpha, err);
    a->scale = (float)alpha / (o->use_rslora ? sqrtf((float)a->rank) : (float)a->rank);
    a->dropout = o->dropout;
    return st == QUERN_OK && is_expert ? check_expert(o, module, err) : st;
}

static enum quern_status add_one(void *ctx, struct linear *l, size_t layer, const char *module,
                                 struct quern_error *err) {
    struct adding *add = ctx;
    struct adapter found = {.rank = 0};
    char name[PARAM_NAME_MAX - 32]; /* behind it comes what part it is */
    bool is_target = false;
    snprintf(name, sizeof name, "model.layers.%zu.%s", layer, module);
    enum quern_status st =
        look_up(add, name, strncmp(module, "mlp.experts.", 12) == 0, &found, &is_target, err);
    if (st != QUERN_OK || !is_target)
        return st;
    if (add->o->use_dora && l->cols > COLS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%s has %zu columns; DoRA takes up to %d", module, l->cols,
                         COLS_MAX);
    struct adapter *a = arena_calloc(&add->n->arena, 1, sizeof *a);
    if (!a)
        return error_nomem(err);
    *a = found;
    a->site = (uint32_t)(++add->count);
    a->a = add_part(add->n, PARAM_LORA_A, name, "lora_A.weight", 2, a->rank, l->cols);
    a->b = add_part(add->n, PARAM_LORA_B, name, "lora_B.weight", 2, l->rows, a->rank);
    if (add->o->use_dora) {
        a->magnitude = add_part(add->n, PARAM_MAGNITUDE, name, "lora_magnitude_vector", 1, l->rows, 1);
        a->gain = arena_calloc(&add->n->arena, l->rows, sizeof *a->gain);
        a->norm = arena_calloc(&add->n->arena, l->rows, sizeof *a->norm);
        if (!a->gain || !a->norm)
            return error_nomem(err);
    }
    l->adapter = a;
    return QUERN_OK;
}

bool net_has_expert_adapters(const struct net *n) {
    for (size_t i = 0; i < (size_t)n->model->config.n_layers; i++)
        for (size_t e = 0; n->layers[i].experts && e < (size_t)n->model->config.n_experts; e++) {
            const struct expert *x = &n->layers[i].experts[e];
            if (x->gate.adapter || x->up.adapter || x->down.adapter)
                return true;
        }
    return false;
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
    const struct peft_config config = net_peft_config(&o->lora);
    struct adding add = {n, &o->lora, NULL, 0};
    enum quern_status st = check(&o->lora, err);
    if (st == QUERN_OK)
        st = peft_patterns_create(&config, &add.patterns, err);
    if (st == QUERN_OK)
        st = net_each_linear(n, add_one, &add, err);
    peft_patterns_destroy(add.patterns);
    if (st == QUERN_OK && add.count == 0 && n->n_params == 0 && config.target_pattern)
        return error_set(err, QUERN_ERR_ARG, "target_modules: no module's whole name matches \"%s\"",
                         config.target_pattern);
    if (st == QUERN_OK && add.count == 0 && n->n_params == 0)
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
