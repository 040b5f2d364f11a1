#include "train/core/network.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/pages.h"
#include "formats/tensor_layout.h"

/* ---- parameters --------------------------------------------------------------------------------------- */

const struct param *net_add_param(struct net *n, enum param_kind kind, const char *name, int rank,
                                  size_t rows, size_t cols) {
    if (n->n_params == n->max_params)
        return NULL;
    struct param *p = &n->params[n->n_params++];
    *p = (struct param){.kind = kind, .rank = rank, .shape = {rows, cols}, .offset = n->n_values};
    snprintf(p->name, sizeof p->name, "%s", name);
    p->n = rank == 1 ? rows : rows * cols;
    /* Each begins on a line of the cache. */
    n->n_values += (p->n + 15) / 16 * 16;
    return p;
}

const struct param *net_find(const struct net *n, const char *name) {
    for (size_t i = 0; i < n->n_params; i++)
        if (strcmp(n->params[i].name, name) == 0)
            return &n->params[i];
    return NULL;
}

const float *net_value(const struct net *n, const struct param *p) {
    return p ? n->values + p->offset : NULL;
}

size_t param_module_len(const struct param *p) {
    static const char *const ends[] = {".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector",
                                       ".weight", ".bias"};
    const size_t len = strlen(p->name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t end = strlen(ends[i]);
        if (len > end && strcmp(p->name + len - end, ends[i]) == 0)
            return len - end;
    }
    return len;
}

/* ---- a model's tensors as linear layers and norms -------------------------------------------------------- */

/* Binds one after another; `full`: each is a parameter too, else those that are saved whole. */
struct builder {
    struct net *n;
    const struct train_lora_options *lora;
    bool full, failed;
    uint64_t used;     /* a bit for each of lora->saved that names something */
    char biased[PARAM_NAME_MAX]; /* one of them that has a bias, or "" */
    char scope[64];
};

enum { SAVED_MAX = 64 };

/* `name` ends in ".weight". */
static bool is_saved(struct builder *b, const char *name) {
    const size_t len = strlen(name) - strlen(".weight");
    bool saved = false;
    for (size_t i = 0; i < b->lora->n_saved; i++) {
        const size_t n = strlen(b->lora->saved[i]);
        if (n > len || memcmp(name + len - n, b->lora->saved[i], n) != 0 ||
            (n < len && name[len - n - 1] != '.'))
            continue;
        b->used |= UINT64_C(1) << i;
        saved = true;
    }
    return saved;
}

static const struct param *parameter(struct builder *b, enum param_kind kind, const char *name, int rank,
                                     size_t rows, size_t cols) {
    char full[PARAM_NAME_MAX];
    if (b->failed)
        return NULL;
    snprintf(full, sizeof full, "model.%s%s", b->scope, name);
    if (strcmp(name, "lm_head.weight") == 0)
        snprintf(full, sizeof full, "%s", name);
    if (!b->full && (kind == PARAM_BIAS || !is_saved(b, full)))
        return NULL;
    const struct param *p = net_add_param(b->n, kind, full, rank, rows, cols);
    b->failed = !p;
    return p;
}

static struct scaling norm(struct builder *b, const float *w, const char *name, size_t size) {
    return w ? (struct scaling){w, parameter(b, PARAM_NORM, name, 1, size, 1), size}
             : (struct scaling){NULL, NULL, 0};
}

static struct linear linear(struct builder *b, const struct weight *w, const float *bias,
                            const char *module) {
    char name[96];
    struct linear l = {.rows = w->rows, .cols = w->cols, .fixed = w, .fixed_bias = bias};
    b->n->fixed_bytes += weight_bytes(w);
    snprintf(name, sizeof name, "%s.weight", module);
    l.w = parameter(b, PARAM_MATRIX, name, 2, w->rows, w->cols);
    snprintf(name, sizeof name, "%s.bias", module);
    if (bias)
        l.b = parameter(b, PARAM_BIAS, name, 1, w->rows, 1);
    if (bias && l.w && !l.b)
        snprintf(b->biased, sizeof b->biased, "%s", module);
    return l;
}

