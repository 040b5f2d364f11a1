/* trainer_internal.h - the trainer's insides, for its files and their tests. */
#ifndef QUERN_TRAIN_TRAINER_INTERNAL_H
#define QUERN_TRAIN_TRAINER_INTERNAL_H

#include "train/optimizer/optimizer.h"
#include "train/core/pass.h"

/* Sums over 2^i rows wait at level i for their like. */
enum { TREE_LEVELS_MAX = 32 };

struct trainer {
    char *dir; /* of the checkpoint; owned */
    struct train_options options;
    struct compute compute;
    struct net net;
    struct pass pass;
    struct optimizer optimizer;
    float *current; /* [n_values], made when first needed, and so are the others */
    float *levels[TREE_LEVELS_MAX];
    bool full[TREE_LEVELS_MAX];
};

/* Gradients over all rows into t->current, and the losses; parameters stay. */
enum quern_status trainer_gradients(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                    struct train_label_weights weights, struct train_step_result *result,
                                    struct quern_error *err);

#endif
