/* request.c - one request inside the engine, from submission to its end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "engine/engine_internal.h"

enum { MAX_SALT_BYTES = 1024, ADAPTER_SALT_BYTES = 40, MAX_SCORE_TOKENS = 1 << 16 };

/* ---- checking -------------------------------------------------------------------- */

static enum quern_status check_prompt(const struct engine *e, const struct quern_request *r,
                                      struct quern_error *err) {
    if (!r->prompt || r->n_prompt == 0)
        return error_set(err, QUERN_ERR_ARG, "a request needs a prompt of at least one token");
    const size_t makes = r->kind == QUERN_REQUEST_GENERATE;
    if (r->n_prompt > e->n_room || r->n_prompt + makes > e->n_room)
        return error_set(err, QUERN_ERR_CONTEXT,
                         "the prompt has %zu tokens; with one to be made a sequence may have %zu "
                         "at most",
                         r->n_prompt, e->n_room);
    return forward_check_ids(e->model, r->prompt, r->n_prompt, err);
}

static enum quern_status check_score(const struct engine *e, const struct quern_request *r,
                                     struct quern_error *err) {
    if (!r->score_tokens || r->n_score_tokens == 0 || r->n_score_tokens > MAX_SCORE_TOKENS)
        return error_set(err, QUERN_ERR_ARG,
                         "a request for scores names %zu tokens, expected 1 to %d",
                         r->score_tokens ? r->n_score_tokens : 0, MAX_SCORE_TOKENS);
    return forward_check_ids(e->model, r->score_tokens, r->n_score_tokens, err);
}

static enum quern_status check_request(const struct engine *e, const struct quern_request *r,
                                       struct quern_error *err) {
    if ((unsigned)r->kind > QUERN_REQUEST_SCORE)
        return error_set(err, QUERN_ERR_ARG, "a request's kind is %d, expected %d to %d",
                         (int)r->kind, QUERN_REQUEST_GENERATE, QUERN_REQUEST_SCORE);
    if (r->deadline_ms < 0)
        return error_set(err, QUERN_ERR_ARG, "a request's deadline_ms is negative");
    if (r->cache_salt && strlen(r->cache_salt) > MAX_SALT_BYTES)
        return error_set(err, QUERN_ERR_LIMIT, "a request's cache_salt is longer than %d bytes",
                         MAX_SALT_BYTES);
    if (r->kind == QUERN_REQUEST_GENERATE && !e->tokenizer)
        return error_set(err, QUERN_ERR_STATE,
                         "the model was opened for its weights only: it has no tokenizer to make "
                         "text with");
    if (r->kind == QUERN_REQUEST_GENERATE && r->prompt_logprobs && r->generate.n_top_logprobs < 0)
        return error_set(err, QUERN_ERR_ARG,
                         "a request with prompt_logprobs has n_top_logprobs %d, expected 0 or more",
                         (int)r->generate.n_top_logprobs);
    enum quern_status status = QUERN_OK;
    if (r->kind != QUERN_REQUEST_EMBED)
        status = forward_check_head(e->model, err);
    if (!status && r->kind == QUERN_REQUEST_SCORE)
        status = check_score(e, r, err);
    return status ? status : check_prompt(e, r, err);
}

/* ---- making ---------------------------------------------------------------------- */

static int32_t *copy_ids(const int32_t *ids, size_t n, size_t capacity) {
    int32_t *copy = calloc(capacity, sizeof *copy);
    if (copy)
        memcpy(copy, ids, n * sizeof *copy);
    return copy;
}

static enum quern_status take_adapters(const struct engine *e, struct request *r,
                                       const struct quern_request *from, struct quern_error *err) {
    const struct quern_adapter *all[ADAPTERS_MAX];
    const size_t own = e->adapters.n, n = from->n_adapters;
    if (n > ADAPTERS_MAX - own || (n > 0 && !from->adapters))
        return error_set(err, n > ADAPTERS_MAX - own ? QUERN_ERR_LIMIT : QUERN_ERR_ARG,
                         "a request with %zu adapters%s; at most %zu are possible", n,
                         from->adapters ? "" : " and no list of them", ADAPTERS_MAX - own);
    for (size_t i = 0; i < own + n; i++)
        all[i] = i < own ? e->adapters.items[i] : from->adapters[i - own];
    return adapter_set_init(&r->adapters, e->model, all, own + n, err);
}

/* Keys and values belong to a salt and the adapters they were computed with. No caller's salt
 * spells the mark of adapters: one that begins with its first byte gets another such byte before
 * it. */
