/* engine.c - the engine's life and its thread. What it decides is in schedule.c, what it computes
 * in step.c. */
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/os.h"
#include "base/pages.h"
#include "engine/engine_internal.h"

enum {
    DEFAULT_RUNNING = 16,
    DEFAULT_WAITING = 128,
    DEFAULT_STEP_MS = 100,
    DEFAULT_STEP_TOKENS = 512,
    DEFAULT_EVENTS = 256,
    DEFAULT_STALL_MS = 30000,
    RUNNING_MAX = 1024,
    EVENTS_MIN = 64, /* a step may bring a ticket ENGINE_SCORE_ROWS + 2 */
    DRAFT_ROWS = 48, /* of logits in one step, for guesses of all requests together */
};
_Static_assert(ENGINE_SCORE_ROWS + 2 <= EVENTS_MIN / 2, "whoever is woken by half a ring has room");
static const uint64_t NS_PER_MS = 1000000u;

/* ---- options ----------------------------------------------------------------------- */

static int64_t or_default(int64_t value, int64_t fallback) {
    return value > 0 ? value : fallback;
}

static enum quern_status check_options(const struct quern_engine_options *o,
                                       struct quern_error *err) {
    const struct {
        const char *name;
        int64_t value, most;
    } fields[] = {
        {"max_running", o->max_running, RUNNING_MAX},
        {"max_waiting", o->max_waiting, 1 << 20},
        {"max_waiting_tokens", o->max_waiting_tokens, INT64_MAX},
        {"max_step_ms", o->max_step_ms, 1 << 20},
        {"max_step_tokens", o->max_step_tokens, 1 << 16},
        {"queue_events", o->queue_events, 1 << 16},
        {"max_stall_ms", o->max_stall_ms, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].value < 0 || fields[i].value > fields[i].most)
            return error_set(err, QUERN_ERR_ARG, "engine: %s is %lld, expected 0 to %lld",
                             fields[i].name, (long long)fields[i].value, (long long)fields[i].most);
    if ((unsigned)o->kv_type > QUERN_KV_INT8 || (unsigned)o->speculation > QUERN_SPECULATION_ALWAYS)
        return error_set(err, QUERN_ERR_ARG, "engine: kv_type is %d and speculation %d",
                         (int)o->kv_type, (int)o->speculation);
    return QUERN_OK;
}

static void set_limits(struct engine_limits *l, const struct quern_engine_options *o,
                       size_t n_context) {
    *l = (struct engine_limits){
        .max_running = (size_t)or_default(o->max_running, DEFAULT_RUNNING),
        .max_waiting = (size_t)or_default(o->max_waiting, DEFAULT_WAITING),
        .max_waiting_tokens = or_default(o->max_waiting_tokens, 32 * (int64_t)n_context),
        .max_step_ns = (double)or_default(o->max_step_ms, DEFAULT_STEP_MS) * (double)NS_PER_MS,
        .step_tokens = (size_t)or_default(o->max_step_tokens, DEFAULT_STEP_TOKENS),
        .queue_events = (size_t)or_default(o->queue_events, DEFAULT_EVENTS),
        .max_stall_ns = (uint64_t)or_default(o->max_stall_ms, DEFAULT_STALL_MS) * NS_PER_MS,
        .prefix_cache = !o->no_prefix_cache,
        .speculation = o->speculation,
    };
    if (l->queue_events < EVENTS_MIN)
        l->queue_events = EVENTS_MIN;
    /* Every running request has its token in every step. */
    if (l->step_tokens < l->max_running + 1)
        l->step_tokens = l->max_running + 1;
}

/* ---- memory ------------------------------------------------------------------------- */

