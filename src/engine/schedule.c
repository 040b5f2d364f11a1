/* schedule.c - who is computed next: admission by memory, a step's plan, preemption.
 *
 * Requests have one order: priority, then arrival. Memory goes down that order: whoever needs a
 * block and finds none takes it from what is cached, then from the last running request in the
 * order, which goes back to the queue and is computed again later (mostly from the prefix cache).
 * The first in the order can therefore always go on, and nobody waits for a lower one: no deadlock,
 * no starvation among equals. */
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "engine/engine_internal.h"

/* ---- lists ----------------------------------------------------------------------- */

static void insert_sorted(struct request **list, size_t *n, struct request *r) {
    size_t at = *n;
    while (at > 0 && request_precedes(r, list[at - 1])) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = r;
    ++*n;
}

static bool remove_from(struct request **list, size_t *n, const struct request *r) {
    for (size_t i = 0; i < *n; i++) {
        if (list[i] == r) {
            memmove(list + i, list + i + 1, (*n - i - 1) * sizeof(struct request *));
            --*n;
            return true;
        }
    }
    return false;
}

bool schedule_enqueue(struct engine *e, struct request *r) {
    /* Room also for everyone running to come back. */
    const size_t needed = e->n_waiting + e->limits.max_running + 1;
    if (needed > e->waiting_capacity) {
        const size_t capacity = needed * 2;
        struct request **list = realloc(e->waiting, capacity * sizeof(struct request *));
        if (!list)
            return false;
        e->waiting = list;
        e->waiting_capacity = capacity;
    }
    r->state = REQUEST_WAITING;
    insert_sorted(e->waiting, &e->n_waiting, r);
    return true;
}

void schedule_remove(struct engine *e, struct request *r) {
    if (!remove_from(e->running, &e->n_running, r))
        remove_from(e->waiting, &e->n_waiting, r);
}

/* ---- those whose time is over ------------------------------------------------------ */

static bool is_over(const struct engine *e, const struct request *r, uint64_t now_ns,
                    enum quern_finish *finish) {
    if (ticket_is_cancelled(r->ticket))
        *finish = QUERN_FINISH_CANCELLED;
    else if (r->deadline_ns && now_ns >= r->deadline_ns)
        *finish = QUERN_FINISH_DEADLINE;
    else if (r->stalled_ns && now_ns - r->stalled_ns >= e->limits.max_stall_ns)
        *finish = QUERN_FINISH_STALLED;
    else
        return false;
    return true;
}

void schedule_sweep(struct engine *e, uint64_t now_ns) {
    enum quern_finish finish;
    for (size_t i = e->n_waiting; i-- > 0;)
        if (is_over(e, e->waiting[i], now_ns, &finish))
            request_end(e, e->waiting[i], finish, NULL, NULL, 0);
    for (size_t i = e->n_running; i-- > 0;)
        if (is_over(e, e->running[i], now_ns, &finish))
            request_end(e, e->running[i], finish, NULL, NULL, 0);
    for (size_t i = 0; i < e->n_running + e->n_waiting; i++) {
        struct request *r = i < e->n_running ? e->running[i] : e->waiting[i - e->n_running];
        if (r->stalled_ns && ticket_is_drained(r->ticket)) {
            r->stalled_ns = 0;
            if (r->state == REQUEST_PAUSED)
                r->state = REQUEST_RUNNING;
        }
    }
}

uint64_t schedule_next_event_ns(const struct engine *e) {
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < e->n_running + e->n_waiting; i++) {
        const struct request *r = i < e->n_running ? e->running[i] : e->waiting[i - e->n_running];
        const uint64_t stall = r->stalled_ns ? r->stalled_ns + e->limits.max_stall_ns : UINT64_MAX;
        const uint64_t deadline = r->deadline_ns ? r->deadline_ns : UINT64_MAX;
        next = stall < next ? stall : next;
        next = deadline < next ? deadline : next;
    }
    return next;
}

/* ---- memory ------------------------------------------------------------------------ */

/* The request goes back to the queue; what it computed stays in the prefix cache as long as the
 * room is not needed. */
static void preempt(struct engine *e, struct request *r) {
    remove_from(e->running, &e->n_running, r);
    request_drop_blocks(e, r);
    r->state = REQUEST_WAITING;
    r->behind = 0;
    r->usage.n_preempted++;
    insert_sorted(e->waiting, &e->n_waiting, r);
    e->preempted = true;
    mutex_lock(&e->lock);
    e->stats.n_preempted++;
    mutex_unlock(&e->lock);
}

/* Who gives up memory for `r`: a paused one first, then the last in the order, if it comes after r
 * and is not in this step's batch already. */
