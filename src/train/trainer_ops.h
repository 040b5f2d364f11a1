/* trainer_ops.h - the training core as a table, so that a run can be tested without one. */
#ifndef QUERN_TRAIN_TRAINER_OPS_H
#define QUERN_TRAIN_TRAINER_OPS_H

#include "train/trainer.h"

struct trainer_ops {
    enum quern_status (*create)(const char *dir, const struct train_options *options,
                                struct trainer **out, struct quern_error *err);
    void (*destroy)(struct trainer *t);
    enum quern_status (*step)(struct trainer *t, const struct train_row *rows, size_t n_rows,
                              float lr_scale, struct train_label_weights w,
                              struct train_step_result *result, struct quern_error *err);
    enum quern_status (*evaluate)(struct trainer *t, const struct train_row *rows, size_t n_rows,
                                  struct train_step_result *result, struct quern_error *err);
    struct train_size (*size)(const struct trainer *t);
    double (*flops_per_token)(const struct trainer *t);
    enum quern_status (*save_state)(const struct trainer *t, const char *dir,
                                    struct quern_error *err);
    enum quern_status (*load_state)(struct trainer *t, const char *dir, struct quern_error *err);
    enum quern_status (*save_output)(const struct trainer *t, const char *dir,
                                     struct quern_error *err);
};

/* trainer.h's. */
#define TRAINER_OPS                                                                        \
    {                                                                                      \
        trainer_create, trainer_destroy, trainer_step, trainer_evaluate, trainer_size,     \
            trainer_flops_per_token, trainer_save_state, trainer_load_state,               \
            trainer_save_output                                                            \
    }

#endif