static void experts(struct builder *b, struct layer *l, const struct layer_weights *w) {
    const size_t E = (size_t)b->n->model->config.n_experts;
    l->router = linear(b, &w->router, NULL, "mlp.gate");
    l->router.exact = true;
    l->experts = arena_calloc(&b->n->arena, E, sizeof *l->experts);
    b->failed = b->failed || !l->experts;
    for (size_t e = 0; e < E && !b->failed; e++) {
        char name[64];
        snprintf(name, sizeof name, "mlp.experts.%zu.gate_proj", e);
        l->experts[e].gate = linear(b, &w->experts[e].gate, NULL, name);
        snprintf(name, sizeof name, "mlp.experts.%zu.up_proj", e);
        l->experts[e].up = linear(b, &w->experts[e].up, NULL, name);
        snprintf(name, sizeof name, "mlp.experts.%zu.down_proj", e);
        l->experts[e].down = linear(b, &w->experts[e].down, NULL, name);
    }
}

static void layer(struct builder *b, size_t i) {
    const struct hf_config *c = &b->n->model->config;
    const struct layer_weights *w = &b->n->model->layers[i];
    const size_t H = (size_t)c->hidden_size, D = (size_t)c->head_dim;
    struct layer *l = &b->n->layers[i];
    snprintf(b->scope, sizeof b->scope, "layers.%zu.", i);
    l->window = (size_t)c->layer_window[i];
    l->q = linear(b, &w->q, w->q_bias, "self_attn.q_proj");
    l->k = linear(b, &w->k, w->k_bias, "self_attn.k_proj");
    l->v = linear(b, &w->v, w->v_bias, "self_attn.v_proj");
    l->o = linear(b, &w->o, w->o_bias, "self_attn.o_proj");
    l->q_norm = norm(b, w->q_norm, "self_attn.q_norm.weight", D);
    l->k_norm = norm(b, w->k_norm, "self_attn.k_norm.weight", D);
    if (w->experts) {
        experts(b, l, w);
    } else {
        l->gate = linear(b, &w->gate, w->gate_bias, "mlp.gate_proj");
        l->up = linear(b, &w->up, w->up_bias, "mlp.up_proj");
        l->down = linear(b, &w->down, w->down_bias, "mlp.down_proj");
    }
    l->input_norm = norm(b, w->input_norm, "input_layernorm.weight", H);
    l->post_norm = norm(b, w->post_norm, "post_attention_layernorm.weight", H);
    b->scope[0] = '\0';
}

/* Whether it is the data of a tensor of the checkpoint, not a copy. */
static bool is_mapped(const struct net *n, const struct weight *w) {
    const struct checkpoint *c = n->model->checkpoint;
    for (size_t i = 0; !w->packed && i < checkpoint_count(c); i++)
        if (checkpoint_at(c, i)->data == w->data)
            return true;
    return false;
}

static enum quern_status check_saved(const struct builder *b, struct quern_error *err) {
    if (b->biased[0])
        return error_set(err, QUERN_ERR_UNSUPPORTED, "modules_to_save: %s has a bias, which is not supported",
                         b->biased);
    for (size_t i = 0; i < b->lora->n_saved && !b->full; i++)
        if (!(b->used >> i & 1))
            return error_set(err, QUERN_ERR_ARG, "modules_to_save: no module of the model is called \"%s\"",
                             b->lora->saved[i]);
    return QUERN_OK;
}

/* Tied, it is the embedding; but peft gives each of them a copy of its own. */
static struct linear head(struct builder *b) {
    struct net *n = b->n;
    const bool tied = n->model->config.tie_word_embeddings;
    if (tied && (b->full || !b->lora->n_saved || b->lora->tie_saved))
        return n->embed;
    return linear(b, tied ? &n->model->embed : &n->model->lm_head, NULL, "lm_head");
}

