#include "cli/init_shapes.h"

#include <string.h>

struct shape {
    const char *name;
    int hidden, intermediate, layers, heads, kv_heads, head_dim;
    bool tied;
    int experts, experts_per_token, expert_intermediate; /* 0: dense */
};

/* The published sizes; "tiny" is for trying things out, with Qwen3's whole vocabulary. */
static const struct shape shapes[] = {
    {"qwen3-0.6b", 1024, 3072, 28, 16, 8, 128, true, 0, 0, 0},
    {"qwen3-1.7b", 2048, 6144, 28, 16, 8, 128, true, 0, 0, 0},
    {"qwen3-4b", 2560, 9728, 36, 32, 8, 128, true, 0, 0, 0},
    {"qwen3-8b", 4096, 12288, 36, 32, 8, 128, false, 0, 0, 0},
    {"qwen3-14b", 5120, 17408, 40, 40, 8, 128, false, 0, 0, 0},
    {"qwen3-32b", 5120, 25600, 64, 64, 8, 128, false, 0, 0, 0},
    {"qwen3-30b-a3b", 2048, 6144, 48, 32, 4, 128, false, 128, 8, 768},
    {"tiny", 64, 128, 2, 4, 2, 32, true, 0, 0, 0},
};

/* jansson's setters free the value and answer -1 when something ran out. */
static int put_int(json_t *o, const char *key, int value) {
    return json_object_set_new(o, key, json_integer(value));
}

static int put_bool(json_t *o, const char *key, bool value) {
    return json_object_set_new(o, key, json_boolean(value));
}

static int put_string(json_t *o, const char *key, const char *value) {
    return json_object_set_new(o, key, json_string(value));
}

static int put_strings(json_t *o, const char *key, const char *only) {
    json_t *list = json_array();
    int failed = json_array_append_new(list, json_string(only));
    return json_object_set_new(o, key, list) | failed;
}

static int put_experts(json_t *o, const struct shape *s) {
    return put_int(o, "decoder_sparse_step", 1) |
           json_object_set_new(o, "mlp_only_layers", json_array()) |
           put_int(o, "moe_intermediate_size", s->expert_intermediate) |
           put_bool(o, "norm_topk_prob", true) | put_int(o, "num_experts", s->experts) |
           put_int(o, "num_experts_per_tok", s->experts_per_token) |
           put_bool(o, "output_router_logits", false) |
           json_object_set_new(o, "router_aux_loss_coef", json_real(0.001));
}

json_t *init_shape_config(const char *name) {
    const struct shape *s = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            s = &shapes[i];
    json_t *o = s ? json_object() : NULL;
    if (!o)
        return NULL;
    bool moe = s->experts > 0;
    int failed =
        put_strings(o, "architectures", moe ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM") |
        put_bool(o, "attention_bias", false) |
        json_object_set_new(o, "attention_dropout", json_real(0.0)) |
        put_int(o, "bos_token_id", 151643) | put_int(o, "eos_token_id", 151645) |
        put_int(o, "head_dim", s->head_dim) | put_string(o, "hidden_act", "silu") |
        put_int(o, "hidden_size", s->hidden) |
        json_object_set_new(o, "initializer_range", json_real(0.02)) |
        put_int(o, "intermediate_size", s->intermediate) |
        put_int(o, "max_position_embeddings", 40960) | put_int(o, "max_window_layers", s->layers) |
        put_string(o, "model_type", moe ? "qwen3_moe" : "qwen3") |
        put_int(o, "num_attention_heads", s->heads) | put_int(o, "num_hidden_layers", s->layers) |
        put_int(o, "num_key_value_heads", s->kv_heads) |
        json_object_set_new(o, "rms_norm_eps", json_real(1e-6)) |
        json_object_set_new(o, "rope_scaling", json_null()) | put_int(o, "rope_theta", 1000000) |
        json_object_set_new(o, "sliding_window", json_null()) |
        put_bool(o, "tie_word_embeddings", s->tied) | put_string(o, "torch_dtype", "bfloat16") |
        put_bool(o, "use_cache", true) | put_bool(o, "use_sliding_window", false) |
        put_int(o, "vocab_size", 151936) | (moe ? put_experts(o, s) : 0);
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

json_t *init_shape_generation_config(void) {
    json_t *o = json_object(), *eos = json_array();
    int failed = json_array_append_new(eos, json_integer(151645)) |
                 json_array_append_new(eos, json_integer(151643)) |
                 put_int(o, "bos_token_id", 151643) | put_bool(o, "do_sample", true) |
                 json_object_set_new(o, "eos_token_id", eos) | put_int(o, "pad_token_id", 151643) |
                 json_object_set_new(o, "temperature", json_real(0.6)) | put_int(o, "top_k", 20) |
                 json_object_set_new(o, "top_p", json_real(0.95));
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}
