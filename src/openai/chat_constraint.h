/* chat_constraint.h - where what a request says about the form of its answer (response_format,
 * tool_choice) becomes a constraint on its tokens. */
#ifndef QUERN_OPENAI_CHAT_CONSTRAINT_H
#define QUERN_OPENAI_CHAT_CONSTRAINT_H

#include "openai/chat_request.h"
#include "openai/served_model.h"
#include "sampler/constraint.h"

/* A constraint for one answer, with its own end. */
struct answer_constraint {
    struct constraint *constraint; /* NULL: the answer is free */
    void (*release)(void *user);   /* called once, when the engine is done with it */
    void *user;
};

/* For one answer to `r`, whose prompt is ids[n_ids]; called once for each of n. An error belongs to
 * the request. */
enum quern_status chat_constraint_create(const struct served_model *m, const struct chat_request *r,
                                         const int32_t *ids, size_t n_ids,
                                         struct answer_constraint *out, struct api_error *err);

/* Whether the constraint keeps tool calls in their form. */
bool chat_constraint_covers_calls(const struct served_model *m, const struct chat_request *r);

#endif
