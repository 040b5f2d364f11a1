/* batch_run.h - the lines of a batch through the engine, many at a time. */
#ifndef QUERN_CLI_BATCH_RUN_H
#define QUERN_CLI_BATCH_RUN_H

#include "cli/batch_files.h"
#include "openai/served_model.h"

struct batch_setup {
    const struct served_model *model;
    struct batch_input *input;
    struct batch_output *output;
    size_t n_parallel; /* lines given to the engine at a time */
    bool quiet;        /* no progress bar */
};

struct batch_counts {
    size_t n_ok, n_failed; /* lines done now, with an answer and with an error */
    uint64_t prompt_tokens, completion_tokens;
    double seconds;
};

/* Until every line has a result, or a signal came (interrupt_pending). A line's own fault is its
 * result; the status tells of what stops the job. */
enum quern_status batch_run(const struct batch_setup *setup, struct batch_counts *counts,
                            struct quern_error *err);

#endif
