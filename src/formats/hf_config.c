#include "formats/hf_config.h"

#include <stdio.h>
#include <string.h>

#include "base/os.h"
#include "formats/config_reader.h"
#include "formats/rope_config.h"

enum {
    CONFIG_FILE_MAX = 16 << 20, /* bytes; a list of unquantized modules can be long */
    PATH_BYTES = 4096,
    /* No model comes near these; with them, no product of sizes below overflows 64 bits. */
    VOCAB_MAX = 1 << 24,
    HIDDEN_MAX = 1 << 17,
    INTERMEDIATE_MAX = 1 << 20,
    HEADS_MAX = 1024,
    HEAD_DIM_MAX = 512,
    POSITIONS_MAX = 1 << 30,
    EXPERTS_MAX = 4096,
};

/* What transformers' configuration classes fill in for absent keys. */
struct arch_defaults {
    enum architecture arch;
    const char *model_type, *class_prefix;
    int32_t vocab_size, hidden_size, intermediate_size, n_layers, n_heads;
    int32_t n_kv_heads; /* 0: n_heads */
    int32_t head_dim;   /* 0: hidden_size / n_heads */
    int32_t max_positions, bos_token_id, eos_token_id;
};

static const struct arch_defaults architectures[] = {
    {ARCH_QWEN3, "qwen3", "Qwen3", 151936, 4096, 22016, 32, 32, 32, 128, 32768, -1, -1},
    {ARCH_QWEN3_MOE, "qwen3_moe", "Qwen3Moe", 151936, 2048, 6144, 24, 32, 4, 0, 32768, -1, -1},
    {ARCH_QWEN2, "qwen2", "Qwen2", 151936, 4096, 22016, 32, 32, 32, 0, 32768, -1, -1},
    {ARCH_LLAMA, "llama", "Llama", 32000, 4096, 11008, 32, 32, 0, 0, 2048, 1, 2},
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

/* "Qwen3" + "ForCausalLM" or "Model" (embedding checkpoints). */
static bool class_matches(const char *class_name, const char *prefix, bool *headless) {
    size_t n = strlen(prefix);
    if (strncmp(class_name, prefix, n) != 0)
        return false;
    *headless = strcmp(class_name + n, "Model") == 0;
    return *headless || strcmp(class_name + n, "ForCausalLM") == 0;
}

static const char *first_architecture(struct config_reader *r) {
    const json_t *list = config_container(r, "architectures", JSON_ARRAY);
    if (!list || json_array_size(list) == 0)
        return NULL;
    const char *name = json_string_value(json_array_get(list, 0));
    if (!name)
        config_fail(r, QUERN_ERR_FORMAT, "architectures: found %s, expected names",
                    json_type_name(json_array_get(list, 0)));
    return name;
}

/* The class decides; model_type when there is none, and it must not contradict. */
static const struct arch_defaults *read_architecture(struct config_reader *r,
                                                     struct hf_config *out) {
    const char *class_name = first_architecture(r);
    const char *type = config_string(r, "model_type", NULL);
    const struct arch_defaults *found = NULL;
    bool headless = false;
    char shown[64], shown_type[64];
    if (r->status)
        return NULL;
    for (size_t i = 0; i < N_ARCHITECTURES && !found; i++)
        if (class_name ? class_matches(class_name, architectures[i].class_prefix, &headless)
                       : type && strcmp(type, architectures[i].model_type) == 0)
            found = &architectures[i];
    if (!class_name && !type)
        config_fail(r, QUERN_ERR_FORMAT, "neither architectures nor model_type is given");
    else if (!found)
        config_fail(r, QUERN_ERR_UNSUPPORTED,
                    "%s \"%s\" is not supported (Qwen3ForCausalLM, Qwen3MoeForCausalLM, "
                    "Qwen2ForCausalLM and LlamaForCausalLM are)",
                    class_name ? "architecture" : "model_type",
                    config_printable(class_name ? class_name : type, shown));
    else if (type && strcmp(type, found->model_type) != 0)
        config_fail(r, QUERN_ERR_FORMAT, "architecture %s contradicts model_type \"%s\"",
                    config_printable(class_name, shown), config_printable(type, shown_type));
    if (r->status)
        return NULL;
    out->arch = found->arch;
    snprintf(out->architecture_name, sizeof out->architecture_name, "%s%s", found->class_prefix,
             headless ? "Model" : "ForCausalLM");
    return found;
}

/* Here null is no default: it says that there is none. */
static void read_token_ids(struct config_reader *r, const struct arch_defaults *d,
                           struct hf_config *out) {
    bool null_bos = json_is_null(json_object_get(r->object, "bos_token_id"));
    bool null_eos = json_is_null(json_object_get(r->object, "eos_token_id"));
    out->bos_token_id =
        config_token_id(r, "bos_token_id", out->vocab_size, null_bos ? -1 : d->bos_token_id);
    if (out->bos_token_id >= out->vocab_size)
        out->bos_token_id = -1;
    if (d->eos_token_id >= 0 && d->eos_token_id < out->vocab_size && !null_eos)
        out->eos_token_ids[out->n_eos++] = d->eos_token_id;
    config_token_ids(r, "eos_token_id", out->vocab_size, out->eos_token_ids, HF_CONFIG_EOS_MAX,
                     &out->n_eos);
}

static void read_heads(struct config_reader *r, const struct arch_defaults *d,
                       struct hf_config *out) {
    out->n_heads = config_int(r, "num_attention_heads", 1, HEADS_MAX, d->n_heads);
    /* transformers' null means: as many as query heads. */
    bool null_kv = json_is_null(json_object_get(r->object, "num_key_value_heads"));
    int32_t default_kv = null_kv || !d->n_kv_heads ? out->n_heads : d->n_kv_heads;
    out->n_kv_heads = config_int(r, "num_key_value_heads", 1, HEADS_MAX, default_kv);
    if (!r->status && out->n_heads % out->n_kv_heads)
        config_fail(r, QUERN_ERR_FORMAT,
                    "num_attention_heads %d is no multiple of num_key_value_heads %d",
                    (int)out->n_heads, (int)out->n_kv_heads);
    bool derived = !config_has(r, "head_dim") && !d->head_dim;
    if (derived && out->hidden_size % out->n_heads)
        config_fail(r, QUERN_ERR_FORMAT,
                    "no head_dim, and hidden_size %d is no multiple of num_attention_heads %d",
                    (int)out->hidden_size, (int)out->n_heads);
    int32_t fallback = derived ? out->hidden_size / out->n_heads : d->head_dim;
    out->head_dim = config_int(r, "head_dim", 2, HEAD_DIM_MAX, fallback);
    if (out->head_dim < 2 || out->head_dim > HEAD_DIM_MAX || out->head_dim % 2)
        config_fail(r, QUERN_ERR_UNSUPPORTED, "head_dim %d must be even and at most %d",
                    (int)out->head_dim, HEAD_DIM_MAX);
}

static void read_biases(struct config_reader *r, struct hf_config *out) {
    bool attention = config_bool(r, "attention_bias", false);
    /* Qwen2's class has the biases built in and knows no key for them. */
    out->qkv_bias = out->arch == ARCH_QWEN2 || attention;
    out->o_bias = out->arch != ARCH_QWEN2 && attention;
    out->mlp_bias = out->arch == ARCH_LLAMA && config_bool(r, "mlp_bias", false);
    out->qk_norm = out->arch == ARCH_QWEN3 || out->arch == ARCH_QWEN3_MOE;
}

static void read_dtype(struct config_reader *r, struct hf_config *out) {
    static const struct {
        const char *name;
        enum dtype dtype;
    } names[] = {{"bfloat16", DTYPE_BF16}, {"float16", DTYPE_F16}, {"float32", DTYPE_F32}};
    const char *name = config_string(r, "dtype", NULL);
    if (!name)
        name = config_string(r, "torch_dtype", "float32");
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            out->dtype = names[i].dtype;
            return;
        }
    }
    char shown[64];
    config_fail(r, QUERN_ERR_UNSUPPORTED,
                "dtype \"%s\" is not supported (bfloat16, float16, float32 are)",
                config_printable(name, shown));
}

