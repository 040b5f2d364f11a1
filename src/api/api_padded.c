/* api_padded.c - quern_sessions_feed_padded: a padded batch becomes rows of tokens, the rest is
 * engine/session_batch.c. */
#include <stdlib.h>

#include "api/loaded_model.h"
#include "base/checked.h"

static enum quern_status check_shape(quern_session *const *sessions, size_t n_sessions,
                                     const int32_t *ids, size_t length, struct quern_error *err) {
    if (!sessions || !ids)
        return error_set(err, QUERN_ERR_ARG, "quern_sessions_feed_padded: %s is NULL",
                         sessions ? "ids" : "sessions");
    size_t n;
    if (n_sessions == 0 || length == 0 || !checked_mul(n_sessions, length, &n) ||
        n > PTRDIFF_MAX / sizeof *ids)
        return error_set(err, QUERN_ERR_ARG, "a batch of %zu rows of %zu, expected 1 or more of both",
                         n_sessions, length);
    for (size_t i = 0; i < n_sessions; i++)
        if (!sessions[i])
            return error_set(err, QUERN_ERR_ARG, "row %zu: its session is NULL", i);
    return QUERN_OK;
}

/* The tokens of a row: what stands behind its padding. */
static enum quern_status read_row(const uint8_t *mask, size_t length, size_t row, size_t *n_pads,
                                  struct quern_error *err) {
    size_t pads = 0;
    while (pads < length && mask[pads] == 0)
        pads++;
    if (pads == length)
        return error_set(err, QUERN_ERR_ARG, "row %zu is all padding: leave its session out", row);
    for (size_t k = pads; k < length; k++)
        if (mask[k] != 1)
            return error_set(err, QUERN_ERR_ARG,
                             "row %zu has %d at column %zu of its mask, expected 1: padding stands "
                             "before all tokens",
                             row, mask[k], k);
    *n_pads = pads;
    return QUERN_OK;
}

enum quern_status quern_sessions_feed_padded(quern_session *const *sessions, size_t n_sessions,
                                             const int32_t *ids, const uint8_t *mask, size_t length,
                                             float *logits, struct quern_error *err) {
    enum quern_status st = check_shape(sessions, n_sessions, ids, length, err);
    if (st != QUERN_OK)
        return st;
    struct session_input *inputs = calloc(n_sessions, sizeof *inputs);
    if (!inputs)
        return error_nomem(err);
    for (size_t i = 0; i < n_sessions && st == QUERN_OK; i++) {
        size_t n_pads = 0;
        if (mask)
            st = read_row(mask + i * length, length, i, &n_pads, err);
        inputs[i] = (struct session_input){.session = sessions[i]->session,
                                           .ids = ids + i * length + n_pads,
                                           .n_ids = length - n_pads};
    }
    if (st == QUERN_OK)
        st = session_feed_many(inputs, n_sessions, logits, err);
    free(inputs);
    return st;
}
