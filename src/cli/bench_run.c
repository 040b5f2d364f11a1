#include "cli/bench_run.h"

#include <stdlib.h>

#include "base/checked.h"
#include "base/os.h"
#include "kernels/kernels.h"

static size_t tokens_of_sequence(const struct bench_test *t) {
    return t->n_prompt ? t->n_prompt : t->n_generate;
}

static size_t context_of(const struct bench_test *t) {
    return t->depth + tokens_of_sequence(t);
}

static size_t tokens_of_pass(const struct bench_test *t) {
    return t->chunk > t->batch ? t->chunk : t->batch;
}

size_t bench_test_bytes(const struct hf_config *c, const struct bench_test *t) {
    size_t kv, workspace, sum;
    if (kv_cache_bytes(c, t->kv_type, context_of(t), &kv, NULL) || !checked_mul(kv, t->batch, &kv) ||
        workspace_bytes(c, tokens_of_pass(t), &workspace, NULL) ||
        !checked_add(kv, workspace, &sum))
        return SIZE_MAX;
    return sum;
}

/* ---- life ---------------------------------------------------------------------- */

static enum quern_status feed(struct bench_run *r, struct kv_cache *kv, size_t n,
                              struct quern_error *err) {
    const struct forward_seq seq = {
        .kv = kv, .rope = &r->rope, .ids = r->ids, .n_ids = n, .no_logits = true, .adapters = r->test.adapters};
    return forward(r->model, r->workspace, &seq, 1, NULL, err);
}

/* The first block is computed, the others are copies of it. */
static enum quern_status fill(struct bench_run *r, struct kv_cache *kv, struct quern_error *err) {
    const size_t depth = r->test.depth;
    size_t n = depth < KV_BLOCK_TOKENS ? depth : KV_BLOCK_TOKENS;
    if (n > tokens_of_pass(&r->test))
        n = tokens_of_pass(&r->test);
    if (n == 0)
        return QUERN_OK;
    enum quern_status status = feed(r, kv, n, err);
    if (!status)
        status = kv_cache_reserve(kv, depth - n, err);
    for (size_t i = 1; !status && i * KV_BLOCK_TOKENS < depth; i++)
        kv_pool_copy(kv->pool, kv->ids[i], kv->ids[0]);
    if (!status)
        kv->n_tokens = depth;
    return status;
}

static enum quern_status init_caches(struct bench_run *r, struct quern_error *err) {
    for (size_t i = 0; i < r->test.batch; i++) {
        enum quern_status status =
            kv_cache_init(&r->caches[i], r->model, r->test.kv_type, context_of(&r->test), err);
        if (!status)
            status = fill(r, &r->caches[i], err);
        if (status)
            return status;
    }
    const struct kv_pool *pool = r->caches[0].pool;
    r->kv_token_bytes = (double)pool->layout.block_bytes / KV_BLOCK_TOKENS;
    return QUERN_OK;
}

static enum quern_status allocate(struct bench_run *r, struct quern_error *err) {
    const size_t batch = r->test.batch, n = tokens_of_sequence(&r->test);
    const size_t vocab = (size_t)r->model->config.vocab_size;
    size_t n_ids = n > KV_BLOCK_TOKENS ? n : KV_BLOCK_TOKENS, n_logits;
    if (!checked_mul(n_ids, batch, &n_ids) || !checked_mul(vocab, batch, &n_logits))
        return error_nomem(err);
    r->caches = calloc(batch, sizeof *r->caches);
    r->seqs = calloc(batch, sizeof *r->seqs);
    r->ids = calloc(n_ids, sizeof *r->ids);
    r->logits = calloc(n_logits, sizeof *r->logits);
    if (!r->caches || !r->seqs || !r->ids || !r->logits)
        return error_nomem(err);
    for (size_t i = 0; i < n_ids; i++)
        r->ids[i] = (int32_t)((1000 + i * 7919) % vocab);
    return QUERN_OK;
}

enum quern_status bench_run_init(struct bench_run *r, const struct model *m,
                                 const struct bench_test *test, struct quern_error *err) {
    *r = (struct bench_run){.test = *test, .model = m};
    const struct hf_config *c = &m->config;
    enum quern_status status = allocate(r, err);
    if (!status)
        status = rope_init(&r->rope, c, context_of(test), false, err);
    if (!status)
        status = workspace_create(m, tokens_of_pass(test), context_of(test), &r->workspace, err);
    if (!status)
        status = init_caches(r, err);
    if (status)
        bench_run_release(r);
    return status;
}

