/* The quern_session_* functions: options checked and defaults filled in, the rest is
 * engine/session. */
#include <stdlib.h>

#include "api/context_options.h"

enum { DEFAULT_PREFILL_CHUNK = 512 };

static enum quern_status check_options(const struct quern_session_options *o,
                                       struct quern_error *err) {
    if (o->prefill_chunk < 0 || o->yarn_expected_tokens < 0)
        return error_set(err, QUERN_ERR_ARG,
                         "prefill_chunk is %d and yarn_expected_tokens %d, expected 0 or more",
                         (int)o->prefill_chunk, (int)o->yarn_expected_tokens);
    return check_yarn(o->yarn, err);
}

enum quern_status quern_session_create(quern_model *model,
                                       const struct quern_session_options *options,
                                       quern_session **out, struct quern_error *err) {
    if (!model || !out)
        return error_set(err, QUERN_ERR_ARG, "quern_session_create: model or out is missing");
    if (!model->model)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its tokenizer only: it has no weights");
    const struct quern_session_options o = options ? *options : (struct quern_session_options){0};
    enum quern_status st = check_options(&o, err);
    if (st != QUERN_OK)
        return st;
    const struct hf_config *c = &model->model->config;
    size_t n_context = 0;
    st = choose_context(c, o.n_context, &n_context, err);
    if (st != QUERN_OK)
        return st;
    struct adapter_set adapters;
    st = loaded_model_adapters(model, o.adapters, o.n_adapters, &adapters, err);
    if (st != QUERN_OK)
        return st;
    const struct session_options so = {
        .n_context = n_context,
        .prefill_chunk = o.prefill_chunk > 0 ? (size_t)o.prefill_chunk : DEFAULT_PREFILL_CHUNK,
        .rope_scaled = wants_yarn(c, o.yarn, o.yarn_expected_tokens, n_context),
        .n_tokens_known = tokens_known(model),
        .gaps = model->gaps,
        .n_gaps = model->n_gaps,
        .kv_type = o.kv_type,
        .adapters = &adapters,
    };
    quern_session *s = calloc(1, sizeof *s);
    st = s ? session_create(model->model, &so, &s->session, err) : error_nomem(err);
    adapter_set_release(&adapters);
    if (st != QUERN_OK) {
        free(s);
        return st;
    }
    s->model = model;
    *out = s;
    return QUERN_OK;
}

void quern_session_destroy(quern_session *session) {
    if (!session)
        return;
    session_destroy(session->session);
    free(session);
}

static enum quern_status check_session(const quern_session *session, struct quern_error *err) {
    return session ? QUERN_OK : error_set(err, QUERN_ERR_ARG, "session is NULL");
}

static enum quern_status check_feed(const quern_session *session, const int32_t *ids, size_t n_ids,
                                    struct quern_error *err) {
    enum quern_status st = check_session(session, err);
    if (st == QUERN_OK && !ids && n_ids > 0)
        st = error_set(err, QUERN_ERR_ARG, "%zu token ids are to be fed, but ids is NULL", n_ids);
    return st;
}

enum quern_status quern_session_feed(quern_session *session, const int32_t *ids, size_t n_ids,
                                     struct quern_error *err) {
    enum quern_status st = check_feed(session, ids, n_ids, err);
    if (st != QUERN_OK)
        return st;
    return session_feed(session->session, ids, n_ids, NULL, err);
}

enum quern_status quern_session_feed_logits(quern_session *session, const int32_t *ids,
                                            size_t n_ids, float *out, struct quern_error *err) {
    enum quern_status st = check_feed(session, ids, n_ids, err);
    if (st == QUERN_OK && !out)
        st = error_set(err, QUERN_ERR_ARG, "quern_session_feed_logits: out is NULL");
    if (st != QUERN_OK)
        return st;
    return session_feed(session->session, ids, n_ids, out, err);
}

enum quern_status quern_session_sync(quern_session *session, const int32_t *ids, size_t n_ids,
                                     size_t *n_reused, struct quern_error *err) {
    enum quern_status st = check_feed(session, ids, n_ids, err);
    if (st != QUERN_OK)
        return st;
    return session_sync(session->session, ids, n_ids, n_reused, err);
}

enum quern_status quern_session_truncate(quern_session *session, size_t n_tokens,
                                         struct quern_error *err) {
    enum quern_status st = check_session(session, err);
    return st != QUERN_OK ? st : session_truncate(session->session, n_tokens, err);
}

const int32_t *quern_session_tokens(const quern_session *session, size_t *n_tokens) {
    *n_tokens = session->session->kv.n_tokens;
    return session->session->tokens;
}

const float *quern_session_logits(const quern_session *session) {
    return session->session->has_logits ? session->session->logits : NULL;
}

int32_t quern_session_context(const quern_session *session) {
    return (int32_t)session->session->kv.max_tokens;
}
