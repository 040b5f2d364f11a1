/* moe.h - a layer of experts: who computes what (the plan, on the host), and the
 * computation. */
#ifndef QUERN_MODEL_MOE_H
#define QUERN_MODEL_MOE_H

#include "base/arena.h"
#include "model/model.h"

struct workspace;

/* Which experts the tokens of a batch go to. E experts, k of them a token. */
struct moe_plan {
    size_t n_experts, k;
    int32_t *chosen; /* [T,k] experts of a token, the most probable first */
    float *weight;   /* [T,k] */
    /* The same, grouped by expert: tokens begin[e] .. begin[e+1], in batch order. */
    size_t *begin;   /* [E+1] */
    int32_t *tokens; /* [T*k] */
    float *scale;    /* [T*k] */
};

enum quern_status moe_plan_init(struct moe_plan *p, struct arena *arena, size_t max_tokens,
                                size_t n_experts, size_t k, struct quern_error *err);

/* Takes the k largest of probs[n, E] per token (equal ones: the lower index) and, with
 * `normalize`, divides them by their sum. */
void moe_plan_route(struct moe_plan *p, const float *probs, size_t n, bool normalize);

/* out[n,H] = the weighted sum of the experts of x[n,H]. Experts are added in the order of
 * their index, so that a token's bits do not depend on the batch. */
void moe_forward(const struct model *m, const struct layer_weights *layer, struct workspace *ws,
                 float *out, const float *x, size_t n);

#endif
