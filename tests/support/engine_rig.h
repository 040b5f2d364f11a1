/* engine_rig.h - an engine on a small random model, requests for it, and what the same requests
 * give when a session computes them alone. */
#ifndef TESTS_ENGINE_RIG_H
#define TESTS_ENGINE_RIG_H

#include "engine/engine.h"
#include "support/support.h"

enum { RIG_VOCAB = 600, RIG_MAX_TOKENS = 512 };

struct rig {
    struct device *device;
    struct model *model;
    struct tokenizer *tokenizer;
    size_t n_context;
    int32_t eos;
};

/* Opens model and tokenizer; the model's contexts are n_context long. */
void rig_open(struct rig *rig, size_t n_context, int n_threads);
/* The same with weights of another seed than 5. */
void rig_open_seed(struct rig *rig, size_t n_context, int n_threads, uint64_t seed);
void rig_close(struct rig *rig);
/* `options` NULL: zeroed. */
struct engine *rig_engine(const struct rig *rig, const struct quern_engine_options *options);
/* With the other's model for a draft model; NULL: none. */
struct engine *rig_engine_draft(const struct rig *rig, const struct quern_engine_options *options,
                                const struct rig *draft);

/* What a request has brought. */
struct rig_answer {
    int32_t tokens[RIG_MAX_TOKENS];
    float logprobs[RIG_MAX_TOKENS];
    size_t n;
    char text[16384];
    size_t text_len;
    struct quern_request_result result;
};

/* n tokens that depend on seed; those of the same seed begin alike. */
void rig_prompt(int32_t *out, size_t n, uint64_t seed);
/* Random sampling by seed, max_tokens, logprobs, no end token. */
struct quern_request rig_request(const int32_t *prompt, size_t n_prompt, uint64_t seed,
                                 int32_t max_tokens);

quern_ticket *rig_submit(struct engine *e, const struct quern_request *r);
/* Takes what is there; true at the end. */
bool rig_poll(quern_ticket *t, struct rig_answer *a);
/* Reads to the end and destroys the ticket. Fails the test when the engine hangs. */
void rig_finish(quern_ticket *t, struct rig_answer *a);
/* Both. */
void rig_run(struct engine *e, const struct quern_request *r, struct rig_answer *a);

/* The same request alone in a session. */
void rig_alone(const struct rig *rig, const struct quern_request *r, struct rig_answer *a);
/* Tokens, log probabilities (to the bit) and text. */
void rig_assert_same(const struct rig_answer *a, const struct rig_answer *b);

/* Waits until `holds` is true of the statistics; fails the test after some seconds. */
void rig_await(struct engine *e, bool (*holds)(const struct quern_engine_stats *s));
/* No request, and every block free or in the prefix cache without a user. */
void rig_assert_idle(struct engine *e);

#endif
