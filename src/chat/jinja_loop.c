#include "chat/jinja_loop.h"

#include "chat/jinja_native.h"

/* Whether len() works on the loop's iterable, and its items at once. */
static bool is_sized(const struct jloop *loop) {
    return !loop->iterator && !loop->accept;
}

bool jloop_start(struct jinja_run *run, struct jloop *loop, struct jvalue iterable) {
    loop->iterable = iterable;
    loop->index0 = -1;
    loop->length = -1;
    if (iterable.kind == JINJA_ITERATOR)
        loop->iterator = iterable.as.iterator;
    else if (!jvalue_to_list(run, iterable, &loop->items))
        return false;
    return true;
}

static bool fetch(struct jinja_run *run, struct jloop *loop, struct jvalue *out) {
    out->kind = JINJA_MISSING;
    while (!loop->exhausted) {
        struct jiterator *it = loop->iterator;
        size_t *position = it ? &it->position : &loop->position;
        const struct jlist *list = it ? it->list : loop->items;
        if (*position >= list->n) {
            loop->exhausted = true;
            return !it || jiterator_end(run, it);
        }
        struct jvalue item = list->items[(*position)++];
        bool accepted = true;
        if (!jinja_charge(run, 1) || (loop->accept && !loop->accept(run, loop, item, &accepted)))
            return false;
        if (accepted) {
            *out = item;
            break;
        }
    }
    return true;
}

bool jloop_peek(struct jinja_run *run, struct jloop *loop, struct jvalue *next) {
    if (loop->next.kind == JINJA_MISSING && !fetch(run, loop, &loop->next))
        return false;
    *next = loop->next;
    return true;
}

bool jloop_next(struct jinja_run *run, struct jloop *loop, bool *more) {
    struct jvalue item;
    if (!jloop_peek(run, loop, &item))
        return false;
    loop->next.kind = JINJA_MISSING;
    *more = item.kind != JINJA_MISSING;
    if (*more) {
        loop->index0++;
        loop->previous = loop->current;
        loop->current = item;
    }
    return true;
}

/* Without len(), everything left is fetched now. */
static bool drain(struct jinja_run *run, struct jloop *loop) {
    struct jlist *rest = jlist_create(run, 0);
    size_t capacity = 0;
    struct jvalue item;
    if (!rest)
        return false;
    bool peeked = loop->next.kind != JINJA_MISSING;
    for (;;) {
        if (!fetch(run, loop, &item))
            return false;
        if (item.kind == JINJA_MISSING)
            break;
        if (!jlist_push(run, rest, &capacity, item))
            return false;
    }
    loop->length = (int64_t)rest->n + loop->index0 + 1 + peeked;
    loop->items = rest;
    loop->iterator = NULL;
    loop->accept = NULL;
    loop->position = 0;
    loop->exhausted = false;
    return true;
}

bool jloop_length(struct jinja_run *run, struct jloop *loop, int64_t *length) {
    if (loop->length < 0) {
        if (is_sized(loop))
            loop->length = (int64_t)loop->items->n;
        else if (!drain(run, loop))
            return false;
    }
    *length = loop->length;
    return true;
}

/* ---- loop.NAME --------------------------------------------------------------------------------
 */

static bool loop_cycle(struct jinja_run *run, struct jnative_call *call) {
    if (call->all->n_keywords)
        return jinja_fail(run, "loop.cycle() takes no keyword arguments");
    if (call->all->n == 0)
        return jinja_fail(run, "no items for cycling given");
    call->result = call->all->positional[(size_t)call->self.as.loop->index0 % call->all->n];
    return true;
}

static bool loop_changed(struct jinja_run *run, struct jnative_call *call) {
    struct jloop *loop = call->self.as.loop;
    struct jlist *values = jlist_create(run, call->all->n);
    if (!values)
        return false;
    for (size_t i = 0; i < values->n; i++)
        values->items[i] = call->all->positional[i];
    bool same = false;
    if (loop->changed && !jvalue_equal(run, jvalue_list(loop->changed), jvalue_list(values), &same))
        return false;
    loop->changed = values;
    call->result = jvalue_bool(!same);
    return true;
}

static bool loop_method(struct jinja_run *run, struct jloop *loop, const struct jnative *native,
                        struct jvalue *out) {
    struct jmethod *method = jinja_alloc(run, 1, sizeof *method);
    if (!method)
        return false;
    *method = (struct jmethod){{.kind = JINJA_LOOP, .as.loop = loop}, native};
    *out = (struct jvalue){.kind = JINJA_METHOD, .as.method = method};
    return true;
}

static bool from_the_end(struct jinja_run *run, struct jloop *loop, int64_t offset,
                         struct jvalue *out) {
    int64_t length;
    if (!jloop_length(run, loop, &length))
        return false;
    *out = jvalue_int(length - offset);
    return true;
}

bool jloop_attribute(struct jinja_run *run, struct jloop *loop, struct str name, bool *found,
                     struct jvalue *out) {
    static const struct jnative cycle = {"cycle", NULL, loop_cycle, 0};
    static const struct jnative changed = {"changed", NULL, loop_changed, 0};
    *found = true;
    if (str_is(name, "index"))
        *out = jvalue_int(loop->index0 + 1);
    else if (str_is(name, "index0"))
        *out = jvalue_int(loop->index0);
    else if (str_is(name, "first"))
        *out = jvalue_bool(loop->index0 == 0);
    else if (str_is(name, "length"))
        return from_the_end(run, loop, 0, out);
    else if (str_is(name, "revindex"))
        return from_the_end(run, loop, loop->index0, out);
    else if (str_is(name, "revindex0"))
        return from_the_end(run, loop, loop->index0 + 1, out);
    else if (str_is(name, "depth"))
        *out = jvalue_int(loop->depth0 + 1);
    else if (str_is(name, "depth0"))
        *out = jvalue_int(loop->depth0);
    else if (str_is(name, "cycle"))
        return loop_method(run, loop, &cycle, out);
    else if (str_is(name, "changed"))
        return loop_method(run, loop, &changed, out);
    else if (str_is(name, "previtem"))
        *out = loop->index0 > 0
                   ? loop->previous
                   : jvalue_undefined(JUNDEF_HINT, STR_LIT("there is no previous item"));
    else if (str_is(name, "last") || str_is(name, "nextitem")) {
        struct jvalue next;
        if (!jloop_peek(run, loop, &next))
            return false;
        if (str_is(name, "last"))
            *out = jvalue_bool(next.kind == JINJA_MISSING);
        else
            *out = next.kind != JINJA_MISSING
                       ? next
                       : jvalue_undefined(JUNDEF_HINT, STR_LIT("there is no next item"));
    } else {
        *found = false;
    }
    return true;
}