static enum quern_status build(struct net *n, const struct train_options *o, struct quern_error *err) {
    const struct hf_config *c = &n->model->config;
    const size_t layers = (size_t)c->n_layers;
    struct builder b = {.n = n, .lora = &o->lora, .full = o->method == TRAIN_FULL};
    if (!b.full && o->lora.n_saved > SAVED_MAX)
        return error_set(err, QUERN_ERR_LIMIT, "modules_to_save: %zu names, at most %d", o->lora.n_saved,
                         SAVED_MAX);
    /* Three tensors an adapter; a tied head may have become a tensor. */
    n->max_params = tensor_layout_count(c) + 1;
    if (!b.full)
        n->max_params += 3 * layers * (7 + 3 * (size_t)c->n_experts);
    n->params = arena_calloc(&n->arena, n->max_params, sizeof *n->params);
    n->layers = arena_calloc(&n->arena, layers, sizeof *n->layers);
    if (!n->params || !n->layers)
        return error_nomem(err);
    n->embed = linear(&b, &n->model->embed, NULL, "embed_tokens");
    for (size_t i = 0; i < layers && !b.failed; i++)
        layer(&b, i);
    n->embed_is_mapped = is_mapped(n, &n->model->embed);
    n->final_norm = norm(&b, n->model->final_norm, "norm.weight", (size_t)c->hidden_size);
    n->head = head(&b);
    for (size_t i = 0; i < n->n_params; i++)
        if (&n->params[i] == n->embed.w || &n->params[i] == n->head.w)
            n->params[i].kind = PARAM_EMBEDDING;
    return b.failed ? error_nomem(err) : check_saved(&b, err);
}

/* ---- linear layers ---------------------------------------------------------------------------------------- */

static enum quern_status each_expert(struct net *n, size_t layer, net_linear_fn *fn, void *ctx,
                                     struct quern_error *err) {
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    enum quern_status st = QUERN_OK;
    for (size_t e = 0; n->layers[layer].experts && e < (size_t)n->model->config.n_experts; e++) {
        struct expert *x = &n->layers[layer].experts[e];
        struct linear *const all[] = {&x->gate, &x->up, &x->down};
        for (size_t j = 0; j < 3 && st == QUERN_OK; j++) {
            char module[64];
            snprintf(module, sizeof module, "mlp.experts.%zu.%s", e, names[j]);
            st = fn(ctx, all[j], layer, module, err);
        }
    }
    return st;
}

enum quern_status net_each_linear(struct net *n, net_linear_fn *fn, void *ctx, struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < (size_t)n->model->config.n_layers && st == QUERN_OK; i++) {
        struct layer *l = &n->layers[i];
        struct {
            struct linear *l;
            const char *module;
        } const all[] = {{&l->q, "self_attn.q_proj"}, {&l->k, "self_attn.k_proj"},
                         {&l->v, "self_attn.v_proj"}, {&l->o, "self_attn.o_proj"},
                         {&l->gate, "mlp.gate_proj"}, {&l->up, "mlp.up_proj"},
                         {&l->down, "mlp.down_proj"}};
        for (size_t j = 0; j < sizeof all / sizeof *all && st == QUERN_OK; j++)
            if (all[j].l->rows)
                st = fn(ctx, all[j].l, i, all[j].module, err);
        if (st == QUERN_OK)
            st = each_expert(n, i, fn, ctx, err);
    }
    return st;
}

void net_fixed_rows(const struct weight *w, size_t first, size_t count, float *out) {
    for (size_t r = 0; r < count; r++) {
        float *row = out + r * w->cols;
        if (w->packed)
            packed_row(w->packed, first + r, row);
        else
            dtype_to_f32(w->dtype,
                         (const char *)w->data + (first + r) * w->cols * dtype_size_bytes(w->dtype), row,
                         w->cols);
    }
}

/* ---- values ----------------------------------------------------------------------------------------------- */

struct fill_call {
    const struct weight *w;
    float *to;
};

static void fill_share(void *ctx, size_t begin, size_t end) {
    const struct fill_call *f = ctx;
    net_fixed_rows(f->w, begin, end - begin, f->to + begin * f->w->cols);
}

