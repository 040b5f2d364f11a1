#include "chat/jinja_trace.h"

#include <stdlib.h>

void chat_spans_release(struct chat_spans *s) {
    free(s->messages);
    free(s->generated);
    *s = (struct chat_spans){0};
}

void jinja_trace_item(struct jinja_run *run, struct jvalue item, size_t begin) {
    const struct jinja_trace *t = run->trace;
    if (!t || run->out != t->out || item.kind != JINJA_DICT || run->out->len == begin)
        return;
    for (size_t i = 0; i < t->messages->n && i < t->spans->n_messages; i++) {
        struct chat_span *span = &t->spans->messages[i];
        if (t->messages->items[i].as.dict != item.as.dict)
            continue;
        span->scattered = span->begin < span->end && span->end != begin;
        if (span->begin == span->end)
            span->begin = begin;
        span->end = run->out->len;
    }
}

bool jinja_trace_generation(struct jinja_run *run, size_t begin) {
    const struct jinja_trace *t = run->trace;
    if (!t || run->out != t->out)
        return true;
    struct chat_spans *s = t->spans;
    if ((s->n_generated & (s->n_generated + 1)) == 0) { /* full at 0, 1, 3, 7, ... */
        struct chat_span *grown =
            realloc(s->generated, (2 * s->n_generated + 1) * sizeof *s->generated);
        if (!grown)
            return jinja_fail_with(run, QUERN_ERR_NOMEM, "out of memory");
        s->generated = grown;
    }
    s->generated[s->n_generated++] = (struct chat_span){begin, run->out->len, false};
    return true;
}
