/* row.h - one row of training text: what the data gives and the training core takes. */
#ifndef QUERN_TRAIN_ROW_H
#define QUERN_TRAIN_ROW_H

#include <stddef.h>
#include <stdint.h>

/* A grain of the global batch: examples packed one after another. Attention stays inside a segment
 * and positions restart with it, so that a row trains exactly as its examples would alone.
 * The arithmetic of a row depends on nothing but the row. */
struct train_row {
    size_t count;             /* tokens, > 0 */
    const int32_t *tokens;    /* [count] */
    const int32_t *labels;    /* [count]: what the model is to say after token i; -1: not trained */
    const uint8_t *is_prompt; /* [count]: labels that are prompt, not answer: they count by
                                 prompt_weight and have their own mean; NULL: none */
    const uint32_t *starts;   /* [segments + 1]: first token of each; the last is count */
    size_t segments;          /* > 0 */
};

#endif
