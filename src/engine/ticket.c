#include "engine/ticket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/os.h"

enum {
    TEXT_MAX = 8 << 20, /* a ring of events, each with far more than a token's text */
    TEXT_FIRST = 1024,
};

static enum quern_status allocate(struct quern_ticket *t, struct quern_error *err) {
    size_t n_tops;
    buffer_init(&t->text, TEXT_MAX);
    buffer_init(&t->read_text, TEXT_MAX);
    if (!checked_mul(t->capacity, t->n_top, &n_tops))
        return error_nomem(err);
    t->ring = calloc(t->capacity, sizeof *t->ring);
    t->tops = calloc(n_tops + 1, sizeof *t->tops);
    t->read_top = calloc(t->n_top + 1, sizeof *t->read_top);
    if (!t->ring || !t->tops || !t->read_top || buffer_reserve(&t->text, TEXT_FIRST))
        return error_nomem(err);
    return QUERN_OK;
}

static void free_parts(struct quern_ticket *t) {
    buffer_release(&t->text);
    buffer_release(&t->read_text);
    free(t->ring);
    free(t->tops);
    free(t->read_top);
    free(t->values);
    free(t);
}

enum quern_status ticket_create(struct engine *engine, size_t capacity, size_t n_top,
                                struct quern_ticket **out, struct quern_error *err) {
    struct quern_ticket *t = calloc(1, sizeof *t);
    if (!t)
        return error_nomem(err);
    t->engine = engine;
    t->capacity = capacity;
    t->n_top = n_top;
    t->n_refs = 1;
    enum quern_status status = allocate(t, err);
    if (status)
        goto fail;
    status = mutex_init(&t->lock, err);
    if (status)
        goto fail;
    status = mutex_init(&t->notify_lock, err);
    if (status)
        goto fail_lock;
    status = condition_init(&t->changed, err);
    if (status)
        goto fail_notify;
    *out = t;
    return QUERN_OK;
fail_notify:
    mutex_release(&t->notify_lock);
fail_lock:
    mutex_release(&t->lock);
fail:
    free_parts(t);
    return status;
}

void ticket_retain(struct quern_ticket *t) {
    mutex_lock(&t->lock);
    t->n_refs++;
    mutex_unlock(&t->lock);
}

void ticket_release(struct quern_ticket *t) {
    if (!t)
        return;
    mutex_lock(&t->lock);
    const bool last = --t->n_refs == 0;
    mutex_unlock(&t->lock);
    if (!last)
        return;
    condition_release(&t->changed);
    mutex_release(&t->notify_lock);
    mutex_release(&t->lock);
    free_parts(t);
}

/* ---- the engine's side ------------------------------------------------------------- */

static void notify(struct quern_ticket *t) {
    mutex_lock(&t->notify_lock);
    if (t->on_notify)
        t->on_notify(t->user);
    mutex_unlock(&t->notify_lock);
}

bool ticket_has_room(struct quern_ticket *t, size_t n) {
    mutex_lock(&t->lock);
    const bool room = t->capacity - t->n >= n;
    mutex_unlock(&t->lock);
    return room;
}

bool ticket_is_drained(struct quern_ticket *t) {
    mutex_lock(&t->lock);
    const bool drained = t->n <= t->capacity / 2;
    mutex_unlock(&t->lock);
    return drained;
}

/* Keeps what was not read at the front: the buffer grows only with what waits. */
static void compact_text(struct quern_ticket *t) {
    if (t->text_first < t->text.len / 2 + 1)
        return;
    const size_t left = t->text.len - t->text_first;
    memmove(t->text.data, t->text.data + t->text_first, left);
    t->text.len = left;
    t->text_first = 0;
}

enum quern_status ticket_push(struct quern_ticket *t, const struct quern_event *event,
                              struct quern_error *err) {
    mutex_lock(&t->lock);
    const bool was_empty = t->n == 0;
    compact_text(t);
    buffer_append(&t->text, event->text, event->text_len);
    enum quern_status status = buffer_status(&t->text, "text waiting to be read", err);
    if (!status) {
        const size_t slot = (t->first + t->n) % t->capacity;
        const size_t n_top = event->n_top < t->n_top ? event->n_top : t->n_top;
        t->ring[slot] = (struct ticket_event){event->token, event->logprob, event->text_len, n_top};
        if (n_top)
            memcpy(t->tops + slot * t->n_top, event->top, n_top * sizeof *t->tops);
        t->n++;
        condition_signal_all(&t->changed);
    }
    mutex_unlock(&t->lock);
    if (!status && was_empty)
        notify(t);
    return status;
}