static struct request *find_victim(struct engine *e, const struct request *r) {
    for (size_t i = e->n_running; i-- > 0;)
        if (e->running[i]->state == REQUEST_PAUSED && e->running[i]->kv.n_blocks > 0)
            return e->running[i];
    for (size_t i = e->n_running; i-- > 0;) {
        struct request *v = e->running[i];
        if (v == r || !request_precedes(r, v))
            return NULL;
        if (v->kv.n_blocks > 0 && v->n_step == 0)
            return v;
    }
    return NULL;
}

/* Room for n more tokens of a running request. False: not in this step. */
static bool make_room(struct engine *e, struct request *r, size_t n) {
    while (kv_cache_blocks_needed(&r->kv, n) > e->pool->n_free) {
        if (e->cache && prefix_cache_evict(e->cache))
            continue;
        struct request *victim = find_victim(e, r);
        if (!victim)
            return false;
        preempt(e, victim);
    }
    return kv_cache_reserve(&r->kv, n, NULL) == QUERN_OK;
}

int32_t schedule_spare_block(struct engine *e) {
    if (e->pool->n_free == 0 && e->cache)
        prefix_cache_evict(e->cache);
    return kv_pool_take(e->pool);
}

/* ---- admission ----------------------------------------------------------------------- */

/* How many tokens of the prompt need not be computed: never those whose logits are wanted, such as
 * the last. */
static size_t reusable(const struct request *r) {
    return request_scores(r) ? r->n_scored : r->n_tokens - 1;
}

/* Somebody is computing a beginning of this request that the cache does not have yet. */
static const struct request *find_leader(const struct engine *e, const struct request *r,
                                         size_t n_cached) {
    for (size_t i = 0; i < e->n_running; i++) {
        const struct request *lead = e->running[i];
        if (request_decodes(lead) || strcmp(lead->salt, r->salt) != 0)
            continue;
        const size_t most = lead->n_tokens < reusable(r) ? lead->n_tokens : reusable(r);
        size_t same = 0;
        while (same < most && lead->tokens[same] == r->tokens[same])
            same++;
        if (same / PREFIX_BLOCK_TOKENS * PREFIX_BLOCK_TOKENS > n_cached)
            return lead;
    }
    return NULL;
}

static bool is_prefilling(const struct engine *e, uint64_t order) {
    for (size_t i = 0; i < e->n_running; i++)
        if (e->running[i]->order == order)
            return !request_decodes(e->running[i]) && e->running[i]->state == REQUEST_RUNNING;
    return false;
}

/* Waits for a prompt that begins alike, rather than to compute the same. */
static bool waits_for_leader(struct engine *e, struct request *r) {
    if (!e->cache)
        return false;
    if (r->behind && is_prefilling(e, r->behind - 1))
        return true;
    r->behind = 0;
    const size_t n_cached = prefix_cache_peek(e->cache, r->salt, r->tokens, reusable(r), NULL);
    const struct request *lead = find_leader(e, r, n_cached);
    if (lead)
        r->behind = lead->order + 1;
    return lead != NULL;
}

/* Blocks that the running ones will want soon: the rest of their prompts, a block for an answer. */
static size_t blocks_promised(const struct engine *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->n_running; i++)
        n += kv_cache_blocks_needed(&e->running[i]->kv, request_pending(e->running[i])) + 1;
    return n;
}

/* Cached blocks that are used from now on cannot be evicted any more: they count as needed, unless
 * others use them already. */
static bool fits(const struct engine *e, const struct request *r) {
    size_t available = e->pool->n_free, n_in_use = 0;
    if (e->n_running == 0)
        return true;
    if (e->cache) {
        available += prefix_cache_n_evictable(e->cache);
        prefix_cache_peek(e->cache, r->salt, r->tokens, reusable(r), &n_in_use);
    }
    const size_t needed = r->n_tokens / PREFIX_BLOCK_TOKENS + 2 - n_in_use;
    return available >= needed + blocks_promised(e);
}

/* Takes over what the cache has. */
static void reuse_prefix(struct engine *e, struct request *r) {
    struct prefix_match match = {0};
    if (!e->cache)
        return;
    prefix_cache_match(e->cache, r->salt, r->tokens, reusable(r), e->match_blocks, &match);
    for (size_t i = 0; i < match.n_blocks; i++) {
        kv_cache_append_block(&r->kv, e->match_blocks[i]);
        kv_pool_unref(e->pool, e->match_blocks[i]);
    }
    if (!match.n_partial)
        return;
    const int32_t own = kv_pool_take(e->pool);
    if (own != KV_NO_BLOCK) {
        kv_pool_copy(e->pool, own, match.partial);
        kv_cache_append_block(&r->kv, own);
        kv_pool_unref(e->pool, own);
        kv_cache_truncate(&r->kv, match.n_blocks * PREFIX_BLOCK_TOKENS + match.n_partial);
    }
    kv_pool_unref(e->pool, match.partial);
}

