#include "formats/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/gguf_tokenizer.h"
#include "text/json.h"

enum { JSON_BYTES_MAX = 1 << 20, KEY_BYTES = 128, END_IDS_MAX = HF_CONFIG_EOS_MAX };

static const struct {
    const char *name, *class_name;
} architectures[] = {{"qwen3", "Qwen3ForCausalLM"},
                     {"qwen3moe", "Qwen3MoeForCausalLM"},
                     {"qwen2", "Qwen2ForCausalLM"},
                     {"llama", "LlamaForCausalLM"}};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

/* Writes one member after the other; after the first failure every call does nothing. */
struct writer {
    const struct gguf *g;
    const char *arch; /* starts the keys */
    json_t *object;
    struct quern_error *err;
    enum quern_status status;
};

static void put(struct writer *w, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value) != 0 && !w->status)
        w->status = error_nomem(w->err);
}

static void fail(struct writer *w, enum quern_status code, const char *key, const char *problem) {
    if (!w->status)
        w->status = error_set(w->err, code, "%s: %s.%s %s", gguf_name(w->g), w->arch, key, problem);
}

static const struct gguf_value *find(const struct writer *w, const char *key) {
    char full[KEY_BYTES];
    int n = snprintf(full, sizeof full, "%s.%s", w->arch, key);
    return n > 0 && n < KEY_BYTES ? gguf_find(w->g, full) : NULL;
}

/* A value for each layer counts when all are the same. */
static bool same_integers(const struct gguf_value *v, int64_t *out) {
    if (!gguf_is_integers(v) || v->n_items == 0)
        return false;
    *out = gguf_integer_item(v, 0);
    for (size_t i = 1; i < v->n_items; i++)
        if (gguf_integer_item(v, i) != *out)
            return false;
    return true;
}

static int64_t integer(struct writer *w, const char *key, int64_t fallback) {
    const struct gguf_value *v = find(w, key);
    int64_t value = fallback;
    if (!v || gguf_integer(v, &value) || same_integers(v, &value))
        return value;
    fail(w, v->type == GGUF_ARRAY ? QUERN_ERR_UNSUPPORTED : QUERN_ERR_FORMAT, key,
         v->type == GGUF_ARRAY ? "differs between layers, which is not supported"
                               : "is no integer");
    return fallback;
}

static int64_t required_integer(struct writer *w, const char *key) {
    if (!find(w, key))
        fail(w, QUERN_ERR_FORMAT, key, "is missing");
    return integer(w, key, 0);
}

static double number(struct writer *w, const char *key, double fallback) {
    const struct gguf_value *v = find(w, key);
    double value = fallback;
    if (v && (!gguf_number(v, &value) || !isfinite(value))) {
        fail(w, QUERN_ERR_FORMAT, key, "is no finite number");
        return fallback;
    }
    return value;
}

/* ---- config.json ------------------------------------------------------------------------------ */

static bool has_tensor(const struct writer *w, const char *name) {
    return gguf_find_tensor(w->g, name) != NULL;
}

static int64_t vocab_size(struct writer *w) {
    const struct gguf_tensor *embed = gguf_find_tensor(w->g, "token_embd.weight");
    const struct gguf_value *tokens = gguf_find(w->g, "tokenizer.ggml.tokens");
    if (embed && embed->tensor.shape[0] <= INT32_MAX)
        return (int64_t)embed->tensor.shape[0];
    if (tokens && tokens->n_items && tokens->n_items <= INT32_MAX)
        return (int64_t)tokens->n_items;
    if (!w->status)
        w->status = error_set(w->err, QUERN_ERR_FORMAT,
                              "%s: there is neither a tensor \"token_embd.weight\" nor "
                              "tokenizer.ggml.tokens to tell the size of the vocabulary",
                              gguf_name(w->g));
    return 0;
}

static void put_sizes(struct writer *w) {
    json_t *o = w->object;
    put(w, o, "vocab_size", json_integer(vocab_size(w)));
    put(w, o, "hidden_size", json_integer(required_integer(w, "embedding_length")));
    put(w, o, "intermediate_size", json_integer(required_integer(w, "feed_forward_length")));
    put(w, o, "num_hidden_layers", json_integer(required_integer(w, "block_count")));
    put(w, o, "max_position_embeddings", json_integer(required_integer(w, "context_length")));
    if (!find(w, "attention.layer_norm_rms_epsilon"))
        fail(w, QUERN_ERR_FORMAT, "attention.layer_norm_rms_epsilon", "is missing");
    put(w, o, "rms_norm_eps", json_real(number(w, "attention.layer_norm_rms_epsilon", 0)));
    put(w, o, "tie_word_embeddings", json_boolean(!has_tensor(w, "output.weight")));
}

