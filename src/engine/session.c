#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

/* Memory is handed out page by page as it fills: a context too large would be given here and get
 * the process killed in the middle of an answer. */
static enum quern_status check_memory(const struct model *m, enum kv_type type, size_t n_context,
                                      size_t chunk, struct quern_error *err) {
    const size_t has_bytes = m->device->ops->memory_bytes(m->device);
    size_t kv_bytes, pass_bytes;
    enum quern_status st = kv_cache_bytes(&m->config, type, n_context, &kv_bytes, err);
    if (st == QUERN_OK)
        st = workspace_bytes(&m->config, chunk, &pass_bytes, err);
    if (st != QUERN_OK || !has_bytes || (kv_bytes < has_bytes && pass_bytes < has_bytes - kv_bytes))
        return st;
    return error_set(
        err, QUERN_ERR_LIMIT,
        "a context of %zu tokens needs %zu MiB, and %zu MiB to compute %zu tokens at a "
        "time, but there are only %zu MiB of memory",
        n_context, kv_bytes >> 20, pass_bytes >> 20, chunk, has_bytes >> 20);
}

enum quern_status session_create(const struct model *m, const struct session_options *o,
                                 struct session **out, struct quern_error *err) {
    if (o->n_context == 0 || o->n_context > INT32_MAX || o->prefill_chunk == 0)
        return error_set(err, QUERN_ERR_ARG,
                         "a session of %zu tokens in chunks of %zu; expected both from 1 to %d",
                         o->n_context, o->prefill_chunk, INT32_MAX);
    /* Here and not in the pass that wants logits, the last of a prompt: by then the session would
     * hold what came before. */
    enum quern_status st = forward_check_head(m, err);
    const enum kv_type type = kv_type_of(m, o->kv_type);
    const size_t chunk = o->prefill_chunk < o->n_context ? o->prefill_chunk : o->n_context;
    if (st == QUERN_OK)
        st = check_memory(m, type, o->n_context, chunk, err);
    if (st != QUERN_OK)
        return st;
    struct session *s = calloc(1, sizeof *s);
    if (!s)
        return error_nomem(err);
    s->model = m;
    s->unknown = (struct unknown_tokens){o->n_tokens_known, o->gaps, o->n_gaps};
    s->prefill_chunk = chunk;
    if (o->adapters)
        st = adapter_set_init(&s->adapters, m, o->adapters->items, o->adapters->n, err);
    s->tokens = calloc(o->n_context, sizeof *s->tokens);
    s->logits = calloc((size_t)m->config.vocab_size, sizeof *s->logits);
    if (st == QUERN_OK && (!s->tokens || !s->logits))
        st = error_nomem(err);
    if (st == QUERN_OK)
        st = rope_init(&s->rope, &m->config, o->n_context, o->rope_scaled, err);
    if (st == QUERN_OK)
        st = kv_cache_init(&s->kv, m, type, o->n_context, err);
    if (st == QUERN_OK)
        st = workspace_create(m, s->prefill_chunk, o->n_context, &s->workspace, err);
    if (st != QUERN_OK) {
        session_destroy(s);
        return st;
    }
    *out = s;
    return QUERN_OK;
}

void session_destroy(struct session *s) {
    if (!s)
        return;
    workspace_destroy(s->workspace);
    kv_cache_release(&s->kv);
    adapter_set_release(&s->adapters);
    free(s->tokens);
    free(s->logits);
    free(s);
}

/* A whole feed is checked before its first chunk, so that a refused one changes nothing. */
static enum quern_status check_feed(const struct session *s, const int32_t *ids, size_t n,
                                    struct quern_error *err) {
    const size_t held = s->kv.n_tokens;
    if (n > s->kv.max_tokens - held)
        return error_set(err, QUERN_ERR_CONTEXT,
                         "the context is full: %zu of %zu tokens held, %zu more do not fit", held,
                         s->kv.max_tokens, n);
    return forward_check_ids(s->model, ids, n, err);
}

static enum quern_status check_sync(const struct session *s, const int32_t *ids, size_t n,
                                    struct quern_error *err) {
    if (n > s->kv.max_tokens)
        return error_set(err, QUERN_ERR_CONTEXT, "%zu tokens do not fit into a context of %zu", n,
                         s->kv.max_tokens);
    return forward_check_ids(s->model, ids, n, err);
}

/* One forward pass; `logits` has n rows, or one, or is NULL. */
static enum quern_status run_chunk(struct session *s, const int32_t *ids, size_t n, bool all,
                                   float *logits, struct quern_error *err) {
    const struct forward_seq seq = {.kv = &s->kv,
                                    .rope = &s->rope,
                                    .ids = ids,
                                    .n_ids = n,
                                    .all_logits = all,
                                    .no_logits = !logits,
                                    .adapters = &s->adapters};
    const size_t at = s->kv.n_tokens;
    enum quern_status st = forward(s->model, s->workspace, &seq, 1, logits, err);
    if (st == QUERN_OK)
        memmove(s->tokens + at, ids, n * sizeof *ids);
    return st;
}

enum quern_status session_feed(struct session *s, const int32_t *ids, size_t n, float *all_logits,
                               struct quern_error *err) {
    const size_t vocab = (size_t)s->model->config.vocab_size;
    enum quern_status st = check_feed(s, ids, n, err);
    if (st != QUERN_OK || n == 0)
        return st;
    s->has_logits = false;
    for (size_t done = 0; done < n;) {
        const size_t left = n - done;
        const size_t chunk = left < s->prefill_chunk ? left : s->prefill_chunk;
        float *logits = all_logits ? all_logits + done * vocab : chunk == left ? s->logits : NULL;
        st = run_chunk(s, ids + done, chunk, all_logits, logits, err);
        if (st != QUERN_OK)
            return st;
        done += chunk;
    }
    if (all_logits)
        memcpy(s->logits, all_logits + (n - 1) * vocab, vocab * sizeof *s->logits);
    unknown_tokens_forbid(&s->unknown, s->logits, s->model->config.vocab_size);
    s->has_logits = true;
    return QUERN_OK;
}

static size_t common_prefix(const struct session *s, const int32_t *ids, size_t n) {
    const size_t most = n < s->kv.n_tokens ? n : s->kv.n_tokens;
    size_t same = 0;
    while (same < most && s->tokens[same] == ids[same])
        same++;
    return same;
}

enum quern_status session_sync(struct session *s, const int32_t *ids, size_t n, size_t *n_reused,
                               struct quern_error *err) {
    enum quern_status st = check_sync(s, ids, n, err);
    if (st != QUERN_OK)
        return st;
    size_t kept = common_prefix(s, ids, n);
    /* The logits held are those of the last token held; any other's are computed anew. */
    if (kept == n && kept > 0 && !(s->has_logits && kept == s->kv.n_tokens))
        kept--;
    st = session_truncate(s, kept, err);
    if (st == QUERN_OK && kept < n)
        st = session_feed(s, ids + kept, n - kept, NULL, err);
    if (st == QUERN_OK && n_reused)
        *n_reused = kept;
    return st;
}

enum quern_status session_truncate(struct session *s, size_t n_tokens, struct quern_error *err) {
    if (n_tokens > s->kv.n_tokens)
        return error_set(err, QUERN_ERR_ARG, "cannot keep %zu tokens of the %zu held", n_tokens,
                         s->kv.n_tokens);
    if (n_tokens < s->kv.n_tokens) {
        kv_cache_truncate(&s->kv, n_tokens);
        s->has_logits = false;
    }
    return QUERN_OK;
}
