#include "support/tiny_checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/rng.h"
#include "support/support.h"

struct tiny_tensor *tiny_checkpoint_add(struct tiny_checkpoint *c, const char *name, int rank,
                                        size_t a, size_t b, size_t z) {
    assert_true(c->n < TINY_TENSORS_MAX);
    struct tiny_tensor *t = &c->tensors[c->n++];
    *t = (struct tiny_tensor){.dtype = DTYPE_F32, .rank = rank, .shape = {a, b, z}};
    snprintf(t->name, sizeof t->name, "%s", name);
    return t;
}

struct tiny_tensor *tiny_checkpoint_find(struct tiny_checkpoint *c, const char *name) {
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->tensors[i].name, name) == 0)
            return &c->tensors[i];
    fail_msg("no tensor \"%s\" in the test's checkpoint", name);
    return NULL;
}

void tiny_checkpoint_remove(struct tiny_checkpoint *c, const char *name) {
    *tiny_checkpoint_find(c, name) = c->tensors[c->n - 1];
    c->n--;
}

static void add(struct tiny_checkpoint *c, const struct tiny_shape *s, int layer, const char *name,
                size_t rows, size_t cols) {
    char full[96], scope[32] = "";
    if (layer >= 0)
        snprintf(scope, sizeof scope, "layers.%d.", layer);
    snprintf(full, sizeof full, "%s%s%s", s->prefix, scope, name);
    tiny_checkpoint_add(c, full, cols ? 2 : 1, rows, cols, 0);
}

static void add_mlp(struct tiny_checkpoint *c, const struct tiny_shape *s, int layer) {
    if (!s->experts) {
        add(c, s, layer, "mlp.gate_proj.weight", s->inter, s->hidden);
        add(c, s, layer, "mlp.up_proj.weight", s->inter, s->hidden);
        add(c, s, layer, "mlp.down_proj.weight", s->hidden, s->inter);
        return;
    }
    add(c, s, layer, "mlp.gate.weight", s->experts, s->hidden);
    for (size_t e = 0; e < s->experts; e++) {
        char name[64];
        snprintf(name, sizeof name, "mlp.experts.%zu.gate_proj.weight", e);
        add(c, s, layer, name, s->moe_inter, s->hidden);
        snprintf(name, sizeof name, "mlp.experts.%zu.up_proj.weight", e);
        add(c, s, layer, name, s->moe_inter, s->hidden);
        snprintf(name, sizeof name, "mlp.experts.%zu.down_proj.weight", e);
        add(c, s, layer, name, s->hidden, s->moe_inter);
    }
}

static void add_layer(struct tiny_checkpoint *c, const struct tiny_shape *s, int layer) {
    const size_t q = s->heads * s->head_dim, k = s->kv_heads * s->head_dim;
    add(c, s, layer, "input_layernorm.weight", s->hidden, 0);
    add(c, s, layer, "self_attn.q_proj.weight", q, s->hidden);
    add(c, s, layer, "self_attn.k_proj.weight", k, s->hidden);
    add(c, s, layer, "self_attn.v_proj.weight", k, s->hidden);
    add(c, s, layer, "self_attn.o_proj.weight", s->hidden, q);
    if (s->qkv_bias) {
        add(c, s, layer, "self_attn.q_proj.bias", q, 0);
        add(c, s, layer, "self_attn.k_proj.bias", k, 0);
        add(c, s, layer, "self_attn.v_proj.bias", k, 0);
    }
    if (s->qk_norm) {
        add(c, s, layer, "self_attn.q_norm.weight", s->head_dim, 0);
        add(c, s, layer, "self_attn.k_norm.weight", s->head_dim, 0);
    }
    add(c, s, layer, "post_attention_layernorm.weight", s->hidden, 0);
    add_mlp(c, s, layer);
}

void tiny_checkpoint_fill(struct tiny_checkpoint *c, const struct tiny_shape *s) {
    *c = (struct tiny_checkpoint){0};
    add(c, s, -1, "embed_tokens.weight", s->vocab, s->hidden);
    for (size_t i = 0; i < s->layers; i++)
        add_layer(c, s, (int)i);
    add(c, s, -1, "norm.weight", s->hidden, 0);
    if (!s->tied)
        tiny_checkpoint_add(c, "lm_head.weight", 2, s->vocab, s->hidden, 0);
}

static size_t element_count(const struct tiny_tensor *t) {
    size_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->shape[i];
    return n;
}