/* Blocks for the memory asked for, and at least one whole context. */
static enum quern_status create_pool(struct engine *e, const struct quern_engine_options *o,
                                     struct quern_error *err) {
    const size_t per_context = (e->n_context + PREFIX_BLOCK_TOKENS - 1) / PREFIX_BLOCK_TOKENS;
    const size_t memory = e->model->device->ops->memory_bytes(e->model->device);
    const enum kv_type type = kv_type_of(e->model, o->kv_type);
    size_t block_bytes = 0;
    enum quern_status status =
        kv_cache_bytes(&e->model->config, type, PREFIX_BLOCK_TOKENS, &block_bytes, err);
    if (status)
        return status;
    size_t n_blocks = o->kv_bytes / block_bytes;
    if (o->kv_bytes == 0) {
        n_blocks = per_context * 4;
        if (memory && n_blocks > memory / 4 / block_bytes)
            n_blocks = memory / 4 / block_bytes;
    }
    if (n_blocks < per_context)
        n_blocks = per_context;
    size_t bytes;
    if (!checked_mul(n_blocks, block_bytes, &bytes) || (memory && bytes > memory))
        return error_set(err, QUERN_ERR_LIMIT,
                         "engine: keys and values of %zu tokens need %zu MiB, but there are only "
                         "%zu MiB of memory",
                         n_blocks * PREFIX_BLOCK_TOKENS, n_blocks * (block_bytes >> 10) >> 10,
                         memory >> 20);
    return kv_pool_create(e->model, type, n_blocks, &e->pool, err);
}

static void pool_retain(void *pool, int32_t block) {
    kv_pool_ref(pool, block);
}

static void pool_release(void *pool, int32_t block) {
    kv_pool_unref(pool, block);
}

static uint32_t pool_refs(void *pool, int32_t block) {
    return kv_pool_refs(pool, block);
}

static enum quern_status create_buffers(struct engine *e, struct quern_error *err) {
    const size_t n = e->limits.max_running;
    const size_t vocab = (size_t)e->model->config.vocab_size;
    e->n_logit_rows = n + (e->limits.speculation == QUERN_SPECULATION_OFF ? 0 : DRAFT_ROWS);
    if (e->n_logit_rows > e->limits.step_tokens)
        e->n_logit_rows = e->limits.step_tokens;
    if (!checked_mul((e->n_logit_rows + ENGINE_SCORE_ROWS) * sizeof(float), vocab,
                     &e->logits_bytes))
        return error_nomem(err);
    e->logits = pages_alloc(e->logits_bytes);
    e->hidden = calloc(n * (size_t)e->model->config.hidden_size, sizeof *e->hidden);
    e->match_blocks = calloc(e->n_context / PREFIX_BLOCK_TOKENS + 1, sizeof *e->match_blocks);
    e->running = calloc(n, sizeof(struct request *));
    e->batch = calloc(n, sizeof(struct request *));
    e->seqs = calloc(n, sizeof *e->seqs);
    e->waiting_capacity = n;
    e->waiting = calloc(n, sizeof(struct request *));
    const bool ok = e->logits && e->hidden && e->match_blocks && e->running && e->batch &&
                    e->seqs && e->waiting;
    return ok ? QUERN_OK : error_nomem(err);
}

static enum quern_status copy_setup(struct engine *e, const struct engine_setup *setup,
                                    struct quern_error *err) {
    e->model = setup->model;
    e->tokenizer = setup->tokenizer;
    e->n_eos = setup->n_eos;
    e->n_context = e->n_room = setup->n_context;
    e->unknown = (struct unknown_tokens){setup->n_tokens_known, setup->gaps, setup->n_gaps};
    e->eos = calloc(setup->n_eos + 1, sizeof *e->eos);
    if (!e->eos)
        return error_nomem(err);
    if (setup->n_eos)
        memcpy(e->eos, setup->eos, setup->n_eos * sizeof *e->eos);
    set_limits(&e->limits, setup->options, setup->n_context);
    const struct adapter_set none = {.n = 0}, *own = setup->adapters ? setup->adapters : &none;
    enum quern_status status =
        adapter_set_init(&e->adapters, e->model, own->items, own->n, err);
    if (status)
        return status;
    return rope_init(&e->rope, &e->model->config, e->n_context, setup->rope_scaled, err);
}

