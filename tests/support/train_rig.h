/* train_rig.h - trainers over the tiny models of tests/golden/train/, with what torch says of them. */
#ifndef TESTS_TRAIN_RIG_H
#define TESTS_TRAIN_RIG_H

#include "formats/safetensors.h"
#include "train/trainer_internal.h"

enum { TRAIN_RIG_ROWS_MAX = 8 };

struct train_rig {
    struct trainer *trainer;
    struct safetensors *expected;
    struct train_row rows[TRAIN_RIG_ROWS_MAX];
    size_t n_rows;
};

/* The options make_train.py uses for the case. */
struct train_options train_rig_options(const char *name);
/* Adapters' values are the case's. */
struct train_rig train_rig_open(const char *name, const struct train_options *o);
void train_rig_close(struct train_rig *g);

/* |got - want| / |want| */
double train_relative_error(const float *got, const float *want, size_t n);

#endif
