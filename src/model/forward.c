/* The transformer, from token ids to logits.
 *
 * Shapes stand beside every step. n is the number of tokens in the call, of all
 * sequences together; H hidden_size, D head_dim, nq query heads, Q = nq * D, nk KV heads,
 * K = nk * D, I intermediate_size, V vocab_size. Weights are [outputs, inputs]; y = x W^T.
 * The KV cache is described in kv_cache.h, the order of every sum in kernels.h, and why a
 * row's bits depend on nothing but its own sequence in docs/NUMERICS.md. */
#include "model/forward.h"

#include "kernels/kernels.h"
#include "model/workspace.h"

/* One call. */
struct pass {
    const struct model *m;
    struct workspace *ws;
    size_t n; /* tokens */
    size_t n_seqs;
    size_t n_rows;                  /* rows of logits */
    const struct kv_layout *layout; /* of the KV blocks, the same in all sequences */
};

/* y += what the sequences' adapters make of x, behind the linear layer at `site` (model/adapter.h). */
static void adapt(const struct pass *p, size_t layer, enum adapter_site site, float *y,
                  const float *x, const float *bias) {
    const struct adapter_place place = {.layer = layer, .site = site, .expert = -1};
    adapters_add(p->m, p->ws, place, y, x, bias, NULL, p->n);
}

/* x += Wo attention(rope(norm(Wq h)), rope(norm(Wk h)), Wv h),  h = norm(x) */
static void attention_sublayer(const struct pass *p, const struct layer_weights *w, size_t layer) {
    const struct hf_config *c = &p->m->config;
    struct workspace *ws = p->ws;
    struct device *d = p->m->device;
    const struct device_ops *ops = d->ops;
    const size_t n = p->n, H = (size_t)c->hidden_size;
    const size_t D = (size_t)c->head_dim, nq = (size_t)c->n_heads, nk = (size_t)c->n_kv_heads;
    const float eps = c->rms_norm_eps;
    const struct attention_shape shape = {
        .n_heads = nq,
        .n_kv_heads = nk,
        .window = (size_t)c->layer_window[layer],
        .layout = p->layout,
        .layer = layer,
        .scale = p->m->attention_scale,
    };

    const struct linear_out qkv[] = {
        {ws->q, &w->q, w->q_bias}, {ws->k, &w->k, w->k_bias}, {ws->v, &w->v, w->v_bias}};

    ops->rms_norm(d, ws->h, ws->x, w->input_norm, n, H, eps);             /* [n,H] */
    ops->linears(d, ws->h, qkv, 3, n);                                    /* [n,Q|K|K] = [n,H][Q|K|K,H]^T */
    adapt(p, layer, SITE_Q, ws->q, ws->h, w->q_bias);                     /* [n,Q] */
    adapt(p, layer, SITE_K, ws->k, ws->h, w->k_bias);                     /* [n,K] */
    adapt(p, layer, SITE_V, ws->v, ws->h, w->v_bias);                     /* [n,K] */
    ops->norm_rope(d, ws->q, w->q_norm, eps, ws->cos, ws->sin, n, nq, D); /* [n,nq,D] */
    ops->norm_rope(d, ws->k, w->k_norm, eps, ws->cos, ws->sin, n, nk, D); /* [n,nk,D] */
    ops->kv_store(d, &shape, ws->seqs, p->n_seqs, ws->k, ws->v);          /* [n,nk,D] */
    ops->attention(d, &shape, ws->seqs, p->n_seqs, ws->attended, ws->q);  /* [n,nq,D] */
    ops->linear(d, ws->h, ws->attended, &w->o, w->o_bias, n);             /* [n,H] = [n,Q][H,Q]^T */
    adapt(p, layer, SITE_O, ws->h, ws->attended, w->o_bias);              /* [n,H] */
    ops->add(d, ws->x, ws->h, n * H);                                     /* [n,H] */
}

