/* Binding a checkpoint's tensors to the places where the forward pass reads them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/map.h"
#include "formats/gguf_config.h"
#include "formats/quantized_linear.h"
#include "formats/tensor_layout.h"
#include "model/weight_cache.h"
#include "model/weight_loader.h"

enum { TENSOR_NAME_MAX = 192 };

/* Binds one tensor after the other. After the first failure every call does nothing, so
 * that the list of a model's tensors reads without interruption. */
struct binder {
    struct model *m;
    struct quern_error *err;
    enum quern_status status;
    const char *prefix; /* "model." or "" */
    char scope[64];     /* "layers.7." */
    struct map bound;   /* names taken so far */
    const struct model_options *options;
};

static bool fail(struct binder *b, enum quern_status status) {
    b->status = status;
    return false;
}

static void format_shape(char *dst, size_t size, int rank, const size_t *shape) {
    int at = snprintf(dst, size, "[");
    for (int i = 0; i < rank && at > 0 && (size_t)at < size; i++)
        at += snprintf(dst + at, size - (size_t)at, "%s%zu", i ? ", " : "", shape[i]);
    if (at > 0 && (size_t)at < size)
        snprintf(dst + at, size - (size_t)at, "]");
}

static bool same_shape(const struct tensor *t, int rank, const size_t *shape) {
    if (t->rank != rank)
        return false;
    for (int i = 0; i < rank; i++)
        if (t->shape[i] != shape[i])
            return false;
    return true;
}

/* The type first: of a quantized tensor it says more than the packed shape. */
static bool check_tensor(struct binder *b, const struct tensor *t, int rank, const size_t *shape) {
    if (!dtype_is_weight(t->dtype) && !(t->coded && rank == 2))
        return fail(b, error_set(b->err, QUERN_ERR_UNSUPPORTED,
                                 "%s: tensor \"%s\" has type %s, expected F32, F16 or BF16",
                                 t->file, t->name, tensor_type_name(t)));
    if (!same_shape(t, rank, shape)) {
        char found[128], expected[128];
        format_shape(found, sizeof found, t->rank, t->shape);
        format_shape(expected, sizeof expected, rank, shape);
        return fail(b, error_set(b->err, QUERN_ERR_FORMAT,
                                 "%s: tensor \"%s\" has shape %s, expected %s by config.json",
                                 t->file, t->name, found, expected));
    }
    return true;
}

static bool full_name(struct binder *b, const char *name, char dst[TENSOR_NAME_MAX]) {
    int n = snprintf(dst, TENSOR_NAME_MAX, "%s%s%s", b->prefix, b->scope, name);
    if (n < 0 || n >= TENSOR_NAME_MAX)
        return fail(b,
                    error_set(b->err, QUERN_ERR_LIMIT, "tensor name \"%s...\" is too long", dst));
    return true;
}

/* The tensor `prefix scope name`, which must have the given shape and a weight's type. The
 * answer is NULL after any failure. */
static const struct tensor *take(struct binder *b, const char *name, int rank,
                                 const size_t *shape) {
    char full[TENSOR_NAME_MAX];
    if (b->status != QUERN_OK || !full_name(b, name, full))
        return NULL;
    const struct tensor *t = checkpoint_find(b->m->checkpoint, full);
    if (!t) {
        char expected[128];
        format_shape(expected, sizeof expected, rank, shape);
        fail(b, error_set(b->err, QUERN_ERR_FORMAT, "tensor \"%s\" %s is missing", full, expected));
        return NULL;
    }
    if (!check_tensor(b, t, rank, shape))
        return NULL;
    if (!map_put(&b->bound, str_from(t->name), 0, NULL)) {
        fail(b, error_nomem(b->err));
        return NULL;
    }
    return t;
}

static bool has(struct binder *b, const char *name) {
    char full[TENSOR_NAME_MAX];
    return b->status == QUERN_OK && full_name(b, name, full) &&
           checkpoint_find(b->m->checkpoint, full);
}

static const void *upload(struct binder *b, const void *host, size_t bytes) {
    struct device *d = b->m->device;
    const void *p = d->ops->upload(d, host, bytes);
    if (!p)
        fail(b, error_nomem(b->err));
    return p;
}

static void *hold(struct binder *b, size_t n, size_t size) {
    void *memory = arena_calloc(&b->m->arena, n, size);
    if (!memory)
        fail(b, error_nomem(b->err));
    return memory;
}

