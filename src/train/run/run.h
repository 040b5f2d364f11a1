/* run.h - a training run: data, order, schedule, evaluation, checkpoints, logs, around a training core.
 * The output directory holds
 *     checkpoints/step-N/    where it can go on (run_checkpoint.h)
 *     best/                  the output at the lowest evaluation loss
 *     cache/                 the data as token ids
 *     metrics.jsonl, events.out.tfevents.*
 * and in the end the output itself. */
#ifndef QUERN_TRAIN_RUN_H
#define QUERN_TRAIN_RUN_H

#include "train/run/run_config.h"
#include "train/run/run_log.h"
#include "train/trainer_ops.h"

struct run_progress {
    size_t step, n_steps; /* steps done, of */
    double epoch;         /* of the stage's data */
    struct train_step_result result;
    double learning_rate;
    double step_s, tokens_s, elapsed_s, left_s;
};

struct run_eval {
    size_t step;
    double loss;
    bool is_best;
};

/* Any of them may be NULL. */
struct run_events {
    void (*on_step)(void *user, const struct run_progress *p);
    void (*on_eval)(void *user, const struct run_eval *e);
    void (*on_note)(void *user, const char *text); /* what a person should know */
    void (*on_work)(void *user, const char *label, double fraction); /* 1: done */
    bool (*is_cancelled)(void *user);
    void *user;
};

struct run_stage_facts {
    size_t n_steps, n_rows, n_epochs; /* rows in all its epochs; streamed data: 0, not known */
    const struct train_data *data;
};

struct run;

/* Reads the data and makes the trainer. Without `files` nothing is written. */
enum quern_status run_open(const struct run_config *config, const struct trainer_ops *ops,
                           const struct run_events *events, bool files, struct run **out,
                           struct data_problem *problem, struct quern_error *err);
void run_close(struct run *r); /* NULL is fine */

size_t run_n_steps(const struct run *r);
struct run_stage_facts run_stage_facts(const struct run *r, size_t stage);
const struct example_maker *run_maker(const struct run *r);
const struct trainer *run_trainer(const struct run *r);
size_t run_longest_row(const struct run *r);
const struct run_log *run_log_of(const struct run *r);
struct data_problem run_problem(const struct run *r); /* why run_execute failed */

enum run_start {
    RUN_FRESH,  /* refused where there is a checkpoint */
    RUN_RESUME, /* from the newest whole checkpoint, or from the start where there is none */
    RUN_AGAIN,  /* checkpoints are removed */
};

enum run_end { RUN_COMPLETE, RUN_INTERRUPTED, RUN_STOPPED_EARLY };

/* Trains until the last step, an early stop, or is_cancelled; then a checkpoint is saved. */
enum quern_status run_execute(struct run *r, enum run_start start, enum run_end *end,
                              struct quern_error *err);

/* The tokenizer and template of a model directory, for a view of examples without a run. */
enum quern_status run_maker_open(const char *model, const struct example_options *options,
                                 struct tokenizer **tokenizer, struct chat_template **chat,
                                 struct example_maker *maker, struct quern_error *err);

#endif
