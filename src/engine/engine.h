/* engine.h - many requests on one model, computed together by a thread of the engine's own. What
 * a caller sees is described in quern.h (quern_engine_*); this is the same without quern_model,
 * and with what the public interface does not have: constraints.
 *
 * A request is queued, then prefilled in chunks, then decodes a token (or, with speculation, some)
 * a step, and ends. A step is one forward pass: all decoding requests and, as far as max_step_ms
 * allows, pieces of prompts. docs/engine.md tells why and how.
 *
 * Locks: a ticket's lock may be held when the engine's is taken, never the other way round. No lock
 * is held during a forward pass. */
#ifndef QUERN_ENGINE_ENGINE_H
#define QUERN_ENGINE_ENGINE_H

#include "model/model.h"
#include "quern.h"
#include "sampler/constraint.h"
#include "tokenizer/tokenizer.h"

struct engine;

struct engine_setup {
    const struct model *model;
    const struct tokenizer *tokenizer; /* NULL: only EMBED and SCORE requests */
    const int32_t *eos;                /* [n_eos] the model's end tokens */
    size_t n_eos;
    int32_t n_tokens_known; /* ids from here up are padding, never sampled */
    const int32_t *gaps;    /* [n_gaps] nor are these */
    size_t n_gaps;
    size_t n_context;                           /* > 0: options->n_context resolved */
    bool rope_scaled;                           /* apply YaRN */
    const struct quern_engine_options *options; /* n_context, yarn and draft are not read */
    const struct adapter_set *adapters; /* on every request, first; copied; NULL: none */
    const struct engine_setup *draft; /* the draft model's (model, n_context and rope_scaled are
                                         read), which has the same tokenizer; or NULL */
};

/* All that setup points to is borrowed and must outlive the engine, but for setup and options
 * themselves. */
enum quern_status engine_create(const struct engine_setup *setup, struct engine **out,
                                struct quern_error *err);
void engine_destroy(struct engine *e); /* NULL is fine */

/* What a request carries besides struct quern_request. */
struct engine_extras {
    /* Restricts the tokens. Used from the engine's thread only, and not after on_release. */
    struct constraint *constraint;
    /* Called once, when the engine will not touch the constraint (or anything else of the caller's
     * but on_notify) any more: from the engine's thread, under no lock. Not called when submitting
     * failed. It may not call the engine. NULL: none. */
    void (*on_release)(void *user);
    void *user;
};

/* As quern_engine_submit. `extras` may be NULL. The constraint is not checked here: a failing mask
 * ends the request with its status. */
enum quern_status engine_submit(struct engine *e, const struct quern_request *request,
                                const struct engine_extras *extras, quern_ticket **out,
                                struct quern_error *err);
bool engine_drain(struct engine *e, int64_t timeout_ms);
void engine_get_stats(struct engine *e, struct quern_engine_stats *out);

#endif