/* Everything but locks and the thread. */
static enum quern_status create_parts(struct engine *e, const struct engine_setup *setup,
                                      struct quern_error *err) {
    enum quern_status status = copy_setup(e, setup, err);
    if (!status)
        status = create_pool(e, setup->options, err);
    if (!status)
        status =
            workspace_create(e->model, e->limits.step_tokens, e->n_context, &e->workspace, err);
    if (!status)
        status = create_buffers(e, err);
    if (!status && e->limits.prefix_cache) {
        const struct prefix_blocks blocks = {e->pool, pool_retain, pool_release, pool_refs};
        status = prefix_cache_create(&blocks, &e->cache, err);
    }
    if (!status && setup->draft && e->limits.speculation != QUERN_SPECULATION_OFF)
        status = draft_open(e, setup->draft, err);
    return status;
}

static enum quern_status open_disk(struct engine *e, const struct quern_engine_options *o,
                                   struct quern_error *err) {
    const uint64_t default_bytes = (uint64_t)4 << 30;
    if (!o->disk_cache || !e->cache)
        return QUERN_OK;
    return disk_open(e, o->disk_cache, o->disk_cache_bytes ? o->disk_cache_bytes : default_bytes,
                     err);
}

static void free_parts(struct engine *e) {
    draft_close(e);
    prefix_cache_destroy(e->cache);
    kv_pool_destroy(e->pool);
    workspace_destroy(e->workspace);
    if (e->logits)
        pages_free(e->logits, e->logits_bytes);
    free(e->hidden);
    free(e->match_blocks);
    free(e->running);
    free(e->batch);
    free(e->seqs);
    free(e->waiting);
    free(e->eos);
    adapter_set_release(&e->adapters);
    free(e);
}

/* ---- the thread ---------------------------------------------------------------------- */

/* What was submitted since. */
static void take_incoming(struct engine *e) {
    mutex_lock(&e->lock);
    struct request *r = e->incoming;
    e->incoming = NULL;
    e->incoming_tail = &e->incoming;
    mutex_unlock(&e->lock);
    while (r) {
        struct request *next = r->next;
        r->next = NULL;
        if (!schedule_enqueue(e, r)) {
            struct quern_error err;
            error_nomem(&err);
            request_end(e, r, QUERN_FINISH_ERROR, &err, NULL, 0);
        }
        r = next;
    }
}

static void publish(struct engine *e) {
    const uint64_t now_ns = os_now_ns(), count_every_ns = 100 * NS_PER_MS;
    struct quern_engine_stats now = {.kv_blocks_cached = e->stats.kv_blocks_cached};
    /* Counting walks the whole tree. */
    if (e->cache && (e->n_batch == 0 || now_ns - e->counted_ns > count_every_ns)) {
        now.kv_blocks_cached = prefix_cache_n_evictable(e->cache);
        e->counted_ns = now_ns;
    }
    for (size_t i = 0; i < e->n_running; i++) {
        const struct request *r = e->running[i];
        ++*(r->state == REQUEST_PAUSED ? &now.n_paused
            : request_decodes(r)       ? &now.n_decoding
                                       : &now.n_prefilling);
    }
    mutex_lock(&e->lock);
    struct quern_engine_stats *s = &e->stats;
    s->n_prefilling = now.n_prefilling;
    s->n_decoding = now.n_decoding;
    s->n_paused = now.n_paused;
    s->kv_blocks_free = e->pool->n_free;
    s->kv_blocks_cached = now.kv_blocks_cached;
    s->prefill_tokens_per_s = e->speed.prompt_per_s;
    s->decode_tokens_per_s = e->speed.decode_per_s;
    s->retry_after_ms = (int64_t)(e->end_interval_ns / (double)NS_PER_MS) + 1;
    mutex_unlock(&e->lock);
}

