/* step.c - one forward pass, and what its results mean for each request in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "engine/engine_internal.h"

/* ---- embeddings and scores ----------------------------------------------------------- */

static void end_with_values(struct engine *e, struct request *r, const float *from, size_t n,
                            const int32_t *picks) {
    struct quern_error err = {0};
    float *values = malloc(n * sizeof *values);
    if (!values) {
        error_nomem(&err);
        request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
        return;
    }
    for (size_t i = 0; i < n; i++)
        values[i] = from[picks ? (size_t)picks[i] : i];
    request_end(e, r, QUERN_FINISH_STOP, NULL, values, n);
}

static void normalize(float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] * scale);
}

/* What a step has brought. */
struct step_counts {
    size_t n_rows, n_prompt; /* fed: of decoding requests, guesses included; of prompts */
    size_t n_made, n_drafted, n_right;
};

/* ---- answers --------------------------------------------------------------------------- */

/* One token from a row of logits; NULL: it is forced. False: the request has ended. */
static bool make_token(struct engine *e, struct request *r, float *logits) {
    struct quern_event event;
    struct quern_error err = {0};
    if (logits)
        unknown_tokens_forbid(&e->unknown, logits, e->model->config.vocab_size);
    enum quern_status status =
        completion_step(r->completion, logits, (uint64_t)r->n_tokens, &event, &err);
    if (!status) {
        r->tokens[r->n_tokens++] = event.token;
        if (!r->first_ns)
            r->first_ns = os_now_ns();
        status = ticket_push(r->ticket, &event, &err);
    }
    if (status) {
        request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
        return false;
    }
    return true;
}

static void end_completed(struct engine *e, struct request *r) {
    struct quern_generate_result made;
    completion_result(r->completion, &made);
    request_end(e, r, made.finish, NULL, NULL, 0);
}

/* Only the first wrong guess tells something, and all right ones before it. */
static void note_guesses(struct request *r, size_t n_right, struct step_counts *counts) {
    const double weight = 0.1;
    if (r->n_drafts == 0) {
        r->since_guess++;
        return;
    }
    for (size_t i = 0; i <= n_right && i < r->n_drafts && !r->forced; i++)
        r->accept += weight * ((i < n_right ? 1.0 : 0.0) - r->accept);
    r->since_guess = 0;
    r->usage.drafted_tokens += r->n_drafts;
    r->usage.accepted_tokens += n_right;
    counts->n_drafted += r->n_drafts;
    counts->n_right += n_right;
}

/* Guesses are right as long as each is the very token that the row before it gives: tokens depend
 * on nothing but logits, seed and position, so that they are the ones made without guesses. Forced
 * ones need no row. */
static void take_answer(struct engine *e, struct request *r, struct step_counts *counts) {
    const size_t vocab = (size_t)e->model->config.vocab_size;
    float *rows = e->logits + r->logits_row * vocab;
    size_t n_right = 0;
    bool goes_on = !completion_is_done(r->completion);
    for (size_t i = 0; goes_on; i++) {
        int32_t forced;
        float *row = r->last_row_only ? (i == r->n_drafts ? rows : NULL) : rows + i * vocab;
        if (!row && completion_forced(r->completion, &forced, 1) == 0)
            break; /* it had been taken for forced, but the answer has to end */
        if (!make_token(e, r, row))
            return;
        counts->n_made++;
        const bool right = i < r->n_drafts && r->tokens[r->n_tokens - 1] == r->fed[1 + i];
        n_right += right;
        goes_on = right && !completion_is_done(r->completion);
    }
    note_guesses(r, n_right, counts);
    /* Neither wrong guesses nor a right one behind the end are of this sequence. */
    if (r->kv.n_tokens >= r->n_tokens)
        kv_cache_truncate(&r->kv, r->n_tokens - 1);
    if (completion_is_done(r->completion))
        end_completed(e, r);
}

/* ---- prompts ----------------------------------------------------------------------------- */

/* The row of token i tells how likely token i + 1 was. False: the request has ended. */
static bool score_prompt(struct engine *e, struct request *r) {
    const size_t vocab = (size_t)e->model->config.vocab_size;
    const size_t first = r->kv.n_tokens - r->n_step;
    struct quern_error err = {0};
    for (size_t i = 0; i < r->n_step && first + i + 1 < r->n_prompt; i++) {
        struct quern_event event;
        float *row = e->logits + (r->logits_row + i) * vocab;
        if (first + i < r->n_scored)
            continue; /* given before the request was put aside */
        unknown_tokens_forbid(&e->unknown, row, (int32_t)vocab);
        completion_score(r->completion, row, r->tokens[first + i + 1], &event);
        if (ticket_push(r->ticket, &event, &err)) {
            request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
            return false;
        }
        r->n_scored++;
    }
    r->logits_row += r->n_step - 1; /* an answer begins with the last one */
    return true;
}

/* ---- a step ------------------------------------------------------------------------------ */

static void take_results(struct engine *e, struct request *r, struct step_counts *counts) {
    const size_t vocab = (size_t)e->model->config.vocab_size;
    const size_t hidden_size = (size_t)e->model->config.hidden_size;
    if (!r->decoded)
        request_share_blocks(e, r);
    if (r->all_rows && !score_prompt(e, r))
        return;
    if (r->kv.n_tokens < r->n_tokens)
        return;
    if (r->kind == QUERN_REQUEST_GENERATE) {
        take_answer(e, r, counts);
        return;
    }
    r->first_ns = os_now_ns();
    if (r->kind == QUERN_REQUEST_SCORE) {
        end_with_values(e, r, e->logits + r->logits_row * vocab, r->n_score_tokens,
                        r->score_tokens);
    } else {
        normalize(r->hidden, hidden_size);
        end_with_values(e, r, r->hidden, hidden_size, NULL);
    }
}

static void count_step(struct engine *e, const struct step_counts *c, uint64_t now_ns) {
    mutex_lock(&e->lock);
    e->stats.n_steps++;
    e->stats.completion_tokens += c->n_made;
    e->stats.drafted_tokens += c->n_drafted;
    e->stats.accepted_tokens += c->n_right;
    e->progress_ns = now_ns;
    mutex_unlock(&e->lock);
}

void step_run(struct engine *e) {
    struct quern_error err = {0};
    struct step_counts counts = {0};
    const uint64_t begin_ns = os_now_ns();
    const enum quern_status status =
        forward(e->model, e->workspace, e->seqs, e->n_batch, e->logits, &err);
    const uint64_t computed_ns = os_now_ns();
    bool forced = false; /* rows without logits tell little of others */
    for (size_t i = 0; i < e->n_batch; i++) {
        struct request *r = e->batch[i];
        forced |= r->decoded && r->last_row_only;
        *(r->decoded ? &counts.n_rows : &counts.n_prompt) += r->n_step;
        if (status)
            request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
        else
            take_results(e, r, &counts);
    }
    const uint64_t end_ns = os_now_ns();
    /* Sampling is part of what a row costs. */
    if (!status && !forced)
        speed_observe(&e->speed, counts.n_rows, counts.n_prompt,
                      counts.n_prompt ? computed_ns - begin_ns : end_ns - begin_ns);
    count_step(e, &counts, end_ns);
}