/* A plain tensor's data, in Hugging Face's order. */
static const void *ordered(struct binder *b, const struct tensor *t) {
    if (!t->interleaved_heads)
        return t->data;
    void *copy = hold(b, t->size_bytes, 1);
    if (copy)
        tensor_copy_in_order(t, copy);
    return copy;
}

/* ---- matrices ----------------------------------------------------------------------- */

static bool is_coded(enum quern_weights w) {
    return w == QUERN_WEIGHTS_INT8 || w == QUERN_WEIGHTS_INT4 || w == QUERN_WEIGHTS_NF4 ||
           w == QUERN_WEIGHTS_FP8;
}

/* Activations may be rounded: for weights that the user had quantized, unless told otherwise. */
static bool fast_math(const struct binder *b, enum quern_weights as) {
    const enum quern_math math = b->options->math;
    return math == QUERN_MATH_FAST || (math == QUERN_MATH_AUTO && is_coded(as));
}

static void from_coded(struct binder *b, struct weight *out, const struct quant_source *s,
                       enum quern_weights as) {
    if (b->status != QUERN_OK)
        return;
    if (weight_cache_take(b->m->cache, b->m, s->rows, s->cols, fast_math(b, as), out))
        return;
    if (as == QUERN_WEIGHTS_AUTO)
        b->status = weight_from_source(b->m, out, s, NULL, fast_math(b, as), b->err);
    else
        b->status = weight_from_values(b->m, out, as, fast_math(b, as), s, b->err);
    if (b->status == QUERN_OK)
        weight_cache_add(b->m->cache, out);
}

/* Elements at `data`, a part of the tensor t. As they are, they stay where they are: kernels take
 * plain weights at any address. */
static void from_plain(struct binder *b, struct weight *out, const struct tensor *t, const void *data,
                       size_t rows, size_t cols, enum quern_weights as) {
    const enum dtype same = as == QUERN_WEIGHTS_BF16 ? DTYPE_BF16 : DTYPE_F32;
    if (b->status != QUERN_OK)
        return;
    if (as == QUERN_WEIGHTS_AUTO || (!is_coded(as) && t->dtype == same)) {
        data = upload(b, data, rows * cols * dtype_size_bytes(t->dtype));
        *out = (struct weight){.dtype = t->dtype, .rows = rows, .cols = cols, .data = data};
        if (b->status == QUERN_OK && t->dtype == DTYPE_BF16 && fast_math(b, as))
            b->status = b->m->device->ops->use_bf16_math(b->m->device, out, b->err);
        return;
    }
    if (weight_cache_take(b->m->cache, b->m, rows, cols, fast_math(b, as), out))
        return;
    b->status = weight_from_floats(b->m, out, as, fast_math(b, as), t->dtype, data, rows, cols, b->err);
    if (b->status == QUERN_OK)
        weight_cache_add(b->m->cache, out);
    if (!t->interleaved_heads)
        checkpoint_forget(b->m->checkpoint, data, rows * cols * dtype_size_bytes(t->dtype));
}

/* Marks the tensors of a coded matrix and its name without ".weight" as taken. */
static bool take_parts(struct binder *b, const struct quantized_linear *l, const char *base) {
    const char *copy = arena_strdup(&b->m->arena, base);
    bool ok = copy && map_put(&b->bound, str_from(copy), 0, NULL);
    for (size_t i = 0; i < l->n_parts && ok; i++)
        ok = map_put(&b->bound, str_from(l->parts[i]->name), 0, NULL);
    return ok || fail(b, error_nomem(b->err));
}

/* The matrix "NAME.weight" if the checkpoint holds it coded. False: it does not, or after a failure. */
static bool coded_matrix(struct binder *b, struct weight *out, const char *name, size_t rows,
                         size_t cols, enum quern_weights as) {
    static const char suffix[] = ".weight";
    char base[TENSOR_NAME_MAX];
    struct quantized_linear *l = NULL;
    if (b->status != QUERN_OK || !b->m->config.has_quantization || !full_name(b, name, base))
        return false;
    const size_t len = strlen(base);
    if (!str_ends_with(str_from(base), str_from(suffix)))
        return false;
    base[len - (sizeof suffix - 1)] = '\0';
    enum quern_status st = quantized_linear_open(&b->m->config.quant, b->m->checkpoint, base, rows,
                                                 cols, &b->m->arena, &l, b->err);
    if (st != QUERN_OK)
        return fail(b, st);
    if (!l || !take_parts(b, l, base))
        return false;
    from_coded(b, out, &l->source, as);
    for (size_t i = 0; i < l->n_parts; i++)
        checkpoint_forget(b->m->checkpoint, l->parts[i]->data, l->parts[i]->size_bytes);
    return b->status == QUERN_OK;
}