static int64_t put_heads(struct writer *w) {
    int64_t heads = required_integer(w, "attention.head_count");
    int64_t kv_heads = integer(w, "attention.head_count_kv", heads);
    int64_t hidden = integer(w, "embedding_length", 0);
    int64_t head_dim = integer(w, "attention.key_length", heads > 0 ? hidden / heads : 0);
    if (integer(w, "attention.value_length", head_dim) != head_dim)
        fail(w, QUERN_ERR_UNSUPPORTED, "attention.value_length", "differs from key_length");
    if (integer(w, "rope.dimension_count", head_dim) != head_dim)
        fail(w, QUERN_ERR_UNSUPPORTED, "rope.dimension_count", "is not the size of a head");
    put(w, w->object, "num_attention_heads", json_integer(heads));
    put(w, w->object, "num_key_value_heads", json_integer(kv_heads));
    put(w, w->object, "head_dim", json_integer(head_dim));
    return head_dim;
}

static void put_biases(struct writer *w) {
    put(w, w->object, "attention_bias", json_boolean(has_tensor(w, "blk.0.attn_q.bias")));
    put(w, w->object, "mlp_bias", json_boolean(has_tensor(w, "blk.0.ffn_up.bias")));
}

static void put_experts(struct writer *w) {
    if (strcmp(w->arch, "qwen3moe") != 0) {
        if (integer(w, "expert_count", 0) != 0)
            fail(w, QUERN_ERR_UNSUPPORTED, "expert_count",
                 "is not 0, and experts are supported in qwen3moe only");
        return;
    }
    put(w, w->object, "num_experts", json_integer(required_integer(w, "expert_count")));
    put(w, w->object, "num_experts_per_tok", json_integer(required_integer(w, "expert_used_count")));
    put(w, w->object, "moe_intermediate_size",
        json_integer(required_integer(w, "expert_feed_forward_length")));
    /* Not in the file: llama.cpp knows it of the architecture. */
    put(w, w->object, "norm_topk_prob", json_true());
}

/* What llama.cpp does for other models of these architectures and nobody does here. */
static void refuse_extras(struct writer *w) {
    static const char *const keys[] = {"attention.scale",
                                       "attention.max_alibi_bias",
                                       "attention.clamp_kqv",
                                       "attn_logit_softcapping",
                                       "final_logit_softcapping",
                                       "logit_scale",
                                       "residual_scale",
                                       "embedding_scale",
                                       "expert_weights_scale"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        double value = number(w, keys[i], 0);
        if (value != 0 && value != 1)
            fail(w, QUERN_ERR_UNSUPPORTED, keys[i], "is not supported");
    }
    bool causal;
    const struct gguf_value *v = find(w, "attention.causal");
    if (v && (!gguf_bool(v, &causal) || !causal))
        fail(w, QUERN_ERR_UNSUPPORTED, "attention.causal", "is not true");
}

/* ---- the rotary embedding ------------------------------------------------------------------------ */

/* Llama 3's scaling as transformers has it; what llama.cpp keeps of it is the factor of each
 * frequency, in a tensor, from which the parameters are found again. All published models have
 * these two, and 8192 for the original context. */
static const double llama3_low = 1, llama3_high = 4;

static double llama3_factor(double factor, double context, double theta, size_t i, size_t half) {
    const double pi = 3.14159265358979323846;
    double wavelength = 2 * pi * pow(theta, (double)i / (double)half);
    if (wavelength < context / llama3_high)
        return 1;
    if (wavelength > context / llama3_low)
        return factor;
    double smooth = (context / wavelength - llama3_low) / (llama3_high - llama3_low);
    return 1 / ((1 - smooth) / factor + smooth);
}

static float factor_at(const struct tensor *t, size_t i) {
    float f;
    memcpy(&f, (const char *)t->data + i * sizeof f, sizeof f);
    return f;
}

/* Whether the tensor is what the converter makes of these parameters. It computes in float32,
 * hence the tolerance; other parameters differ by far more. */
static bool is_llama3(const struct tensor *t, double factor, double context, double theta) {
    const size_t half = t->shape[0];
    for (size_t i = 0; i < half; i++) {
        double expected = llama3_factor(factor, context, theta, i, half);
        if (!(fabs((double)factor_at(t, i) - expected) <= 1e-4 * expected))
            return false;
    }
    return true;
}

