/* peft_adapter.h - LoRA adapters as the package peft keeps them: a directory with
 * adapter_config.json and adapter_model.safetensors.
 *
 * A module is named as in the model, "model.layers.0.self_attn.q_proj". Its tensors are
 *     base_model.model.MODULE.lora_A.weight           A [rank, in]
 *     base_model.model.MODULE.lora_B.weight           B [out, rank]
 *     base_model.model.MODULE.lora_magnitude_vector   m [out]; DoRA only
 * of type F32, BF16 or F16, and the module computes, with s = alpha / rank (rsLoRA: alpha /
 * sqrt(rank)), LoRA   y = W x + b + s B A x DoRA   y = (m / n) (W x + s B A x) + b,  n the norms of
 * the rows of W + s B A rank_pattern and alpha_pattern give single modules a rank and alpha of
 * their own. Modules saved whole (modules_to_save) are base_model.model.MODULE.weight.
 *
 * What is read is untrusted. Keys that would change the result in a way nobody here computes are
 * refused by name; keys that are not known are ignored. */
#ifndef QUERN_FORMATS_PEFT_ADAPTER_H
#define QUERN_FORMATS_PEFT_ADAPTER_H

#include "base/error.h"
#include "formats/tensor.h"

enum { PEFT_RANK_MAX = 4096, PEFT_PATTERNS_MAX = 4096, PEFT_TARGETS_MAX = 4096 };

/* rank_pattern, alpha_pattern: for modules whose name, or its end behind a dot, matches `key`, a
 * regular expression (most are plain names). The first that matches counts. */
struct peft_pattern {
    const char *key;
    double value;
};

/* adapter_config.json. Zeroed and rank, alpha and targets filled in, it is a usable one. */
struct peft_config {
    size_t rank;    /* r, 1..PEFT_RANK_MAX */
    double alpha;   /* lora_alpha */
    double dropout; /* lora_dropout; means nothing to who applies the adapter */
    bool use_rslora, use_dora;
    bool ensure_weight_tying; /* a saved embedding is also the head's */
    const char *base_model;   /* base_model_name_or_path; NULL: null */
    const char *revision;     /* of the base model; NULL: null */
    /* Which modules have one. Either names or their ends ("q_proj"), or one regular expression over
     * whole names, or "all-linear". */
    const char *const *targets; /* [n_targets] */
    size_t n_targets;
    const char *target_pattern; /* not NULL: instead of targets */
    const char *const *excluded; /* [n_excluded] exclude_modules: no targets whatever else says so */
    size_t n_excluded;
    const char *exclude_pattern; /* not NULL: instead, over whole names */
    const size_t *layers;       /* [n_layers] layers_to_transform; NULL: all */
    size_t n_layers;
    const struct peft_pattern *ranks; /* [n_ranks] rank_pattern */
    size_t n_ranks;
    const struct peft_pattern *alphas; /* [n_alphas] alpha_pattern */
    size_t n_alphas;
    const char *const *saved; /* [n_saved] modules_to_save */
    size_t n_saved;
};

/* ---- writing ------------------------------------------------------------------------ */

/* One module's matrices, packed, all of type `dtype` (F32, BF16 or F16). */
struct peft_matrices {
    const char *module;
    enum dtype dtype;
    size_t rank, in, out;
    const void *a, *b;     /* [rank, in] [out, rank] */
    const void *magnitude; /* [out] with use_dora, else NULL */
};

/* A module saved whole: its weight. */
struct peft_saved_module {
    const char *module; /* "lm_head" */
    enum dtype dtype;
    int rank;
    size_t shape[TENSOR_RANK_MAX];
    const void *data;
};

/* Writes both files into `dir`, which is made when it is missing, each in one piece or not at all,
 * the configuration last. Refused with QUERN_ERR_ARG: a module whose rank is not what the config
 * says of it, one that is not among its targets, magnitudes without use_dora or the other way
 * round, no module at all. With PiSSA the caller writes the difference to the base as it was: rank
 * 2r, A = [A; A0], B = [B, -B0]. */
enum quern_status peft_adapter_write(const char *dir, const struct peft_config *config,
                                     const struct peft_matrices *matrices, size_t n,
                                     const struct peft_saved_module *saved, size_t n_saved,
                                     struct quern_error *err);

/* ---- reading ------------------------------------------------------------------------ */

struct peft_module {
    const char *name;
    const struct tensor *a, *b;     /* [rank, in] [out, rank] */
    const struct tensor *magnitude; /* [out] or NULL */
    /* [out, in]: the base's own weight, which peft writes along when the head has LoRA (it might
     * have been enlarged before). NULL mostly. */
    const struct tensor *base;
    size_t rank, in, out;
    double alpha, scale; /* s above */
};

struct peft_adapter; /* immutable after opening; its tensors are mapped */

bool peft_adapter_is_dir(const char *dir); /* there is an adapter_config.json */
enum quern_status peft_adapter_open(const char *dir, struct peft_adapter **out,
                                    struct quern_error *err);
/* The same from memory; what the fuzzer drives. The weights are borrowed. `name` starts messages.
 */
enum quern_status peft_adapter_parse(const char *config, size_t config_len,
                                     const unsigned char *weights, size_t weights_len,
                                     const char *name, struct peft_adapter **out,
                                     struct quern_error *err);
void peft_adapter_close(struct peft_adapter *a); /* NULL is fine */

const struct peft_config *peft_adapter_config(const struct peft_adapter *a);
size_t
peft_adapter_count(const struct peft_adapter *a); /* modules, at least one unless some are saved */
const struct peft_module *peft_adapter_at(const struct peft_adapter *a, size_t i); /* by name */
const struct peft_module *peft_adapter_find(const struct peft_adapter *a, const char *module);
/* Modules saved whole: tensor names without "base_model.model." are given by peft_saved_name. */
size_t peft_adapter_saved_count(const struct peft_adapter *a);
const struct tensor *peft_adapter_saved_at(const struct peft_adapter *a, size_t i);
const char *peft_saved_name(const struct tensor *t);           /* "lm_head.weight" */
size_t peft_adapter_total_bytes(const struct peft_adapter *a); /* of tensor data */

#endif
