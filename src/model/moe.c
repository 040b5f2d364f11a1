#include "model/moe.h"

#include "base/checked.h"
#include "model/workspace.h"

enum quern_status moe_plan_init(struct moe_plan *p, struct arena *arena, size_t max_tokens,
                                size_t n_experts, size_t k, struct quern_error *err) {
    size_t n;
    *p = (struct moe_plan){.n_experts = n_experts, .k = k};
    if (!checked_mul(max_tokens, k, &n))
        return error_nomem(err);
    p->chosen = arena_calloc(arena, n, sizeof *p->chosen);
    p->weight = arena_calloc(arena, n, sizeof *p->weight);
    p->begin = arena_calloc(arena, n_experts + 1, sizeof *p->begin);
    p->tokens = arena_calloc(arena, n, sizeof *p->tokens);
    p->scale = arena_calloc(arena, n, sizeof *p->scale);
    if (!p->chosen || !p->weight || !p->begin || !p->tokens || !p->scale)
        return error_nomem(err);
    return QUERN_OK;
}

/* The k largest of p[n], largest first, by insertion: k is small, and NaN (from broken
 * weights) still yields k different experts. */
static void top_k(const float *p, size_t n, size_t k, int32_t *chosen, float *weight) {
    size_t filled = 0;
    for (size_t e = 0; e < n; e++) {
        if (filled == k && !(p[e] > weight[k - 1]))
            continue;
        size_t at = filled < k ? filled++ : k - 1;
        for (; at > 0 && p[e] > weight[at - 1]; at--) {
            weight[at] = weight[at - 1];
            chosen[at] = chosen[at - 1];
        }
        weight[at] = p[e];
        chosen[at] = (int32_t)e;
    }
}

static void normalize_weights(float *weight, size_t k) {
    float sum = 0;
    for (size_t i = 0; i < k; i++)
        sum += weight[i];
    for (size_t i = 0; i < k; i++)
        weight[i] /= sum;
}

/* Counting sort of the n*k choices by expert; stable, so tokens stay in batch order. */
static void group_by_expert(struct moe_plan *p, size_t n) {
    for (size_t e = 0; e <= p->n_experts; e++)
        p->begin[e] = 0;
    for (size_t i = 0; i < n * p->k; i++)
        p->begin[p->chosen[i] + 1]++;
    for (size_t e = 0; e < p->n_experts; e++)
        p->begin[e + 1] += p->begin[e];
    /* begin[e] walks to its group's end while the group fills ... */
    for (size_t i = 0; i < n * p->k; i++) {
        size_t at = p->begin[p->chosen[i]]++;
        p->tokens[at] = (int32_t)(i / p->k);
        p->scale[at] = p->weight[i];
    }
    /* ... and that end is where the next group begins. */
    for (size_t e = p->n_experts; e > 0; e--)
        p->begin[e] = p->begin[e - 1];
    p->begin[0] = 0;
}

void moe_plan_route(struct moe_plan *p, const float *probs, size_t n, bool normalize) {
    for (size_t t = 0; t < n; t++) {
        float *weight = p->weight + t * p->k;
        top_k(probs + t * p->n_experts, p->n_experts, p->k, p->chosen + t * p->k, weight);
        if (normalize)
            normalize_weights(weight, p->k);
    }
    group_by_expert(p, n);
}

/* E experts, M their inner size, g tokens of one expert. */
void moe_forward(const struct model *m, const struct layer_weights *layer, struct workspace *ws,
                 float *out, const float *x, size_t n) {
    struct device *d = m->device;
    const struct device_ops *ops = d->ops;
    struct moe_plan *plan = &ws->moe;
    const size_t H = (size_t)m->config.hidden_size, M = (size_t)m->config.moe_intermediate_size;
    const size_t E = plan->n_experts;

    ops->linear(d, ws->router, x, &layer->router, NULL, n);               /* [n,E] = [n,H][E,H]^T */
    ops->softmax(d, ws->router, n, E);                                    /* [n,E] */
    ops->download(d, ws->host_router, ws->router, n * E * sizeof(float)); /* [n,E] */
    moe_plan_route(plan, ws->host_router, n, m->config.norm_topk_prob);   /* [n,k] */

    struct adapter_place place = {.layer = (size_t)(layer - m->layers)};
    ops->zero(d, out, n * H); /* [n,H] */
    for (size_t e = 0; e < E; e++) {
        const struct expert_weights *expert = &layer->experts[e];
        const int32_t *tokens = plan->tokens + plan->begin[e]; /* [g] */
        const float *scale = plan->scale + plan->begin[e];     /* [g] */
        const size_t g = plan->begin[e + 1] - plan->begin[e];
        const struct linear_out gate_up[] = {{ws->gate, &expert->gate, NULL}, {ws->up, &expert->up, NULL}};
        if (g == 0)
            continue;
        ops->gather(d, ws->expert_in, x, tokens, g, H);                   /* [g,H] */
        ops->linears(d, ws->expert_in, gate_up, 2, g);                    /* [g,M|M] = [g,H][M|M,H]^T */
        place.expert = (int32_t)e;
        place.site = SITE_GATE;
        adapters_add(m, ws, place, ws->gate, ws->expert_in, NULL, tokens, g); /* [g,M] */
        place.site = SITE_UP;
        adapters_add(m, ws, place, ws->up, ws->expert_in, NULL, tokens, g); /* [g,M] */
        ops->silu_mul(d, ws->gate, ws->gate, ws->up, g * M);              /* [g,M] */
        ops->linear(d, ws->expert_out, ws->gate, &expert->down, NULL, g); /* [g,H] = [g,M][H,M]^T */
        place.site = SITE_DOWN;
        adapters_add(m, ws, place, ws->expert_out, ws->gate, NULL, tokens, g); /* [g,H] */
        ops->scatter_add(d, out, ws->expert_out, tokens, scale, g, H);    /* [n,H] += [g,H] */
    }
}
