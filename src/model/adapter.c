#include "model/adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "model/low_rank.h"

/* ---- where a module belongs ----------------------------------------------------------------- */

struct target {
    bool is_head;
    size_t layer;
    enum adapter_site site;
    int32_t expert; /* -1: none */
    const struct weight *base;
};

static bool take_text(const char **p, const char *text) {
    const size_t n = strlen(text);
    if (strncmp(*p, text, n) != 0)
        return false;
    *p += n;
    return true;
}

/* A number below `end`, as Python writes it. */
static bool take_number(const char **p, size_t end, size_t *out) {
    const size_t digits = strspn(*p, "0123456789");
    if (digits == 0 || digits > 9 || (**p == '0' && digits > 1))
        return false;
    *out = (size_t)strtoul(*p, NULL, 10);
    *p += digits;
    return *out < end;
}

static bool take_site(const char *name, enum adapter_site first, enum adapter_site end,
                      enum adapter_site *out) {
    static const char *const names[SITE_COUNT] = {
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    for (size_t s = first; s < end; s++) {
        const char *n = first == SITE_Q ? names[s] : names[s] + sizeof "mlp." - 1;
        if (strcmp(name, n) == 0) {
            *out = (enum adapter_site)s;
            return true;
        }
    }
    return false;
}

static const struct weight *layer_weight(const struct layer_weights *w, enum adapter_site s) {
    const struct weight *const all[SITE_COUNT] = {&w->q,    &w->k,  &w->v,   &w->o,
                                                  &w->gate, &w->up, &w->down};
    return all[s];
}

static const struct weight *expert_weight(const struct expert_weights *w, enum adapter_site s) {
    return s == SITE_GATE ? &w->gate : s == SITE_UP ? &w->up : &w->down;
}

/* False: the model has no such linear layer. */
static bool find_target(const struct model *m, const char *name, struct target *t) {
    const char *p = name;
    size_t expert;
    *t = (struct target){.expert = -1};
    if (strcmp(name, "lm_head") == 0) {
        t->is_head = true;
        t->base = &m->lm_head;
        return m->lm_head.data != NULL;
    }
    (void)take_text(&p, "model.");
    if (!take_text(&p, "layers.") || !take_number(&p, (size_t)m->config.n_layers, &t->layer) ||
        *p++ != '.')
        return false;
    const struct layer_weights *w = &m->layers[t->layer];
    if (w->experts && take_text(&p, "mlp.experts.")) {
        if (!take_number(&p, (size_t)m->config.n_experts, &expert) || *p++ != '.' ||
            !take_site(p, SITE_GATE, SITE_COUNT, &t->site))
            return false;
        t->expert = (int32_t)expert;
        t->base = expert_weight(&w->experts[expert], t->site);
        return true;
    }
    if (!take_site(p, SITE_Q, w->experts ? SITE_GATE : SITE_COUNT, &t->site))
        return false;
    t->base = layer_weight(w, t->site);
    return true;
}

/* ---- binding ----------------------------------------------------------------------------------
 */

static enum quern_status check_shape(const struct peft_module *module, const struct target *t,
                                     struct quern_error *err) {
    if (module->in == t->base->cols && module->out == t->base->rows)
        return QUERN_OK;
    return error_set(
        err, QUERN_ERR_FORMAT,
        "the adapter's %s is for a matrix [%zu, %zu], the model's is [%zu, %zu]: it was "
        "made for another model",
        module->name, module->out, module->in, t->base->rows, t->base->cols);
}

static enum quern_status check_base(const struct peft_module *module, const struct weight *w,
                                    struct quern_error *err) {
    if (!module->base || w->packed) /* what was coded cannot be compared */
        return QUERN_OK;
    float *rows = calloc(2 * w->cols, sizeof *rows);
    enum quern_status status = rows ? QUERN_OK : error_nomem(err);
    for (size_t i = 0; i < w->rows && !status; i++) {
        weight_row(w, i, rows);
        if (!low_rank_base_agrees(module, i, rows, rows + w->cols))
            status =
                error_set(err, QUERN_ERR_FORMAT,
                          "the adapter brings weights for %s which differ from the model's: it "
                          "was made for another model",
                          module->name);
    }
    free(rows);
    return status;
}

static enum quern_status upload(struct quern_adapter *a, const struct tensor *t, struct weight *out,
                                struct quern_error *err) {
    struct device *d = a->model->device;
    const void *data = d->ops->upload(d, t->data, t->size_bytes);
    *out =
        (struct weight){.dtype = t->dtype, .rows = t->shape[0], .cols = t->shape[1], .data = data};
    return data || t->size_bytes == 0 ? QUERN_OK : error_nomem(err);
}

static enum quern_status put(struct quern_adapter *a, const struct target *t,
                             const struct adapter_linear *l, struct quern_error *err) {
    struct adapter_layer *layer = &a->layers[t->layer];
    const struct adapter_linear **place = &a->head;
    if (t->expert >= 0) {
        if (!layer->experts)
            layer->experts =
                arena_calloc(&a->arena, (size_t)a->model->config.n_experts, sizeof *layer->experts);
        if (!layer->experts)
            return error_nomem(err);
        place = &layer->experts[t->expert][t->site - SITE_GATE];
    } else if (!t->is_head) {
        place = &layer->linears[t->site];
    }
    if (*place)
        return error_set(err, QUERN_ERR_FORMAT, "the adapter has a module twice, in layer %zu",
                         t->layer);
    *place = l;
    return QUERN_OK;
}

static void add_fingerprint(struct quern_adapter *a, const void *data, size_t n) {
    a->fingerprint[0] = checksum64(a->fingerprint[0], data, n);
    a->fingerprint[1] = checksum64(a->fingerprint[1] ^ 0x10a4u, data, n);
}

static enum quern_status bind(struct quern_adapter *a, const struct peft_module *module,
                              float scale, struct quern_error *err) {
    struct target t;
    if (!find_target(a->model, module->name, &t))
        return error_set(err, QUERN_ERR_FORMAT,
                         "the adapter has weights for %s, which is no linear layer of the model",
                         module->name);
    struct adapter_linear *l = arena_calloc(&a->arena, 1, sizeof *l);
    enum quern_status status = l ? check_shape(module, &t, err) : error_nomem(err);
    if (!status)
        status = check_base(module, t.base, err);
    if (!status)
        status = upload(a, module->a, &l->a, err);
    if (!status)
        status = upload(a, module->b, &l->b, err);
    if (status)
        return status;
    l->scale = (float)(module->scale * (double)scale);
    if (module->magnitude)
        status = dora_gain(a->model->device, t.base, module, l->scale, &a->arena, &l->gain, err);
    if (!status)
        status = put(a, &t, l, err);
    add_fingerprint(a, module->name, strlen(module->name) + 1);
    add_fingerprint(a, &l->scale, sizeof l->scale);
    add_fingerprint(a, module->a->data, module->a->size_bytes);
    add_fingerprint(a, module->b->data, module->b->size_bytes);
    if (l->gain)
        add_fingerprint(a, l->gain, module->out * sizeof *l->gain);
    return status;
}

static enum quern_status check_saved(const struct peft_adapter *files, struct quern_error *err) {
    if (peft_adapter_saved_count(files) == 0)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_UNSUPPORTED,
                     "the adapter replaces %s (modules_to_save), which cannot be done beside other "
                     "sequences; \"quern merge\" puts it into a model of its own",
                     peft_saved_name(peft_adapter_saved_at(files, 0)));
}

