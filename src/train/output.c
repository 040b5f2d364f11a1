/* output.c - what a run is for: adapters as peft keeps them, or a whole model. */
#include <math.h>
#include <stdlib.h>

#include "formats/peft_adapter.h"
#include "formats/safetensors_writer.h"
#include "train/trainer_internal.h"

/* ---- adapters -------------------------------------------------------------------------------------- */

struct collecting {
    const struct net *n;
    struct peft_matrices *matrices;
    char (*names)[PARAM_NAME_MAX];
    size_t count, max;
    struct peft_saved_module *saved;
    size_t n_saved;
    struct arena arena; /* of what is joined */
};

/* PiSSA's difference to the base as it was: A = [A; A0], B = [B, -B0]. */
static float *join_a(struct collecting *c, const struct adapter *a) {
    float *out = arena_alloc(&c->arena, 2 * a->a->n * sizeof *out);
    if (!out)
        return NULL;
    memcpy(out, net_value(c->n, a->a), a->a->n * sizeof *out);
    memcpy(out + a->a->n, a->start_a, a->a->n * sizeof *out);
    return out;
}

static float *join_b(struct collecting *c, const struct adapter *a) {
    const float *b = net_value(c->n, a->b);
    float *out = arena_alloc(&c->arena, 2 * a->b->n * sizeof *out);
    for (size_t i = 0; out && i < a->b->n; i++) {
        const size_t row = i / a->rank, at = i % a->rank;
        out[2 * row * a->rank + at] = b[i];
        out[(2 * row + 1) * a->rank + at] = -a->start_b[i];
    }
    return out;
}

static enum quern_status collect(void *ctx, struct linear *l, size_t layer, const char *module,
                                 struct quern_error *err) {
    struct collecting *c = ctx;
    const struct adapter *a = l->adapter;
    (void)layer, (void)module;
    if (!a || c->count == c->max)
        return QUERN_OK;
    char *name = c->names[c->count];
    const bool joined = a->start_a != NULL;
    const size_t len = param_module_len(a->a);
    memcpy(name, a->a->name, len);
    name[len] = '\0';
    c->matrices[c->count++] = (struct peft_matrices){.module = name,
                                                     .dtype = DTYPE_F32,
                                                     .rank = joined ? 2 * a->rank : a->rank,
                                                     .in = l->cols,
                                                     .out = l->rows,
                                                     .a = joined ? join_a(c, a) : net_value(c->n, a->a),
                                                     .b = joined ? join_b(c, a) : net_value(c->n, a->b),
                                                     .magnitude = net_value(c->n, a->magnitude)};
    const struct peft_matrices *m = &c->matrices[c->count - 1];
    return m->a && m->b ? QUERN_OK : error_nomem(err);
}

static enum quern_status collect_saved(struct collecting *c, struct quern_error *err) {
    for (size_t i = 0; i < c->n->n_params; i++) {
        const struct param *p = &c->n->params[i];
        if (p->kind == PARAM_LORA_A || p->kind == PARAM_LORA_B || p->kind == PARAM_MAGNITUDE)
            continue;
        const size_t len = param_module_len(p);
        char *name = arena_alloc(&c->arena, len + 1);
        if (!name)
            return error_nomem(err);
        memcpy(name, p->name, len);
        name[len] = '\0';
        c->saved[c->n_saved++] = (struct peft_saved_module){
            name, DTYPE_F32, p->rank, {p->shape[0], p->shape[1]}, net_value(c->n, p)};
    }
    return QUERN_OK;
}

static const struct peft_pattern *scaled(const struct peft_pattern *p, size_t n, double by,
                                         struct arena *arena) {
    struct peft_pattern *out = arena_calloc(arena, n + 1, sizeof *out);
    for (size_t i = 0; out && i < n; i++)
        out[i] = (struct peft_pattern){p[i].key, by * p[i].value};
    return out;
}

/* As PiSSA's joined matrices have them; scales stay. */
static bool double_ranks(struct peft_config *c, struct arena *arena) {
    const double alpha = c->use_rslora ? sqrt(2) : 2;
    c->rank *= 2;
    c->alpha *= alpha;
    c->ranks = scaled(c->ranks, c->n_ranks, 2, arena);
    c->alphas = scaled(c->alphas, c->n_alphas, alpha, arena);
    return c->ranks && c->alphas;
}

