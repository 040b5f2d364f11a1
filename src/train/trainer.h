/* trainer.h - a model being trained: parameters, gradients, optimizer. No files of examples, no
 * schedule, no terminal: those are run.h's, which calls this. */
#ifndef QUERN_TRAIN_TRAINER_H
#define QUERN_TRAIN_TRAINER_H

#include <stdbool.h>

#include "base/error.h"
#include "train/data/row.h"

enum train_method { TRAIN_FULL, TRAIN_LORA, TRAIN_QLORA };
enum train_optimizer { TRAIN_ADAMW, TRAIN_ADAMW_8BIT, TRAIN_LION, TRAIN_ADAFACTOR, TRAIN_MUON };
enum train_lora_init { TRAIN_LORA_DEFAULT, TRAIN_LORA_PISSA };

struct peft_pattern;

/* Names and patterns as peft reads them (formats/peft_adapter.h). */
struct train_lora_options {
    size_t rank;          /* r */
    float alpha, dropout; /* lora_alpha, lora_dropout */
    bool use_rslora, use_dora;
    enum train_lora_init init;
    float lr_ratio;             /* LoRA+: learning rate of B over that of A; 1: LoRA */
    /* What targets and layers point to must outlive the trainer. */
    const char *const *targets; /* module names ("q_proj", ...); NULL: all seven, of experts none */
    size_t n_targets;
    const char *target_pattern; /* not NULL, instead: a regular expression over whole names, or
                                   "all-linear", which is all seven and the experts' */
    const char *const *excluded; /* exclude_modules */
    size_t n_excluded;
    const char *exclude_pattern; /* not NULL, instead */
    const struct peft_pattern *ranks, *alphas; /* rank_pattern, alpha_pattern */
    size_t n_ranks, n_alphas;
    const char *const *saved; /* modules_to_save: trained whole */
    size_t n_saved;
    bool tie_saved; /* ensure_weight_tying: a saved embedding is the tied head, too */
    const size_t *layers; /* layers_to_transform; NULL: all */
    size_t n_layers;
};

struct train_options {
    enum train_method method;
    struct train_lora_options lora;
    enum train_optimizer optimizer;
    float learning_rate;      /* peak; a step scales it */
    float muon_learning_rate; /* of matrices under TRAIN_MUON; the rest goes by AdamW */
    float beta1, beta2, epsilon, weight_decay, muon_momentum, muon_weight_decay;
    float max_grad_norm; /* 0: no clipping */
    float neftune_alpha; /* 0: off */
    bool checkpointing;  /* keep layer inputs only, compute the rest again */
    bool pack_weights;   /* LoRA: keep the base packed for both directions (twice its bytes) where half of the
                          * free memory is enough for it; the results are the same bits */
    bool bf16;           /* matrix products in bf16 with float32 sums; else float32 */
    size_t max_row;      /* longest row that will come, tokens */
    uint64_t seed;       /* initial adapters, dropout, NEFTune */
    int threads;         /* 0: as many as the machine has */
};

/* What one step did. Means over all rows of the step. */
struct train_step_result {
    double loss;        /* mean cross entropy of the answer's labels, nats */
    double prompt_loss; /* of the prompt's; 0 without any */
    double grad_norm;   /* before clipping */
    size_t n_labels; /* of the answer, n_emphasized among them */
    size_t n_emphasized, n_prompt_labels, n_tokens;
    /* Of the second step alone, in which adapters' A have one too: tensors whose gradient is 0 throughout, and
     * the first of them, which is the trainer's. */
    size_t n_without_gradient;
    const char *without_gradient;
};

struct trainer; /* one thread at a time; it has its own pool */

/* Opens the checkpoint in `dir`. Refuses what cannot be trained, naming it. */
enum quern_status trainer_create(const char *dir, const struct train_options *options,
                                 struct trainer **out, struct quern_error *err);
void trainer_destroy(struct trainer *t); /* NULL is fine */

/* Gradients over all rows, clipping, one optimizer step at `lr_scale` times the options' rates. The
 * loss is what row.h says, over all rows; with weights.prompt 0 the prompts' labels are left out, and
 * prompt_loss is 0. Rows are summed in a fixed binary tree by index. QUERN_ERR_ARG: a bad row; nothing
 * has changed then. QUERN_ERR_LIMIT: the loss is not finite; nothing has changed. */
enum quern_status trainer_step(struct trainer *t, const struct train_row *rows, size_t n_rows,
                               float lr_scale, struct train_label_weights weights,
                               struct train_step_result *result, struct quern_error *err);

/* The losses alone. */
enum quern_status trainer_evaluate(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                   struct train_step_result *result, struct quern_error *err);

/* Parameters that train, their bytes with gradients and optimizer, all parameters. */
struct train_size {
    size_t trainable, total, state_bytes, activation_bytes, weight_bytes;
};
struct train_size trainer_size(const struct trainer *t);
double
trainer_flops_per_token(const struct trainer *t); /* forward and backward, as training.md counts */

/* Everything that the next step depends on but the data: into a directory, as safetensors and
 * JSON. After loading, training goes on bit for bit. The caller makes it atomic (run.h). */
enum quern_status trainer_save_state(const struct trainer *t, const char *dir,
                                     struct quern_error *err);
enum quern_status trainer_load_state(struct trainer *t, const char *dir, struct quern_error *err);

/* The result: a PEFT adapter directory, or a model directory's safetensors (full; BF16). */
enum quern_status trainer_save_output(const struct trainer *t, const char *dir,
                                      struct quern_error *err);

#endif
