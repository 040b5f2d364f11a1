/* lr_schedule.h - the learning rate over the steps of a run, as a share of its peak. */
#ifndef QUERN_TRAIN_LR_SCHEDULE_H
#define QUERN_TRAIN_LR_SCHEDULE_H

#include <stddef.h>

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_WSD };

struct schedule {
    enum schedule_kind kind;
    double scale;        /* of the whole */
    size_t warmup_steps; /* linear, from 1 / warmup_steps */
    double warmup_ratio; /* of all steps, where warmup_steps is 0 */
    double min_ratio;    /* what it ends at */
    double decay_ratio;  /* SCHEDULE_WSD: the last share of all steps, in which the rate falls linearly */
};

/* `step` counts from 0. */
double schedule_at(const struct schedule *s, size_t step, size_t n_steps);

#endif
