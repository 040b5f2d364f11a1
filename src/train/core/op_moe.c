/* Experts: p = softmax(router h), the k largest taken and (with norm_topk_prob) divided by their sum;
 * y = sum of w_e expert_e(h). A token's place among its expert's tokens is an index into [T*k, ...]. */
#include "train/core/pass.h"

struct rows_call {
    struct pass *p;
    float *y;
    const float *x;
    const int32_t *tokens;
    const float *scale;
    size_t cols;
};

static void gather_share(void *ctx, size_t begin, size_t end) {
    const struct rows_call *c = ctx;
    for (size_t i = begin; i < end; i++)
        memcpy(c->y + i * c->cols, c->x + (size_t)c->tokens[i] * c->cols, c->cols * sizeof *c->y);
}

static void gather(struct pass *p, float *y, const float *x, const int32_t *tokens, size_t n) {
    const size_t H = p->net->embed.cols;
    struct rows_call c = {.p = p, .y = y, .x = x, .tokens = tokens, .cols = H};
    compute_for(p->c, n, 1, gather_share, &c);
}

/* A token comes once in an expert's list, so rows are free of each other. */
static void scatter_share(void *ctx, size_t begin, size_t end) {
    const struct rows_call *c = ctx;
    for (size_t i = begin; i < end; i++)
        c->p->c->train->axpy(c->y + (size_t)c->tokens[i] * c->cols, c->x + i * c->cols,
                             c->scale ? c->scale[i] : 1.0f, c->cols);
}

static void scatter(struct pass *p, float *y, const float *x, const int32_t *tokens, const float *scale,
                    size_t n) {
    const size_t H = p->net->embed.cols;
    struct rows_call c = {.p = p, .y = y, .x = x, .tokens = tokens, .scale = scale, .cols = H};
    compute_for(p->c, n, 1, scatter_share, &c);
}

/* What the expert's rows, from `at` on, keep. */
static struct linear_kept kept_at(const struct pass *p, const struct linear_kept *k, size_t at) {
    return (struct linear_kept){k->xa ? k->xa + at * p->max_rank : NULL, NULL};
}

void op_moe(struct pass *p, const struct layer *l, struct layer_kept *k, float *y) {
    const struct hf_config *c = &p->net->model->config;
    const size_t H = p->net->embed.cols, E = (size_t)c->n_experts, M = (size_t)c->moe_intermediate_size;
    p->in = (struct input){k->h2, p->T, H}; /* the router is exact: nothing to pack */
    op_linear(p, &l->router, k->probs, NULL);
    for (size_t t = 0; t < p->T; t++)
        p->c->kernels->softmax(k->probs + t * E, E);
    moe_plan_route(&k->plan, k->probs, p->T, c->norm_topk_prob);
    memset(y, 0, p->T * H * sizeof *y);
    for (size_t e = 0; e < E; e++) {
        const size_t at = k->plan.begin[e], g = k->plan.begin[e + 1] - at;
        const int32_t *tokens = k->plan.tokens + at;
        const struct expert *x = &l->experts[e];
        struct linear_kept gate = kept_at(p, &k->lgate, at), up = kept_at(p, &k->lup, at),
                           down = kept_at(p, &k->ldown, at);
        if (g == 0)
            continue;
        gather(p, p->gathered, k->h2, tokens, g);
        op_input(p, p->gathered, g, H);
        op_linear(p, &x->gate, k->gate + at * M, &gate);
        op_linear(p, &x->up, k->up + at * M, &up);
        op_silu(p, k->act + at * M, k->gate + at * M, k->up + at * M, g * M);
        op_input(p, k->act + at * M, g, M);
        op_linear(p, &x->down, p->gathered, &down);
        scatter(p, y, p->gathered, tokens, k->plan.scale + at, g);
    }
}

/* The chosen weights' gradients, one a token and expert, to those of the router's logits. */
static void route_back(struct pass *p, const struct layer_kept *k, size_t t, bool normalized) {
    const size_t E = k->plan.n_experts, n = k->plan.k;
    const int32_t *chosen = k->plan.chosen + t * n;
    const float *w = k->plan.weight + t * n, *probs = k->probs + t * E;
    float *d = p->dprobs + t * E, sum = 0, mean = 0;
    for (size_t j = 0; j < n; j++) {
        sum += probs[chosen[j]];
        mean += d[chosen[j]] * w[j];
    }
    for (size_t j = 0; normalized && j < n; j++)
        d[chosen[j]] = (d[chosen[j]] - mean) / sum;
    const float dot = p->c->train->dot(d, probs, E);
    for (size_t e = 0; e < E; e++)
        d[e] = probs[e] * (d[e] - dot);
}

/* of one expert: at least one token */
static void expert_back(struct pass *p, const struct layer *l, struct layer_kept *k, size_t e, float *dh,
                        const float *dy) {
    const size_t E = k->plan.n_experts, H = p->net->embed.cols;
    const size_t M = (size_t)p->net->model->config.moe_intermediate_size;
    const size_t at = k->plan.begin[e], g = k->plan.begin[e + 1] - at;
    const int32_t *tokens = k->plan.tokens + at;
    const float *scale = k->plan.scale + at;
    const struct expert *x = &l->experts[e];
    const struct linear_kept gate = kept_at(p, &k->lgate, at), up = kept_at(p, &k->lup, at),
                             down = kept_at(p, &k->ldown, at);
    gather(p, p->dgathered, dy, tokens, g);
    for (size_t i = 0; i < g; i++)
        p->c->train->scale(p->dgathered + i * H, p->dgathered + i * H, scale[i], H);
    op_linear_back(p, &x->down, p->dact, p->dgathered, k->act + at * M, g, &down, false);
    /* What the down projection gives back holds the weight once; a weight's own gradient has it not. */
    for (size_t i = 0; i < g; i++)
        p->dprobs[(size_t)tokens[i] * E + e] =
            scale[i] != 0 ? p->c->train->dot(p->dact + i * M, k->act + (at + i) * M, M) / scale[i] : 0.0f;
    op_silu_back(p, k->gate + at * M, k->up + at * M, p->dact, g * M);
    gather(p, p->gathered, k->h2, tokens, g);
    op_linear_back(p, &x->gate, p->dgathered, k->gate + at * M, p->gathered, g, &gate, false);
    op_linear_back(p, &x->up, p->dgathered, k->up + at * M, p->gathered, g, &up, true);
    scatter(p, dh, p->dgathered, tokens, NULL, g);
}

void op_moe_back(struct pass *p, const struct layer *l, struct layer_kept *k, float *dh, const float *dy) {
    const struct hf_config *c = &p->net->model->config;
    const size_t H = p->net->embed.cols, E = (size_t)c->n_experts;
    memset(dh, 0, p->T * H * sizeof *dh);
    memset(p->dprobs, 0, p->T * E * sizeof *p->dprobs);
    for (size_t e = 0; e < E; e++)
        if (k->plan.begin[e + 1] > k->plan.begin[e])
            expert_back(p, l, k, e, dh, dy);
    for (size_t t = 0; t < p->T; t++)
        route_back(p, k, t, c->norm_topk_prob);
    op_linear_back(p, &l->router, dh, p->dprobs, k->h2, p->T, NULL, true);
}
