#include "sampler/history.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static bool counts_init(struct token_counts *c, size_t n_vocab) {
    c->count = calloc(n_vocab, sizeof *c->count);
    c->seen = malloc(n_vocab * sizeof *c->seen);
    c->listed = calloc(n_vocab, sizeof *c->listed);
    return c->count && c->seen && c->listed;
}

static void counts_release(struct token_counts *c) {
    free(c->count);
    free(c->seen);
    free(c->listed);
}

static void counts_add(struct token_counts *c, int32_t id) {
    c->count[id]++;
    if (c->listed[id])
        return;
    c->listed[id] = true;
    c->seen[c->n_seen++] = id;
}

static bool needs_generated(const struct quern_sampling *p) {
    return p->presence_penalty != 0 || p->frequency_penalty != 0;
}

static bool needs_order(const struct quern_sampling *p) {
    return p->dry_multiplier != 0 || (p->repetition_penalty != 1 && p->penalty_window > 0);
}

enum quern_status token_history_init(struct token_history *h, const struct quern_sampling *params,
                               int32_t n_vocab, struct quern_error *err) {
    *h = (struct token_history){.params = *params, .n_vocab = n_vocab};
    h->params.logit_bias = NULL;
    h->params.n_logit_bias = 0;
    size_t n = (size_t)n_vocab;
    bool ok = true;
    if (params->repetition_penalty != 1)
        ok = ok && counts_init(&h->window, n);
    if (needs_generated(params))
        ok = ok && counts_init(&h->generated, n);
    if (params->dry_multiplier != 0) {
        h->dry_longest = calloc(n, sizeof *h->dry_longest);
        h->dry_touched = malloc(n * sizeof *h->dry_touched);
        ok = ok && h->dry_longest && h->dry_touched;
    }
    if (ok)
        return QUERN_OK;
    token_history_release(h);
    return error_nomem(err);
}

void token_history_release(struct token_history *h) {
    counts_release(&h->window);
    counts_release(&h->generated);
    free(h->tokens);
    free(h->dry_longest);
    free(h->dry_touched);
    *h = (struct token_history){0};
}

bool token_history_is_used(const struct token_history *h) {
    return h->window.count || h->generated.count || h->dry_longest;
}

enum quern_status token_history_reserve(struct token_history *h, size_t n, struct quern_error *err) {
    if (!needs_order(&h->params) || n <= h->capacity)
        return QUERN_OK;
    size_t bytes;
    if (!checked_mul(n, sizeof *h->tokens, &bytes))
        return error_nomem(err);
    int32_t *tokens = realloc(h->tokens, bytes);
    if (!tokens)
        return error_nomem(err);
    h->tokens = tokens;
    h->capacity = n;
    return QUERN_OK;
}

static enum quern_status check_ids(const struct token_history *h, const int32_t *ids, size_t n,
                                   struct quern_error *err) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= h->n_vocab)
            return error_set(err, QUERN_ERR_ARG,
                             "sampler: token id %d at index %zu, expected 0 to %d", (int)ids[i], i,
                             (int)h->n_vocab - 1);
    return QUERN_OK;
}

static enum quern_status grow(struct token_history *h, size_t extra, struct quern_error *err) {
    size_t need;
    if (!checked_add(h->n, extra, &need))
        return error_nomem(err);
    if (need <= h->capacity)
        return QUERN_OK;
    return token_history_reserve(h, need < SIZE_MAX / 2 ? need + need / 2 : need, err);
}

/* The token enters the window, and the one that is now too old leaves it. */
static void slide_window(struct token_history *h, int32_t id) {
    counts_add(&h->window, id);
    size_t window = (size_t)h->params.penalty_window;
    if (window && h->n > window)
        h->window.count[h->tokens[h->n - 1 - window]]--;
}

enum quern_status token_history_add(struct token_history *h, const int32_t *ids, size_t n, bool generated,
                              struct quern_error *err) {
    enum quern_status status = check_ids(h, ids, n, err);
    bool ordered = needs_order(&h->params);
    if (!status && ordered)
        status = grow(h, n, err);
    if (status)
        return status;
    for (size_t i = 0; i < n; i++) {
        if (ordered)
            h->tokens[h->n++] = ids[i];
        if (h->window.count)
            slide_window(h, ids[i]);
        if (generated && h->generated.count)
            counts_add(&h->generated, ids[i]);
    }
    return QUERN_OK;
}

/* transformers' RepetitionPenaltyLogitsProcessor (CTRL, Keskar et al. 2019): once per
 * distinct token, whatever its count. */
static void apply_repetition(const struct token_history *h, float *scores, size_t n_scores) {
    const float penalty = h->params.repetition_penalty;
    for (size_t i = 0; i < h->window.n_seen; i++) {
        int32_t id = h->window.seen[i];
        if (h->window.count[id] == 0 || (size_t)id >= n_scores)
            continue;
        scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
    }
}

/* OpenAI's rule: logit -= count * frequency + (count > 0) * presence. */
static void apply_counts(const struct token_history *h, float *scores, size_t n_scores) {
    for (size_t i = 0; i < h->generated.n_seen; i++) {
        int32_t id = h->generated.seen[i];
        if ((size_t)id >= n_scores)
            continue;
        double penalty = (double)h->generated.count[id] * (double)h->params.frequency_penalty +
                         (double)h->params.presence_penalty;
        scores[id] = (float)((double)scores[id] - penalty);
    }
}

void token_history_apply(struct token_history *h, float *scores, size_t n_scores) {
    if (h->window.count)
        apply_repetition(h, scores, n_scores);
    if (h->generated.count)
        apply_counts(h, scores, n_scores);
    if (h->dry_longest)
        token_history_apply_dry(h, scores, n_scores);
}
