/* jinja_trace.h - where in the output each message stands: the text that the bodies of loops over the
 * messages write, and what `generation` blocks hold. */
#ifndef QUERN_CHAT_JINJA_TRACE_H
#define QUERN_CHAT_JINJA_TRACE_H

#include "chat/chat_template.h"
#include "chat/jinja_run.h"

struct jinja_trace {
    const struct jlist *messages; /* as the template sees them; loops may go over parts of it */
    const struct buffer *out;     /* the render's own output: what is captured has no place yet */
    struct chat_spans *spans;
};

/* After a loop's body ran for `item`, the output having been `begin` bytes long before. */
void jinja_trace_item(struct jinja_run *run, struct jvalue item, size_t begin);
/* After a generation block wrote its text. */
bool jinja_trace_generation(struct jinja_run *run, size_t begin);

#endif