static enum quern_status make_salt(struct request *r, const char *salt, struct quern_error *err) {
    const size_t size = strlen(salt) + ADAPTER_SALT_BYTES;
    uint64_t fingerprint[2];
    r->salt = malloc(size);
    if (!r->salt)
        return error_nomem(err);
    adapter_set_fingerprint(&r->adapters, fingerprint);
    if (r->adapters.n > 0)
        snprintf(r->salt, size, "\001%016llx%016llx %s", (unsigned long long)fingerprint[0],
                 (unsigned long long)fingerprint[1], salt);
    else
        snprintf(r->salt, size, "%s%s", *salt == '\001' ? "\001" : "", salt);
    return QUERN_OK;
}

static enum quern_status copy_texts(struct request *r, const struct quern_request *from,
                                    struct quern_error *err) {
    enum quern_status status = make_salt(r, from->cache_salt ? from->cache_salt : "", err);
    if (status)
        return status;
    if (from->kind != QUERN_REQUEST_SCORE)
        return QUERN_OK;
    r->n_score_tokens = from->n_score_tokens;
    r->score_tokens = copy_ids(from->score_tokens, from->n_score_tokens, from->n_score_tokens);
    return r->score_tokens ? QUERN_OK : error_nomem(err);
}

static enum quern_status prepare_answer(const struct engine *e, struct request *r,
                                        const struct quern_request *from, struct quern_error *err) {
    const struct completion_setup setup = {
        .tokenizer = e->tokenizer,
        .n_vocab = e->model->config.vocab_size,
        .eos = e->eos,
        .n_eos = e->n_eos,
        .constraint = r->extras.constraint,
        .prompt = from->prompt,
        .n_prompt = from->n_prompt,
        .room = e->n_room - from->n_prompt,
    };
    enum quern_status status = completion_create(&setup, &from->generate, &r->completion, err);
    if (!status && e->limits.speculation != QUERN_SPECULATION_OFF)
        status = ngram_init(&r->ngrams, r->capacity, err);
    return status;
}

enum quern_status request_create(struct engine *e, const struct quern_request *from,
                                 const struct engine_extras *extras, struct request **out,
                                 struct quern_error *err) {
    enum quern_status status = check_request(e, from, err);
    if (status)
        return status;
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return error_nomem(err);
    const bool makes = from->kind == QUERN_REQUEST_GENERATE;
    const size_t room = makes ? e->n_room - from->n_prompt : 0;
    const size_t asked = from->generate.max_tokens > 0 ? (size_t)from->generate.max_tokens : room;
    r->kind = from->kind;
    r->priority = from->priority;
    r->n_tokens = r->n_prompt = from->n_prompt;
    r->capacity = from->n_prompt + (asked < room ? asked : room);
    r->usage.prompt_tokens = from->n_prompt;
    r->scores_prompt = makes && from->prompt_logprobs;
    r->accept = 0.5;
    if (extras)
        r->extras = *extras;
    r->tokens = copy_ids(from->prompt, from->n_prompt, r->capacity);
    status = r->tokens ? take_adapters(e, r, from, err) : error_nomem(err);
    if (!status)
        status = copy_texts(r, from, err);
    if (!status && makes)
        status = prepare_answer(e, r, from, err);
    if (!status) {
        const int32_t n_top = makes ? from->generate.n_top_logprobs : 0;
        status = ticket_create(e, e->limits.queue_events, n_top > 0 ? (size_t)n_top : 0, &r->ticket,
                               err);
    }
    if (status) {
        request_destroy(r);
        return status;
    }
    r->ticket->on_notify = from->on_notify;
    r->ticket->user = from->user;
    *out = r;
    return QUERN_OK;
}

void request_destroy(struct request *r) {
    if (!r)
        return;
    ticket_release(r->ticket);
    completion_destroy(r->completion);
    ngram_release(&r->ngrams);
    kv_cache_release(&r->kv);
    free(r->tokens);
    free(r->score_tokens);
    free(r->salt);
    adapter_set_release(&r->adapters);
    free(r);
}

/* ---- facts ----------------------------------------------------------------------- */

bool request_precedes(const struct request *a, const struct request *b) {
    return a->priority != b->priority ? a->priority > b->priority : a->order < b->order;
}

size_t request_pending(const struct request *r) {
    return r->n_tokens - r->kv.n_tokens;
}

bool request_scores(const struct request *r) {
    return r->scores_prompt && r->n_scored + 1 < r->n_prompt;
}

bool request_decodes(const struct request *r) {
    return r->n_tokens > r->n_prompt && request_pending(r) == 1;
}

