/* jinja_loop.h - the state behind `loop`. Items are fetched one by one and only one ahead,
 * because a loop's filter may depend on what the body sets. */
#ifndef QUERN_CHAT_JINJA_LOOP_H
#define QUERN_CHAT_JINJA_LOOP_H

#include "chat/jinja_run.h"

struct jloop {
    struct jvalue iterable;
    struct jlist *items;        /* of a sized iterable */
    struct jiterator *iterator; /* instead of items */
    size_t position;            /* next item */
    /* The loop's filter: items without it pass. */
    bool (*accept)(struct jinja_run *run, struct jloop *loop, struct jvalue item, bool *accepted);
    const struct jnode *node;
    struct jinja_frame *frame;
    int64_t index0;
    int64_t depth0;
    int64_t length;                        /* -1: not known yet */
    struct jvalue previous, current, next; /* next: JINJA_MISSING until peeked at */
    bool exhausted;
    struct jlist *changed; /* the last arguments of loop.changed() */
};

bool jloop_start(struct jinja_run *run, struct jloop *loop, struct jvalue iterable);
/* Moves on; *more is false at the end. */
bool jloop_next(struct jinja_run *run, struct jloop *loop, bool *more);
bool jloop_peek(struct jinja_run *run, struct jloop *loop, struct jvalue *next); /* or missing */
bool jloop_length(struct jinja_run *run, struct jloop *loop, int64_t *length);

/* loop.NAME; *found is false when there is no such attribute. */
bool jloop_attribute(struct jinja_run *run, struct jloop *loop, struct str name, bool *found,
                     struct jvalue *out);

#endif