static void count_start(struct engine *e, struct request *r) {
    mutex_lock(&e->lock);
    if (!r->was_started) {
        e->n_queued--;
        e->queued_tokens -= (int64_t)r->n_prompt;
        e->stats.prompt_tokens += r->n_prompt;
        e->stats.cached_tokens += r->kv.n_tokens;
        e->stats.prefix_queries += e->cache != NULL;
        e->stats.prefix_hits += r->kv.n_tokens > 0;
    }
    mutex_unlock(&e->lock);
}

static void start(struct engine *e, struct request *r, uint64_t now_ns) {
    struct quern_error err = {0};
    if (kv_cache_init_in(&r->kv, e->pool, e->n_room, &err)) {
        request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
        return;
    }
    reuse_prefix(e, r);
    count_start(e, r);
    if (!r->was_started) {
        r->usage.cached_tokens = r->kv.n_tokens;
        r->start_ns = now_ns;
    }
    r->was_started = true;
    r->state = REQUEST_RUNNING;
    remove_from(e->waiting, &e->n_waiting, r);
    insert_sorted(e->running, &e->n_running, r);
}

void schedule_admit(struct engine *e, uint64_t now_ns) {
    for (size_t i = 0; i < e->n_waiting && e->n_running < e->limits.max_running;) {
        struct request *r = e->waiting[i];
        if (r->stalled_ns || waits_for_leader(e, r) || disk_holds(e, r)) {
            i++;
            continue;
        }
        /* The next one does not go around it: it might have to wait for ever. */
        if (!fits(e, r))
            return;
        start(e, r, now_ns);
    }
}

/* ---- a step's plan --------------------------------------------------------------------- */

/* Guesses for a decoding request, at most `most`, into r->fed behind the pending token. */
static size_t guess(struct engine *e, struct request *r, size_t n_decoding, size_t most) {
    const size_t rows = (e->n_logit_rows - e->limits.max_running) / n_decoding;
    size_t n_found = r->n_guesses;
    const int32_t *guesses = r->guesses;
    most = most < rows ? most : rows;
    if (n_found == 0 && e->limits.speculation != QUERN_SPECULATION_OFF) {
        if (e->limits.speculation == QUERN_SPECULATION_AUTO) {
            size_t pays = speed_best_drafts(&e->speed, n_decoding, r->accept, 0, most);
            if (pays == 0 && r->since_guess >= ENGINE_PROBE_TOKENS)
                pays = 1;
            most = pays;
        }
        if (most > 0)
            guesses = ngram_guess(&r->ngrams, r->tokens, r->n_tokens, most, &n_found);
    }
    const size_t n = n_found < most ? n_found : most;
    if (n > 0)
        memcpy(r->fed + 1, guesses, n * sizeof *guesses);
    return n;
}

/* What goes behind the pending token: tokens that must follow, of which as many as there are, or
 * guesses. Log-probabilities take a row of logits for each. */
static void look_ahead(struct engine *e, struct request *r, size_t n_decoding) {
    const size_t rows = (e->n_logit_rows - e->limits.max_running) / n_decoding;
    const bool wants_rows = completion_wants_logits(r->completion);
    size_t most = r->capacity - r->n_tokens, most_forced;
    most = most < ENGINE_DRAFTS_MAX ? most : ENGINE_DRAFTS_MAX;
    most_forced = e->limits.speculation == QUERN_SPECULATION_OFF ? 0 : most;
    if (wants_rows && most_forced > rows)
        most_forced = rows;
    r->n_drafts = most_forced ? completion_forced(r->completion, r->fed + 1, most_forced) : 0;
    r->forced = r->n_drafts > 0;
    r->last_row_only = r->forced && !wants_rows;
    if (!r->forced)
        r->n_drafts = guess(e, r, n_decoding, most);
}

static void put_into_batch(struct engine *e, struct request *r, const struct forward_seq *seq) {
    r->n_step = seq->n_ids;
    r->logits_row = e->n_batch_rows;
    r->hidden = seq->hidden;
    e->seqs[e->n_batch] = *seq;
    e->batch[e->n_batch++] = r;
    e->n_batch_tokens += seq->n_ids;
    if (!seq->no_logits)
        e->n_batch_rows += seq->all_logits ? seq->n_ids : 1;
}