static void read_layer_types(struct config_reader *r, const json_t *types, int32_t window,
                             struct hf_config *out) {
    char shown[64];
    if (json_array_size(types) != (size_t)out->n_layers)
        config_fail(r, QUERN_ERR_FORMAT, "layer_types has %zu entries for %d layers",
                    json_array_size(types), (int)out->n_layers);
    for (int32_t i = 0; !r->status && i < out->n_layers; i++) {
        const char *type = json_string_value(json_array_get(types, (size_t)i));
        if (type && strcmp(type, "full_attention") == 0)
            continue;
        if (!type || strcmp(type, "sliding_attention") != 0)
            config_fail(r, QUERN_ERR_UNSUPPORTED,
                        "layer_types: \"%s\" is not supported (full_attention and "
                        "sliding_attention are)",
                        config_printable(type ? type : "not a string", shown));
        else if (!window)
            config_fail(r, QUERN_ERR_FORMAT,
                        "layer_types asks for sliding_attention, but there is no sliding_window "
                        "in use");
        out->layer_window[i] = window;
    }
}

static void read_windows(struct config_reader *r, struct hf_config *out) {
    if (out->arch == ARCH_LLAMA)
        return;
    bool use = config_bool(r, "use_sliding_window", false);
    int32_t window = 0;
    /* The class's default of 4096 counts only when the key is absent; null is no window. */
    if (use && !json_is_null(json_object_get(r->object, "sliding_window")))
        window = config_int(r, "sliding_window", 1, POSITIONS_MAX, 4096);
    if (out->arch == ARCH_QWEN3_MOE) {
        /* transformers' Qwen3-MoE slides on every layer and looks at no further key. */
        for (int32_t i = 0; i < out->n_layers; i++)
            out->layer_window[i] = window;
        return;
    }
    const json_t *types = config_container(r, "layer_types", JSON_ARRAY);
    if (types) {
        read_layer_types(r, types, window, out);
        return;
    }
    int32_t first = config_int(r, "max_window_layers", 0, 1 << 20, 28);
    for (int32_t i = first; i < out->n_layers; i++)
        out->layer_window[i] = window;
}

