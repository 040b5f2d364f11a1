/* draft.c - guesses of a draft model. They are drawn by the request's own sampler with the random
 * numbers of their positions: where the two models nearly agree, so do their tokens. Whether a
 * guess is right is decided in step.c like for any other; here nothing can go wrong but speed. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/os.h"
#include "base/pages.h"
#include "engine/engine_internal.h"

/* ---- life ---------------------------------------------------------------------------- */

static enum quern_status check_models(const struct engine *e, const struct engine_setup *draft,
                                      struct quern_error *err) {
    if (draft->model->config.vocab_size < e->unknown.n_known)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "the draft model has %d tokens, fewer than the %d of the model",
                         (int)draft->model->config.vocab_size, (int)e->unknown.n_known);
    if (draft->n_context < e->n_context)
        return error_set(err, QUERN_ERR_UNSUPPORTED,
                         "the draft model takes contexts of %zu tokens, %zu are needed",
                         draft->n_context, e->n_context);
    return forward_check_head(draft->model, err);
}

enum quern_status draft_open(struct engine *e, const struct engine_setup *setup,
                             struct quern_error *err) {
    struct drafter *d = &e->drafter;
    const size_t n = e->limits.max_running;
    const size_t per_context = e->n_context / PREFIX_BLOCK_TOKENS + 2;
    size_t n_blocks;
    enum quern_status status = check_models(e, setup, err);
    if (status)
        return status;
    d->n_context = e->n_context;
    d->max_tokens = e->limits.step_tokens;
    if (!checked_mul(per_context, n, &n_blocks) ||
        !checked_mul(n * sizeof(float), (size_t)setup->model->config.vocab_size, &d->logits_bytes))
        return error_nomem(err);
    status = rope_init(&d->rope, &setup->model->config, e->n_context, setup->rope_scaled, err);
    if (!status)
        status = kv_pool_create(setup->model, KV_F32, n_blocks, &d->pool, err);
    if (!status)
        status = workspace_create(setup->model, d->max_tokens, e->n_context, &d->workspace, err);
    if (status)
        return status;
    d->logits = pages_alloc(d->logits_bytes);
    d->seqs = calloc(n, sizeof *d->seqs);
    d->who = calloc(n, sizeof(struct request *));
    if (!d->logits || !d->seqs || !d->who)
        return error_nomem(err);
    d->model = setup->model;
    return QUERN_OK;
}

void draft_close(struct engine *e) {
    struct drafter *d = &e->drafter;
    workspace_destroy(d->workspace);
    kv_pool_destroy(d->pool);
    if (d->logits)
        pages_free(d->logits, d->logits_bytes);
    free(d->seqs);
    free(d->who);
    *d = (struct drafter){0};
}

void draft_forget(struct request *r) {
    kv_cache_release(&r->draft_kv);
    r->n_guesses = 0;
}

/* ---- a round ---------------------------------------------------------------------------- */

/* One forward pass; the requests in `who` get their next guess from its rows. False: no more. */
static bool run_round(struct engine *e, size_t n_seqs, size_t n_who) {
    struct drafter *d = &e->drafter;
    const size_t vocab = (size_t)d->model->config.vocab_size;
    bool ok = forward(d->model, d->workspace, d->seqs, n_seqs, d->logits, NULL) == QUERN_OK;
    for (size_t i = 0; i < n_who && ok; i++) {
        struct request *r = d->who[i];
        float *row = d->logits + i * vocab;
        unknown_tokens_forbid(&e->unknown, row, (int32_t)vocab);
        ok = completion_guess(r->completion, row, (uint64_t)(r->n_tokens + r->n_guesses),
                              &r->guesses[r->n_guesses], NULL) == QUERN_OK;
        r->n_guesses += ok;
    }
    for (size_t i = 0; i < n_who && !ok; i++)
        d->who[i]->no_draft = true;
    return ok;
}

/* What the draft model has not seen of each sequence. Long beginnings take several steps, in which
 * their requests have no guesses. The answer: how many tokens are fed. */