/* The original context, a power of two, or 0 when the tensor is something else. */
static int64_t recognize_llama3(const struct tensor *t, double theta, int64_t head_dim,
                                double *factor) {
    if (t->rank != 1 || t->block_type || t->dtype != DTYPE_F32 || head_dim < 2 ||
        t->shape[0] != (size_t)head_dim / 2)
        return 0;
    *factor = (double)factor_at(t, t->shape[0] - 1);
    for (int64_t context = 32; *factor >= 1 && context <= 1 << 24; context *= 2)
        if (is_llama3(t, *factor, (double)context, theta))
            return context;
    return 0;
}

static void put_factors(struct writer *w, json_t *scaling, double theta, int64_t head_dim) {
    const struct gguf_tensor *freqs = gguf_find_tensor(w->g, "rope_freqs.weight");
    if (!freqs || w->status)
        return;
    double factor = 1;
    const int64_t context = recognize_llama3(&freqs->tensor, theta, head_dim, &factor);
    if (!context) {
        w->status = error_set(w->err, QUERN_ERR_UNSUPPORTED,
                              "%s: tensor \"rope_freqs.weight\" is not Llama 3's scaling of the "
                              "rotary embedding, and no other is supported",
                              gguf_name(w->g));
        return;
    }
    put(w, scaling, "rope_type", json_string("llama3"));
    put(w, scaling, "factor", json_real(factor));
    put(w, scaling, "low_freq_factor", json_real(llama3_low));
    put(w, scaling, "high_freq_factor", json_real(llama3_high));
    put(w, scaling, "original_max_position_embeddings", json_integer(context));
}

static void put_yarn(struct writer *w, json_t *scaling, double factor) {
    double attention = number(w, "rope.scaling.attn_factor", 1);
    attention *= number(w, "rope.scaling.yarn_attn_factor", 1);
    put(w, scaling, "beta_fast", json_real(number(w, "rope.scaling.yarn_beta_fast", 32)));
    put(w, scaling, "beta_slow", json_real(number(w, "rope.scaling.yarn_beta_slow", 1)));
    /* llama.cpp multiplies its own, transformers replaces it. */
    if (attention != 1)
        put(w, scaling, "attention_factor", json_real(attention * (0.1 * log(factor) + 1)));
    if (number(w, "rope.scaling.yarn_log_multiplier", 0) != 0)
        fail(w, QUERN_ERR_UNSUPPORTED, "rope.scaling.yarn_log_multiplier", "is not supported");
}

static void put_rope(struct writer *w, int64_t head_dim) {
    const double theta = number(w, "rope.freq_base", 10000);
    /* Before there was rope.scaling.factor. */
    const double factor = number(w, "rope.scaling.factor", number(w, "rope.scale_linear", 0));
    const int64_t original = integer(w, "rope.scaling.original_context_length", 0);
    struct str type = STR_LIT("none");
    const struct gguf_value *v = find(w, "rope.scaling.type");
    json_t *scaling = json_object();
    put(w, w->object, "rope_theta", json_real(theta));
    put(w, w->object, "rope_scaling", scaling);
    if (w->status)
        return;
    if (v && !gguf_string(v, &type))
        fail(w, QUERN_ERR_FORMAT, "rope.scaling.type", "is no string");
    else if (!v && factor > 1)
        type = STR_LIT("linear");
    const bool yarn = str_is(type, "yarn");
    if (yarn || (str_is(type, "linear") && factor > 1)) {
        put(w, scaling, "rope_type", json_string(yarn ? "yarn" : "linear"));
        put(w, scaling, "factor", json_real(factor));
        if (original)
            put(w, scaling, "original_max_position_embeddings", json_integer(original));
        if (yarn)
            put_yarn(w, scaling, factor);
    } else if (!str_is(type, "none") && !str_is(type, "linear")) {
        fail(w, QUERN_ERR_UNSUPPORTED, "rope.scaling.type", "is none of none, linear, yarn");
    }
    put_factors(w, scaling, theta, head_dim);
}

/* ---- ids and type ----------------------------------------------------------------------------------- */

static void put_ids(struct writer *w) {
    int64_t bos;
    int32_t ends[END_IDS_MAX];
    size_t n = gguf_end_ids(w->g, ends, END_IDS_MAX);
    json_t *list = json_array();
    put(w, w->object, "eos_token_id", list);
    for (size_t i = 0; !w->status && i < n; i++)
        if (json_array_append_new(list, json_integer(ends[i])) != 0)
            w->status = error_nomem(w->err);
    bool has = gguf_integer(gguf_find(w->g, "tokenizer.ggml.bos_token_id"), &bos);
    put(w, w->object, "bos_token_id", has ? json_integer(bos) : json_null());
}

