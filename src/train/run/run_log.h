/* run_log.h - what a run tells of itself: metrics.jsonl and a file for TensorBoard, a line or event at a
 * time; and the losses so far. */
#ifndef QUERN_TRAIN_RUN_LOG_H
#define QUERN_TRAIN_RUN_LOG_H

#include <stdio.h>

#include "text/json.h"

struct run_point {
    size_t step; /* steps done */
    double loss;
};

struct run_points {
    struct run_point *items;
    size_t n, capacity;
};

struct run_log {
    FILE *metrics, *events; /* NULL: not kept */
    struct run_points train, eval;
};

/* Goes on behind the lines up to `step`; those after it are of steps that are run again. dir NULL: the
 * points alone are kept. */
enum quern_status run_log_open(const char *dir, size_t step, struct run_log *out,
                               struct quern_error *err);
void run_log_close(struct run_log *l); /* zeroed is fine */

/* Numbers of `values` (an object with "step" and loss or eval_loss) become a line and events. */
enum quern_status run_log_add(struct run_log *l, const json_t *values, struct quern_error *err);

#endif