static void read_dense_layers(struct config_reader *r, struct hf_config *out) {
    const json_t *list = config_container(r, "mlp_only_layers", JSON_ARRAY);
    for (size_t i = 0; !r->status && list && i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t layer = json_integer_value(item);
        if (!json_is_integer(item) || layer < 0)
            config_fail(r, QUERN_ERR_FORMAT, "mlp_only_layers: found %s, expected layer numbers",
                        json_type_name(item));
        else if (layer < out->n_layers)
            out->layer_is_moe[layer] = false;
    }
}

static void read_experts(struct config_reader *r, struct hf_config *out) {
    if (out->arch != ARCH_QWEN3_MOE)
        return;
    int32_t other = config_int(r, "num_local_experts", 0, EXPERTS_MAX, 128);
    out->n_experts = config_int(r, "num_experts", 0, EXPERTS_MAX, other);
    if (config_has(r, "num_local_experts") && other != out->n_experts)
        config_fail(r, QUERN_ERR_FORMAT, "num_experts %d contradicts num_local_experts %d",
                    (int)out->n_experts, (int)other);
    out->n_experts_per_token = config_int(r, "num_experts_per_tok", 1, EXPERTS_MAX, 8);
    out->moe_intermediate_size = config_int(r, "moe_intermediate_size", 1, INTERMEDIATE_MAX, 768);
    out->norm_topk_prob = config_bool(r, "norm_topk_prob", false);
    int32_t step = config_int(r, "decoder_sparse_step", 1, 1 << 20, 1);
    for (int32_t i = 0; i < out->n_layers; i++)
        out->layer_is_moe[i] = out->n_experts > 0 && (i + 1) % step == 0;
    read_dense_layers(r, out);
    bool any = false;
    for (int32_t i = 0; i < out->n_layers; i++)
        any |= out->layer_is_moe[i];
    if (!any)
        out->n_experts = 0;
    if (out->n_experts && out->n_experts_per_token > out->n_experts)
        config_fail(r, QUERN_ERR_FORMAT, "num_experts_per_tok %d is more than num_experts %d",
                    (int)out->n_experts_per_token, (int)out->n_experts);
}

static void read_activation(struct config_reader *r) {
    const char *name = config_string(r, "hidden_act", "silu");
    char shown[64];
    if (strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0)
        config_fail(r, QUERN_ERR_UNSUPPORTED, "hidden_act \"%s\" is not supported, only silu",
                    config_printable(name, shown));
}

static void read_quantization(struct config_reader *r, struct hf_config *out) {
    quant_config_read(r, &out->quant);
    out->has_quantization = out->quant.method != QUANT_METHOD_NONE;
    snprintf(out->quant_method, sizeof out->quant_method, "%s", out->quant.name);
}