static void matrix_as(struct binder *b, struct weight *out, const char *name, size_t rows, size_t cols,
                      enum quern_weights as) {
    if (coded_matrix(b, out, name, rows, cols, as))
        return;
    const struct tensor *t = take(b, name, 2, (const size_t[]){rows, cols});
    if (!t)
        return;
    if (t->coded) {
        from_coded(b, out, t->coded, as);
        checkpoint_forget(b->m->checkpoint, t->data, t->size_bytes);
        return;
    }
    const void *data = ordered(b, t);
    if (data)
        from_plain(b, out, t, data, rows, cols, as);
}

static void matrix(struct binder *b, struct weight *out, const char *name, size_t rows, size_t cols) {
    matrix_as(b, out, name, rows, cols, b->options->weights);
}

/* A norm or bias, converted to float32. */
static void vector(struct binder *b, const float **out, const char *name, size_t n) {
    const struct tensor *t = take(b, name, 1, (const size_t[]){n});
    if (!t)
        return;
    const void *data = ordered(b, t);
    float *values = hold(b, n, sizeof *values);
    if (!data || !values)
        return;
    dtype_to_f32(t->dtype, data, values, n);
    *out = upload(b, values, n * sizeof *values);
}

/* Experts as one tensor per expert and matrix: what transformers saves. */
static void separate_experts(struct binder *b, struct expert_weights *experts, size_t n, size_t H,
                             size_t M) {
    for (size_t e = 0; e < n && b->status == QUERN_OK; e++) {
        char gate[64], up[64], down[64];
        snprintf(gate, sizeof gate, "mlp.experts.%zu.gate_proj.weight", e);
        snprintf(up, sizeof up, "mlp.experts.%zu.up_proj.weight", e);
        snprintf(down, sizeof down, "mlp.experts.%zu.down_proj.weight", e);
        matrix(b, &experts[e].gate, gate, M, H);
        matrix(b, &experts[e].up, up, M, H);
        matrix(b, &experts[e].down, down, H, M);
    }
}

/* Experts as transformers holds them in memory: gate_up_proj [E, 2M, H], down_proj [E, H, M]. */
static void fused_experts(struct binder *b, struct expert_weights *experts, size_t n, size_t H,
                          size_t M) {
    const struct tensor *gate_up = take(b, "mlp.experts.gate_up_proj", 3, (const size_t[]){n, 2 * M, H});
    const struct tensor *down = take(b, "mlp.experts.down_proj", 3, (const size_t[]){n, H, M});
    if (!gate_up || !down)
        return;
    /* The products are within the tensors' checked sizes. */
    const size_t half_bytes = M * H * dtype_size_bytes(gate_up->dtype);
    const size_t down_bytes = H * M * dtype_size_bytes(down->dtype);
    const enum quern_weights as = b->options->weights;
    for (size_t e = 0; e < n; e++) {
        const char *gate = (const char *)gate_up->data + 2 * e * half_bytes;
        from_plain(b, &experts[e].gate, gate_up, gate, M, H, as);
        from_plain(b, &experts[e].up, gate_up, gate + half_bytes, M, H, as);
        from_plain(b, &experts[e].down, down, (const char *)down->data + e * down_bytes, H, M, as);
    }
}

static void moe(struct binder *b, struct layer_weights *w) {
    const struct hf_config *c = &b->m->config;
    const size_t n = (size_t)c->n_experts, H = (size_t)c->hidden_size;
    const size_t M = (size_t)c->moe_intermediate_size;
    /* The router first: its shape vouches for the number of experts. It is small, and a choice that
     * falls otherwise is a large error: it is not quantized, and plain ones are computed exactly. */
    const bool coded = is_coded(b->options->weights);
    matrix_as(b, &w->router, "mlp.gate.weight", n, H, coded ? QUERN_WEIGHTS_AUTO : b->options->weights);
    w->router.math = MATH_EXACT;
    if (b->status != QUERN_OK)
        return;
    w->experts = arena_calloc(&b->m->arena, n, sizeof *w->experts);
    if (!w->experts) {
        fail(b, error_nomem(b->err));
        return;
    }
    if (has(b, "mlp.experts.gate_up_proj"))
        fused_experts(b, w->experts, n, H, M);
    else
        separate_experts(b, w->experts, n, H, M);
}

