#include "formats/tensor_layout.h"

#include <stdarg.h>
#include <stdio.h>

/* clang-format off */

/* A layer's tensors outside its experts; the dense MLP stands where an MoE layer has router
 * and experts. */
enum layer_step {
    STEP_Q, STEP_Q_BIAS, STEP_K, STEP_K_BIAS, STEP_V, STEP_V_BIAS, STEP_O, STEP_O_BIAS,
    STEP_Q_NORM, STEP_K_NORM,
    STEP_GATE, STEP_GATE_BIAS, STEP_UP, STEP_UP_BIAS, STEP_DOWN, STEP_DOWN_BIAS,
    STEP_ROUTER, STEP_EXPERTS,
    STEP_INPUT_NORM, STEP_POST_NORM,
    STEP_LAYER_END,
};

/* clang-format on */

struct row {
    const char *name;
    enum tensor_role role;
    size_t rows, cols; /* cols 0: a vector */
    bool present;
};

void tensor_layout_begin(struct tensor_layout *walk, const struct hf_config *config) {
    *walk = (struct tensor_layout){.config = config, .layer = -1};
}

static bool emit(struct tensor_spec *out, const struct row *row, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

static bool emit(struct tensor_spec *out, const struct row *row, const char *fmt, ...) {
    char prefix[TENSOR_LAYOUT_NAME_MAX / 2];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    snprintf(out->name, sizeof out->name, "%s%s", prefix, row->name);
    out->role = row->role;
    out->rank = row->cols ? 2 : 1;
    out->shape[0] = row->rows;
    out->shape[1] = row->cols;
    return true;
}

/* clang-format off */
/* Describes one step of a layer. */
static struct row layer_row(const struct hf_config *c, int32_t layer, enum layer_step step) {
    size_t h = (size_t)c->hidden_size, i = (size_t)c->intermediate_size;
    size_t d = (size_t)c->head_dim, q = (size_t)c->n_heads * d, k = (size_t)c->n_kv_heads * d;
    bool moe = c->layer_is_moe[layer], dense_bias = !moe && c->mlp_bias;
    switch (step) {
    case STEP_Q: return (struct row){"self_attn.q_proj.weight", TENSOR_MATRIX, q, h, true};
    case STEP_Q_BIAS: return (struct row){"self_attn.q_proj.bias", TENSOR_BIAS, q, 0, c->qkv_bias};
    case STEP_K: return (struct row){"self_attn.k_proj.weight", TENSOR_MATRIX, k, h, true};
    case STEP_K_BIAS: return (struct row){"self_attn.k_proj.bias", TENSOR_BIAS, k, 0, c->qkv_bias};
    case STEP_V: return (struct row){"self_attn.v_proj.weight", TENSOR_MATRIX, k, h, true};
    case STEP_V_BIAS: return (struct row){"self_attn.v_proj.bias", TENSOR_BIAS, k, 0, c->qkv_bias};
    case STEP_O: return (struct row){"self_attn.o_proj.weight", TENSOR_MATRIX, h, q, true};
    case STEP_O_BIAS: return (struct row){"self_attn.o_proj.bias", TENSOR_BIAS, h, 0, c->o_bias};
    case STEP_Q_NORM: return (struct row){"self_attn.q_norm.weight", TENSOR_NORM, d, 0, c->qk_norm};
    case STEP_K_NORM: return (struct row){"self_attn.k_norm.weight", TENSOR_NORM, d, 0, c->qk_norm};
    case STEP_GATE: return (struct row){"mlp.gate_proj.weight", TENSOR_MATRIX, i, h, !moe};
    case STEP_GATE_BIAS: return (struct row){"mlp.gate_proj.bias", TENSOR_BIAS, i, 0, dense_bias};
    case STEP_UP: return (struct row){"mlp.up_proj.weight", TENSOR_MATRIX, i, h, !moe};
    case STEP_UP_BIAS: return (struct row){"mlp.up_proj.bias", TENSOR_BIAS, i, 0, dense_bias};
    case STEP_DOWN: return (struct row){"mlp.down_proj.weight", TENSOR_MATRIX, h, i, !moe};
    case STEP_DOWN_BIAS: return (struct row){"mlp.down_proj.bias", TENSOR_BIAS, h, 0, dense_bias};
    case STEP_ROUTER:
        return (struct row){"mlp.gate.weight", TENSOR_ROUTER, (size_t)c->n_experts, h, moe};
    case STEP_INPUT_NORM: return (struct row){"input_layernorm.weight", TENSOR_NORM, h, 0, true};
    case STEP_POST_NORM:
        return (struct row){"post_attention_layernorm.weight", TENSOR_NORM, h, 0, true};
    case STEP_EXPERTS:
    case STEP_LAYER_END: break;
    }
    return (struct row){.present = false};
}

/* clang-format on */

/* The three matrices of each expert. False after the last. */
static bool next_expert(struct tensor_layout *w, struct tensor_spec *out) {
    const struct hf_config *c = w->config;
    size_t h = (size_t)c->hidden_size, m = (size_t)c->moe_intermediate_size;
    const struct row rows[3] = {{"gate_proj.weight", TENSOR_MATRIX, m, h, true},
                                {"up_proj.weight", TENSOR_MATRIX, m, h, true},
                                {"down_proj.weight", TENSOR_MATRIX, h, m, true}};
    int32_t expert = w->expert / 3, part = w->expert % 3;
    if (!c->layer_is_moe[w->layer] || expert >= c->n_experts)
        return false;
    w->expert++;
    return emit(out, &rows[part], "model.layers.%d.mlp.experts.%d.", (int)w->layer, (int)expert);
}

static bool next_in_layer(struct tensor_layout *w, struct tensor_spec *out) {
    while (w->step < STEP_LAYER_END) {
        if (w->step == STEP_EXPERTS && next_expert(w, out))
            return true;
        struct row row = layer_row(w->config, w->layer, (enum layer_step)w->step++);
        if (row.present)
            return emit(out, &row, "model.layers.%d.", (int)w->layer);
    }
    return false;
}

bool tensor_layout_next(struct tensor_layout *w, struct tensor_spec *out) {
    const struct hf_config *c = w->config;
    size_t v = (size_t)c->vocab_size, h = (size_t)c->hidden_size;
    const struct row embed = {"embed_tokens.weight", TENSOR_EMBEDDING, v, h, true};
    const struct row norm = {"norm.weight", TENSOR_NORM, h, 0, true};
    const struct row head = {"lm_head.weight", TENSOR_HEAD, v, h, !c->tie_word_embeddings};
    if (w->layer < 0) {
        w->layer = 0;
        return emit(out, &embed, "model.");
    }
    while (w->layer < c->n_layers) {
        if (next_in_layer(w, out))
            return true;
        w->layer++;
        w->step = 0;
        w->expert = 0;
    }
    switch (w->step++) {
    case 0:
        return emit(out, &norm, "model.");
    case 1:
        return head.present && emit(out, &head, "%s", "");
    default:
        return false;
    }
}

size_t tensor_layout_count(const struct hf_config *config) {
    struct tensor_layout walk;
    struct tensor_spec spec;
    size_t n = 0;
    for (tensor_layout_begin(&walk, config); tensor_layout_next(&walk, &spec);)
        n++;
    return n;
}

bool tensor_is_harmless_surplus(const struct hf_config *c, struct str name) {
    /* Old Llama checkpoints carry the frequencies; tied ones sometimes a copy of the head. */
    return str_ends_with(name, STR_LIT(".rotary_emb.inv_freq")) ||
           (c->tie_word_embeddings && str_is(name, "lm_head.weight"));
}
