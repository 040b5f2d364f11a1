/* generation_stream.c - a job answered by server-sent events. */
#include <stdlib.h>

#include "server/server_core.h"

struct generation_stream {
    struct server *server;
    struct model_entry *entry;
    struct text_job *job;
    const struct stream_dialect *dialect;
    void *state;
    bool over;
};

/* The end of a job that is not done is its client's leaving; that the engine hears of it at once is
 * text_job_destroy's work. */
static bool stream_next(void *user, struct http_call *call, struct buffer *out) {
    struct generation_stream *st = user;
    struct api_error err;
    if (st->over)
        return false;
    if (text_job_poll(st->job, &err)) {
        st->dialect->write_error(st->state, &err, out);
        st->over = true;
        return true;
    }
    st->dialect->write_news(st->state, st->job, out);
    if (text_job_is_done(st->job)) {
        call_job_ended(st->server, call, st->entry, st->job);
        st->dialect->write_end(st->state, st->job, out);
        st->over = true;
        return true;
    }
    if (out->len)
        return true;
    int64_t keep_alive_ms = (int64_t)(st->server->config->keep_alive_s * 1000);
    switch (waker_wait(call->waker, call->peer_fd, keep_alive_ms)) {
    case WAKER_PEER_GONE:
        call->client_left = true;
        return false;
    case WAKER_TIMEOUT:
        buffer_puts(out, ": keep-alive\n\n");
        break;
    case WAKER_RUNG:
        break;
    }
    return true;
}

static void stream_destroy(void *user) {
    struct generation_stream *st = user;
    text_job_destroy(st->job);
    model_registry_release(&st->server->models, st->entry);
    st->dialect->destroy(st->state);
    free(st);
}

void call_answer_job_stream(struct server *s, struct http_call *call, struct model_entry *entry,
                            struct text_job *job, const struct stream_dialect *dialect,
                            void *state) {
    static const struct http_stream_ops ops = {stream_next, stream_destroy};
    struct generation_stream *st = malloc(sizeof *st);
    if (!st) {
        struct api_error err;
        text_job_destroy(job);
        model_registry_release(&s->models, entry);
        dialect->destroy(state);
        api_nomem(&err);
        http_answer_error(call, &err);
        return;
    }
    *st = (struct generation_stream){s, entry, job, dialect, state, false};
    http_answer_stream(call, "text/event-stream; charset=utf-8", &ops, st);
}