static void attention(struct binder *b, struct layer_weights *w) {
    const struct hf_config *c = &b->m->config;
    const size_t H = (size_t)c->hidden_size, D = (size_t)c->head_dim;
    const size_t Q = (size_t)c->n_heads * D, K = (size_t)c->n_kv_heads * D;
    matrix(b, &w->q, "self_attn.q_proj.weight", Q, H);
    matrix(b, &w->k, "self_attn.k_proj.weight", K, H);
    matrix(b, &w->v, "self_attn.v_proj.weight", K, H);
    matrix(b, &w->o, "self_attn.o_proj.weight", H, Q);
    if (c->qkv_bias) {
        vector(b, &w->q_bias, "self_attn.q_proj.bias", Q);
        vector(b, &w->k_bias, "self_attn.k_proj.bias", K);
        vector(b, &w->v_bias, "self_attn.v_proj.bias", K);
    }
    if (c->o_bias)
        vector(b, &w->o_bias, "self_attn.o_proj.bias", H);
    if (c->qk_norm) {
        vector(b, &w->q_norm, "self_attn.q_norm.weight", D);
        vector(b, &w->k_norm, "self_attn.k_norm.weight", D);
    }
}

static void dense_mlp(struct binder *b, struct layer_weights *w) {
    const struct hf_config *c = &b->m->config;
    const size_t H = (size_t)c->hidden_size, I = (size_t)c->intermediate_size;
    matrix(b, &w->gate, "mlp.gate_proj.weight", I, H);
    matrix(b, &w->up, "mlp.up_proj.weight", I, H);
    matrix(b, &w->down, "mlp.down_proj.weight", H, I);
    if (c->mlp_bias) {
        vector(b, &w->gate_bias, "mlp.gate_proj.bias", I);
        vector(b, &w->up_bias, "mlp.up_proj.bias", I);
        vector(b, &w->down_bias, "mlp.down_proj.bias", H);
    }
}

static void layer(struct binder *b, size_t i) {
    struct layer_weights *w = &b->m->layers[i];
    const size_t H = (size_t)b->m->config.hidden_size;
    snprintf(b->scope, sizeof b->scope, "layers.%zu.", i);
    vector(b, &w->input_norm, "input_layernorm.weight", H);
    attention(b, w);
    vector(b, &w->post_norm, "post_attention_layernorm.weight", H);
    if (b->m->config.layer_is_moe[i])
        moe(b, w);
    else
        dense_mlp(b, w);
    b->scope[0] = '\0';
}

static enum quern_weights embed_weights(const struct model_options *o) {
    if (o->embed_weights != QUERN_WEIGHTS_AUTO)
        return o->embed_weights;
    return is_coded(o->weights) ? QUERN_WEIGHTS_INT8 : o->weights;
}

/* Embedding checkpoints are saved from the model without its head: no prefix, and the head
 * missing unless tied. */
static void ends(struct binder *b) {
    struct model *m = b->m;
    const size_t H = (size_t)m->config.hidden_size, V = (size_t)m->config.vocab_size;
    const bool headless = b->prefix[0] == '\0';
    const enum quern_weights asked = embed_weights(b->options);
    /* Of an embedding alone only a row a token is read. */
    const bool keep = !m->config.tie_word_embeddings && b->options->embed_weights == QUERN_WEIGHTS_AUTO;
    matrix_as(b, &m->embed, "embed_tokens.weight", V, H, keep ? QUERN_WEIGHTS_AUTO : asked);
    vector(b, &m->final_norm, "norm.weight", H);
    b->prefix = "";
    if (m->config.tie_word_embeddings)
        m->lm_head = m->embed;
    else if (!headless || has(b, "lm_head.weight"))
        matrix_as(b, &m->lm_head, "lm_head.weight", V, H, asked);
}

static bool goes_with_coded(const struct binder *b, const struct tensor *t) {
    struct str base;
    return b->m->config.has_quantization && quantized_left_over(t, &base) &&
           map_get(&b->bound, base, NULL);
}

static void warn_of_surplus(const struct binder *b) {
    const struct checkpoint *all = b->m->checkpoint;
    size_t n = 0;
    const char *first = NULL;
    for (size_t i = 0; i < checkpoint_count(all); i++) {
        const struct tensor *t = checkpoint_at(all, i);
        struct str name = str_from(t->name);
        if (map_get(&b->bound, name, NULL) || tensor_is_harmless_surplus(&b->m->config, name) ||
            goes_with_coded(b, t))
            continue;
        if (n++ == 0)
            first = name.ptr;
    }
    if (n == 1)
        log_warn("tensor \"%s\" of the checkpoint is not used by %s", first,
                 b->m->config.architecture_name);
    else if (n > 1)
        log_warn("%zu tensors of the checkpoint are not used by %s, the first is \"%s\"", n,
                 b->m->config.architecture_name, first);
}