/* x += Wdown (silu(Wgate h) * Wup h),  h = norm(x);  or the same in the chosen experts */
static void mlp_sublayer(const struct pass *p, const struct layer_weights *w, size_t layer) {
    const struct hf_config *c = &p->m->config;
    struct workspace *ws = p->ws;
    struct device *d = p->m->device;
    const struct device_ops *ops = d->ops;
    const size_t n = p->n, H = (size_t)c->hidden_size, I = (size_t)c->intermediate_size;

    const struct linear_out gate_up[] = {{ws->gate, &w->gate, w->gate_bias},
                                         {ws->up, &w->up, w->up_bias}};

    ops->rms_norm(d, ws->h, ws->x, w->post_norm, n, H, c->rms_norm_eps); /* [n,H] */
    if (w->experts) {
        moe_forward(p->m, w, ws, ws->moe_out, ws->h, n); /* [n,H] */
        ops->add(d, ws->x, ws->moe_out, n * H);          /* [n,H] */
        return;
    }
    ops->linears(d, ws->h, gate_up, 2, n);                      /* [n,I|I] = [n,H][I|I,H]^T */
    adapt(p, layer, SITE_GATE, ws->gate, ws->h, w->gate_bias);  /* [n,I] */
    adapt(p, layer, SITE_UP, ws->up, ws->h, w->up_bias);        /* [n,I] */
    ops->silu_mul(d, ws->gate, ws->gate, ws->up, n * I);        /* [n,I] */
    ops->linear(d, ws->h, ws->gate, &w->down, w->down_bias, n); /* [n,H] = [n,I][H,I]^T */
    adapt(p, layer, SITE_DOWN, ws->h, ws->gate, w->down_bias);  /* [n,H] */
    ops->add(d, ws->x, ws->h, n * H);                           /* [n,H] */
}

/* h = norm(x) of the first r of the rows somebody asked for */
static void gather_normed(const struct pass *p, size_t r) {
    const struct model *m = p->m;
    struct workspace *ws = p->ws;
    struct device *d = m->device;
    const size_t H = (size_t)m->config.hidden_size;

    d->ops->gather(d, ws->h, ws->x, ws->rows, r, H);                                  /* [r,H] */
    d->ops->rms_norm(d, ws->h, ws->h, m->final_norm, r, H, m->config.rms_norm_eps); /* [r,H] */
}

/* The last tokens' states of sequences that want them, without a head. */
static void hidden_states(const struct pass *p, const struct forward_seq *seqs) {
    const size_t H = (size_t)p->m->config.hidden_size;
    struct device *d = p->m->device;
    size_t r = 0, i = 0;
    for (size_t s = 0; s < p->n_seqs; s++)
        if (seqs[s].hidden)
            p->ws->rows[r++] = (int32_t)(p->ws->seqs[s].first_row + seqs[s].n_ids - 1);
    if (r == 0)
        return;
    gather_normed(p, r); /* [r,H] */
    for (size_t s = 0; s < p->n_seqs; s++)
        if (seqs[s].hidden)
            d->ops->download(d, seqs[s].hidden, p->ws->h + i++ * H, H * sizeof(float)); /* [H] */
}

/* logits = Whead norm(x), only for the rows somebody asked for */
static void head(const struct pass *p, float *logits) {
    const struct model *m = p->m;
    struct workspace *ws = p->ws;
    struct device *d = m->device;
    const struct device_ops *ops = d->ops;
    const size_t r = p->n_rows, H = (size_t)m->config.hidden_size, V = m->lm_head.rows;

    const struct adapter_place whole = {.layer = SIZE_MAX, .expert = -1};
    gather_normed(p, r); /* [r,H] */
    for (size_t i = 0; i < r; i += WORKSPACE_LOGITS_ROWS) {
        const size_t g = r - i < WORKSPACE_LOGITS_ROWS ? r - i : WORKSPACE_LOGITS_ROWS;
        float *to = d->is_host ? logits + i * V : ws->logits;
        ops->linear(d, to, ws->h + i * H, &m->lm_head, NULL, g);              /* [g,V] = [g,H][V,H]^T */
        adapters_add(m, ws, whole, to, ws->h + i * H, NULL, ws->rows + i, g); /* [g,V] */
        if (!d->is_host)
            ops->download(d, logits + i * V, to, g * V * sizeof(float)); /* [g,V] */
    }
}

/* Lays the sequences' tokens one behind the other: ids, positions, rows of logits. */
static struct pass gather_batch(const struct model *m, struct workspace *ws,
                                const struct forward_seq *seqs, size_t n_seqs) {
    struct pass p = {.m = m, .ws = ws, .n_seqs = n_seqs};
    const size_t half = (size_t)m->config.head_dim / 2;
    ws->has_adapters = false;
    for (size_t s = 0; s < n_seqs; s++) {
        const struct forward_seq *seq = &seqs[s];
        const size_t first = seq->kv->n_tokens;
        ws->seqs[s] = (struct attention_seq){.blocks = seq->kv->blocks,
                                             .first_row = p.n,
                                             .n_tokens = seq->n_ids,
                                             .first_position = first};
        for (size_t i = 0; i < seq->n_ids; i++) {
            const size_t row = p.n + i;
            ws->ids[row] = seq->ids[i];
            ws->row_adapters[row] = seq->adapters;
            rope_angles(seq->rope, first + i, ws->host_cos + row * half, ws->host_sin + row * half);
            if (!seq->no_logits && (seq->all_logits || i + 1 == seq->n_ids))
                ws->rows[p.n_rows++] = (int32_t)row;
        }
        p.n += seq->n_ids;
        ws->has_adapters = ws->has_adapters || (seq->adapters && seq->adapters->n > 0);
        p.layout = &seq->kv->pool->layout;
    }
    return p;
}