void ticket_end(struct quern_ticket *t, const struct quern_request_result *result, float *values) {
    mutex_lock(&t->lock);
    t->result = *result;
    t->values = values;
    t->result.values = values;
    t->ended = true;
    t->engine = NULL;
    condition_signal_all(&t->changed);
    mutex_unlock(&t->lock);
    notify(t);
}

bool ticket_is_cancelled(const struct quern_ticket *t) {
    return atomic_load_explicit(&t->cancelled, memory_order_relaxed);
}

/* ---- the reader's side --------------------------------------------------------------- */

static void take_event(struct quern_ticket *t, struct quern_event *event) {
    const struct ticket_event *e = &t->ring[t->first];
    *event = (struct quern_event){.token = e->token,
                                  .logprob = e->logprob,
                                  .text = t->read_text.data ? t->read_text.data : "",
                                  .text_len = e->text_len,
                                  .top = e->n_top ? t->read_top : NULL,
                                  .n_top = e->n_top};
    if (e->n_top)
        memcpy(t->read_top, t->tops + t->first * t->n_top, e->n_top * sizeof *t->tops);
    t->text_first += e->text_len;
    t->first = (t->first + 1) % t->capacity;
    t->n--;
    /* A paused request goes on once half of the ring is free. */
    if (t->n == t->capacity / 2 && t->engine)
        engine_wake(t->engine);
}

/* There is no memory to hand an event over in: the answer ends here, with that for its reason. */
static void lose_events(struct quern_ticket *t) {
    t->lost = true;
    t->n = 0;
    t->text_first = t->text.len;
    atomic_store(&t->cancelled, true);
    if (t->engine)
        engine_wake(t->engine);
}

enum quern_next quern_ticket_next(quern_ticket *ticket, struct quern_event *event) {
    struct quern_ticket *t = ticket;
    enum quern_next next = QUERN_NEXT_NOTHING;
    if (!t || !event)
        return next;
    mutex_lock(&t->lock);
    if (t->n > 0 && !t->lost) {
        const size_t len = t->ring[t->first].text_len;
        buffer_clear(&t->read_text);
        if (buffer_append(&t->read_text, t->text.data + t->text_first, len)) {
            lose_events(t);
        } else {
            take_event(t, event);
            next = QUERN_NEXT_EVENT;
        }
    }
    if (t->lost)
        t->n = 0;
    if (t->n == 0 && t->ended && next == QUERN_NEXT_NOTHING)
        next = QUERN_NEXT_END;
    mutex_unlock(&t->lock);
    return next;
}

bool quern_ticket_wait(quern_ticket *ticket, int64_t timeout_ms) {
    struct quern_ticket *t = ticket;
    if (!t)
        return false;
    const uint64_t ns_per_ms = 1000000u, most_ms = UINT64_MAX / 4 / ns_per_ms;
    uint64_t wait_ms = timeout_ms > 0 ? (uint64_t)timeout_ms : 0;
    if (timeout_ms < 0 || wait_ms > most_ms)
        wait_ms = most_ms;
    const uint64_t until_ns = os_now_ns() + wait_ms * ns_per_ms;
    mutex_lock(&t->lock);
    while (t->n == 0 && !t->ended)
        if (!condition_wait_until(&t->changed, &t->lock, until_ns))
            break;
    const bool ready = t->n > 0 || t->ended;
    mutex_unlock(&t->lock);
    return ready;
}

void quern_ticket_cancel(quern_ticket *ticket) {
    struct quern_ticket *t = ticket;
    if (!t)
        return;
    atomic_store(&t->cancelled, true);
    mutex_lock(&t->lock);
    if (t->engine)
        engine_wake(t->engine);
    mutex_unlock(&t->lock);
}

enum quern_status quern_ticket_result(quern_ticket *ticket, struct quern_request_result *out,
                                      struct quern_error *err) {
    struct quern_ticket *t = ticket;
    if (!t || !out)
        return error_set(err, QUERN_ERR_ARG, "quern_ticket_result: ticket or out is missing");
    mutex_lock(&t->lock);
    const bool ended = t->ended;
    if (ended)
        *out = t->result;
    if (ended && t->lost) {
        out->finish = QUERN_FINISH_ERROR;
        out->status = QUERN_ERR_NOMEM;
        snprintf(out->message, sizeof out->message, "out of memory");
    }
    mutex_unlock(&t->lock);
    return ended
               ? QUERN_OK
               : error_set(err, QUERN_ERR_STATE, "quern_ticket_result: the request has not ended");
}

void quern_ticket_destroy(quern_ticket *ticket) {
    struct quern_ticket *t = ticket;
    if (!t)
        return;
    quern_ticket_cancel(t);
    mutex_lock(&t->notify_lock);
    t->on_notify = NULL;
    mutex_unlock(&t->notify_lock);
    ticket_release(t);
}