/* What was before a pause is not held against the step that ends it. */
static void note_progress(struct engine *e, uint64_t now_ns) {
    mutex_lock(&e->lock);
    e->progress_ns = now_ns;
    mutex_unlock(&e->lock);
}

/* Sleeps until there may be something to do. False when the engine is to end. */
static bool wait_for_work(struct engine *e, bool idle) {
    const uint64_t request_ns = idle ? schedule_next_event_ns(e) : 0;
    const uint64_t disk_ns = idle ? disk_next_event_ns(e) : 0;
    const uint64_t next_ns = request_ns < disk_ns ? request_ns : disk_ns;
    mutex_lock(&e->lock);
    while (idle && !e->stopping && !e->incoming && !e->woken) {
        if (next_ns == UINT64_MAX)
            condition_wait(&e->changed, &e->lock);
        else if (!condition_wait_until(&e->changed, &e->lock, next_ns))
            break;
    }
    e->woken = false;
    const bool goes_on = !e->stopping;
    mutex_unlock(&e->lock);
    return goes_on;
}

static void end_all(struct engine *e) {
    take_incoming(e);
    while (e->n_running > 0)
        request_end(e, e->running[e->n_running - 1], QUERN_FINISH_CANCELLED, NULL, NULL, 0);
    while (e->n_waiting > 0)
        request_end(e, e->waiting[e->n_waiting - 1], QUERN_FINISH_CANCELLED, NULL, NULL, 0);
}

static void run_thread(void *arg) {
    struct engine *e = arg;
    for (bool idle = true; wait_for_work(e, idle);) {
        const uint64_t now_ns = os_now_ns();
        take_incoming(e);
        schedule_sweep(e, now_ns);
        disk_tick(e, now_ns);
        schedule_admit(e, now_ns);
        schedule_plan(e);
        if (idle && e->n_batch > 0)
            note_progress(e, now_ns);
        idle = e->n_batch == 0 && !e->preempted;
        if (e->n_batch > 0)
            step_run(e);
        publish(e);
    }
    end_all(e);
    publish(e);
}

/* ---- life ------------------------------------------------------------------------------ */

enum quern_status engine_create(const struct engine_setup *setup, struct engine **out,
                                struct quern_error *err) {
    enum quern_status status = check_options(setup->options, err);
    if (status)
        return status;
    if (setup->n_context == 0 || setup->n_context > INT32_MAX)
        return error_set(err, QUERN_ERR_ARG, "engine: a context of %zu tokens", setup->n_context);
    struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return error_nomem(err);
    status = create_parts(e, setup, err);
    if (status)
        goto fail;
    status = mutex_init(&e->lock, err);
    if (status)
        goto fail;
    status = condition_init(&e->changed, err);
    if (status)
        goto fail_lock;
    e->incoming_tail = &e->incoming;
    e->stats.accepting = true;
    publish(e);
    status = open_disk(e, setup->options, err);
    if (status)
        goto fail_condition;
    status = thread_start(&e->thread, "quern-engine", run_thread, e, err);
    if (status)
        goto fail_disk;
    *out = e;
    return QUERN_OK;
fail_disk:
    disk_close(e);
fail_condition:
    condition_release(&e->changed);
fail_lock:
    mutex_release(&e->lock);
fail:
    free_parts(e);
    return status;
}

void engine_destroy(struct engine *e) {
    if (!e)
        return;
    mutex_lock(&e->lock);
    e->stopping = true;
    e->draining = true;
    condition_signal_all(&e->changed);
    mutex_unlock(&e->lock);
    thread_join(&e->thread);
    disk_close(e);
    condition_release(&e->changed);
    mutex_release(&e->lock);
    free_parts(e);
}

void engine_wake(struct engine *e) {
    mutex_lock(&e->lock);
    e->woken = true;
    condition_signal_all(&e->changed);
    mutex_unlock(&e->lock);
}

