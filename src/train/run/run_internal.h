/* run_internal.h - what a run is made of; for run.c and run_loop.c. */
#ifndef QUERN_TRAIN_RUN_INTERNAL_H
#define QUERN_TRAIN_RUN_INTERNAL_H

#include "train/run/run.h"
#include "train/run/run_checkpoint.h"

struct stage {
    struct train_data own; /* opened for this stage */
    struct train_data *data;
    struct order_options order;
    size_t n_steps, n_rows, n_epochs; /* of streamed data rows and epochs are not known: 0 */
};

/* The place in the order: rows before it are trained. */
struct cursor {
    size_t stage, stage_step; /* of the stage */
    size_t epoch, row;        /* row of the epoch */
    struct order order;       /* of the epoch; n_rows 0: not made. Of streamed data: of a part of it */
    size_t n_ordered;         /* streamed data: examples of the epoch that are or were in the order */
};

struct run {
    const struct run_config *config;
    const struct trainer_ops *ops;
    struct run_events events;
    bool files;
    int lock; /* of the output directory; -1: none */
    struct tokenizer *tokenizer;
    struct chat_template *chat;
    struct example_maker maker;
    struct thread_pool *pool;
    struct stage stages[RUN_STAGES_MAX];
    size_t n_stages, n_steps, longest_row;
    struct train_data eval_data;
    struct order eval_order;
    struct label_rules labels; /* prompts: as the step says */
    struct trainer *trainer;
    struct run_log log;
    bool log_failed; /* as was said */
    struct data_problem problem;
    /* What goes on from a checkpoint. */
    struct cursor cursor;
    size_t step, best_step, bad_evals, n_tokens;
    double best_loss; /* best_step 0: none yet */
    char checkpoints[RUN_PATH_BYTES], best[RUN_PATH_BYTES];
};

void run_note(const struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t run_rows_a_step(const struct run *r);
/* Makes the order of the cursor's epoch where it is not made; steps into the next epoch or stage where
 * one is through. */
enum quern_status run_cursor_ready(struct run *r, struct quern_error *err);
void run_cursor_advance(struct run *r);

#endif
