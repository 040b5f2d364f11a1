/* Binding a checkpoint's tensors to the places where the forward pass reads them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/map.h"
#include "formats/quantized_linear.h"
#include "formats/tensor_layout.h"
#include "model/model.h"

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

/* The exact values of a coded matrix. */
static const float *decoded(struct binder *b, const struct quant_source *s) {
    float *values = hold(b, s->rows, s->cols * sizeof *values);
    void *scratch = values ? malloc(quant_dequantize_scratch_bytes(s, 1)) : NULL;
    for (size_t r = 0; scratch && r < s->rows; r++)
        quant_dequantize_rows(s, r, 1, values + r * s->cols, scratch);
    if (values && !scratch)
        fail(b, error_nomem(b->err));
    free(scratch);
    return scratch ? values : NULL;
}

/* A tensor's data on the device, in its own type and as the file aligns it: kernels take weights
 * at any address. NULL after any failure. */
static const char *stored(struct binder *b, const char *name, int rank, const size_t *shape,
                          enum dtype *dtype) {
    const struct tensor *t = take(b, name, rank, shape);
    if (!t)
        return NULL;
    *dtype = t->coded ? DTYPE_F32 : t->dtype;
    const void *data = t->coded ? decoded(b, t->coded) : ordered(b, t);
    const size_t elements = t->coded ? t->coded->rows * t->coded->cols : 0;
    return data ? upload(b, data, t->coded ? elements * sizeof(float) : t->size_bytes) : NULL;
}

static struct weight plain(enum dtype dtype, size_t rows, size_t cols, const void *data) {
    return (struct weight){.dtype = dtype, .rows = rows, .cols = cols, .data = data};
}

/* ---- quantized checkpoints --------------------------------------------------------- */

/* The values of a coded matrix in float32. */
static void decode(struct binder *b, struct weight *out, const struct quant_source *s) {
    enum { STEP = 32 };
    size_t n;
    float *values = NULL;
    void *scratch = malloc(quant_dequantize_scratch_bytes(s, STEP));
    if (scratch && checked_mul(s->rows, s->cols, &n))
        values = arena_calloc(&b->m->arena, n, sizeof *values);
    if (!values) {
        free(scratch);
        fail(b, error_nomem(b->err));
        return;
    }
    for (size_t r = 0; r < s->rows; r += STEP)
        quant_dequantize_rows(s, r, s->rows - r < STEP ? s->rows - r : STEP, values + r * s->cols,
                              scratch);
    free(scratch);
    *out = plain(DTYPE_F32, s->rows, s->cols, upload(b, values, n * sizeof *values));
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
                         size_t cols) {
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
    decode(b, out, &l->source);
    return b->status == QUERN_OK;
}

static void matrix(struct binder *b, struct weight *out, const char *name, size_t rows,
                   size_t cols) {
    enum dtype dtype = DTYPE_F32;
    if (coded_matrix(b, out, name, rows, cols))
        return;
    const void *data = stored(b, name, 2, (const size_t[]){rows, cols}, &dtype);
    if (data)
        *out = plain(dtype, rows, cols, data);
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
    enum dtype gate_up_type = DTYPE_F32, down_type = DTYPE_F32;
    const char *gate_up =
        stored(b, "mlp.experts.gate_up_proj", 3, (const size_t[]){n, 2 * M, H}, &gate_up_type);
    const char *down = stored(b, "mlp.experts.down_proj", 3, (const size_t[]){n, H, M}, &down_type);
    if (!gate_up || !down)
        return;
    /* The products are within the tensors' checked sizes. */
    const size_t half_bytes = M * H * dtype_size_bytes(gate_up_type);
    const size_t down_bytes = H * M * dtype_size_bytes(down_type);
    for (size_t e = 0; e < n; e++) {
        const char *up = gate_up + (2 * e + 1) * half_bytes;
        experts[e].gate = plain(gate_up_type, M, H, gate_up + 2 * e * half_bytes);
        experts[e].up = plain(gate_up_type, M, H, up);
        experts[e].down = plain(down_type, H, M, down + e * down_bytes);
    }
}

