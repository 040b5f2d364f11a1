/* DRY, "Don't Repeat Yourself" (p-e-w, text-generation-webui pull request 5677): a token
 * that would lengthen a repetition of what the sequence already contains loses
 *     multiplier * base^(length - allowed_length)
 * where length counts the repeated tokens before it and is at least allowed_length. No
 * sequence breakers. */
#include "sampler/history.h"

/* As the published code: longer repetitions are penalized like this one. */
enum { DRY_MATCH_MAX = 50 };

/* How many tokens before and including t[i] equal the end of t[0..n). i < n - 1. */
static int match_length(const int32_t *t, size_t n, size_t i) {
    int length = 0;
    while (length < DRY_MATCH_MAX && (size_t)length <= i &&
           t[i - (size_t)length] == t[n - 1 - (size_t)length])
        length++;
    return length;
}

static float dry_penalty(const struct quern_sampling *p, int length) {
    double penalty = (double)p->dry_multiplier;
    for (int i = p->dry_allowed_length; i < length; i++)
        penalty *= (double)p->dry_base;
    /* Base 100 over 50 tokens would leave float32's range; this much forbids a token as well. */
    return penalty < 1e30 ? (float)penalty : 1e30f;
}

void token_history_apply_dry(struct token_history *h, float *scores, size_t n_scores) {
    size_t window = (size_t)h->params.dry_window;
    size_t n = window && window < h->n ? window : h->n;
    if (n < 2)
        return;
    const int32_t *t = h->tokens + (h->n - n);
    size_t n_touched = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        if (t[i] != t[n - 1])
            continue;
        int length = match_length(t, n, i);
        uint8_t *longest = &h->dry_longest[t[i + 1]];
        if (length < h->params.dry_allowed_length || length <= *longest)
            continue;
        if (*longest == 0)
            h->dry_touched[n_touched++] = t[i + 1];
        *longest = (uint8_t)length;
    }
    for (size_t i = 0; i < n_touched; i++) {
        int32_t id = h->dry_touched[i];
        if ((size_t)id < n_scores)
            scores[id] -= dry_penalty(&h->params, h->dry_longest[id]);
        h->dry_longest[id] = 0;
    }
}
