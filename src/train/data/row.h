/* row.h - one row of training text: what the data gives and the training core takes. */
#ifndef QUERN_TRAIN_ROW_H
#define QUERN_TRAIN_ROW_H

#include <stddef.h>
#include <stdint.h>

enum train_label_kind {
    TRAIN_LABEL_ANSWER,
    TRAIN_LABEL_PROMPT,     /* counts by the prompt's weight and has its own mean */
    TRAIN_LABEL_EMPHASIZED, /* of the answer, and counts more often */
};

/* What labels count in the loss: the mean over the answers' labels, an emphasized one as often as
 * `emphasis` says, plus `prompt` times the mean over the prompts' labels. */
struct train_label_weights {
    float prompt, emphasis;
};

/* A grain of the global batch: examples packed one after another. Attention stays inside a segment
 * and positions restart with it, so that a row trains exactly as its examples would alone.
 * The arithmetic of a row depends on nothing but the row. */
struct train_row {
    size_t count;             /* tokens, > 0 */
    const int32_t *tokens;    /* [count] */
    const int32_t *labels;    /* [count]: what the model is to say after token i; -1: not trained */
    const uint8_t *kinds;     /* [count] enum train_label_kind of the labels; NULL: all answer */
    const uint32_t *starts;   /* [segments + 1]: first token of each; the last is count */
    size_t segments;          /* > 0 */
};

#endif