static void pause_request(struct request *r) {
    r->state = REQUEST_PAUSED;
    r->stalled_ns = os_now_ns();
}

static void plan_decoder(struct engine *e, struct request *r, size_t n_decoding) {
    /* The event of the end comes on top. */
    if (!ticket_has_room(r->ticket, 2 + ENGINE_DRAFTS_MAX)) {
        pause_request(r);
        return;
    }
    look_ahead(e, r, n_decoding);
    if (e->n_batch_tokens + 1 + r->n_drafts > e->limits.step_tokens)
        r->n_drafts = 0;
    if (e->n_batch_tokens + 1 > e->limits.step_tokens)
        return;
    if (!make_room(e, r, 1 + r->n_drafts)) {
        /* Nobody below it is left to give: it gives way itself, so that others may finish. */
        preempt(e, r);
        return;
    }
    r->fed[0] = r->tokens[r->n_tokens - 1];
    r->decoded = true;
    r->all_rows = false;
    put_into_batch(e, r,
                   &(struct forward_seq){.kv = &r->kv,
                                         .rope = &e->rope,
                                         .adapters = &r->adapters,
                                         .ids = r->fed,
                                         .n_ids = 1 + r->n_drafts,
                                         .all_logits = !r->last_row_only});
}

/* What a prompt in a step may take: tokens, and rows of logits for those who want them all. */
struct prompt_budget {
    size_t tokens, rows;
};

/* Every row brings an event. False: its reader is behind. */
static bool limit_by_rows(struct request *r, const struct prompt_budget *budget, size_t *n) {
    if (!ticket_has_room(r->ticket, ENGINE_SCORE_ROWS + 2)) {
        pause_request(r);
        return false;
    }
    *n = *n < budget->rows ? *n : budget->rows;
    return true;
}

static void plan_prompt(struct engine *e, struct request *r, struct prompt_budget *budget) {
    const size_t pending = request_pending(r);
    const bool scores = request_scores(r);
    size_t n = pending < budget->tokens ? pending : budget->tokens;
    if (scores && !limit_by_rows(r, budget, &n))
        return;
    if (e->n_batch_tokens + n > e->limits.step_tokens)
        n = e->limits.step_tokens - e->n_batch_tokens;
    if (n == 0 || !make_room(e, r, n))
        return;
    const bool last = n == pending, embeds = r->kind == QUERN_REQUEST_EMBED;
    float *hidden = e->hidden + e->n_batch * (size_t)e->model->config.hidden_size;
    r->n_drafts = 0;
    r->decoded = false;
    r->all_rows = scores;
    put_into_batch(e, r,
                   &(struct forward_seq){.kv = &r->kv,
                                         .rope = &e->rope,
                                         .adapters = &r->adapters,
                                         .ids = r->tokens + r->kv.n_tokens,
                                         .n_ids = n,
                                         .all_logits = scores,
                                         .no_logits = !scores && (!last || embeds),
                                         .hidden = last && embeds ? hidden : NULL});
    budget->tokens -= n;
    budget->rows -= scores ? n : 0;
}

/* Prompt tokens of this step: what fits beside the decoding requests into max_step_ms. With nobody
 * to wait the step may be four times as long, for the sake of the weights that are read once. */
static size_t prompt_tokens(const struct engine *e, size_t n_decoding) {
    const size_t least = 16, least_alone = 64;
    const double max_ns = e->limits.max_step_ns * (n_decoding ? 1 : 4);
    return speed_prompt_tokens(&e->speed, n_decoding, max_ns, n_decoding ? least : least_alone,
                               e->limits.step_tokens);
}

void schedule_plan(struct engine *e) {
    size_t n_decoding = 0;
    e->n_batch = e->n_batch_tokens = e->n_batch_rows = 0;
    e->preempted = false;
    for (size_t i = 0; i < e->n_running; i++) {
        e->running[i]->n_step = 0;
        n_decoding += request_decodes(e->running[i]) && e->running[i]->state == REQUEST_RUNNING;
    }
    if (e->drafter.model && n_decoding > 0)
        draft_guess(e, n_decoding);
    struct prompt_budget budget = {prompt_tokens(e, n_decoding), ENGINE_SCORE_ROWS};
    /* Whoever is preempted stands at or after i. */
    for (size_t i = 0; i < e->n_running;) {
        struct request *r = e->running[i];
        if (r->state == REQUEST_RUNNING && request_decodes(r))
            plan_decoder(e, r, n_decoding);
        else if (r->state == REQUEST_RUNNING)
            plan_prompt(e, r, &budget);
        if (i < e->n_running && e->running[i] == r)
            i++;
    }
}
