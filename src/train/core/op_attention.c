/* Rotary positions, and causal attention inside segments:
 *     p = softmax(scale q k^T), attended = p v
 * Work is shared out by segment and KV head; a share's queries go block by block, so that scores of a
 * block are all that is held, and blocks and heads are added up in their order. */
#include "train/core/pass.h"

/* ---- rotary positions --------------------------------------------------------------------------- */

struct rope_call {
    struct pass *p;
    float *x;
    size_t n_heads, D;
    float sign;
};

static void rope_share(void *ctx, size_t begin, size_t end) {
    const struct rope_call *c = ctx;
    const size_t half = c->D / 2;
    float sin[ROPE_HALF_MAX];
    for (size_t t = begin; t < end; t++) {
        for (size_t i = 0; i < half; i++)
            sin[i] = c->sign * c->p->sin[t * half + i];
        for (size_t h = 0; h < c->n_heads; h++)
            c->p->c->kernels->rope(c->x + (t * c->n_heads + h) * c->D, c->p->cos + t * half, sin, c->D);
    }
}

void op_rope(struct pass *p, float *x, size_t n_heads) {
    struct rope_call c = {p, x, n_heads, (size_t)p->net->model->config.head_dim, 1.0f};
    compute_for(p->c, p->T, 1, rope_share, &c);
}

/* A rotation's transpose turns the other way. */
void op_rope_back(struct pass *p, float *dx, size_t n_heads) {
    struct rope_call c = {p, dx, n_heads, (size_t)p->net->model->config.head_dim, -1.0f};
    compute_for(p->c, p->T, 1, rope_share, &c);
}

/* ---- attention --------------------------------------------------------------------------------------- */

struct attention_call {
    struct pass *p;
    const struct layer *l;
    const struct layer_kept *k;
    size_t nq, nk, D;
    float scale;
};

/* Queries [first, last) of a head against keys [key, last). */
struct block {
    const struct attention_call *c;
    int worker;
    size_t head, kv_head, first, last, key;
    float *s, *ds; /* [queries][keys] */
};

static size_t first_visible(size_t t, size_t window, size_t start) {
    return window && t - start >= window ? t + 1 - window : start;
}

/* Keys the row of query t sees: [*lo, *hi) counted from the block's first key. */
static void visible(const struct block *b, size_t t, size_t start, size_t *lo, size_t *hi) {
    *lo = first_visible(t, b->c->l->window, start) - b->key;
    *hi = t + 1 - b->key;
}

/* s = q k^T, of x and y in the places of q and k */
static void products(const struct block *b, float *s, const float *x, const float *y) {
    const struct attention_call *c = b->c;
    const size_t Q = c->nq * c->D, K = c->nk * c->D, keys = b->last - b->key;
    const struct gemm g = {.c = s, .ldc = keys, .m = b->last - b->first, .n = keys, .k = c->D,
                           .a = x + b->first * Q + b->head * c->D, .lda = Q,
                           .b = y + b->key * K + b->kv_head * c->D, .ldb = K};
    gemm_one(c->p->c, b->worker, &g);
}

/* out[queries] = s y, y in the place of keys */
static void weighted(const struct block *b, float *out, const float *s, const float *y) {
    const struct attention_call *c = b->c;
    const size_t Q = c->nq * c->D, K = c->nk * c->D, keys = b->last - b->key;
    const struct gemm g = {.c = out + b->first * Q + b->head * c->D, .ldc = Q, .m = b->last - b->first,
                           .n = c->D, .k = keys, .a = s, .lda = keys,
                           .b = y + b->key * K + b->kv_head * c->D, .ldb = K, .b_across = true};
    gemm_one(c->p->c, b->worker, &g);
}

/* out[keys] += s^T x, x in the place of queries */
static void weighted_back(const struct block *b, float *out, const float *s, const float *x) {
    const struct attention_call *c = b->c;
    const size_t Q = c->nq * c->D, K = c->nk * c->D, keys = b->last - b->key;
    const struct gemm g = {.c = out + b->key * K + b->kv_head * c->D, .ldc = K, .m = keys, .n = c->D,
                           .k = b->last - b->first, .a = s, .lda = keys, .a_across = true,
                           .b = x + b->first * Q + b->head * c->D, .ldb = Q, .b_across = true,
                           .add = true};
    gemm_one(c->p->c, b->worker, &g);
}