static void put_dtype(struct writer *w) {
    const struct gguf_tensor *embed = gguf_find_tensor(w->g, "token_embd.weight");
    const enum dtype dtype = embed ? embed->tensor.dtype : DTYPE_BF16;
    put(w, w->object, "dtype",
        json_string(dtype == DTYPE_F32   ? "float32"
                    : dtype == DTYPE_F16 ? "float16"
                                         : "bfloat16"));
}

/* Finds the architecture and writes its class. */
static void put_architecture(struct writer *w) {
    struct str name = {0};
    if (!gguf_string(gguf_find(w->g, "general.architecture"), &name)) {
        w->status = error_set(w->err, QUERN_ERR_FORMAT,
                              "%s: general.architecture is missing or no string", gguf_name(w->g));
        return;
    }
    for (size_t i = 0; i < N_ARCHITECTURES; i++)
        if (str_is(name, architectures[i].name)) {
            w->arch = architectures[i].name;
            json_t *list = json_pack("[s]", architectures[i].class_name);
            put(w, w->object, "architectures", list);
            return;
        }
    w->status = error_set(w->err, QUERN_ERR_UNSUPPORTED,
                          "%s: general.architecture \"%.*s\" is not supported (qwen3, qwen3moe, "
                          "qwen2 and llama are)",
                          gguf_name(w->g), (int)(name.len < 60 ? name.len : 60), name.ptr);
}

/* The text of w->object, which it takes, to *text. */
static enum quern_status finish(struct writer *w, struct buffer *text) {
    if (!w->status && json_write_python(w->object, -1, text))
        w->status = buffer_status(text, gguf_name(w->g), w->err);
    json_decref(w->object);
    return w->status;
}

enum quern_status gguf_hf_config(const struct gguf *g, struct hf_config *out,
                                 struct quern_error *err) {
    struct writer w = {.g = g, .arch = "", .object = json_object(), .err = err};
    struct buffer text;
    buffer_init(&text, JSON_BYTES_MAX);
    if (!w.object)
        return error_nomem(err);
    put_architecture(&w);
    if (!w.status) {
        put_sizes(&w);
        const int64_t head_dim = put_heads(&w);
        put_biases(&w);
        put_experts(&w);
        refuse_extras(&w);
        put_rope(&w, head_dim);
        put_ids(&w);
        put_dtype(&w);
    }
    enum quern_status status = finish(&w, &text);
    if (!status)
        status = hf_config_parse(text.data, text.len, gguf_name(g), out, err);
    buffer_release(&text);
    return status;
}

enum quern_status model_config_load(const char *path, struct hf_config *out,
                                    struct quern_error *err) {
    struct gguf *g = NULL;
    if (!gguf_is_file(path))
        return hf_config_load(path, out, err);
    enum quern_status status = gguf_open(path, &g, err);
    if (!status)
        status = gguf_hf_config(g, out, err);
    gguf_close(g);
    return status;
}

/* ---- generation_config.json --------------------------------------------------------------------------- */

static void put_sampling(struct writer *w) {
    static const struct {
        const char *gguf, *hf;
        bool is_integer;
    } members[] = {{"temp", "temperature", false},
                   {"top_k", "top_k", true},
                   {"top_p", "top_p", false},
                   {"min_p", "min_p", false},
                   {"penalty_repeat", "repetition_penalty", false}};
    bool any = false;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (!find(w, members[i].gguf))
            continue;
        any = true;
        put(w, w->object, members[i].hf,
            members[i].is_integer ? json_integer(integer(w, members[i].gguf, 0))
                                  : json_real(number(w, members[i].gguf, 0)));
    }
    /* The converter writes them when the model asks for sampling, but not the asking. */
    if (any)
        put(w, w->object, "do_sample", json_boolean(number(w, "temp", 1) > 0));
}

enum quern_status gguf_generation_config(const struct gguf *g, const struct hf_config *config,
                                         struct generation_config *out, struct quern_error *err) {
    struct writer w = {.g = g, .arch = "general.sampling", .object = json_object(), .err = err};
    struct buffer text;
    int64_t pad;
    buffer_init(&text, JSON_BYTES_MAX);
    if (!w.object)
        return error_nomem(err);
    put_sampling(&w);
    if (gguf_integer(gguf_find(g, "tokenizer.ggml.padding_token_id"), &pad))
        put(&w, w.object, "pad_token_id", json_integer(pad));
    enum quern_status status = finish(&w, &text);
    if (!status)
        status = generation_config_parse(text.data, text.len, gguf_name(g), config, out, err);
    buffer_release(&text);
    return status;
}
