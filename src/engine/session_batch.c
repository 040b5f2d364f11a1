/* session_batch.c - several sessions fed in common passes. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "engine/session.h"

static enum quern_status check_input(const struct session_input *inputs, size_t i,
                                     struct quern_error *err) {
    const struct session *s = inputs[i].session, *first = inputs[0].session;
    if (s->model != first->model)
        return error_set(err, QUERN_ERR_ARG, "row %zu: its session is of another model than row 0's",
                         i);
    if (s->kv.pool->layout.type != first->kv.pool->layout.type)
        return error_set(err, QUERN_ERR_ARG,
                         "row %zu: its session keeps keys and values in another form (kv_type) than "
                         "row 0's",
                         i);
    for (size_t k = 0; k < i; k++)
        if (inputs[k].session == s)
            return error_set(err, QUERN_ERR_ARG, "rows %zu and %zu are of the same session", k, i);
    const size_t held = s->kv.n_tokens, n = inputs[i].n_ids;
    if (n == 0)
        return error_set(err, QUERN_ERR_ARG, "row %zu has no token", i);
    if (n > s->kv.max_tokens - held)
        return error_set(err, QUERN_ERR_CONTEXT,
                         "row %zu: the context is full: %zu of %zu tokens held, %zu more do not fit",
                         i, held, s->kv.max_tokens, n);
    struct quern_error inner;
    const enum quern_status st = forward_check_ids(s->model, inputs[i].ids, n, &inner);
    return st == QUERN_OK ? st : error_set(err, st, "row %zu: %s", i, inner.message);
}

/* Where the next pass begins: a row, and how much of it is computed. */
struct place {
    size_t row, done;
};

/* As much from `at` on as fits into one pass; moves `at` behind it. The number of sequences. */
static size_t fill_pass(const struct session_input *inputs, size_t n, size_t room, struct place *at,
                        struct forward_seq *seqs) {
    size_t n_seqs = 0;
    while (at->row < n && room > 0) {
        const struct session_input *in = &inputs[at->row];
        struct session *s = in->session;
        const size_t left = in->n_ids - at->done, take = left < room ? left : room;
        s->has_logits = false;
        seqs[n_seqs++] = (struct forward_seq){.kv = &s->kv,
                                              .rope = &s->rope,
                                              .ids = in->ids + at->done,
                                              .n_ids = take,
                                              .no_logits = take < left,
                                              .adapters = &s->adapters};
        memmove(s->tokens + s->kv.n_tokens, in->ids + at->done, take * sizeof *in->ids);
        room -= take;
        *at = take < left ? (struct place){at->row, at->done + take} : (struct place){at->row + 1, 0};
    }
    return n_seqs;
}

static void keep_logits(const struct session_input *inputs, size_t n, const float *rows) {
    const size_t vocab = (size_t)inputs[0].session->model->config.vocab_size;
    for (size_t i = 0; i < n; i++) {
        struct session *s = inputs[i].session;
        memcpy(s->logits, rows + i * vocab, vocab * sizeof *rows);
        unknown_tokens_forbid(&s->unknown, s->logits, (int32_t)vocab);
        s->has_logits = true;
    }
}

static enum quern_status run_passes(const struct session_input *inputs, size_t n,
                                    struct forward_seq *seqs, float *rows,
                                    struct quern_error *err) {
    const struct model *m = inputs[0].session->model;
    const size_t vocab = (size_t)m->config.vocab_size;
    /* A workspace serves contexts up to the one it was made for. */
    const struct session *host = inputs[0].session;
    for (size_t i = 1; i < n; i++)
        if (inputs[i].session->kv.max_tokens > host->kv.max_tokens)
            host = inputs[i].session;
    for (struct place at = {0}; at.row < n;) {
        float *out = rows + at.row * vocab;
        const size_t n_seqs = fill_pass(inputs, n, host->prefill_chunk, &at, seqs);
        enum quern_status st = forward(m, host->workspace, seqs, n_seqs, out, err);
        if (st != QUERN_OK)
            return st;
    }
    keep_logits(inputs, n, rows);
    return QUERN_OK;
}

enum quern_status session_feed_many(const struct session_input *inputs, size_t n, float *logits,
                                    struct quern_error *err) {
    enum quern_status st = QUERN_OK;
    for (size_t i = 0; i < n && st == QUERN_OK; i++)
        st = check_input(inputs, i, err);
    if (st != QUERN_OK)
        return st;
    const size_t vocab = (size_t)inputs[0].session->model->config.vocab_size;
    size_t n_floats;
    if (!checked_mul(n, vocab, &n_floats) || n_floats > SIZE_MAX / sizeof(float))
        return error_nomem(err);
    struct forward_seq *seqs = calloc(n, sizeof *seqs);
    float *own = logits ? NULL : calloc(n_floats, sizeof *own);
    if (seqs && (logits || own))
        st = run_passes(inputs, n, seqs, logits ? logits : own, err);
    else
        st = error_nomem(err);
    free(seqs);
    free(own);
    return st;
}
