/* One row through the layers and back. */
#include "train/core/pass.h"

#include "base/checked.h"
#include "base/pages.h"

/* ---- room ------------------------------------------------------------------------------------------- */

/* Of the cache: registers of that size are loaded and stored. */
enum { LINE_BYTES = 64 };

/* Hands out pieces of one range of pages; a first time, without a range, only to see how long it must be. */
struct taker {
    char *pages; /* or NULL */
    size_t used;
    bool failed;
};

static void *take_bytes(struct taker *t, size_t a, size_t b, size_t size) {
    size_t n;
    if (t->failed || !checked_mul(a, b, &n) || n >= SIZE_MAX / 4 / size || t->used >= SIZE_MAX / 4) {
        t->failed = true;
        return NULL;
    }
    void *piece = t->pages ? t->pages + t->used : NULL;
    t->used += (n * size + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    return piece;
}

static float *take(struct taker *t, size_t rows, size_t cols) {
    return take_bytes(t, rows, cols, sizeof(float));
}

struct sizes {
    size_t T, H, Q, K, I, V, E, k, nq, nk, D;
};

static struct sizes sizes_of(const struct pass *p) {
    const struct hf_config *c = &p->net->model->config;
    struct sizes s = {.T = p->max_row,
                      .H = (size_t)c->hidden_size,
                      .V = (size_t)c->vocab_size,
                      .E = (size_t)c->n_experts,
                      .k = (size_t)c->n_experts_per_token,
                      .nq = (size_t)c->n_heads,
                      .nk = (size_t)c->n_kv_heads,
                      .D = (size_t)c->head_dim};
    const size_t experts = s.k * (size_t)c->moe_intermediate_size;
    s.Q = s.nq * s.D;
    s.K = s.nk * s.D;
    s.I = (size_t)c->intermediate_size > experts ? (size_t)c->intermediate_size : experts;
    return s;
}

static void take_linear(struct taker *t, const struct linear *l, size_t T, struct linear_kept *kept) {
    const struct adapter *a = l->adapter;
    if (a)
        kept->xa = take(t, T, a->rank);
    if (a && a->magnitude)
        kept->pre = take(t, T, l->rows);
}

/* Of experts a token's row for each that it goes to. */
static void take_experts(const struct pass *p, struct taker *t, const struct sizes *s, struct layer_kept *k) {
    k->probs = take(t, s->T, s->E);
    if (!net_has_expert_adapters(p->net))
        return;
    k->lgate.xa = take(t, s->T * s->k, p->max_rank);
    k->lup.xa = take(t, s->T * s->k, p->max_rank);
    k->ldown.xa = take(t, s->T * s->k, p->max_rank);
}

static void take_kept(const struct pass *p, struct taker *t, const struct sizes *s, const struct layer *l,
                      struct layer_kept *k) {
    k->h1 = take(t, s->T, s->H);
    k->h2 = take(t, s->T, s->H);
    k->q = take(t, s->T, s->Q);
    k->k = take(t, s->T, s->K);
    k->v = take(t, s->T, s->K);
    k->q_raw = l->q_norm.n ? take(t, s->T, s->Q) : k->q;
    k->k_raw = l->k_norm.n ? take(t, s->T, s->K) : k->k;
    k->most = take(t, s->T, s->nq);
    k->total = take(t, s->T, s->nq);
    k->attended = take(t, s->T, s->Q);
    k->mid = take(t, s->T, s->H);
    k->gate = take(t, s->T, s->I);
    k->up = take(t, s->T, s->I);
    k->act = take(t, s->T, s->I);
    k->r1 = take(t, s->T, 1);
    k->r2 = take(t, s->T, 1);
    k->rq = take(t, s->T, s->nq);
    k->rk = take(t, s->T, s->nk);
    take_linear(t, &l->q, s->T, &k->lq);
    take_linear(t, &l->k, s->T, &k->lk);
    take_linear(t, &l->v, s->T, &k->lv);
    take_linear(t, &l->o, s->T, &k->lo);
    take_linear(t, &l->gate, s->T, &k->lgate);
    take_linear(t, &l->up, s->T, &k->lup);
    take_linear(t, &l->down, s->T, &k->ldown);
    take_experts(p, t, s, k);
}

struct widths {
    const struct pass *p;
    size_t rank, rows, cols, dropped, dense_bytes, side_bytes, decoded_bytes;
};

static void grow(size_t *to, size_t n) {
    if (n > *to)
        *to = n;
}

/* Room to decode it. */
static void widen_decoded(struct widths *w, const struct linear *l) {
    const struct pass *p = w->p;
    if (!l->rows || !l->fixed->packed || l->w)
        return;
    grow(&w->dense_bytes, l->exact ? op_weight_bytes(p, l) : op_weight_panel_bytes(p, l, false));
    grow(&w->dense_bytes, l->exact ? 0 : op_weight_panel_bytes(p, l, true));
    grow(&w->decoded_bytes, GEMM_NR_MAX * l->cols * sizeof(float));
}

static void widen_matrix(struct widths *w, const struct linear *l) {
    widen_decoded(w, l);
    grow(&w->rows, l->rows);
    grow(&w->cols, l->cols);
}

static enum quern_status widen(void *ctx, struct linear *l, size_t layer, const char *module,
                               struct quern_error *err) {
    struct widths *w = ctx;
    const struct adapter *a = l->adapter;
    const struct gemm_tiles *t = panel_tiles(w->p->c, false);
    (void)layer, (void)module, (void)err;
    widen_matrix(w, l);
    if (!a)
        return QUERN_OK;
    grow(&w->rank, a->rank);
    grow(&w->side_bytes, panel_bytes(t, t->nr, a->rank, l->cols));
    grow(&w->side_bytes, panel_bytes(t, t->nr, l->rows, a->rank));
    grow(&w->side_bytes, panel_bytes(t, t->nr, a->rank, l->rows));
    grow(&w->side_bytes, panel_bytes(t, t->nr, l->cols, a->rank));
    if (a->dropout > 0)
        grow(&w->dropped, l->cols);
    return QUERN_OK;
}

static void widen_experts(struct widths *w, const struct layer *l, size_t E) {
    for (size_t e = 0; l->experts && e < E; e++) {
        widen_matrix(w, &l->experts[e].gate);
        widen_matrix(w, &l->experts[e].up);
        widen_matrix(w, &l->experts[e].down);
    }
    widen_matrix(w, &l->router);
}

static void take_panels(struct pass *p, struct taker *t, const struct sizes *s, const struct widths *w) {
    const struct gemm_tiles *tiles = panel_tiles(p->c, false);
    p->input_panels = take_bytes(t, panel_bytes(tiles, tiles->mr, s->T, w->cols), 1, 1);
    p->grad_panels = take_bytes(t, panel_bytes(tiles, tiles->mr, s->T, w->rows), 1, 1);
    p->rank_panels = take_bytes(t, panel_bytes(tiles, tiles->mr, s->T, w->rank), 1, 1);
    p->side_panels = take_bytes(t, w->side_bytes, 1, 1);
    p->logit_panels = take_bytes(t, panel_bytes(tiles, tiles->mr, p->head_rows, s->V), 1, 1);
    p->dside = take(t, w->rank, w->rows);
    p->dense = take_bytes(t, w->dense_bytes, 1, 1);
    p->decoded_bytes = (w->decoded_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    p->decoded = take_bytes(t, p->decoded_bytes, (size_t)p->c->n_workers, 1);
}

static enum quern_status take_shared(struct pass *p, struct taker *t, const struct sizes *s,
                                     struct quern_error *err) {
    struct widths w = {.p = p};
    enum quern_status st = net_each_linear(p->net, widen, &w, err);
    if (st != QUERN_OK)
        return st;
    widen_decoded(&w, &p->net->head);
    for (size_t i = 0; i < (size_t)p->net->model->config.n_layers; i++)
        widen_experts(&w, &p->net->layers[i], s->E);
    p->max_rank = w.rank;
    p->cos = take(t, s->T, s->D / 2);
    p->sin = take(t, s->T, s->D / 2);
    p->h = take(t, s->T, s->H);
    p->dh = take(t, s->T, s->H);
    p->dx = take(t, s->T, s->H);
    p->dq = take(t, s->T, s->Q);
    p->dk = take(t, s->T, s->K);
    p->dv = take(t, s->T, s->K);
    p->datt = take(t, s->T, s->Q);
    p->dact = take(t, s->T, s->I);
    p->dropped = take(t, s->T, w.dropped);
    p->drank = take(t, 1, s->T * w.rank > w.rows ? s->T * w.rank : w.rows);
    p->scores = take(t, 2 * (size_t)ATTENTION_QUERIES * (size_t)p->c->n_workers, s->T);
    p->logits = take(t, p->head_rows, s->V);
    p->picked = take(t, s->T, s->H);
    p->dpicked = take(t, s->T, s->H);
    p->labelled = take_bytes(t, s->T, 1, sizeof(size_t));
    p->rhead = take(t, s->T, 1);
    p->gathered = take(t, s->T, s->H);
    p->dgathered = take(t, s->T, s->H);
    p->dprobs = take(t, s->T, s->E);
    take_panels(p, t, s, &w);
    return QUERN_OK;
}

static void take_wider(struct linear *a, const struct linear *b) {
    if (b->adapter && (!a->adapter || b->adapter->rank > a->adapter->rank))
        *a = *b;
}

/* What one layer_kept must have room for to serve all layers. */
static struct layer widest_layer(const struct net *n) {
    struct layer l = n->layers[0];
    for (size_t i = 1; i < (size_t)n->model->config.n_layers; i++) {
        const struct layer *other = &n->layers[i];
        take_wider(&l.q, &other->q);
        take_wider(&l.k, &other->k);
        take_wider(&l.v, &other->v);
        take_wider(&l.o, &other->o);
        take_wider(&l.gate, &other->gate);
        take_wider(&l.up, &other->up);
        take_wider(&l.down, &other->down);
    }
    return l;
}

static enum quern_status take_all(struct pass *p, struct taker *t, struct quern_error *err) {
    const struct sizes s = sizes_of(p);
    const size_t layers = (size_t)p->net->model->config.n_layers;
    for (size_t i = 0; i <= layers; i++)
        p->xs[i] = take(t, s.T, s.H);
    const enum quern_status st = take_shared(p, t, &s, err);
    if (st != QUERN_OK)
        return st;
    for (size_t i = 0; i < p->n_kept; i++) {
        const struct layer l = p->checkpointing ? widest_layer(p->net) : p->net->layers[i];
        take_kept(p, t, &s, &l, &p->kept[i]);
    }
    return t->failed ? error_nomem(err) : QUERN_OK;
}

static enum quern_status take_plans(struct pass *p, struct quern_error *err) {
    const struct sizes s = sizes_of(p);
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < p->n_kept && s.E && st == QUERN_OK; i++)
        st = moe_plan_init(&p->kept[i].plan, &p->arena, s.T, s.E, s.k, err);
    return st;
}

static enum quern_status take_room(struct pass *p, struct quern_error *err) {
    struct taker t = {0};
    enum quern_status st = take_all(p, &t, err);
    if (st != QUERN_OK)
        return st;
    p->room_bytes = t.used;
    p->room = pages_alloc(p->room_bytes);
    if (!p->room)
        return error_nomem(err);
    t = (struct taker){.pages = p->room};
    st = take_all(p, &t, err);
    return st == QUERN_OK ? take_plans(p, err) : st;
}

enum quern_status pass_init(struct pass *p, struct compute *c, struct net *n, const struct train_options *o,
                            struct quern_error *err) {
    const size_t layers = (size_t)n->model->config.n_layers;
    *p = (struct pass){.c = c,
                       .net = n,
                       .max_row = o->max_row,
                       .seed = o->seed,
                       .neftune = o->neftune_alpha,
                       .checkpointing = o->checkpointing,
                       .n_kept = o->checkpointing ? 1 : layers,
                       .head_rows = o->method == TRAIN_FULL   ? HEAD_ROWS_MAX
                                    : o->method == TRAIN_LORA ? HEAD_ROWS_MAX / 2
                                                              : HEAD_ROWS_MAX / 4};
    if (p->head_rows > p->max_row)
        p->head_rows = p->max_row;
    arena_init(&p->arena, 0);
    p->xs = arena_calloc(&p->arena, layers + 1, sizeof *p->xs);
    p->kept = arena_calloc(&p->arena, p->n_kept, sizeof *p->kept);
    p->is_fresh = arena_calloc(&p->arena, n->n_params, sizeof *p->is_fresh);
    if (!p->xs || !p->kept || !p->is_fresh)
        return error_nomem(err);
    const enum quern_status st = op_weight_keep(p, o, err);
    return st == QUERN_OK ? take_room(p, err) : st;
}

void pass_release(struct pass *p) {
    pages_free(p->kept_panels, p->kept_bytes);
    pages_free(p->room, p->room_bytes);
    arena_release(&p->arena);
    *p = (struct pass){0};
}

size_t pass_bytes(const struct pass *p) {
    return p->arena.used_bytes + p->room_bytes;
}

/* ---- gradients ------------------------------------------------------------------------------------------ */

float *grad_to_write(const struct pass *p, const struct param *w, bool *add) {
    if (!w || !p->grads)
        return NULL;
    bool *fresh = &p->is_fresh[w - p->net->params];
    *add = !*fresh;
    *fresh = false;
    return p->grads + w->offset;
}

float *grad_of(const struct pass *p, const struct param *w) {
    bool add;
    float *g = grad_to_write(p, w, &add);
    if (g && !add)
        memset(g, 0, w->n * sizeof *g);
    return g;
}

/* What the row had no use for, such as experts nobody went to. */
static void zero_unwritten(struct pass *p) {
    for (size_t i = 0; i < p->net->n_params; i++)
        grad_of(p, &p->net->params[i]);
}

/* ---- a layer ------------------------------------------------------------------------------------------ */

/* mid = x + Wo attention(rope(norm(Wq h)), rope(norm(Wk h)), Wv h),  h = norm(x) */
static void attention_sublayer(struct pass *p, const struct layer *l, struct layer_kept *k, const float *x) {
    const struct hf_config *c = &p->net->model->config;
    const size_t T = p->T, nq = (size_t)c->n_heads, nk = (size_t)c->n_kv_heads;
    op_norm(p, &l->input_norm, k->h1, x, k->r1, T);    /* [T,H] */
    op_input(p, k->h1, T, l->q.cols);
    op_linear(p, &l->q, k->q_raw, &k->lq);             /* [T,Q] */
    op_linear(p, &l->k, k->k_raw, &k->lk);             /* [T,K] */
    op_linear(p, &l->v, k->v, &k->lv);                 /* [T,K] */
    if (l->q_norm.n) {
        op_norm(p, &l->q_norm, k->q, k->q_raw, k->rq, T * nq);
        op_norm(p, &l->k_norm, k->k, k->k_raw, k->rk, T * nk);
    }
    op_rope(p, k->q, nq);
    op_rope(p, k->k, nk);
    op_attention(p, l, k);                              /* [T,Q] */
    op_input(p, k->attended, T, l->o.cols);
    op_linear(p, &l->o, k->mid, &k->lo);                /* [T,H] */
    compute_axpy(p->c, k->mid, x, 1.0f, T * l->o.rows); /* [T,H] */
}

/* dx: of mid on entry, of x on return; that is left out when there is nothing `below` that trains. */
static void attention_sublayer_back(struct pass *p, const struct layer *l, struct layer_kept *k,
                                    const float *x, float *dx, bool below) {
    float *dh = below || l->input_norm.w ? p->dh : NULL;
    const struct hf_config *c = &p->net->model->config;
    const size_t T = p->T, nq = (size_t)c->n_heads, nk = (size_t)c->n_kv_heads;
    memcpy(p->h, dx, T * l->o.rows * sizeof *dx);
    op_linear_back(p, &l->o, p->datt, p->h, k->attended, T, &k->lo, false);
    op_attention_back(p, l, k);
    op_rope_back(p, p->dq, nq);
    op_rope_back(p, p->dk, nk);
    if (l->q_norm.n) {
        op_norm_back(p, &l->q_norm, p->dq, p->dq, k->q_raw, k->rq, T * nq, false);
        op_norm_back(p, &l->k_norm, p->dk, p->dk, k->k_raw, k->rk, T * nk, false);
    }
    op_linear_back(p, &l->q, dh, p->dq, k->h1, T, &k->lq, false);
    op_linear_back(p, &l->k, dh, p->dk, k->h1, T, &k->lk, true);
    op_linear_back(p, &l->v, dh, p->dv, k->h1, T, &k->lv, true);
    if (dh)
        op_norm_back(p, &l->input_norm, dx, p->dh, x, k->r1, T, true);
}

/* y = mid + Wdown (silu(Wgate h) * Wup h),  h = norm(mid);  or the same in the chosen experts.
 * y may be NULL when only what is kept is wanted. */
static void mlp_sublayer(struct pass *p, const struct layer *l, struct layer_kept *k, float *y) {
    const size_t T = p->T;
    op_norm(p, &l->post_norm, k->h2, k->mid, k->r2, T); /* [T,H] */
    if (l->experts) {
        float *out = y ? y : p->h;
        op_moe(p, l, k, out); /* [T,H] */
    } else {
        op_input(p, k->h2, T, l->gate.cols);
        op_linear(p, &l->gate, k->gate, &k->lgate);             /* [T,I] */
        op_linear(p, &l->up, k->up, &k->lup);                   /* [T,I] */
        op_silu(p, k->act, k->gate, k->up, T * l->gate.rows);   /* [T,I] */
        if (y || l->down.adapter)
            op_input(p, k->act, T, l->down.cols);
        if (y)
            op_linear(p, &l->down, y, &k->ldown); /* [T,H] */
        else if (l->down.adapter)
            op_linear_keep(p, &l->down, p->h, &k->ldown);
    }
    if (y)
        compute_axpy(p->c, y, k->mid, 1.0f, T * l->o.rows);
}

/* dx: of y on entry, of mid on return */
static void mlp_sublayer_back(struct pass *p, const struct layer *l, struct layer_kept *k, float *dx) {
    const size_t T = p->T;
    if (l->experts) {
        op_moe_back(p, l, k, p->dh, dx);
    } else {
        memcpy(p->h, dx, T * l->o.rows * sizeof *dx);
        op_linear_back(p, &l->down, p->dact, p->h, k->act, T, &k->ldown, false);
        op_silu_back(p, k->gate, k->up, p->dact, T * l->gate.rows);
        op_linear_back(p, &l->gate, p->dh, k->gate, k->h2, T, &k->lgate, false);
        op_linear_back(p, &l->up, p->dh, k->up, k->h2, T, &k->lup, true);
    }
    op_norm_back(p, &l->post_norm, dx, p->dh, k->mid, k->r2, T, true);
}

/* ---- a row --------------------------------------------------------------------------------------------- */

static void set_angles(struct pass *p) {
    const struct train_row *row = p->row;
    const size_t half = p->net->rope.half;
    for (size_t s = 0; s < row->segments; s++)
        for (size_t t = row->starts[s]; t < row->starts[s + 1]; t++)
            rope_angles(&p->net->rope, t - row->starts[s], p->cos + t * half, p->sin + t * half);
}

struct row_losses pass_row(struct pass *p, const struct train_row *row, struct row_weights w) {
    const size_t layers = (size_t)p->net->model->config.n_layers;
    p->row = row;
    p->T = row->count;
    memset(p->is_fresh, 1, p->net->n_params * sizeof *p->is_fresh);
    set_angles(p);
    op_embed(p, p->xs[0]);
    for (size_t i = 0; i < layers; i++) {
        struct layer_kept *k = &p->kept[p->checkpointing ? 0 : i];
        attention_sublayer(p, &p->net->layers[i], k, p->xs[i]);
        mlp_sublayer(p, &p->net->layers[i], k, p->xs[i + 1]);
    }
    const struct row_losses losses = op_head(p, p->dx, p->xs[layers], w);
    for (size_t i = layers; p->grads && i-- > 0;) {
        const struct layer *l = &p->net->layers[i];
        struct layer_kept *k = &p->kept[p->checkpointing ? 0 : i];
        /* The last layer's are still there. */
        if (p->checkpointing && i + 1 < layers) {
            attention_sublayer(p, l, k, p->xs[i]);
            mlp_sublayer(p, l, k, NULL);
        }
        mlp_sublayer_back(p, l, k, p->dx);
        attention_sublayer_back(p, l, k, p->xs[i], p->dx, i > 0 || p->net->embed.w);
    }
    if (p->grads) {
        op_embed_back(p, p->dx);
        zero_unwritten(p);
    }
    return losses;
}