static void moe(struct binder *b, struct layer_weights *w) {
    const struct hf_config *c = &b->m->config;
    const size_t n = (size_t)c->n_experts, H = (size_t)c->hidden_size;
    const size_t M = (size_t)c->moe_intermediate_size;
    /* The router first: its shape vouches for the number of experts. */
    matrix(b, &w->router, "mlp.gate.weight", n, H);
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

/* Embedding checkpoints are saved from the model without its head: no prefix, and the head
 * missing unless tied. */
static void ends(struct binder *b) {
    struct model *m = b->m;
    const size_t H = (size_t)m->config.hidden_size, V = (size_t)m->config.vocab_size;
    const bool headless = b->prefix[0] == '\0';
    matrix(b, &m->embed, "embed_tokens.weight", V, H);
    vector(b, &m->final_norm, "norm.weight", H);
    b->prefix = "";
    if (m->config.tie_word_embeddings)
        m->lm_head = m->embed;
    else if (!headless || has(b, "lm_head.weight"))
        matrix(b, &m->lm_head, "lm_head.weight", V, H);
}

static bool all_zero(const struct tensor *t) {
    const unsigned char *bytes = t->data;
    for (size_t i = 0; i < t->size_bytes; i++)
        if (bytes[i])
            return false;
    return true;
}

/* What accompanies a coded matrix and is not needed: scales of activations, and the biases of zeros
 * that AutoGPTQ gives every matrix. */
static bool goes_with_coded(const struct binder *b, const struct tensor *t) {
    const struct str name = str_from(t->name), bias = STR_LIT(".bias");
    size_t len = 0;
    if (!b->m->config.has_quantization)
        return false;
    if (!quantized_part_name(t->name, &len)) {
        if (!str_ends_with(name, bias) || !all_zero(t))
            return false;
        len = name.len - bias.len;
    }
    return map_get(&b->bound, (struct str){name.ptr, len}, NULL);
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

static enum quern_status bind_all(struct model *m, void (*on_progress)(void *user, double fraction),
                                  void *user, struct quern_error *err) {
    struct binder b = {.m = m, .err = err, .prefix = "model."};
    const size_t n = (size_t)m->config.n_layers;
    if (!has(&b, "embed_tokens.weight") && checkpoint_find(m->checkpoint, "embed_tokens.weight"))
        b.prefix = "";
    m->layers = arena_calloc(&m->arena, n, sizeof *m->layers);
    if (!m->layers || !map_init(&b.bound, checkpoint_count(m->checkpoint)))
        fail(&b, error_nomem(err));
    for (size_t i = 0; i < n && b.status == QUERN_OK; i++) {
        layer(&b, i);
        if (on_progress)
            on_progress(user, (double)(i + 1) / (double)(n + 1));
    }
    ends(&b);
    if (b.status == QUERN_OK) {
        warn_of_surplus(&b);
        if (on_progress)
            on_progress(user, 1);
    }
    map_release(&b.bound);
    return b.status;
}

static enum quern_status take_config(const char *dir, const struct hf_config *given,
                                     struct hf_config *c, struct quern_error *err) {
    if (!given)
        return hf_config_load(dir, c, err);
    *c = *given;
    return QUERN_OK;
}

enum quern_status model_from_checkpoint(struct checkpoint *checkpoint,
                                        const struct hf_config *config, struct device *device,
                                        void (*on_progress)(void *user, double fraction),
                                        void *user, struct model **out, struct quern_error *err) {
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
    enum quern_status st = bind_all(m, on_progress, user, err);
    if (st != QUERN_OK)
        model_close(m);
    else
        *out = m;
    return st;
}

enum quern_status model_open(const char *dir, const struct hf_config *config, struct device *device,
                             void (*on_progress)(void *user, double fraction), void *user,
                             struct model **out, struct quern_error *err) {
    struct hf_config own;
    struct checkpoint *checkpoint = NULL;
    enum quern_status st = take_config(dir, config, &own, err);
    if (st == QUERN_OK)
        st = checkpoint_open(dir, &checkpoint, err);
    if (st != QUERN_OK)
        return st;
    st = model_from_checkpoint(checkpoint, &own, device, on_progress, user, out, err);
    if (st != QUERN_OK)
        error_prefix(err, st, "%s", dir);
    return st;
}

void model_close(struct model *m) {
    if (!m)
        return;
    checkpoint_close(m->checkpoint);
    arena_release(&m->arena);
    free(m);
}
