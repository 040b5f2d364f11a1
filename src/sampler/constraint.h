/* constraint.h - how something (a grammar) restricts the next token. The sampler knows
 * only this; grammars live above it. */
#ifndef QUERN_SAMPLER_CONSTRAINT_H
#define QUERN_SAMPLER_CONSTRAINT_H

#include "base/error.h"

struct constraint {
    const struct constraint_ops *ops;
    void *state;
};

struct constraint_ops {
    /* Sets bit t of mask[(n_vocab+31)/32] for every allowed token t and clears all others. */
    enum quern_status (*mask)(void *state, uint32_t *mask, int32_t n_vocab,
                              struct quern_error *err);
    /* The sampled token; the state advances. */
    enum quern_status (*accept)(void *state, int32_t token, struct quern_error *err);
    /* The tokens that come next whatever the logits say; changes nothing. At most `max` and not more
     * than fit into the n_left that may still be made; how many there are. NULL: never any. */
    size_t (*forced)(void *state, int32_t *tokens, size_t max, size_t n_left);
    /* What is taken instead of `token`, which was sampled: mostly itself, another one where the text
     * would not end within the n_left tokens that may still be made, this one included. NULL: itself. */
    int32_t (*settle)(void *state, int32_t token, size_t n_left);
};

#endif
