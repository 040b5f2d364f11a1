/* train_view.h - what quern train shows: the plan, the mask of examples, the steps as they go by. */
#ifndef QUERN_CLI_TRAIN_VIEW_H
#define QUERN_CLI_TRAIN_VIEW_H

#include "cli/cli_common.h"
#include "train/run/run.h"

struct train_view {
    const struct run_config *config;
    bool is_tty, colour;
    double peak_ops_s, flops_per_token; /* 0: unknown */
    const char *label;                  /* of the work under way */
    struct cli_progress work;
    bool line_drawn;
    double mean; /* of the loss, following */
    size_t n_means;
};

void train_view_init(struct train_view *v, const struct run_config *config);
/* Events whose user is `v`. */
struct run_events train_view_events(struct train_view *v);
/* Takes the line of the progress off the screen. */
void train_view_clear(struct train_view *v);

/* Parameters, memory, tokens, steps. */
void train_view_plan(const struct run_config *config, const struct trainer_ops *ops,
                     const struct run *run, struct buffer *out);
/* The first n examples of a file as they are trained. */
enum quern_status train_view_examples(const struct example_maker *maker, const char *path, size_t n,
                                      bool colour, struct buffer *out, struct quern_error *err);
/* The example of one line. */
enum quern_status train_view_example(const struct example_maker *maker, const char *path, size_t line,
                                     bool colour, struct buffer *out, struct quern_error *err);

#endif
