/* model.h - a checkpoint ready to compute: config, weights on a device. Immutable after
 * opening; threads may share it. */
#ifndef QUERN_MODEL_MODEL_H
#define QUERN_MODEL_MODEL_H

#include "base/arena.h"
#include "base/error.h"
#include "device/device.h"
#include "formats/checkpoint.h"
#include "formats/hf_config.h"

/* H hidden_size, I intermediate_size, Q n_heads*head_dim, K n_kv_heads*head_dim, D head_dim. */
struct expert_weights {
    struct weight gate, up; /* [moe_intermediate, H] */
    struct weight down;     /* [H, moe_intermediate] */
};

struct layer_weights {
    const float *input_norm;                      /* [H] */
    struct weight q, k, v;                        /* [Q,H] [K,H] [K,H] */
    const float *q_bias, *k_bias, *v_bias;        /* [Q] [K] [K] or NULL */
    const float *q_norm, *k_norm;                 /* [D] or NULL */
    struct weight o;                              /* [H,Q] */
    const float *o_bias;                          /* [H] or NULL */
    const float *post_norm;                       /* [H] */
    struct weight gate, up, down;                 /* [I,H] [I,H] [H,I]; dense layers */
    const float *gate_bias, *up_bias, *down_bias; /* or NULL */
    struct weight router;                         /* [n_experts, H]; MoE layers */
    struct expert_weights *experts;               /* [n_experts] or NULL */
};

struct weight_block;
struct weight_cache;

struct model {
    struct hf_config config;
    struct device *device;          /* borrowed */
    struct checkpoint *checkpoint;  /* owned: the mapping */
    struct arena arena;             /* norms in float32, tables */
    struct weight_block *blocks;    /* weights that are not in the mapping (weight_loader.h) */
    struct weight_cache *cache;     /* or weights that an earlier start made; NULL: none */
    struct weight embed;            /* [V,H] */
    struct weight lm_head;          /* [V,H]; the embedding when tied; data NULL: none */
    const float *final_norm;        /* [H] */
    struct layer_weights *layers;   /* [n_layers] */
    float attention_scale;          /* D^-0.5 */
    bool fast_math;                 /* of its matrices; what KV caches go by when nothing is said */
};

/* How weights are to be held and computed with; zeroed: as they are, exactly. */
struct model_options {
    enum quern_weights weights, embed_weights;
    enum quern_math math;
    const char *cache_dir; /* see weight_cache.h; NULL: none. Not used by model_from_checkpoint */
    void (*on_progress)(void *user, double fraction); /* or NULL */
    void *user;
};

/* Reads the weights of `dir`, whose config.json is `config`; NULL: it is read too. Every tensor's
 * name, shape and type is checked; surplus tensors are tolerated when known to be harmless, else
 * logged. Names may lack the "model." prefix (embedding checkpoints, which may also lack a head).
 * Weights stay in the mapping in their own type; norms and biases are converted to float32.
 * on_progress may be NULL. `device` must outlive the model. */
enum quern_status model_open(const char *dir, const struct hf_config *config, struct device *device,
                             void (*on_progress)(void *user, double fraction), void *user,
                             struct model **out, struct quern_error *err);
/* The same from a checkpoint that is open already; the model owns it, after a failure too. */
enum quern_status model_from_checkpoint(struct checkpoint *checkpoint,
                                        const struct hf_config *config, struct device *device,
                                        void (*on_progress)(void *user, double fraction),
                                        void *user, struct model **out, struct quern_error *err);
/* Both with options; NULL: none. */
enum quern_status model_open_with(const char *dir, const struct hf_config *config,
                                  struct device *device, const struct model_options *options,
                                  struct model **out, struct quern_error *err);
enum quern_status model_from_checkpoint_with(struct checkpoint *checkpoint,
                                             const struct hf_config *config, struct device *device,
                                             const struct model_options *options,
                                             struct model **out, struct quern_error *err);
void model_close(struct model *m); /* NULL is fine */

#endif