static void write_config(const struct tiny_shape *s, const char *path) {
    char text[2048];
    int n = snprintf(
        text, sizeof text,
        "{\"architectures\": [\"%s\"], \"model_type\": \"%s\", \"vocab_size\": %zu, "
        "\"hidden_size\": %zu, \"intermediate_size\": %zu, \"num_hidden_layers\": %zu, "
        "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, \"head_dim\": %zu, "
        "\"max_position_embeddings\": 1024, \"rope_theta\": 10000.0, \"rms_norm_eps\": 1e-6, "
        "\"hidden_act\": \"silu\", %s",
        s->architecture, s->model_type, s->vocab, s->hidden, s->inter, s->layers, s->heads,
        s->kv_heads, s->head_dim, s->extra_config);
    if (s->experts)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "\"num_experts\": %zu, \"num_experts_per_tok\": %zu, "
                      "\"moe_intermediate_size\": %zu, \"norm_topk_prob\": true, ",
                      s->experts, s->experts_per_token, s->moe_inter);
    if (s->window)
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "\"use_sliding_window\": true, \"sliding_window\": %zu, "
                      "\"max_window_layers\": 1, ",
                      s->window);
    n += snprintf(text + n, sizeof text - (size_t)n, "\"tie_word_embeddings\": %s}\n",
                  s->tied ? "true" : "false");
    assert_true((size_t)n < sizeof text);
    support_write_file(path, text, (size_t)n);
}

/* Matrices keep the size of what they multiply; norms lie around 1, biases too. */
static void make_values(const struct tiny_tensor *t, uint64_t seed, float *out) {
    uint64_t stream = 14695981039346656037u; /* FNV-1a of the name */
    for (const char *p = t->name; *p; p++)
        stream = (stream ^ (unsigned char)*p) * 1099511628211u;
    const size_t n = element_count(t);
    const float scale = t->rank == 1 ? 0.2f : 1 / sqrtf((float)t->shape[t->rank - 1]);
    for (size_t i = 0; i < n; i++)
        out[i] = (t->rank == 1 ? 1.0f : 0.0f) + scale * rng_normal(seed, stream, i);
}

static char *make_header(const struct tiny_checkpoint *c, size_t *len, size_t *data_bytes) {
    size_t size = 256 * (c->n + 1) + c->header_padding, at = 0, offset = 0;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t i = 0; i < c->n; i++) {
        const struct tiny_tensor *t = &c->tensors[i];
        size_t end = offset + element_count(t) * dtype_size_bytes(t->dtype);
        at += (size_t)snprintf(text + at, size - at, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                               i ? "," : "{", t->name, dtype_name(t->dtype));
        for (int d = 0; d < t->rank; d++)
            at += (size_t)snprintf(text + at, size - at, "%s%zu", d ? "," : "", t->shape[d]);
        at += (size_t)snprintf(text + at, size - at, "],\"data_offsets\":[%zu,%zu]}", offset, end);
        offset = end;
    }
    at += (size_t)snprintf(text + at, size - at, "}");
    while (at % 8 != 0)
        text[at++] = ' ';
    for (size_t i = 0; i < c->header_padding; i++)
        text[at++] = ' ';
    *len = at;
    *data_bytes = offset;
    return text;
}

static void write_weights(const struct tiny_checkpoint *c, const char *path, uint64_t seed) {
    size_t header_len, data_bytes;
    char *header = make_header(c, &header_len, &data_bytes);
    unsigned char *file = malloc(8 + header_len + data_bytes);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)header_len >> 8 * i);
    memcpy(file + 8, header, header_len);
    unsigned char *at = file + 8 + header_len;
    for (size_t i = 0; i < c->n; i++) {
        const struct tiny_tensor *t = &c->tensors[i];
        const size_t n = element_count(t);
        float *values = malloc(n * sizeof *values + 1);
        unsigned char *stored = malloc(n * dtype_size_bytes(t->dtype) + 1);
        assert_true(values && stored);
        make_values(t, seed, values);
        memset(stored, 0, n * dtype_size_bytes(t->dtype));
        if (dtype_is_weight(t->dtype))
            dtype_from_f32(t->dtype, values, stored, n);
        memcpy(at, stored, n * dtype_size_bytes(t->dtype));
        at += n * dtype_size_bytes(t->dtype);
        free(values);
        free(stored);
    }
    support_write_file(path, file, (size_t)(at - file));
    free(file);
    free(header);
}

const char *tiny_checkpoint_write(const struct tiny_checkpoint *c, const struct tiny_shape *s,
                                  const char *name, uint64_t seed) {
    const char *dir = support_temp_path(name);
    char file[160];
    mkdir(dir, 0777);
    snprintf(file, sizeof file, "%s/config.json", name);
    write_config(s, support_temp_path(file));
    snprintf(file, sizeof file, "%s/model.safetensors", name);
    write_weights(c, support_temp_path(file), seed);
    return dir;
}

const char *tiny_model_write(const struct tiny_shape *s, const char *name, uint64_t seed) {
    struct tiny_checkpoint *c = malloc(sizeof *c);
    assert_non_null(c);
    tiny_checkpoint_fill(c, s);
    const char *dir = tiny_checkpoint_write(c, s, name, seed);
    free(c);
    return dir;
}
