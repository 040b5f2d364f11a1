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
    /* Guesses which tokens come next where the text leaves no choice; changes nothing. At most
     * `max`; how many there are. NULL: it never knows. */
    size_t (*guess)(void *state, int32_t *tokens, size_t max);
};

#endif
