#include "formats/gguf_tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_blocks.h"

enum { NAME_BYTES = 600, EXPERTS_MAX = 4096, TENSORS_MAX = 1 << 20 };

struct binder {
    const struct gguf *g;
    struct gguf_tensors *out;
    struct quern_error *err;
    /* llama.cpp turns the rows of Llama's queries and keys; 0: of other architectures not. */
    size_t heads, kv_heads;
};

/* ---- names ---------------------------------------------------------------------------------- */

struct name_pair {
    const char *gguf, *hf;
};

static const struct name_pair ends[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

/* Within a layer, without ".weight" or ".bias". */
static const struct name_pair parts[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    /* All experts in one; %zu becomes the expert. */
    {"ffn_gate_exps", "mlp.experts.%zu.gate_proj"},
    {"ffn_up_exps", "mlp.experts.%zu.up_proj"},
    {"ffn_down_exps", "mlp.experts.%zu.down_proj"},
};

static const char *find_pair(const struct name_pair *pairs, size_t n, struct str name) {
    for (size_t i = 0; i < n; i++)
        if (str_is(name, pairs[i].gguf))
            return pairs[i].hf;
    return NULL;
}

struct place {
    unsigned long layer;
    struct str part;    /* "attn_q" */
    const char *suffix; /* ".weight" */
    const char *hf;     /* of the part */
};

/* "blk.7.attn_q.weight"; false when it is no known part of a layer. */
static bool find_place(const char *name, struct place *p) {
    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9')
        return false;
    char *end;
    p->layer = strtoul(name + 4, &end, 10);
    p->suffix = strrchr(name, '.');
    if (*end != '.' || p->suffix <= end ||
        (strcmp(p->suffix, ".weight") != 0 && strcmp(p->suffix, ".bias") != 0))
        return false;
    p->part = (struct str){end + 1, (size_t)(p->suffix - end - 1)};
    p->hf = find_pair(parts, sizeof parts / sizeof *parts, p->part);
    return p->hf != NULL;
}

/* ---- tensors ---------------------------------------------------------------------------------- */

static enum quern_status add(struct binder *b, struct tensor t, const char *name, uint32_t type,
                             size_t interleaved_heads) {
    struct gguf_tensors *out = b->out;
    bool existed;
    t.name = arena_strdup(&out->arena, name);
    if (t.block_type && t.rank == 2) {
        struct quant_source *source = arena_alloc(&out->arena, sizeof *source);
        if (!source)
            return error_nomem(b->err);
        if (ggml_type_source(type, t.data, t.shape[0], t.shape[1], interleaved_heads, source))
            t.coded = source;
    } else if (!t.block_type) {
        t.interleaved_heads = interleaved_heads;
    }
    if (!t.name || !map_put(&out->by_name, str_from(t.name), (uint32_t)out->n, &existed))
        return error_nomem(b->err);
    if (existed)
        return error_set(b->err, QUERN_ERR_FORMAT, "%s: two tensors are \"%s\"", t.file, t.name);
    if (out->n == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 512;
        struct tensor *grown = capacity > TENSORS_MAX
                                   ? NULL
                                   : realloc(out->tensors, capacity * sizeof *grown);
        if (!grown)
            return error_nomem(b->err);
        out->tensors = grown;
        out->capacity = capacity;
    }
    out->tensors[out->n++] = t;
    return QUERN_OK;
}

/* A tensor [experts, rows, cols] as so many matrices. */
static enum quern_status add_experts(struct binder *b, const struct gguf_tensor *from,
                                     const struct place *p) {
    char name[NAME_BYTES], part[64];
    const struct tensor *all = &from->tensor;
    const size_t n = all->shape[0];
    if (all->rank != 3 || n > EXPERTS_MAX)
        return error_set(b->err, QUERN_ERR_FORMAT,
                         "%s: tensor \"%s\" has %d dimensions, expected 3, the first of them the "
                         "experts, at most %d",
                         all->file, all->name, all->rank, EXPERTS_MAX);
    const char *gap = strstr(p->hf, "%zu");
    for (size_t e = 0; e < n; e++) {
        struct tensor t = *all;
        t.rank = 2;
        t.shape[0] = all->shape[1];
        t.shape[1] = all->shape[2];
        t.size_bytes = all->size_bytes / n;
        t.data = (const char *)all->data + e * t.size_bytes;
        snprintf(part, sizeof part, "%.*s%zu%s", (int)(gap - p->hf), p->hf, e, gap + 3);
        snprintf(name, sizeof name, "model.layers.%lu.%s%s", p->layer, part, p->suffix);
        enum quern_status status = add(b, t, name, from->type, 0);
        if (status)
            return status;
    }
    return QUERN_OK;
}

static enum quern_status add_part(struct binder *b, const struct gguf_tensor *from,
                                  const struct place *p) {
    char name[NAME_BYTES];
    const struct tensor *t = &from->tensor;
    const size_t heads = str_is(p->part, "attn_q")   ? b->heads
                         : str_is(p->part, "attn_k") ? b->kv_heads
                                                     : 0;
    if (strstr(p->hf, "%zu"))
        return add_experts(b, from, p);
    if (heads && t->shape[0] % (2 * heads))
        return error_set(b->err, QUERN_ERR_FORMAT,
                         "%s: tensor \"%s\" has %zu rows, no multiple of twice the %zu heads",
                         t->file, t->name, t->shape[0], heads);
    snprintf(name, sizeof name, "model.layers.%lu.%s%s", p->layer, p->hf, p->suffix);
    return add(b, *t, name, from->type, heads);
}

static enum quern_status add_tensor(struct binder *b, const struct gguf_tensor *from) {
    struct place p;
    const char *name = from->tensor.name;
    /* The factors of Llama 3's rotary embedding are part of the configuration. */
    if (strcmp(name, "rope_freqs.weight") == 0)
        return QUERN_OK;
    if (find_place(name, &p))
        return add_part(b, from, &p);
    const char *hf = find_pair(ends, sizeof ends / sizeof *ends, str_from(name));
    return add(b, from->tensor, hf ? hf : name, from->type, 0);
}

static enum quern_status read_heads(struct binder *b) {
    struct str arch;
    int64_t heads, kv_heads;
    if (!gguf_string(gguf_find(b->g, "general.architecture"), &arch) || !str_is(arch, "llama"))
        return QUERN_OK;
    const struct gguf_value *kv = gguf_find(b->g, "llama.attention.head_count_kv");
    if (!gguf_integer(gguf_find(b->g, "llama.attention.head_count"), &heads))
        heads = 0;
    if (!gguf_integer(kv, &kv_heads))
        kv_heads = kv ? 0 : heads;
    if (heads < 1 || kv_heads < 1 || heads > 1024 || kv_heads > 1024)
        return error_set(b->err, QUERN_ERR_FORMAT,
                         "%s: llama.attention.head_count and head_count_kv must be numbers from 1 "
                         "to 1024",
                         gguf_name(b->g));
    b->heads = (size_t)heads;
    b->kv_heads = (size_t)kv_heads;
    return QUERN_OK;
}

enum quern_status gguf_tensors_init(struct gguf_tensors *out, const struct gguf *g,
                                    struct quern_error *err) {
    struct binder b = {.g = g, .out = out, .err = err};
    *out = (struct gguf_tensors){0};
    arena_init(&out->arena, 0);
    enum quern_status status = map_init(&out->by_name, 512) ? QUERN_OK : error_nomem(err);
    if (!status)
        status = read_heads(&b);
    for (size_t i = 0; !status && i < gguf_tensor_count(g); i++)
        status = add_tensor(&b, gguf_tensor_at(g, i));
    if (status)
        gguf_tensors_release(out);
    return status;
}

void gguf_tensors_release(struct gguf_tensors *t) {
    free(t->tensors);
    map_release(&t->by_name);
    arena_release(&t->arena);
    *t = (struct gguf_tensors){0};
}