static size_t plan_first_round(struct engine *e, size_t *n_seqs, size_t *n_who) {
    struct drafter *d = &e->drafter;
    size_t left = d->max_tokens;
    *n_seqs = *n_who = 0;
    for (size_t i = 0; i < e->n_running && left > 0; i++) {
        struct request *r = e->running[i];
        if (r->n_wanted == 0)
            continue;
        if (!r->draft_kv.pool && kv_cache_init_in(&r->draft_kv, d->pool, d->n_context, NULL))
            continue;
        /* Guesses that were wrong stand behind what is sure. */
        if (r->draft_kv.n_tokens > r->n_tokens - 1)
            kv_cache_truncate(&r->draft_kv, r->n_tokens - 1);
        const size_t pending = r->n_tokens - r->draft_kv.n_tokens;
        const size_t n = pending < left ? pending : left;
        d->seqs[(*n_seqs)++] = (struct forward_seq){.kv = &r->draft_kv,
                                                    .rope = &d->rope,
                                                    .ids = r->tokens + r->draft_kv.n_tokens,
                                                    .n_ids = n,
                                                    .no_logits = n < pending};
        if (n == pending)
            d->who[(*n_who)++] = r;
        left -= n;
    }
    return d->max_tokens - left;
}

/* Those who want more feed their last guess. */
static size_t plan_next_round(struct engine *e, size_t n_who) {
    struct drafter *d = &e->drafter;
    size_t n = 0;
    for (size_t i = 0; i < n_who; i++) {
        struct request *r = d->who[i];
        if (r->n_guesses >= r->n_wanted)
            continue;
        d->who[n] = r;
        d->seqs[n++] = (struct forward_seq){
            .kv = &r->draft_kv, .rope = &d->rope, .ids = &r->guesses[r->n_guesses - 1], .n_ids = 1};
    }
    return n;
}

/* ---- a step's guesses ------------------------------------------------------------------------ */

static size_t wanted_guesses(const struct engine *e, struct request *r, size_t n_decoding) {
    const size_t rows = (e->n_logit_rows - e->limits.max_running) / n_decoding;
    size_t most = r->capacity - r->n_tokens;
    int32_t forced;
    if (completion_forced(r->completion, &forced, 1) > 0 || r->no_draft ||
        !ticket_has_room(r->ticket, 2 + ENGINE_DRAFTS_MAX))
        return 0;
    most = most < ENGINE_DRAFTS_MAX ? most : ENGINE_DRAFTS_MAX;
    most = most < rows ? most : rows;
    if (e->limits.speculation == QUERN_SPECULATION_ALWAYS)
        return most;
    /* A round serves all who decode. */
    const double guess_ns = e->drafter.guess_ns / (double)n_decoding;
    const size_t pays = speed_best_drafts(&e->speed, n_decoding, r->accept, guess_ns, most);
    return pays == 0 && most > 0 && r->since_guess >= ENGINE_PROBE_TOKENS ? 1 : pays;
}

void draft_guess(struct engine *e, size_t n_decoding) {
    struct drafter *d = &e->drafter;
    size_t n_seqs, n_who;
    for (size_t i = 0; i < e->n_running; i++) {
        struct request *r = e->running[i];
        const bool decodes = r->state == REQUEST_RUNNING && request_decodes(r);
        r->n_guesses = 0;
        r->n_wanted = decodes ? wanted_guesses(e, r, n_decoding) : 0;
    }
    uint64_t begin_ns = os_now_ns();
    const size_t n_fed = plan_first_round(e, &n_seqs, &n_who);
    const bool usual = n_fed <= 2 * n_seqs; /* no beginnings to catch up with */
    for (size_t n_rounds = 0; n_seqs > 0; n_rounds++) {
        if (!run_round(e, n_seqs, n_who))
            return;
        const uint64_t end_ns = os_now_ns();
        const double weight = 0.1, ns = (double)(end_ns - begin_ns);
        if (usual || n_rounds > 0)
            d->guess_ns = d->guess_ns > 0 ? d->guess_ns + weight * (ns - d->guess_ns) : ns;
        begin_ns = end_ns;
        n_seqs = n_who = plan_next_round(e, n_who);
    }
}
