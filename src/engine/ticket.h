/* ticket.h - what stands between a request in the engine and whoever reads it: a bounded ring of
 * events, and the result. The engine writes, one thread reads, any thread cancels. Both sides hold
 * a reference.
 *
 * `lock` guards everything below it. `notify_lock` is held while on_notify runs, so that the reader
 * who destroys its ticket knows that it does not any more. */
#ifndef QUERN_ENGINE_TICKET_H
#define QUERN_ENGINE_TICKET_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/sync.h"
#include "quern.h"

struct engine;

/* An event in the ring; its text stands in `text`, its top in tops[slot]. */
struct ticket_event {
    int32_t token;
    float logprob;
    size_t text_len, n_top;
};

struct quern_ticket {
    struct mutex notify_lock;
    void (*on_notify)(void *user); /* NULL once the reader has gone */
    void *user;

    atomic_bool cancelled;

    struct mutex lock;
    struct condition changed;
    int n_refs;
    struct engine *engine; /* to be woken; NULL after the end */
    struct ticket_event *ring;
    struct quern_top_logprob *tops; /* [capacity, n_top] */
    size_t capacity, n_top;
    size_t first, n; /* events waiting */
    struct buffer text;
    size_t text_first; /* of it was read */
    bool ended;
    bool lost; /* events, for want of memory */
    struct quern_request_result result;
    float *values;

    /* the reader's */
    struct buffer read_text;
    struct quern_top_logprob *read_top; /* [n_top] */
};

/* With one reference, the engine's. n_top: the most an event brings. */
enum quern_status ticket_create(struct engine *engine, size_t capacity, size_t n_top,
                                struct quern_ticket **out, struct quern_error *err);
void ticket_retain(struct quern_ticket *t);
void ticket_release(struct quern_ticket *t); /* NULL is fine */

/* ---- the engine's side ---- */

/* Room for n more events. */
bool ticket_has_room(struct quern_ticket *t, size_t n);
/* At most half of the ring waits. */
bool ticket_is_drained(struct quern_ticket *t);
/* There must be room. */
enum quern_status ticket_push(struct quern_ticket *t, const struct quern_event *event,
                              struct quern_error *err);
/* The result's values, if any, become the ticket's: malloc'ed. */
void ticket_end(struct quern_ticket *t, const struct quern_request_result *result, float *values);
bool ticket_is_cancelled(const struct quern_ticket *t);

/* Of the engine, called by readers: something has changed that it may wait for. */
void engine_wake(struct engine *e);

#endif
