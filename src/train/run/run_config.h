/* run_config.h - what a training run is to do, as JSON: the keys of TRL's SFTConfig and PEFT's LoraConfig
 * where those have them. */
#ifndef QUERN_TRAIN_RUN_CONFIG_H
#define QUERN_TRAIN_RUN_CONFIG_H

#include "formats/peft_adapter.h"
#include "train/data/order.h"
#include "train/optimizer/lr_schedule.h"
#include "train/trainer.h"

enum { RUN_STAGES_MAX = 16, RUN_LIST_MAX = 64, RUN_WEIGHTS_MAX = 16 };

struct run_list {
    const char *items[RUN_LIST_MAX];
    size_t n;
};

/* Data, their order and their schedule; most runs have one. */
struct run_stage {
    struct run_list data;
    size_t max_steps; /* 0: num_train_epochs decide */
    uint64_t seed;
    struct schedule schedule;
};

/* A weight of the loss over the steps. */
struct run_weights {
    struct {
        size_t first_step;
        double weight;
    } at[RUN_WEIGHTS_MAX]; /* the last that has begun counts */
    size_t n;
};

struct run_config {
    json_t *json; /* own; strings below are borrowed from it */
    const char *model, *output_dir;
    struct run_list eval_data;
    struct run_stage stages[RUN_STAGES_MAX];
    size_t n_stages;
    double epochs;
    size_t batch_size, grad_accumulation; /* rows a step: their product */
    struct example_options example;
    struct order_options order;
    bool streaming; /* examples are made while training goes on */
    struct train_options train;
    struct run_list targets, excluded, saved;
    size_t layers[RUN_LIST_MAX];
    struct peft_pattern *patterns; /* own: rank_pattern's, then alpha_pattern's */
    struct run_weights prompt_weight, emphasis_weight;
    struct run_list emphasized; /* words, right after emphasized_after */
    const char *emphasized_after;
    size_t save_steps, save_total_limit, eval_steps, logging_steps; /* eval_steps 0: at the end */
    size_t patience;                                                /* 0: no early stop */
    bool load_best;
};

/* Takes `json` over, also after a failure. `name` begins messages. Unknown keys are errors. */
enum quern_status run_config_parse(json_t *json, const char *name, struct run_config *out,
                                   struct quern_error *err);
void run_config_release(struct run_config *c); /* zeroed is fine */

/* The index-th key there is, with what it takes, NULL after the last: for messages and documents. */
const char *run_config_key(size_t index, const char **takes);

/* `otherwise`: before any has begun. */
double run_weight_at(const struct run_weights *w, size_t step, double otherwise);

#endif