static enum quern_status bind_all(struct model *m, const struct model_options *options,
                                  struct quern_error *err) {
    struct binder b = {.m = m, .err = err, .prefix = "model.", .options = options};
    const size_t n = (size_t)m->config.n_layers;
    if (!has(&b, "embed_tokens.weight") && checkpoint_find(m->checkpoint, "embed_tokens.weight"))
        b.prefix = "";
    m->layers = arena_calloc(&m->arena, n, sizeof *m->layers);
    if (!m->layers || !map_init(&b.bound, checkpoint_count(m->checkpoint)))
        fail(&b, error_nomem(err));
    for (size_t i = 0; i < n && b.status == QUERN_OK; i++) {
        layer(&b, i);
        if (options->on_progress)
            options->on_progress(options->user, (double)(i + 1) / (double)(n + 1));
    }
    ends(&b);
    if (b.status == QUERN_OK) {
        warn_of_surplus(&b);
        weight_cache_finish(m->cache);
        if (options->on_progress)
            options->on_progress(options->user, 1);
    }
    map_release(&b.bound);
    return b.status;
}

static enum quern_status take_config(const char *dir, const struct hf_config *given,
                                     struct hf_config *c, struct quern_error *err) {
    if (!given)
        return model_config_load(dir, c, err);
    *c = *given;
    return QUERN_OK;
}

/* `path`: where the checkpoint is from, for a cache; NULL: nowhere. */
static enum quern_status open_checkpoint(struct checkpoint *checkpoint, const char *path,
                                         const struct hf_config *config, struct device *device,
                                         const struct model_options *options, struct model **out,
                                         struct quern_error *err) {
    struct model *m = calloc(1, sizeof *m);
    if (!m) {
        checkpoint_close(checkpoint);
        return error_nomem(err);
    }
    m->device = device;
    m->checkpoint = checkpoint;
    m->config = *config;
    m->attention_scale = (float)(1 / sqrt((double)config->head_dim));
    arena_init(&m->arena, 0);
    m->fast_math = options->math == QUERN_MATH_FAST ||
                   (options->math == QUERN_MATH_AUTO && is_coded(options->weights));
    if (path)
        m->cache = weight_cache_open(path, m, options);
    enum quern_status st = bind_all(m, options, err);
    if (st != QUERN_OK)
        model_close(m);
    else
        *out = m;
    return st;
}

static const struct model_options no_options;

enum quern_status model_from_checkpoint_with(struct checkpoint *checkpoint,
                                             const struct hf_config *config, struct device *device,
                                             const struct model_options *options,
                                             struct model **out, struct quern_error *err) {
    return open_checkpoint(checkpoint, NULL, config, device, options ? options : &no_options, out, err);
}

enum quern_status model_open_with(const char *dir, const struct hf_config *config,
                                  struct device *device, const struct model_options *options,
                                  struct model **out, struct quern_error *err) {
    struct hf_config own;
    struct checkpoint *checkpoint = NULL;
    enum quern_status st = take_config(dir, config, &own, err);
    if (st == QUERN_OK)
        st = checkpoint_open(dir, &checkpoint, err);
    if (st != QUERN_OK)
        return st;
    st = open_checkpoint(checkpoint, dir, &own, device, options ? options : &no_options, out, err);
    if (st != QUERN_OK)
        error_prefix(err, st, "%s", dir);
    return st;
}

enum quern_status model_from_checkpoint(struct checkpoint *checkpoint,
                                        const struct hf_config *config, struct device *device,
                                        void (*on_progress)(void *user, double fraction),
                                        void *user, struct model **out, struct quern_error *err) {
    const struct model_options options = {.on_progress = on_progress, .user = user};
    return model_from_checkpoint_with(checkpoint, config, device, &options, out, err);
}

enum quern_status model_open(const char *dir, const struct hf_config *config, struct device *device,
                             void (*on_progress)(void *user, double fraction), void *user,
                             struct model **out, struct quern_error *err) {
    const struct model_options options = {.on_progress = on_progress, .user = user};
    return model_open_with(dir, config, device, &options, out, err);
}

void model_close(struct model *m) {
    if (!m)
        return;
    weight_blocks_release(m);
    weight_cache_close(m->cache);
    checkpoint_close(m->checkpoint);
    arena_release(&m->arena);
    free(m);
}
