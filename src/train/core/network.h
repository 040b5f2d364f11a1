/* network.h - a model as training sees it: what is fixed, what has gradients, and what a pass keeps for
 * its way back.
 *
 * Shapes: T tokens of a row, H hidden_size, Q n_heads*head_dim, K n_kv_heads*head_dim, D head_dim,
 * I intermediate_size (or that of an expert), V vocabulary, r an adapter's rank. */
#ifndef QUERN_TRAIN_NETWORK_H
#define QUERN_TRAIN_NETWORK_H

#include "base/arena.h"
#include "formats/peft_adapter.h"
#include "model/model.h"
#include "model/moe.h"
#include "model/rope.h"
#include "train/core/compute.h"
#include "train/trainer.h"

enum param_kind {
    PARAM_MATRIX,
    PARAM_EMBEDDING, /* and the head */
    PARAM_NORM,
    PARAM_BIAS,
    PARAM_LORA_A,
    PARAM_LORA_B,
    PARAM_MAGNITUDE,
};

enum { PARAM_NAME_MAX = 128 };

/* A tensor that is trained. Values of all lie in net.values, one behind the other, and so do
 * gradients and whatever an optimizer keeps. */
struct param {
    char name[PARAM_NAME_MAX]; /* "model.layers.0.mlp.up_proj.weight", "....lora_A.weight" */
    enum param_kind kind;
    int rank;
    size_t shape[2];
    size_t n, offset; /* elements; first of them in the net's arrays */
};

/* y = x W^T (+ bias) (+ s B A dropout(x)), W [rows, cols] */
struct adapter {
    size_t rank;
    const struct param *a, *b;    /* [r, cols] [rows, r] */
    const struct param *magnitude; /* [rows] or NULL: DoRA */
    float scale, dropout;
    float *gain, *norm; /* [rows]: DoRA's m / n and n, as of this step */
    /* PiSSA: what A and B began as, [r, cols] [rows, r], is taken off again: y -= s B0 A0 x. So the
     * base stays as it is, coded or mapped. NULL: not there. */
    float *start_a, *start_b;
    uint32_t site;      /* for the random numbers of dropout */
};
struct linear {
    size_t rows, cols;
    const struct weight *fixed; /* used when w is NULL */
    const float *fixed_bias;    /* or NULL */
    const struct param *w, *b;  /* or NULL */
    struct adapter *adapter;    /* or NULL */
    bool exact;                 /* float32 whatever the rest is computed in */
    /* Kept packed for both directions (op_weight_panels), or NULL. */
    const void *row_panels, *column_panels;
};
struct scaling { /* a norm's weight */
    const float *fixed;
    const struct param *w;
    size_t n; /* 0: there is none */
};
struct expert {
    struct linear gate, up, down;
};
struct layer {
    struct scaling input_norm, post_norm, q_norm, k_norm;
    struct linear q, k, v, o, gate, up, down, router;
    struct expert *experts; /* [n_experts] or NULL */
    size_t window;
};

struct net {
    struct device *device;
    struct model *model;
    struct arena arena;
    struct layer *layers;
    struct linear embed, head; /* tied: both the embedding */
    struct scaling final_norm;
    struct rope rope;
    struct param *params;
    size_t n_params, max_params;
    size_t n_values; /* elements of all of them */
    float *values;   /* owned: [n_values] */
    size_t fixed_bytes; /* of the model's matrices */
    bool embed_is_mapped; /* its data is in the checkpoint's files */
};

/* Opens the checkpoint and makes a parameter of everything that trains. Values are set. */
enum quern_status net_init(struct net *n, const char *dir, const struct train_options *o,
                           const struct compute *c, struct quern_error *err);
void net_release(struct net *n); /* zeroed is fine */
const struct param *net_find(const struct net *n, const char *name); /* or NULL */
/* NULL stays NULL. */
const float *net_value(const struct net *n, const struct param *p);
/* The name of a parameter's module, without ".weight" or ".lora_A.weight" and the like. */
size_t param_module_len(const struct param *p);

/* What options say of adapters, as peft says it. */
struct peft_config net_peft_config(const struct train_lora_options *o);
bool net_has_expert_adapters(const struct net *n);
/* Adapters on the modules that options name; sets their values. */
enum quern_status net_add_adapters(struct net *n, const struct train_options *o, struct quern_error *err);
/* PiSSA's A and B of a layer from the largest singular values of its matrix. */
enum quern_status pissa_start(struct net *n, struct linear *l, const struct train_options *o,
                              const struct compute *c, struct quern_error *err);
enum quern_status net_init_adapters(struct net *n, const struct train_options *o, const struct compute *c,
                                    struct quern_error *err);
/* For the list of parameters while it is made; NULL: no memory. */
const struct param *net_add_param(struct net *n, enum param_kind kind, const char *name, int rank,
                                  size_t rows, size_t cols);
/* The linear layers of all layers: fn(ctx, linear, layer, "self_attn.q_proj" or
 * "mlp.experts.0.up_proj"). */
typedef enum quern_status net_linear_fn(void *ctx, struct linear *l, size_t layer, const char *module,
                                        struct quern_error *err);
enum quern_status net_each_linear(struct net *n, net_linear_fn *fn, void *ctx, struct quern_error *err);
/* Rows [first, first + count) of a matrix in float32, to out[count][cols]. */
void net_fixed_rows(const struct weight *w, size_t first, size_t count, float *out);

#endif
