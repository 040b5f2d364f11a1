/* generate.h - the loop of sampling and feeding: stop tokens, stop strings, streaming text. */
#ifndef QUERN_ENGINE_GENERATE_H
#define QUERN_ENGINE_GENERATE_H

#include "engine/session.h"
#include "quern.h"
#include "sampler/constraint.h"
#include "tokenizer/tokenizer.h"

struct generate_context {
    struct session *session;
    const struct tokenizer *tokenizer;
    const int32_t *eos; /* the model's end tokens */
    size_t n_eos;
    struct constraint *constraint; /* or NULL */
};

/* As quern_generate in quern.h. Every token made is also fed to the session, the last one
 * (an end token, say) included: what was generated is what the session holds, logits after
 * it are ready, and a chat's next turn finds it computed. A full context ends the
 * answer with QUERN_FINISH_LENGTH, so room for an end token is never assumed. Random numbers depend
 * on a token's position in the session: an answer made in two calls is the answer made in one, but
 * for the penalties on generated tokens, which to the second call are its prompt.
 * After a failure the session holds the tokens that were reported. */
enum quern_status generate(const struct generate_context *ctx,
                           const struct quern_generate_options *options,
                           struct quern_generate_result *result, struct quern_error *err);

#endif
