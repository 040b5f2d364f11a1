/* hf_config.h - config.json and generation_config.json, in old and new spellings, checked
 * and with every default filled in. The rest of the engine is driven by these structs. */
#ifndef QUERN_FORMATS_HF_CONFIG_H
#define QUERN_FORMATS_HF_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "formats/quant_config.h"
#include "quant/dtype.h"

enum architecture {
    ARCH_QWEN3,
    ARCH_QWEN3_MOE,
    ARCH_QWEN2,
    ARCH_LLAMA,
};

enum rope_type { ROPE_DEFAULT, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3, ROPE_DYNAMIC };

struct rope_config {
    enum rope_type type;
    double theta;
    double factor;                  /* all types but default */
    int32_t original_max_positions; /* yarn, llama3 */
    double attention_factor;        /* yarn; 0: from mscale, else 0.1*ln(factor)+1 */
    double beta_fast, beta_slow;    /* yarn: 32, 1 */
    double mscale, mscale_all_dim;  /* yarn, DeepSeek's form; 0: absent */
    bool truncate;                  /* yarn: floor and ceil of the borders, default true */
    double low_freq_factor, high_freq_factor; /* llama3 */
};

enum { HF_CONFIG_LAYERS_MAX = 512, HF_CONFIG_EOS_MAX = 16 };

struct hf_config {
    enum architecture arch;
    char architecture_name[64]; /* "Qwen3ForCausalLM" */
    int32_t vocab_size, hidden_size, intermediate_size, n_layers;
    int32_t n_heads, n_kv_heads, head_dim;
    int32_t max_position_embeddings;
    float rms_norm_eps;
    struct rope_config rope;
    bool tie_word_embeddings; /* also for a class without a head ("Qwen3Model") */
    bool qkv_bias, o_bias, mlp_bias, qk_norm;
    enum dtype dtype; /* torch_dtype / dtype */
    /* Ids outside the vocabulary are left out: they never occur. */
    int32_t bos_token_id; /* -1: none */
    int32_t eos_token_ids[HF_CONFIG_EOS_MAX];
    int32_t n_eos;
    /* Mixture of experts; n_experts 0: dense. */
    int32_t n_experts, n_experts_per_token, moe_intermediate_size;
    bool norm_topk_prob;
    bool layer_is_moe[HF_CONFIG_LAYERS_MAX];
    /* Window in tokens (a token sees itself and window-1 before it); 0: full attention. */
    int32_t layer_window[HF_CONFIG_LAYERS_MAX];
    bool has_quantization; /* quantization_config is present */
    char quant_method[32]; /* its quant_method, "" without one */
    struct quant_config quant;
    double initializer_range;
};

/* What generation_config.json asks for. Greedy decoding is do_sample false, temperature 0. */
struct generation_config {
    bool do_sample;
    float temperature, top_p, min_p, typical_p, repetition_penalty;
    int32_t top_k;
    int32_t bos_token_id, pad_token_id; /* -1: none */
    int32_t eos_token_ids[HF_CONFIG_EOS_MAX];
    int32_t n_eos;
    int32_t max_new_tokens; /* 0: unset */
};

enum quern_status hf_config_load(const char *dir, struct hf_config *out, struct quern_error *err);
/* A config.json by its own path, which may be a pipe. */
enum quern_status hf_config_load_path(const char *path, struct hf_config *out,
                                      struct quern_error *err);
enum quern_status hf_config_parse(const char *text, size_t len, const char *name,
                                  struct hf_config *out, struct quern_error *err);
enum quern_status generation_config_parse(const char *text, size_t len, const char *name,
                                          const struct hf_config *config,
                                          struct generation_config *out, struct quern_error *err);
/* A missing file gives greedy decoding and config.json's ids. */
enum quern_status generation_config_load(const char *dir, const struct hf_config *config,
                                         struct generation_config *out, struct quern_error *err);

/* Parameters (a tied head counted once), and of those the ones one token uses. */
int64_t hf_config_param_count(const struct hf_config *c, int64_t *active);
const char *rope_type_name(enum rope_type type); /* config.json's spelling: "yarn" */
/* Bytes one token takes in the KV cache with elements of `element_bytes`. */
int64_t hf_config_kv_bytes_per_token(const struct hf_config *c, size_t element_bytes);

#endif