void bench_run_release(struct bench_run *r) {
    for (size_t i = 0; r->caches && i < r->test.batch; i++)
        kv_cache_release(&r->caches[i]);
    workspace_destroy(r->workspace);
    free(r->caches);
    free(r->seqs);
    free(r->ids);
    free(r->logits);
    *r = (struct bench_run){.workspace = NULL};
}

/* ---- measuring ------------------------------------------------------------------ */

/* The next tokens of as many sequences as a pass holds, all logits of the last token of each.
 * Answers how many sequences have something to do in it. */
static size_t next_pass(struct bench_run *r, size_t n, size_t most, size_t *first, size_t *done) {
    size_t room = tokens_of_pass(&r->test), n_seqs = 0;
    for (; *first < r->test.batch && room > 0; n_seqs++) {
        size_t take = n - *done;
        take = take < most ? take : most;
        take = take < room ? take : room;
        const bool ends = *done + take == n;
        r->seqs[n_seqs] = (struct forward_seq){.kv = &r->caches[*first],
                                               .rope = &r->rope,
                                               .ids = r->ids + *first * n + *done,
                                               .n_ids = take,
                                               .no_logits = !ends,
                                               .adapters = r->test.adapters};
        room -= take;
        *done = ends ? 0 : *done + take;
        *first += ends;
        if (!ends)
            return n_seqs + 1;
    }
    return n_seqs;
}

static enum quern_status prefill(struct bench_run *r, size_t n, struct quern_error *err) {
    size_t first = 0, done = 0;
    enum quern_status status = QUERN_OK;
    while (!status && first < r->test.batch) {
        const size_t n_seqs = next_pass(r, n, tokens_of_pass(&r->test), &first, &done);
        status = forward(r->model, r->workspace, r->seqs, n_seqs, r->logits, err);
    }
    return status;
}

static enum quern_status decode(struct bench_run *r, size_t n, struct quern_error *err) {
    enum quern_status status = QUERN_OK;
    for (size_t step = 0; !status && step < n; step++) {
        for (size_t i = 0; i < r->test.batch; i++)
            r->seqs[i] = (struct forward_seq){
                .kv = &r->caches[i], .rope = &r->rope, .ids = r->ids + i * n + step, .n_ids = 1,
                .adapters = r->test.adapters};
        status = forward(r->model, r->workspace, r->seqs, r->test.batch, r->logits, err);
    }
    return status;
}

enum quern_status bench_run_once(struct bench_run *r, size_t limit, double *seconds,
                                 struct quern_error *err) {
    size_t n = tokens_of_sequence(&r->test);
    n = limit && limit < n ? limit : n;
    const uint64_t start = os_now_ns();
    enum quern_status status = r->test.n_prompt ? prefill(r, n, err) : decode(r, n, err);
    *seconds = (double)(os_now_ns() - start) * 1e-9;
    for (size_t i = 0; i < r->test.batch; i++)
        r->caches[i].n_tokens = r->test.depth;
    return status;
}

/* ---- what it costs ---------------------------------------------------------------- */

/* Positions that a layer's attention looks at for n tokens of a sequence from `depth` on, added up. */
static double positions_seen(size_t depth, size_t n, size_t window) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        size_t visible = depth + i + 1;
        sum += (double)(window && visible > window ? window : visible);
    }
    return sum;
}

struct bench_work bench_run_work(const struct bench_run *r) {
    const struct bench_test *t = &r->test;
    const struct hf_config *c = &r->model->config;
    const size_t n = tokens_of_sequence(t), pass = tokens_of_pass(t);
    const double batch = (double)t->batch, layers = c->n_layers;
    struct bench_work w = {.tokens = (double)n * batch};
    double seen = 0, bytes = 0, ops = 0;
    for (int32_t i = 0; i < c->n_layers; i++)
        seen += positions_seen(t->depth, n, (size_t)c->layer_window[i]) / layers;
    if (t->n_prompt) {
        const size_t all = n * t->batch, n_passes = (all + pass - 1) / pass;
        bench_model_work(r->model, all, t->batch, &bytes, &ops);
        w.bytes = bytes * (double)n_passes + batch * r->kv_token_bytes * (double)(t->depth + n);
    } else {
        bench_model_work(r->model, t->batch, t->batch, &bytes, &ops);
        ops *= (double)n;
        w.bytes = bytes * (double)n + batch * r->kv_token_bytes * seen;
    }
    /* Scores and sums: a multiply-add each for every element of a head. */
    w.ops = ops + 4 * batch * seen * layers * (double)c->n_heads * (double)c->head_dim;
    return w;
}