/* peft makes one matrix of twice the rank and alpha of an expert's gate and up, which keeps alpha / r but not
 * alpha / sqrt(r): said as the former, it is right there as well. */
static bool unroot_scales(struct peft_config *c, struct arena *arena) {
    if (!c->use_rslora || c->n_ranks)
        return true;
    const double root = sqrt((double)c->rank);
    c->use_rslora = false;
    c->alpha *= root;
    c->alphas = scaled(c->alphas, c->n_alphas, root, arena);
    return c->alphas != NULL;
}

static enum quern_status write_adapters(const struct trainer *t, const char *dir, struct quern_error *err) {
    struct net n = t->net; /* the walk hands out layers to be changed, which this does not */
    struct collecting c = {.n = &t->net, .max = t->net.n_params / 2 + 1};
    struct peft_config config = net_peft_config(&t->options.lora);
    config.base_model = t->dir;
    if ((t->options.lora.init == TRAIN_LORA_PISSA && !double_ranks(&config, &c.arena)) ||
        (net_has_expert_adapters(&n) && !unroot_scales(&config, &c.arena))) {
        arena_release(&c.arena);
        return error_nomem(err);
    }
    c.matrices = calloc(c.max, sizeof *c.matrices);
    c.names = calloc(c.max, sizeof *c.names);
    enum quern_status st = c.matrices && c.names ? QUERN_OK : error_nomem(err);
    if (st == QUERN_OK)
        st = net_each_linear(&n, collect, &c, err);
    c.saved = calloc(t->net.n_params + 1, sizeof *c.saved);
    if (!c.saved)
        st = error_nomem(err);
    if (st == QUERN_OK)
        st = collect_saved(&c, err);
    if (st == QUERN_OK)
        st = peft_adapter_write(dir, &config, c.matrices, c.count, c.saved, c.n_saved, err);
    free(c.saved);
    free(c.matrices);
    free(c.names);
    arena_release(&c.arena);
    return st;
}

/* ---- a whole model ----------------------------------------------------------------------------------- */

static enum quern_status write_rounded(struct safetensors_writer *w, const float *x, size_t n,
                                       struct quern_error *err) {
    enum { SOME = 1 << 16 };
    enum quern_status st = QUERN_OK;
    uint16_t *some = malloc(SOME * sizeof *some);
    if (!some)
        return error_nomem(err);
    for (size_t at = 0; at < n && st == QUERN_OK; at += SOME) {
        const size_t here = n - at < SOME ? n - at : SOME;
        dtype_from_f32(DTYPE_BF16, x + at, some, here);
        st = safetensors_writer_write(w, some, here * sizeof *some, err);
    }
    free(some);
    return st;
}

static enum quern_status write_model(const struct trainer *t, const char *dir, struct quern_error *err) {
    const struct net *n = &t->net;
    struct safetensors_writer *w = NULL;
    struct tensor_decl *decls = calloc(n->n_params, sizeof *decls);
    if (!decls)
        return error_nomem(err);
    for (size_t i = 0; i < n->n_params; i++)
        decls[i] = (struct tensor_decl){n->params[i].name, DTYPE_BF16, n->params[i].rank,
                                        {n->params[i].shape[0], n->params[i].shape[1]}};
    enum quern_status st = safetensors_writer_create(dir, decls, n->n_params, 0, &w, err);
    for (size_t i = 0; i < n->n_params && st == QUERN_OK; i++)
        st = write_rounded(w, net_value(n, &n->params[i]), n->params[i].n, err);
    if (st == QUERN_OK)
        st = safetensors_writer_finish(w, err);
    safetensors_writer_destroy(w);
    free(decls);
    return st;
}

enum quern_status trainer_save_output(const struct trainer *t, const char *dir, struct quern_error *err) {
    return t->options.method == TRAIN_FULL ? write_model(t, dir, err) : write_adapters(t, dir, err);
}