static void read_all(struct config_reader *r, struct hf_config *out) {
    const struct arch_defaults *d = read_architecture(r, out);
    if (!d)
        return;
    out->vocab_size = config_int(r, "vocab_size", 1, VOCAB_MAX, d->vocab_size);
    out->hidden_size = config_int(r, "hidden_size", 1, HIDDEN_MAX, d->hidden_size);
    out->intermediate_size =
        config_int(r, "intermediate_size", 1, INTERMEDIATE_MAX, d->intermediate_size);
    out->n_layers = config_int(r, "num_hidden_layers", 1, HF_CONFIG_LAYERS_MAX, d->n_layers);
    out->max_position_embeddings =
        config_int(r, "max_position_embeddings", 1, POSITIONS_MAX, d->max_positions);
    out->rms_norm_eps = (float)config_float(r, "rms_norm_eps", 0, 1, 1e-6);
    out->initializer_range = config_float(r, "initializer_range", 0, 100, 0.02);
    /* A checkpoint without a head reads its logits, if asked, from the embedding. */
    out->tie_word_embeddings = config_bool(r, "tie_word_embeddings", false) ||
                               !strstr(out->architecture_name, "ForCausalLM");
    read_token_ids(r, d, out);
    read_heads(r, d, out);
    read_biases(r, out);
    read_activation(r);
    read_dtype(r, out);
    rope_config_read(r, out->max_position_embeddings, &out->rope);
    read_windows(r, out);
    read_experts(r, out);
    read_quantization(r, out);
}

/* Takes over `root`. */
static enum quern_status read_root(json_t *root, const char *name, struct hf_config *out,
                                   struct quern_error *err) {
    struct config_reader r = {root, name, err, QUERN_OK};
    struct hf_config config = {0};
    if (json_is_object(root))
        read_all(&r, &config);
    else
        config_fail(&r, QUERN_ERR_FORMAT, "found %s, expected an object", json_type_name(root));
    json_decref(root);
    if (!r.status)
        *out = config;
    return r.status;
}

enum quern_status hf_config_parse(const char *text, size_t len, const char *name,
                                  struct hf_config *out, struct quern_error *err) {
    json_t *root = NULL;
    enum quern_status status = json_parse(text, len, name, &root, err);
    return status ? status : read_root(root, name, out, err);
}

enum quern_status hf_config_load_path(const char *path, struct hf_config *out,
                                      struct quern_error *err) {
    json_t *root = NULL;
    enum quern_status status = json_load_path(path, CONFIG_FILE_MAX, &root, err);
    return status ? status : read_root(root, path, out, err);
}

enum quern_status hf_config_load(const char *dir, struct hf_config *out, struct quern_error *err) {
    char path[PATH_BYTES];
    json_t *root = NULL;
    enum quern_status status = os_path_join(path, sizeof path, dir, "config.json", err);
    if (!status)
        status = json_load_regular(path, CONFIG_FILE_MAX, &root, err);
    return status ? status : read_root(root, path, out, err);
}

int64_t hf_config_param_count(const struct hf_config *c, int64_t *active) {
    int64_t h = c->hidden_size, i = c->intermediate_size, m = c->moe_intermediate_size;
    int64_t q = (int64_t)c->n_heads * c->head_dim, kv = (int64_t)c->n_kv_heads * c->head_dim;
    int64_t attention = 2 * h * q + 2 * h * kv + (c->qkv_bias ? q + 2 * kv : 0) +
                        (c->o_bias ? h : 0) + (c->qk_norm ? 2 * c->head_dim : 0);
    int64_t dense = 3 * h * i + (c->mlp_bias ? 2 * i + h : 0);
    int64_t total = c->vocab_size * h * (c->tie_word_embeddings ? 1 : 2) + h, used = total;
    for (int32_t l = 0; l < c->n_layers; l++) {
        int64_t both = attention + 2 * h, router = c->n_experts * h, expert = 3 * h * m;
        total += both + (c->layer_is_moe[l] ? router + c->n_experts * expert : dense);
        used += both + (c->layer_is_moe[l] ? router + c->n_experts_per_token * expert : dense);
    }
    if (active)
        *active = used;
    return total;
}

int64_t hf_config_kv_bytes_per_token(const struct hf_config *c, size_t element_bytes) {
    return 2 * (int64_t)c->n_layers * c->n_kv_heads * c->head_dim * (int64_t)element_bytes;
}