/* Probabilities from scores; with `fresh` the softmax's numbers are made, else used. */
static void softmax_rows(const struct block *b, size_t start, bool fresh) {
    const struct attention_call *c = b->c;
    const struct train_kernels *k = c->p->c->train;
    const size_t keys = b->last - b->key;
    for (size_t t = b->first; t < b->last; t++) {
        float *row = b->s + (t - b->first) * keys, *most = c->k->most + t * c->nq + b->head;
        float *total = c->k->total + t * c->nq + b->head;
        size_t lo, hi;
        visible(b, t, start, &lo, &hi);
        if (fresh)
            *most = k->largest(row + lo, hi - lo) * c->scale;
        const float sum = k->exp_sum(row + lo, hi - lo, c->scale, *most);
        if (fresh)
            *total = 1.0f / sum;
        k->scale(row + lo, row + lo, *total, hi - lo);
        memset(row, 0, lo * sizeof *row);
        memset(row + hi, 0, (keys - hi) * sizeof *row);
    }
}

static void forward_block(const struct block *b, size_t start) {
    const struct layer_kept *k = b->c->k;
    products(b, b->s, k->q, k->k);
    softmax_rows(b, start, true);
    weighted(b, k->attended, b->s, k->v);
}

/* ds = p (dp - sum of datt attended) scale */
static void softmax_back(const struct block *b) {
    const struct attention_call *c = b->c;
    const struct train_kernels *k = c->p->c->train;
    const size_t keys = b->last - b->key, Q = c->nq * c->D;
    for (size_t t = b->first; t < b->last; t++) {
        float *ds = b->ds + (t - b->first) * keys;
        const float *s = b->s + (t - b->first) * keys;
        const size_t at = t * Q + b->head * c->D;
        const float delta = k->dot(c->p->datt + at, c->k->attended + at, c->D);
        k->softmax_back(ds, s, keys, delta, c->scale);
    }
}

/* dv += p^T datt;  ds as above;  dq = ds k;  dk += ds^T q */
static void backward_block(const struct block *b, size_t start) {
    const struct layer_kept *k = b->c->k;
    struct pass *p = b->c->p;
    products(b, b->s, k->q, k->k);
    softmax_rows(b, start, false);
    products(b, b->ds, p->datt, k->v);
    weighted_back(b, p->dv, b->s, p->datt);
    softmax_back(b);
    weighted(b, p->dq, b->ds, k->k);
    weighted_back(b, p->dk, b->ds, k->q);
}

static void segment(const struct attention_call *c, int worker, size_t seg, size_t kv_head,
                    void (*fn)(const struct block *b, size_t start)) {
    const size_t start = c->p->row->starts[seg], end = c->p->row->starts[seg + 1];
    const size_t n_rep = c->nq / c->nk, room = (size_t)ATTENTION_QUERIES * c->p->max_row;
    float *scores = c->p->scores + 2 * room * (size_t)worker;
    for (size_t h = kv_head * n_rep; h < (kv_head + 1) * n_rep; h++)
        for (size_t t = start; t < end; t += ATTENTION_QUERIES) {
            const size_t last = end - t < ATTENTION_QUERIES ? end : t + ATTENTION_QUERIES;
            const struct block b = {.c = c, .worker = worker, .head = h, .kv_head = kv_head,
                                    .first = t, .last = last,
                                    .key = first_visible(t, c->l->window, start),
                                    .s = scores, .ds = scores + room};
            fn(&b, start);
        }
}

static void forward_share(void *ctx, int worker, int n_workers) {
    const struct attention_call *c = ctx;
    size_t begin, end;
    thread_share(c->p->row->segments * c->nk, 1, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i++)
        segment(c, worker, i / c->nk, i % c->nk, forward_block);
}

static void backward_share(void *ctx, int worker, int n_workers) {
    const struct attention_call *c = ctx;
    size_t begin, end;
    thread_share(c->p->row->segments * c->nk, 1, worker, n_workers, &begin, &end);
    for (size_t i = begin; i < end; i++)
        segment(c, worker, i / c->nk, i % c->nk, backward_block);
}

static struct attention_call call_of(struct pass *p, const struct layer *l, const struct layer_kept *k) {
    const struct hf_config *c = &p->net->model->config;
    return (struct attention_call){.p = p, .l = l, .k = k, .nq = (size_t)c->n_heads,
                                   .nk = (size_t)c->n_kv_heads, .D = (size_t)c->head_dim,
                                   .scale = p->net->model->attention_scale};
}

void op_attention(struct pass *p, const struct layer *l, struct layer_kept *k) {
    struct attention_call c = call_of(p, l, k);
    thread_pool_run(p->c->pool, forward_share, &c);
}

void op_attention_back(struct pass *p, const struct layer *l, const struct layer_kept *k) {
    struct attention_call c = call_of(p, l, k);
    memset(p->dk, 0, p->T * c.nk * c.D * sizeof *p->dk);
    memset(p->dv, 0, p->T * c.nk * c.D * sizeof *p->dv);
    thread_pool_run(p->c->pool, backward_share, &c);
}
