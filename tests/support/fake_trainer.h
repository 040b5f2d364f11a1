/* fake_trainer.h - a training core without a model: a bias for each token, by plain gradient descent.
 * Losses fall, state is exact, and nothing takes time. */
#ifndef TESTS_FAKE_TRAINER_H
#define TESTS_FAKE_TRAINER_H

#include "train/trainer_ops.h"

extern const struct trainer_ops fake_trainer_ops;

/* The next calls of save_state fail as on a full disk, this many times. */
extern int fake_trainer_failing_saves;
/* Evaluations give these losses in turn instead of their own; NULL: none. */
extern const double *fake_trainer_eval_losses;

#endif