bool engine_drain(struct engine *e, int64_t timeout_ms) {
    const uint64_t wait_ms = timeout_ms > 0 ? (uint64_t)timeout_ms : 0;
    const uint64_t until_ns =
        os_now_ns() + (wait_ms > UINT32_MAX ? UINT32_MAX : wait_ms) * NS_PER_MS;
    mutex_lock(&e->lock);
    e->draining = true;
    e->stats.accepting = false;
    while (e->n_unfinished > 0)
        if (!condition_wait_until(&e->changed, &e->lock, until_ns))
            break;
    const bool done = e->n_unfinished == 0;
    mutex_unlock(&e->lock);
    return done;
}

/* ---- submitting ------------------------------------------------------------------------- */

/* Whether there is a place in the queue. With the lock. */
static enum quern_status check_queue(struct engine *e, size_t n_prompt, struct quern_error *err) {
    if (e->draining)
        return error_set(err, QUERN_ERR_STATE, "the engine takes no more requests: it is ending");
    if (e->n_queued < e->limits.max_waiting &&
        (e->n_queued == 0 || e->queued_tokens + (int64_t)n_prompt <= e->limits.max_waiting_tokens))
        return QUERN_OK;
    e->stats.n_refused++;
    return error_set(err, QUERN_ERR_LIMIT,
                     "the queue is full: %zu requests with %lld prompt tokens wait (at most %zu "
                     "and %lld)",
                     e->n_queued, (long long)e->queued_tokens, e->limits.max_waiting,
                     (long long)e->limits.max_waiting_tokens);
}

static enum quern_status check_queue_locked(struct engine *e, size_t n_prompt,
                                            struct quern_error *err) {
    mutex_lock(&e->lock);
    const enum quern_status status = check_queue(e, n_prompt, err);
    mutex_unlock(&e->lock);
    return status;
}

enum quern_status engine_submit(struct engine *e, const struct quern_request *request,
                                const struct engine_extras *extras, quern_ticket **out,
                                struct quern_error *err) {
    struct request *r = NULL;
    /* First without the work of making one: refusing must stay cheap under overload. */
    enum quern_status status = check_queue_locked(e, request->n_prompt, err);
    if (!status)
        status = request_create(e, request, extras, &r, err);
    if (status)
        return status;
    r->submit_ns = os_now_ns();
    if (request->deadline_ms > 0)
        r->deadline_ns = r->submit_ns + (uint64_t)request->deadline_ms * NS_PER_MS;
    struct quern_ticket *ticket = r->ticket;
    ticket_retain(ticket);
    mutex_lock(&e->lock);
    status = check_queue(e, r->n_prompt, err);
    if (!status) {
        r->order = e->next_order++;
        *e->incoming_tail = r;
        e->incoming_tail = &r->next;
        e->n_queued++;
        if (e->n_unfinished++ == 0)
            e->progress_ns = r->submit_ns;
        e->queued_tokens += (int64_t)r->n_prompt;
        e->stats.n_submitted++;
        condition_signal_all(&e->changed);
    }
    mutex_unlock(&e->lock);
    if (status) {
        ticket_release(ticket);
        request_destroy(r);
        return status;
    }
    *out = ticket;
    return QUERN_OK;
}

void engine_get_stats(struct engine *e, struct quern_engine_stats *out) {
    const uint64_t now_ns = os_now_ns();
    mutex_lock(&e->lock);
    *out = e->stats;
    out->n_waiting = (int32_t)e->n_queued;
    out->waiting_tokens = e->queued_tokens;
    out->kv_blocks = e->pool->n_blocks;
    out->kv_block_bytes = e->pool->stride;
    const bool for_readers = out->n_paused > 0 && out->n_prefilling == 0 && out->n_decoding == 0;
    if (e->n_unfinished > 0 && !for_readers && now_ns > e->progress_ns)
        out->idle_ms = (double)(now_ns - e->progress_ns) / (double)NS_PER_MS;
    mutex_unlock(&e->lock);
}