/* ---- its blocks ------------------------------------------------------------------- */

static void remember(struct engine *e, struct request *r, size_t n_tokens) {
    if (!e->cache || n_tokens == 0)
        return;
    prefix_cache_insert(e->cache, r->salt, r->tokens, n_tokens, r->kv.ids);
    /* Where others had the same block first, it is theirs that is used from now on. */
    for (size_t i = 0; i < r->kv.n_blocks; i++)
        r->kv.blocks[i] = kv_pool_block(e->pool, r->kv.ids[i]);
}

void request_share_blocks(struct engine *e, struct request *r) {
    remember(e, r, r->kv.n_tokens / PREFIX_BLOCK_TOKENS * PREFIX_BLOCK_TOKENS);
}

/* When something failed, computed guesses may stand where the last token made belongs. */
static size_t sure_tokens(const struct request *r) {
    const size_t sure = r->n_tokens - (r->n_tokens > r->n_prompt);
    return r->kv.n_tokens < sure ? r->kv.n_tokens : sure;
}

void request_drop_blocks(struct engine *e, struct request *r) {
    remember(e, r, sure_tokens(r));
    kv_cache_release(&r->kv);
    draft_forget(r);
}

/* ---- its end ----------------------------------------------------------------------- */

static double ms_between(uint64_t from_ns, uint64_t to_ns) {
    return from_ns && to_ns > from_ns ? (double)(to_ns - from_ns) * 1e-6 : 0;
}

static void fill_result(struct request *r, enum quern_finish finish,
                        const struct quern_error *cause, struct quern_request_result *out) {
    const uint64_t now = os_now_ns();
    *out = (struct quern_request_result){.finish = finish, .stop_token = -1, .stop_string = -1};
    if (r->completion) {
        struct quern_generate_result made;
        completion_result(r->completion, &made);
        out->stop_token = made.stop_token;
        out->stop_string = made.stop_string;
        r->usage.completion_tokens = made.n_tokens;
        r->usage.thinking_tokens = made.n_thinking;
    }
    r->usage.queue_ms = ms_between(r->submit_ns, r->start_ns ? r->start_ns : now);
    r->usage.prefill_ms = ms_between(r->start_ns, r->first_ns ? r->first_ns : now);
    r->usage.decode_ms = ms_between(r->first_ns, now);
    r->usage.total_ms = ms_between(r->submit_ns, now);
    out->usage = r->usage;
    if (finish == QUERN_FINISH_ERROR && cause) {
        out->status = cause->code;
        memcpy(out->message, cause->message, sizeof out->message);
    }
}

/* What was held back is text too, unless nobody wants it any more. */
static void push_last_text(struct request *r, enum quern_finish *finish, struct quern_error *err) {
    struct quern_event event;
    if (!r->completion || *finish == QUERN_FINISH_CANCELLED || *finish == QUERN_FINISH_ERROR ||
        !ticket_has_room(r->ticket, 1))
        return;
    enum quern_status status = completion_finish(r->completion, &event, err);
    if (!status)
        status = ticket_push(r->ticket, &event, err);
    if (status)
        *finish = QUERN_FINISH_ERROR;
}

static void count_end(struct engine *e, const struct request *r, enum quern_finish finish) {
    const uint64_t now = os_now_ns();
    const double weight = 0.2;
    if (e->last_end_ns) {
        const double interval = (double)(now - e->last_end_ns);
        e->end_interval_ns += weight * (interval - e->end_interval_ns);
    }
    e->last_end_ns = now;
    mutex_lock(&e->lock);
    e->stats.n_finished[finish]++;
    e->n_unfinished--;
    if (!r->was_started) {
        e->n_queued--;
        e->queued_tokens -= (int64_t)r->n_prompt;
    }
    condition_signal_all(&e->changed);
    mutex_unlock(&e->lock);
}

void request_end(struct engine *e, struct request *r, enum quern_finish finish,
                 const struct quern_error *cause, float *values, size_t n_values) {
    struct quern_error own = cause ? *cause : (struct quern_error){0};
    struct quern_request_result result;
    push_last_text(r, &finish, &own);
    schedule_remove(e, r);
    disk_note(e, r, sure_tokens(r));
    request_drop_blocks(e, r);
    if (r->extras.on_release)
        r->extras.on_release(r->extras.user);
    fill_result(r, finish, &own, &result);
    result.n_values = n_values;
    ticket_end(r->ticket, &result, values);
    count_end(e, r, finish);
    request_destroy(r);
}