static void fill_linear(struct net *n, const struct compute *c, const struct linear *l) {
    if (l->w) {
        struct fill_call f = {l->fixed, n->values + l->w->offset};
        compute_for(c, l->rows, 64, fill_share, &f);
        /* Of a GGUF file the data may be a copy. */
        if (!l->fixed->packed && checkpoint_safetensors(n->model->checkpoint))
            checkpoint_forget(n->model->checkpoint, l->fixed->data, weight_bytes(l->fixed));
    }
    if (l->b)
        memcpy(n->values + l->b->offset, l->fixed_bias, l->rows * sizeof(float));
}

static void fill_norm(struct net *n, const struct scaling *s) {
    if (s->w)
        memcpy(n->values + s->w->offset, s->fixed, s->n * sizeof(float));
}

static void fill_all(struct net *n, const struct compute *c) {
    for (size_t i = 0; i < (size_t)n->model->config.n_layers; i++) {
        const struct layer *l = &n->layers[i];
        const struct linear *all[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down, &l->router};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            fill_linear(n, c, all[j]);
        for (size_t e = 0; l->experts && e < (size_t)n->model->config.n_experts; e++) {
            fill_linear(n, c, &l->experts[e].gate);
            fill_linear(n, c, &l->experts[e].up);
            fill_linear(n, c, &l->experts[e].down);
        }
        fill_norm(n, &l->input_norm);
        fill_norm(n, &l->post_norm);
        fill_norm(n, &l->q_norm);
        fill_norm(n, &l->k_norm);
    }
    fill_norm(n, &n->final_norm);
    fill_linear(n, c, &n->embed);
    if (n->head.w != n->embed.w)
        fill_linear(n, c, &n->head);
}

/* ---- opening ------------------------------------------------------------------------------------------------ */

static enum quern_status check(const struct net *n, const struct train_options *o, struct quern_error *err) {
    const struct hf_config *c = &n->model->config;
    if (!n->model->lm_head.data)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "the checkpoint has no lm_head.weight and its embedding is not tied: there is no "
                         "loss to train by");
    if (o->method == TRAIN_FULL && c->has_quantization)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "the checkpoint is quantized (%s): its weights cannot be trained, method \"lora\" "
                         "or \"qlora\" can",
                         c->quant_method);
    return QUERN_OK;
}

static enum quern_status open_model(struct net *n, const char *dir, const struct train_options *o,
                                    int threads, struct quern_error *err) {
    /* Without a quantized base of its own, QLoRA's is NF4; embedding and head stay as they are. */
    struct model_options options = {.math = QUERN_MATH_EXACT};
    struct hf_config c;
    enum quern_status st = hf_config_load(dir, &c, err);
    if (st != QUERN_OK)
        return st;
    if (o->method == TRAIN_QLORA && !c.has_quantization) {
        options.weights = QUERN_WEIGHTS_NF4;
        options.embed_weights = c.dtype == DTYPE_F32 ? QUERN_WEIGHTS_F32 : QUERN_WEIGHTS_BF16;
    }
    st = device_cpu_create(threads, NULL, &n->device, err);
    if (st == QUERN_OK)
        st = model_open_with(dir, NULL, n->device, &options, &n->model, err);
    return st == QUERN_OK ? check(n, o, err) : st;
}

enum quern_status net_init(struct net *n, const char *dir, const struct train_options *o,
                           const struct compute *c, struct quern_error *err) {
    *n = (struct net){0};
    arena_init(&n->arena, 0);
    enum quern_status st = open_model(n, dir, o, c->n_workers, err);
    if (st == QUERN_OK)
        st = rope_init(&n->rope, &n->model->config, o->max_row,
                       o->max_row > rope_original_context(&n->model->config), err);
    if (st == QUERN_OK)
        st = build(n, o, err);
    if (st == QUERN_OK && o->method != TRAIN_FULL)
        st = net_add_adapters(n, o, err);
    if (st != QUERN_OK)
        return st;
    n->values = pages_alloc(n->n_values * sizeof(float));
    if (!n->values)
        return error_nomem(err);
    fill_all(n, c);
    return o->method == TRAIN_FULL ? QUERN_OK : net_init_adapters(n, o, c, err);
}

void net_release(struct net *n) {
    pages_free(n->values, n->n_values * sizeof(float));
    model_close(n->model);
    device_destroy(n->device);
    arena_release(&n->arena);
    *n = (struct net){0};
}