enum quern_status adapter_from_files(const struct model *m, struct peft_adapter *files, float scale,
                                     struct quern_adapter **out, struct quern_error *err) {
    struct quern_adapter *a = calloc(1, sizeof *a);
    if (!a) {
        peft_adapter_close(files);
        return error_nomem(err);
    }
    atomic_init(&a->refs, 1);
    arena_init(&a->arena, 0);
    a->model = m;
    a->files = files;
    a->fingerprint[1] = 1;
    a->layers = arena_calloc(&a->arena, (size_t)m->config.n_layers, sizeof *a->layers);
    enum quern_status status = a->layers ? QUERN_OK : error_nomem(err);
    if (!status && !isfinite(scale))
        status = error_set(err, QUERN_ERR_ARG, "an adapter's scale must be a finite number");
    if (!status)
        status = check_saved(files, err);
    for (size_t i = 0; i < peft_adapter_count(files) && !status; i++)
        status = bind(a, peft_adapter_at(files, i), scale, err);
    if (status)
        adapter_release(a);
    else
        *out = a;
    return status;
}

enum quern_status adapter_open(const struct model *m, const char *dir, float scale,
                               struct quern_adapter **out, struct quern_error *err) {
    struct peft_adapter *files = NULL;
    enum quern_status status = peft_adapter_open(dir, &files, err);
    if (status)
        return status;
    status = adapter_from_files(m, files, scale, out, err);
    return status ? error_prefix(err, status, "%s", dir) : QUERN_OK;
}

void adapter_retain(const struct quern_adapter *a) {
    atomic_fetch_add_explicit(&((struct quern_adapter *)(uintptr_t)a)->refs, 1,
                              memory_order_relaxed);
}

void adapter_release(const struct quern_adapter *a) {
    struct quern_adapter *mine = (struct quern_adapter *)(uintptr_t)a;
    if (!mine || atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel) > 1)
        return;
    peft_adapter_close(mine->files);
    arena_release(&mine->arena);
    free(mine);
}

/* ---- sets
 * ----------------------------------------------------------------------------------------- */

enum quern_status adapter_set_init(struct adapter_set *out, const struct model *m,
                                   const struct quern_adapter *const *adapters, size_t n,
                                   struct quern_error *err) {
    if (n > ADAPTERS_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "%zu adapters on one sequence; at most %d", n,
                         ADAPTERS_MAX);
    if (n > 0 && !adapters)
        return error_set(err, QUERN_ERR_ARG, "%zu adapters, and no list of them", n);
    for (size_t i = 0; i < n; i++)
        if (!adapters[i] || adapters[i]->model != m)
            return error_set(err, QUERN_ERR_ARG, "adapter %zu %s", i,
                             adapters[i] ? "was opened for another model" : "is NULL");
    *out = (struct adapter_set){.n = n};
    for (size_t i = 0; i < n; i++) {
        out->items[i] = adapters[i];
        adapter_retain(adapters[i]);
    }
    return QUERN_OK;
}

void adapter_set_release(struct adapter_set *s) {
    for (size_t i = 0; i < s->n; i++)
        adapter_release(s->items[i]);
    s->n = 0;
}

bool adapter_set_equal(const struct adapter_set *a, const struct adapter_set *b) {
    const size_t n = a ? a->n : 0;
    if (a == b)
        return true;
    if (n != (b ? b->n : 0))
        return false;
    for (size_t i = 0; i < n; i++)
        if (a->items[i] != b->items[i])
            return false;
    return true;
}

void adapter_set_fingerprint(const struct adapter_set *s, uint64_t out[2]) {
    out[0] = out[1] = 0;
    for (size_t i = 0; i < s->n; i++)
        for (int k = 0; k < 2; k++)
            out[k] = checksum64(out[k], &s->items[i]->fingerprint[k], sizeof(uint64_t));
}