enum quern_status forward_check_head(const struct model *m, struct quern_error *err) {
    if (m->lm_head.data)
        return QUERN_OK;
    return error_set(err, QUERN_ERR_UNSUPPORTED,
                     "the checkpoint has no lm_head.weight and its embedding is not tied: it gives "
                     "no logits");
}

enum quern_status forward_check_ids(const struct model *m, const int32_t *ids, size_t n_ids,
                                    struct quern_error *err) {
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || ids[i] >= m->config.vocab_size)
            return error_set(err, QUERN_ERR_ARG, "token id %d at index %zu is outside 0..%d",
                             (int)ids[i], i, (int)m->config.vocab_size - 1);
    return QUERN_OK;
}

static enum quern_status check_batch(const struct model *m, const struct workspace *ws,
                                     const struct forward_seq *seqs, size_t n_seqs,
                                     struct quern_error *err) {
    size_t n = 0;
    bool wants_logits = false;
    for (size_t s = 0; s < n_seqs; s++) {
        const struct kv_cache *kv = seqs[s].kv;
        if (seqs[s].n_ids == 0 || seqs[s].n_ids > ws->max_tokens - n)
            return error_set(err, QUERN_ERR_ARG,
                             "sequence %zu of %zu brings %zu tokens; a pass takes 1 to %zu in all",
                             s, n_seqs, seqs[s].n_ids, ws->max_tokens);
        n += seqs[s].n_ids;
        if (kv->max_tokens > ws->max_context)
            return error_set(err, QUERN_ERR_ARG,
                             "sequence %zu may hold %zu tokens, the workspace is made for %zu", s,
                             kv->max_tokens, ws->max_context);
        if (seqs[s].hidden && !seqs[s].no_logits)
            return error_set(err, QUERN_ERR_ARG,
                             "sequence %zu wants both logits and its hidden state", s);
        for (size_t i = 0; seqs[s].adapters && i < seqs[s].adapters->n; i++)
            if (seqs[s].adapters->items[i]->model != m)
                return error_set(err, QUERN_ERR_ARG,
                                 "sequence %zu has an adapter of another model", s);
        enum quern_status st = forward_check_ids(m, seqs[s].ids, seqs[s].n_ids, err);
        if (st != QUERN_OK)
            return st;
        wants_logits = wants_logits || !seqs[s].no_logits;
    }
    return wants_logits ? forward_check_head(m, err) : QUERN_OK;
}

/* Blocks for all new tokens, or none. */
static enum quern_status reserve_blocks(const struct forward_seq *seqs, size_t n_seqs,
                                        struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    size_t s = 0;
    for (; s < n_seqs && st == QUERN_OK; s++)
        st = kv_cache_reserve(seqs[s].kv, seqs[s].n_ids, err);
    while (st != QUERN_OK && s-- > 0)
        kv_cache_truncate(seqs[s].kv, seqs[s].kv->n_tokens);
    return st;
}

enum quern_status forward(const struct model *m, struct workspace *ws,
                          const struct forward_seq *seqs, size_t n_seqs, float *logits,
                          struct quern_error *err) {
    enum quern_status st = check_batch(m, ws, seqs, n_seqs, err);
    if (st == QUERN_OK)
        st = reserve_blocks(seqs, n_seqs, err);
    if (st != QUERN_OK || n_seqs == 0)
        return st;
    struct device *d = m->device;
    const struct pass p = gather_batch(m, ws, seqs, n_seqs);
    const size_t angles_bytes = p.n * (size_t)(m->config.head_dim / 2) * sizeof(float);

    d->ops->write(d, ws->cos, ws->host_cos, angles_bytes); /* [n,D/2] */
    d->ops->write(d, ws->sin, ws->host_sin, angles_bytes); /* [n,D/2] */
    d->ops->embed(d, ws->x, &m->embed, ws->ids, p.n);      /* [n,H] */
    for (size_t i = 0; i < (size_t)m->config.n_layers; i++) {
        attention_sublayer(&p, &m->layers[i], i); /* x [n,H] */
        mlp_sublayer(&p, &m->layers[i], i);       /* x [n,H] */
    }
    if (p.n_rows > 0)
        head(&p, logits); /* [n_rows,V] */
    hidden_states(&p, seqs);

    for (size_t s = 0; s < n_seqs; s++)
        seqs[s].kv->n_tokens += seqs[s].n_ids;
    return QUERN_OK;
}
