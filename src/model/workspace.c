#include "model/workspace.h"

#include <stdlib.h>

#include "base/checked.h"

/* Hands out aligned slices of a block, or only adds up their sizes while base is NULL:
 * one function both measures and lays out, so that the two cannot differ. */
struct slicer {
    char *base;
    size_t used_bytes;
    bool overflow;
};

enum { SLICE_ALIGN_BYTES = 64 };

static float *slice(struct slicer *s, size_t rows, size_t cols) {
    size_t n, bytes, end;
    if (s->overflow || !checked_mul(rows, cols, &n) || !checked_mul(n, sizeof(float), &bytes) ||
        !checked_add(bytes, SLICE_ALIGN_BYTES - 1, &bytes) ||
        !checked_add(s->used_bytes, bytes / SLICE_ALIGN_BYTES * SLICE_ALIGN_BYTES, &end)) {
        s->overflow = true;
        return NULL;
    }
    char *at = s->base ? s->base + s->used_bytes : NULL;
    s->used_bytes = end;
    return (float *)(void *)at;
}

static size_t max_of(size_t a, size_t b) {
    return a > b ? a : b;
}

/* A head's row must fit, whatever the width of the rest. */
static void lay_out_adapters(struct workspace *ws, const struct hf_config *c, struct slicer *s) {
    const size_t D = (size_t)c->head_dim, Q = (size_t)c->n_heads * D;
    const size_t H = (size_t)c->hidden_size, V = (size_t)c->vocab_size;
    const size_t I = max_of((size_t)c->intermediate_size, (size_t)c->moe_intermediate_size);
    ws->adapter_rows = ws->max_tokens < ADAPTER_ROWS ? ws->max_tokens : ADAPTER_ROWS;
    ws->adapter_out_floats = max_of(ws->adapter_rows * max_of(Q, max_of(H, I)), V);
    ws->adapter_low = slice(s, ws->adapter_rows, PEFT_RANK_MAX);
    ws->adapter_out = slice(s, ws->adapter_out_floats, 1);
}

static void lay_out(struct workspace *ws, const struct hf_config *c, struct slicer *s) {
    const size_t T = ws->max_tokens, H = (size_t)c->hidden_size, D = (size_t)c->head_dim;
    const size_t Q = (size_t)c->n_heads * D, K = (size_t)c->n_kv_heads * D;
    const size_t I = max_of((size_t)c->intermediate_size, (size_t)c->moe_intermediate_size);
    ws->x = slice(s, T, H);
    ws->h = slice(s, T, H);
    ws->q = slice(s, T, Q);
    ws->k = slice(s, T, K);
    ws->v = slice(s, T, K);
    ws->attended = slice(s, T, Q);
    ws->gate = slice(s, T, I);
    ws->up = slice(s, T, I);
    ws->cos = slice(s, T, D / 2);
    ws->sin = slice(s, T, D / 2);
    ws->logits =
        slice(s, T < WORKSPACE_LOGITS_ROWS ? T : WORKSPACE_LOGITS_ROWS, (size_t)c->vocab_size);
    if (c->n_experts > 0) {
        ws->router = slice(s, T, (size_t)c->n_experts);
        ws->moe_out = slice(s, T, H);
        ws->expert_in = slice(s, T, H);
        ws->expert_out = slice(s, T, H);
    }
    lay_out_adapters(ws, c, s);
}

enum quern_status workspace_bytes(const struct hf_config *c, size_t max_tokens, size_t *bytes,
                                  struct quern_error *err) {
    struct workspace ws = {.max_tokens = max_tokens};
    struct slicer measure = {0};
    lay_out(&ws, c, &measure);
    if (measure.overflow)
        return error_set(err, QUERN_ERR_LIMIT, "a forward pass of %zu tokens is too large",
                         max_tokens);
    *bytes = measure.used_bytes;
    return QUERN_OK;
}

static enum quern_status make_device_part(struct workspace *ws, const struct hf_config *c,
                                          struct quern_error *err) {
    enum quern_status st = workspace_bytes(c, ws->max_tokens, &ws->block_bytes, err);
    if (st != QUERN_OK)
        return st;
    ws->block = ws->device->ops->alloc(ws->device, ws->block_bytes);
    if (!ws->block)
        return error_set(err, QUERN_ERR_NOMEM,
                         "out of memory: a forward pass of %zu tokens needs %zu MiB",
                         ws->max_tokens, ws->block_bytes >> 20);
    struct slicer place = {.base = ws->block};
    lay_out(ws, c, &place);
    return QUERN_OK;
}

static enum quern_status make_host_part(struct workspace *ws, const struct hf_config *c,
                                        struct quern_error *err) {
    const size_t T = ws->max_tokens, half = (size_t)c->head_dim / 2;
    const size_t E = (size_t)c->n_experts;
    struct arena *a = &ws->arena;
    ws->ids = arena_calloc(a, T, sizeof *ws->ids);
    ws->rows = arena_calloc(a, T, sizeof *ws->rows);
    ws->seqs = arena_calloc(a, T, sizeof *ws->seqs);
    ws->host_cos = arena_calloc(a, T, half * sizeof(float));
    ws->host_sin = arena_calloc(a, T, half * sizeof(float));
    ws->host_router = arena_calloc(a, T, E * sizeof(float));
    ws->row_adapters = arena_calloc(a, T, sizeof *ws->row_adapters);
    if (!ws->ids || !ws->rows || !ws->seqs || !ws->host_cos || !ws->host_sin || !ws->host_router ||
        !ws->row_adapters)
        return error_nomem(err);
    if (E == 0)
        return QUERN_OK;
    return moe_plan_init(&ws->moe, a, T, E, (size_t)c->n_experts_per_token, err);
}

enum quern_status workspace_create(const struct model *m, size_t max_tokens, size_t max_context,
                                   struct workspace **out, struct quern_error *err) {
    struct workspace *ws = calloc(1, sizeof *ws);
    if (!ws)
        return error_nomem(err);
    ws->device = m->device;
    ws->max_tokens = max_tokens;
    ws->max_context = max_context;
    arena_init(&ws->arena, 0);
    enum quern_status st = make_device_part(ws, &m->config, err);
    if (st == QUERN_OK)
        st = make_host_part(ws, &m->config, err);
    if (st == QUERN_OK)
        st = m->device->ops->reserve(m->device, max_context,
                                     (size_t)(m->config.n_heads / m->config.n_kv_heads),
                                     (size_t)m->config.head_dim, err);
    if (st != QUERN_OK) {
        workspace_destroy(ws);
        return st;
    }
    *out = ws;
    return QUERN_OK;
}

void workspace_destroy(struct workspace *ws) {
    if (!ws)
        return;
    if (ws->block)
        ws->device->ops->release(ws->device, ws->block, ws->block_bytes);
    arena_release(&ws->arena);
    free(ws);
}
