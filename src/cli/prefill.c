#include "cli/prefill.h"

#include "base/error.h"
#include "cli/cli_common.h"
#include "cli/interrupt.h"

/* Small enough for Ctrl-C to be felt at once, large enough to compute at full speed. */
enum { PIECE_TOKENS = 256 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t common_prefix(const quern_session *session, const int32_t *ids, size_t n_ids) {
    size_t n_held = 0, n = 0;
    const int32_t *held = quern_session_tokens(session, &n_held);
    while (n < n_held && n < n_ids && held[n] == ids[n])
        n++;
    return n;
}

static enum quern_status feed_rest(quern_session *session, const int32_t *ids, size_t n_ids,
                                   size_t done, struct cli_progress *progress,
                                   struct quern_error *err) {
    size_t begin = done;
    while (done < n_ids) {
        if (interrupt_pending())
            return error_set(err, QUERN_ERR_CANCELLED, "interrupted");
        size_t n = least(PIECE_TOKENS, n_ids - done);
        enum quern_status status = quern_session_feed(session, ids + done, n, err);
        if (status)
            return status;
        done += n;
        cli_progress_update(progress, (double)(done - begin) / (double)(n_ids - begin));
    }
    return interrupt_pending() ? error_set(err, QUERN_ERR_CANCELLED, "interrupted") : QUERN_OK;
}

enum quern_status cli_prefill(quern_session *session, const int32_t *ids, size_t n_ids,
                              size_t *n_reused, struct quern_error *err) {
    struct cli_progress progress;
    cli_progress_start(&progress, "Reading");
    size_t first = least(n_ids, common_prefix(session, ids, n_ids) + PIECE_TOKENS);
    enum quern_status status = quern_session_sync(session, ids, first, n_reused, err);
    if (!status)
        status = feed_rest(session, ids, n_ids, first, &progress, err);
    cli_progress_finish(&progress);
    return status;
}
